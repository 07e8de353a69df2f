# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a recipe is trained on, read from what TFX hands to Trainer and Tuner."""

import dataclasses
import os
from typing import Any, Protocol

import tensorflow as tf
import tensorflow_transform as tft

from trainer import data
from trainer.batches import Interactions
from trainer.checkpoints import digest
from trainer.config import ModelConfig, TrainingConfig
from trainer.feature_config import Features, load_features
from trainer.features import CANDIDATE_VOCABULARY
from trainer.model import Catalogue, TwoTowerModel
from trainer.temperature import Make
from trainer.warm_start import CANDIDATE_TOWER, QUERY_TOWER, vocabulary_files

STATE_DIR = "state_dir"
"""Key of a custom config: a folder that outlives a killed run, deleted at the end."""


class FnArgs(Protocol):
    """The part of TFX's FnArgs that Trainer and Tuner read."""

    train_files: list[str]
    eval_files: list[str]
    transform_graph_path: str
    base_model: str | None
    hyperparameters: dict[str, Any] | None
    serving_model_dir: str
    model_run_dir: str
    custom_config: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Both splits, the catalogue, and the graphs that made them."""

    query_graph: tft.TFTransformOutput
    candidate_graph: tft.TFTransformOutput
    lookup: data.CandidateLookup
    query_features: Features
    candidate_features: Features
    query_id: str | None
    """The query feature that is its own id, if it is one."""
    catalogue_id: str
    catalogue: Catalogue
    train: Interactions
    valid: Interactions | None

    def make(self, recipe: ModelConfig, training: TrainingConfig) -> TwoTowerModel:
        """Makes a model with fresh weights, those of the seed.

        Args:
          recipe: Its temperature is a number.
          training: How it will be fitted.
        """
        others = {
            name: feature
            for name, feature in self.candidate_features.items()
            if name != self.catalogue_id
        }
        sizes = data.vocabulary_sizes(self.candidate_graph, others, self.lookup)
        tf.keras.utils.set_random_seed(training.seed)
        return TwoTowerModel(
            recipe,
            training,
            self.query_features,
            data.vocabulary_sizes(self.query_graph, self.query_features, self.lookup),
            self.catalogue,
            {**sizes, self.catalogue_id: self.lookup.size},
            self.query_id,
        )

    def maker(self, recipe: ModelConfig, training: TrainingConfig) -> Make:
        """Returns what makes a model of a temperature, all else being equal."""

        def make(temperature: float) -> TwoTowerModel:
            at = recipe.model_copy(update={"temperature": temperature})
            return self.make(at, training)

        return make

    def vocabularies(self) -> dict[str, dict[str, str]]:
        """Returns the files that say what the rows of tables stand for, by tower."""
        return {
            QUERY_TOWER: vocabulary_files(
                self.query_graph, self.query_features, self.every_candidate
            ),
            CANDIDATE_TOWER: vocabulary_files(
                self.candidate_graph,
                self.candidate_features,
                self.every_candidate,
                self.catalogue_id,
            ),
        }

    @property
    def every_candidate(self) -> str:
        """Returns the file with the ids of the catalogue."""
        return self.candidate_graph.vocabulary_file_by_name(CANDIDATE_VOCABULARY)


def read_inputs(fn_args: FnArgs) -> Inputs:
    """Reads what a recipe is trained on.

    Args:
      fn_args: `train_files` and the custom config's `valid_files` (may be empty) are
        transformed interactions, its `candidate_files` transformed candidates;
        `transform_graph_path` and its `candidate_transform_graph` the two transform
        graphs. The custom config also holds `query_id`, `candidate_id` (in the
        interactions), `catalogue_id` (in the candidates), `weight` (a feature of the
        interactions, or None), `query_features` and `candidate_features`.
    """
    config = fn_args.custom_config
    query_graph = tft.TFTransformOutput(fn_args.transform_graph_path)
    candidate_graph = tft.TFTransformOutput(config["candidate_transform_graph"])
    query_features = load_features(config["query_features"])
    candidate_features = load_features(config["candidate_features"])
    lookup = data.CandidateLookup(candidate_graph)

    def read(files: list[str]) -> Interactions:
        return data.read_interactions(
            files,
            query_graph,
            query_features,
            config["candidate_id"],
            lookup,
            config["weight"],
        )

    return Inputs(
        query_graph,
        candidate_graph,
        lookup,
        query_features,
        candidate_features,
        config["query_id"] if config["query_id"] in query_features else None,
        config["catalogue_id"],
        data.read_catalogue(
            config["candidate_files"],
            candidate_graph,
            candidate_features,
            config["catalogue_id"],
            data.candidate_counts(query_graph, lookup),
        ),
        read(fn_args.train_files),
        read(config["valid_files"]) if config["valid_files"] else None,
    )


def state_folder(fn_args: FnArgs) -> str:
    """Returns the folder for what is to be resumed with just these inputs."""
    config = dict(fn_args.custom_config)
    folder = config.pop(STATE_DIR)
    inputs = [
        config, fn_args.train_files, fn_args.transform_graph_path, fn_args.base_model,
        fn_args.hyperparameters,
    ]  # fmt: skip
    return os.path.join(folder, digest(inputs))


def delete_state(fn_args: FnArgs) -> None:
    """Deletes what was to be resumed, that too of runs that were given up."""
    folder = fn_args.custom_config[STATE_DIR]
    if tf.io.gfile.exists(folder):
        tf.io.gfile.rmtree(folder)
