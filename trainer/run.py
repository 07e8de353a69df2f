# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The run_fn: TFX's Trainer calls it with where data lie and where the model goes."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from serving import histories
from serving.towers import QUERY_ID, RECIPE
from trainer.checkpoints import kept_figure
from trainer.config import ModelConfig, TrainingConfig
from trainer.distribution import is_chief, make_strategy
from trainer.export import Side, TwoTowers
from trainer.features import vocabulary_name
from trainer.fit import fit
from trainer.inputs import FnArgs, Inputs, delete_state, read_inputs, state_folder
from trainer.model import TwoTowerModel
from trainer.temperature import find_temperature
from trainer.towers import OWN_HISTORY
from trainer.tuner_config import changed
from trainer.warm_start import (
    QUERY_TOWER,
    save_vocabularies,
    vocabulary_path,
    warm_start,
)


def run_fn(fn_args: FnArgs) -> None:
    """Trains and saves the two towers.

    Args:
      fn_args: What `read_inputs` reads; `base_model`, earlier towers to begin with, or
        None; `hyperparameters`, what the Tuner has found, or None. The custom config
        also holds `model` and `training`, as their classes read them, and
        `state_dir`, a folder that outlives a killed run and is deleted at the end.
    """
    config = fn_args.custom_config
    recipe, training = changed(
        ModelConfig(**config["model"]),
        TrainingConfig(**config["training"]),
        (fn_args.hyperparameters or {}).get("values", {}),
    )
    strategy = make_strategy(training.distribution)  # before all else of TensorFlow
    inputs = read_inputs(fn_args)
    vocabularies = inputs.vocabularies()
    with strategy.scope():
        folder = state_folder(fn_args)
        make = inputs.maker(recipe, training)
        temperature = kept_figure(
            os.path.join(folder, "temperature"),
            lambda: find_temperature(make, recipe, training, inputs.train),
            is_chief(strategy),
        )
        model = make(temperature)
        if model.history_name == OWN_HISTORY:
            vocabularies[QUERY_TOWER][OWN_HISTORY] = inputs.every_candidate
        if fn_args.base_model:
            model.build_towers(inputs.train.query)
            warm_start(model, vocabularies, fn_args.base_model)
        fit(model, training, inputs.train, inputs.valid, fn_args.model_run_dir, folder)
    towers = _exported(model, inputs, config["query_id"])
    with _kept_by_chief(fn_args.serving_model_dir, strategy) as path:
        towers.save(path)
        save_vocabularies(path, vocabularies)
        _save_recipe(path, recipe, training, temperature)
        if inputs.query_id:
            _save_query_id(path, inputs.query_id)
            _save_histories(path, inputs, inputs.query_id)
    if is_chief(strategy):
        delete_state(fn_args)


def _exported(model: TwoTowerModel, inputs: Inputs, query_id: str) -> TwoTowers:
    """Returns the trained towers as they answer requests."""
    return TwoTowers(
        Side(
            model.query_tower,
            inputs.query_graph,
            inputs.query_features,
            query_id,
        ),
        Side(
            model.candidate_tower,
            inputs.candidate_graph,
            inputs.candidate_features,
            inputs.catalogue_id,
        ),
        inputs.lookup,
    )


def _save_recipe(
    path: str, recipe: ModelConfig, training: TrainingConfig, temperature: float
) -> None:
    """Writes beside the towers what they were really trained with."""
    used = {
        "model": {**recipe.model_dump(), "temperature": temperature},
        "training": training.model_dump(),
    }
    with tf.io.gfile.GFile(os.path.join(path, RECIPE), "w") as file:
        file.write(json.dumps(used, indent=1))


def _save_query_id(path: str, query_id: str) -> None:
    """Writes beside the towers where the ids are that they know."""
    about = {
        "feature": query_id,
        "vocabulary": vocabulary_path(QUERY_TOWER, query_id),
    }
    with tf.io.gfile.GFile(os.path.join(path, QUERY_ID), "w") as file:
        file.write(json.dumps(about))


def _save_histories(path: str, inputs: Inputs, query_id: str) -> None:
    """Writes beside the towers what they have seen each query choose."""
    ids = np.reshape(inputs.train.query[query_id], -1)
    size = inputs.query_graph.vocabulary_size_by_name(vocabulary_name(query_id))
    histories.write(path, ids, inputs.train.candidate, size, inputs.every_candidate)


@contextlib.contextmanager
def _kept_by_chief(path: str, strategy: tf.distribute.Strategy) -> Iterator[str]:
    """Yields where to save: saving takes all workers, but one of them only keeps it."""
    if is_chief(strategy):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="shortlist-") as nowhere:
        yield nowhere
