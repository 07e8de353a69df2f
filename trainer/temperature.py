# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the temperature of a softmax on a part of the training split.

No other choice depends as much on the data: 0.1 is best for people who stay within
narrow fields, 0.4 where there is little to learn from, and either loses a fifth of the
accuracy for the other. It is found by trainings without a tenth of the interactions,
which are then asked for. They are whole ones: the longer the training, the higher the
temperature that is best.
"""

import dataclasses
import logging
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy.sparse import csr_matrix

from serving.evaluation import metrics
from trainer.batches import Interactions, gather
from trainer.config import ModelConfig, TrainingConfig
from trainer.fit import fit
from trainer.model import TwoTowerModel
from trainer.rows import group, questions

OF_INTERACTIONS = 0.3
"""The temperature of rows that are interactions."""
_START = 0.18
_FACTOR = 1.5
_MOST_STEPS = 3
"""Up or down, so that temperatures are between 0.05 and 0.6."""
_QUERIES = 10_000
"""Most queries that are trained with here."""
_ASKED = 2000
"""Most of them that are asked."""
_HELD_OUT = 0.1
_K = 100

_log = logging.getLogger(__name__)

Make = Callable[[float], TwoTowerModel]
"""Makes a model of a temperature, with fresh weights."""


def find_temperature(
    make: Make, config: ModelConfig, training: TrainingConfig, train: Interactions
) -> float:
    """Returns the temperature of a config, or the best one if it names none.

    Goes up or down by a half while NDCG@100 on what is held out, known candidates left
    out, gets better, and then to the top of the parabola through the best and its
    neighbours.

    Args:
      make: Makes a model of a temperature.
      config: The recipe.
      training: How to train.
      train: The training split.

    Raises:
      DivergedError: The loss of one of these trainings is not a number.
    """
    if config.temperature is not None:
        return config.temperature
    if not config.normalize:
        return 1.0
    if training.rows == "interaction":
        return OF_INTERACTIONS
    known, asked = _parts(train, training.seed)
    if not len(asked):
        return _START
    found: dict[int, float] = {}

    def score(step: int) -> float:
        if step not in found:
            model = make(_START * _FACTOR**step)
            found[step] = _score(model, training, known, asked)
        return found[step]

    at = 0
    direction = 1 if score(1) > score(0) else -1
    while abs(at + direction) <= _MOST_STEPS and score(at + direction) > score(at):
        at += direction
    temperature = _START * _FACTOR ** (at + _vertex(found, at))
    shown = ", ".join(
        f"{_START * _FACTOR**step:.2f}: {found[step]:.4f}" for step in sorted(found)
    )
    _log.info(
        "temperature %.3f, by NDCG@%d on a tenth of train (%s)", temperature, _K, shown
    )
    return temperature


def _vertex(found: dict[int, float], at: int) -> float:
    """Returns how far from the best step the parabola through it is highest.

    Its neighbours show more of where the best lies than the noise of one training.
    """
    if at - 1 not in found or at + 1 not in found:
        return 0.0
    low, middle, high = found[at - 1], found[at], found[at + 1]
    bend = low - 2 * middle + high
    return 0.5 * (low - high) / bend if bend < 0 else 0.0


def _parts(train: Interactions, seed: int) -> tuple[Interactions, Interactions]:
    """Returns what some queries are known by, and what they are asked for.

    The first interaction of each is known.
    """
    rng = np.random.default_rng(seed)
    keys, firsts, query = np.unique(train.key, return_index=True, return_inverse=True)
    chosen = np.zeros(len(keys), bool)
    chosen[rng.permutation(len(keys))[:_QUERIES]] = True
    held_out = rng.random(len(train)) < _HELD_OUT
    held_out[firsts] = False
    used = chosen[query]
    asked = np.unique(query[used & held_out])[:_ASKED]
    return (
        _subset(train, used & ~held_out),
        _subset(train, used & held_out & np.isin(query, asked)),
    )


def _subset(train: Interactions, which: np.ndarray) -> Interactions:
    at = np.flatnonzero(which)
    return Interactions(
        gather(dict(train.query), at),
        train.candidate[at],
        train.key[at],
        None if train.weight is None else train.weight[at],
    )


def _score(
    model: TwoTowerModel,
    training: TrainingConfig,
    known: Interactions,
    asked: Interactions,
) -> float:
    """Trains a model on what is known and returns its NDCG@100 on what is asked."""
    alone = {"checkpoint": False, "early_stopping_patience": 0}
    fit(model, training.model_copy(update=alone), known, None, None)
    return held_out_ndcg(model, known, _by_id(asked, model), _K)


def _by_id(asked: Interactions, model: TwoTowerModel) -> Interactions:
    """Leaves out what is told of queries whose ids stand for all that is known.

    It holds other interactions of theirs that are asked for.
    """
    name = model.history_name
    if name is None or name not in asked.query or not model.query_id:
        return asked
    told = asked.query[name]
    empty = tf.RaggedTensor.from_row_lengths(
        told.flat_values[:0], tf.zeros_like(told.row_lengths())
    )
    return dataclasses.replace(asked, query={**asked.query, name: empty})


def held_out_ndcg(
    model: TwoTowerModel, known: Interactions, asked: Interactions, k: int
) -> float:
    """Returns the mean NDCG@k of the queries of a split, by exact search.

    Args:
      model: A trained model.
      known: What it was trained on; what is known of a query is left out of its list.
      asked: The split.
      k: Length of the lists.
    """
    rows = group(known, model.history_name)
    queries, query = questions(asked, None, model.history_name)
    keys = np.zeros(query.max() + 1, np.int64)
    keys[query] = asked.key
    masked = rows.histories.of(keys)
    exclude = csr_matrix(
        (np.ones(masked.flat_values.shape[0]), masked.flat_values, masked.row_splits),
        (len(keys), model.catalogue_size),
    )
    embedded = model.query_tower(queries).numpy()
    lists = metrics.exact_top_k(embedded, model.embed_catalogue(), k, exclude)[1]
    figures = metrics.per_query_metrics(lists, query, asked.candidate, k)
    return float(figures["ndcg"].mean())
