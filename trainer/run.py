# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The run_fn: TFX's Trainer calls it with where data lie and where the model goes."""

from typing import Any, Protocol

import tensorflow as tf
import tensorflow_transform as tft

from trainer import data
from trainer.batches import Interactions
from trainer.config import ModelConfig, TrainingConfig
from trainer.export import TwoTowers
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
        transformed interactions; `transform_graph_path` and the custom config's
        `candidate_transform_graph` the two transform graphs. The custom config also
        holds `query_id`, `candidate_id` (in the interactions), `catalogue_id` (in the
        candidates), `model` and `training` (as `trainer.config` reads them).
    """
    config = fn_args.custom_config
    training = TrainingConfig(**config["training"])
    tf.keras.utils.set_random_seed(training.seed)
    query_graph = tft.TFTransformOutput(fn_args.transform_graph_path)
    candidate_graph = tft.TFTransformOutput(config["candidate_transform_graph"])
    candidates = data.CandidateLookup(candidate_graph)

    def read(files: list[str]) -> Interactions:
        return data.read_interactions(files, config["candidate_id"], candidates)

    train = read(fn_args.train_files)
    valid = read(config["valid_files"]) if config["valid_files"] else None
    model = TwoTowerModel(
        ModelConfig(**config["model"]),
        data.query_count(query_graph),
        data.candidate_counts(query_graph, candidates),
    )
    fit(model, training, train, valid, fn_args.model_run_dir)
    towers = TwoTowers(
        model,
        query_graph,
        candidate_graph,
        config["query_id"],
        config["catalogue_id"],
    )
    towers.save(fn_args.serving_model_dir)
