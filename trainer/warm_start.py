# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Begins a training with what an earlier model has learned.

Vocabularies change with the data, so a row of a table is found by what it stands for:
an id or value that both models know keeps its vector, a new one begins afresh, one
that is gone is dropped. Other weights are taken over where place and shape agree.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
import tensorflow_transform as tft

from trainer.feature_config import Features
from trainer.features import vocabulary_name
from trainer.towers import OWN_HISTORY

_VOCABULARIES = os.path.join("assets.extra", "vocabularies")
QUERY_TOWER = "query_tower"
CANDIDATE_TOWER = "candidate_tower"

Vocabularies = Mapping[str, Mapping[str, str]]
"""Files with a value a line, in the order of a table's rows, by tower and feature."""

_log = logging.getLogger(__name__)


def vocabulary_files(
    graph: tft.TFTransformOutput,
    features: Features,
    candidates: str,
    catalogue_id: str | None = None,
) -> dict[str, str]:
    """Returns the vocabulary of each feature of a tower that has one.

    Args:
      graph: Of the side whose features these are.
      features: What the tower reads.
      candidates: The vocabulary of the catalogue.
      catalogue_id: The feature that is the candidates' own id, if it is among them.
    """
    files = {}
    for name, feature in features.items():
        if feature.type == "history" or name == catalogue_id:
            files[name] = candidates
        else:
            files[name] = graph.vocabulary_file_by_name(vocabulary_name(name))
    return {name: file for name, file in files.items() if file}


def save_vocabularies(path: str, vocabularies: Vocabularies) -> None:
    """Writes beside the towers what the rows of their tables stand for.

    Args:
      path: Folder of the towers' SavedModel.
      vocabularies: Of both towers.
    """
    for tower in (QUERY_TOWER, CANDIDATE_TOWER):
        folder = os.path.join(path, _VOCABULARIES, tower)
        tf.io.gfile.makedirs(folder)
        for feature, file in vocabularies[tower].items():
            target = os.path.join(path, vocabulary_path(tower, feature))
            tf.io.gfile.copy(file, target, overwrite=True)


def vocabulary_path(tower: str, feature: str) -> str:
    """Returns where in their folder towers keep a vocabulary, for any feature name."""
    return os.path.join(_VOCABULARIES, tower, vocabulary_name(feature))


def warm_start(model: Any, vocabularies: Vocabularies, path: str) -> None:
    """Gives a model's towers the weights of earlier ones.

    Args:
      model: Has `query_tower` and `candidate_tower`, with all their weights.
      vocabularies: Of both towers.
      path: The earlier towers' SavedModel, as the Trainer writes it.
    """
    earlier = tf.saved_model.load(path)
    rows, known, taken = 0, 0, 0
    done = set()
    for tower in (QUERY_TOWER, CANDIDATE_TOWER):
        for place, new, old in _pairs(getattr(model, tower), getattr(earlier, tower)):
            if id(new) in done:
                continue  # a history shares the candidates' table
            done.add(id(new))
            feature = _feature_at(place)
            file = vocabularies[tower].get(feature)
            saved = os.path.join(path, vocabulary_path(tower, feature))
            if file is None or new.shape.rank != 2:
                if new.shape == old.shape:
                    new.assign(old)
                    taken += 1
            elif tf.io.gfile.exists(saved) and new.shape[1] == old.shape[1]:
                found = _take_rows(new, old, _lines(file), _lines(saved))
                rows, known = rows + new.shape[0], known + found
    _log.info(
        "warm start: %s of %s rows of tables, and %d other weights, from %s",
        f"{known:,}", f"{rows:,}", taken, path,
    )  # fmt: skip


def _feature_at(place: tuple[str, ...]) -> str:
    """Returns the feature whose weights stand at a place in a tower; "": of none."""
    if place[0] == "own_history":
        return OWN_HISTORY
    return place[1] if place[0] in ("encoders", "biases") else ""


def _take_rows(
    new: tf.Variable, old: tf.Variable, values: list[bytes], saved: list[bytes]
) -> int:
    """Copies the rows of values that both tables have; returns how many."""
    at = pd.Index(saved).get_indexer(values)
    known = at >= 0
    table = new.numpy()
    table[: len(values)][known] = old.numpy()[at[known]]
    new.assign(table)
    return int(np.sum(known))


def _lines(file: str) -> list[bytes]:
    with tf.io.gfile.GFile(file, "rb") as lines:
        return lines.read().split(b"\n")[:-1]


def _pairs(
    new: Any, old: Any, place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], tf.Variable, tf.Variable]]:
    """Yields the variables that stand at the same place in two objects."""
    if isinstance(new, tf.Variable):
        if isinstance(old, tf.Variable):
            yield place, new, old
        return
    others = tf.train.TrackableView.children(old)
    for name, child in tf.train.TrackableView.children(new).items():
        if name in others:
            yield from _pairs(child, others[name], (*place, name))
