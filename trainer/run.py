# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The run_fn: TFX's Trainer calls it with where data lie and where the model goes."""

from typing import Any, Protocol

import tensorflow as tf
import tensorflow_transform as tft

from trainer import data
from trainer.batches import Interactions
from trainer.config import ModelConfig, TrainingConfig
from trainer.export import Side, TwoTowers
from trainer.feature_config import load_features
from trainer.fit import fit
from trainer.model import TwoTowerModel


class FnArgs(Protocol):
    """The part of TFX's FnArgs that this module reads."""

    train_files: list[str]
    eval_files: list[str]
    transform_graph_path: str
    serving_model_dir: str
    model_run_dir: str
    custom_config: dict[str, Any]


def run_fn(fn_args: FnArgs) -> None:
    """Trains and saves the two towers.

    Args:
      fn_args: `train_files` and the custom config's `valid_files` (may be empty) are
        transformed interactions, its `candidate_files` transformed candidates;
        `transform_graph_path` and its `candidate_transform_graph` the two transform
        graphs. The custom config also holds `query_id`, `candidate_id` (in the
        interactions), `catalogue_id` (in the candidates), `weight` (a feature of the
        interactions, or None), `query_features`, `candidate_features`, `model` and
        `training`, as their modules read them.
    """
    config = fn_args.custom_config
    training = TrainingConfig(**config["training"])
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
    model = TwoTowerModel(
        ModelConfig(**config["model"]),
        query_features,
        data.vocabulary_sizes(query_graph, query_features, candidates),
        catalogue,
        {**sizes, catalogue_id: candidates.size},
    )
    fit(model, training, train, valid, fn_args.model_run_dir)
    towers = TwoTowers(
        Side(model.query_tower, query_graph, query_features, config["query_id"]),
        Side(model.candidate_tower, candidate_graph, candidate_features, catalogue_id),
        candidates,
    )
    towers.save(fn_args.serving_model_dir)
