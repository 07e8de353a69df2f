# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The run_fn: TFX's Trainer calls it with where data lie and where the model goes."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any, Protocol

import tensorflow as tf
import tensorflow_transform as tft

from trainer import data
from trainer.batches import Interactions
from trainer.checkpoints import digest, kept_figure
from trainer.config import ModelConfig, TrainingConfig
from trainer.distribution import is_chief, make_strategy
from trainer.export import Side, TwoTowers
from trainer.feature_config import load_features
from trainer.features import CANDIDATE_VOCABULARY
from trainer.fit import fit
from trainer.model import TwoTowerModel
from trainer.temperature import find_temperature
from trainer.towers import OWN_HISTORY
from trainer.warm_start import (
    CANDIDATE_TOWER,
    QUERY_TOWER,
    save_vocabularies,
    vocabulary_files,
    warm_start,
)

CHECKPOINT_DIR = "checkpoint_dir"


class FnArgs(Protocol):
    """The part of TFX's FnArgs that this module reads."""

    train_files: list[str]
    eval_files: list[str]
    transform_graph_path: str
    base_model: str | None
    serving_model_dir: str
    model_run_dir: str
    custom_config: dict[str, Any]


def run_fn(fn_args: FnArgs) -> None:
    """Trains and saves the two towers.

    Args:
      fn_args: `train_files` and the custom config's `valid_files` (may be empty) are
        transformed interactions, its `candidate_files` transformed candidates;
        `transform_graph_path` and its `candidate_transform_graph` the two transform
        graphs; `base_model` earlier towers to begin with, or None. The custom config
        also holds `query_id`, `candidate_id` (in the interactions), `catalogue_id` (in
        the candidates), `weight` (a feature of the interactions, or None),
        `query_features`, `candidate_features`, `model` and `training`, as their modules
        read them, and `checkpoint_dir`, a folder that outlives a killed run and is
        deleted at the end, or None.
    """
    config = fn_args.custom_config
    training = TrainingConfig(**config["training"])
    strategy = make_strategy(training.distribution)  # before all else of TensorFlow
    tf.keras.utils.set_random_seed(training.seed)
    query_graph = tft.TFTransformOutput(fn_args.transform_graph_path)
    candidate_graph = tft.TFTransformOutput(config["candidate_transform_graph"])
    query_features = load_features(config["query_features"])
    candidate_features = load_features(config["candidate_features"])
    candidates = data.CandidateLookup(candidate_graph)

    def read(files: list[str]) -> Interactions:
        return data.read_interactions(
            files,
            query_graph,
            query_features,
            config["candidate_id"],
            candidates,
            config["weight"],
        )

    train = read(fn_args.train_files)
    valid = read(config["valid_files"]) if config["valid_files"] else None
    catalogue_id = config["catalogue_id"]
    catalogue = data.read_catalogue(
        config["candidate_files"],
        candidate_graph,
        candidate_features,
        catalogue_id,
        data.candidate_counts(query_graph, candidates),
    )
    others = {n: f for n, f in candidate_features.items() if n != catalogue_id}
    sizes = data.vocabulary_sizes(candidate_graph, others, candidates)
    every = candidate_graph.vocabulary_file_by_name(CANDIDATE_VOCABULARY)
    vocabularies = {
        QUERY_TOWER: vocabulary_files(query_graph, query_features, every),
        CANDIDATE_TOWER: vocabulary_files(
            candidate_graph, candidate_features, every, catalogue_id
        ),
    }
    query_sizes = data.vocabulary_sizes(query_graph, query_features, candidates)
    query_id = config["query_id"] if config["query_id"] in query_features else None
    recipe = ModelConfig(**config["model"])

    def make(temperature: float) -> TwoTowerModel:
        tf.keras.utils.set_random_seed(training.seed)
        return TwoTowerModel(
            recipe.model_copy(update={"temperature": temperature}),
            training,
            query_features,
            query_sizes,
            catalogue,
            {**sizes, catalogue_id: candidates.size},
            query_id,
        )

    with strategy.scope():
        folder = _checkpoints(fn_args)
        model = make(
            kept_figure(
                folder and os.path.join(folder, "temperature"),
                lambda: find_temperature(make, recipe, training, train),
                is_chief(strategy),
            )
        )
        if model.history_name == OWN_HISTORY:
            vocabularies[QUERY_TOWER][OWN_HISTORY] = every
        if fn_args.base_model:
            model.build_towers(train.query)
            warm_start(model, vocabularies, fn_args.base_model)
        fit(model, training, train, valid, fn_args.model_run_dir, folder)
    towers = TwoTowers(
        Side(
            model.query_tower,
            query_graph,
            query_features,
            config["query_id"],
            bool(model.history_name and model.query_id),
        ),
        Side(model.candidate_tower, candidate_graph, candidate_features, catalogue_id),
        candidates,
    )
    with _kept_by_chief(fn_args.serving_model_dir, strategy) as path:
        towers.save(path)
        save_vocabularies(path, vocabularies)
    if is_chief(strategy):
        _delete_checkpoints(fn_args)


def _checkpoints(fn_args: FnArgs) -> str | None:
    """Returns the folder for checkpoints of a training of just these inputs."""
    config = dict(fn_args.custom_config)
    folder = config.pop(CHECKPOINT_DIR, None)
    if not folder:
        return None
    inputs = [
        config, fn_args.train_files, fn_args.transform_graph_path, fn_args.base_model
    ]  # fmt: skip
    return os.path.join(folder, digest(inputs))


def _delete_checkpoints(fn_args: FnArgs) -> None:
    """Deletes all checkpoints, those too of trainings that were given up."""
    folder = fn_args.custom_config.get(CHECKPOINT_DIR)
    if folder and tf.io.gfile.exists(folder):
        tf.io.gfile.rmtree(folder)


@contextlib.contextmanager
def _kept_by_chief(path: str, strategy: tf.distribute.Strategy) -> Iterator[str]:
    """Yields where to save: saving takes all workers, but one of them only keeps it."""
    if is_chief(strategy):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="shortlist-") as nowhere:
        yield nowhere
