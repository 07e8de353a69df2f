# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executor of ScannIndexer: a thin call into serving, or one a shard on Beam."""

import json
import os
from typing import Any

import apache_beam as beam
import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.artifacts import found, read_knobs
from serving.build import build_servable, update_servable
from serving.index_config import SHARDS, IndexConfig, shard_name
from serving.shards import check_not_empty, write_manifest

TOWERS_KEY = "towers"
EMBEDDINGS_KEY = "embeddings"
KNOBS_KEY = "knobs"
PREVIOUS_KEY = "previous"
MODEL_KEY = "model"
INDEX_KEY = "index"
ABOUT_KEY = "about"
FINGERPRINT_KEY = "fingerprint"


class _BuildShard(beam.DoFn):
    """Builds the servable of a shard."""

    def __init__(
        self,
        towers: str,
        embeddings: str,
        index: IndexConfig,
        path: str,
        about: dict[str, Any],
    ):
        self._towers, self._embeddings = towers, embeddings
        self._index, self._path, self._about = index, path, about

    def process(self, name: str) -> None:
        """Builds one shard by the name of its folder."""
        path = os.path.join(self._path, SHARDS, name)
        if tf.io.gfile.exists(path):  # of a worker that died
            tf.io.gfile.rmtree(path)
        embeddings = os.path.join(self._embeddings, SHARDS, name)
        about = {**self._about, "shard": name}
        build_servable(self._towers, embeddings, self._index, path, about)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Builds the servable, or its shards, into the output model's serving folder."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Indexes the catalogue.

        Args:
            input_dict: `towers` (Model), `embeddings` (CandidateEmbeddings) and maybe
                `knobs` (IndexKnobs) and `previous` (Model), a servable to update.
            output_dict: `model` (Model).
            exec_properties: `index` and `about`, JSON.

        Raises:
            UserError: The catalogue can't be indexed, or is too small for the shards.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        towers = artifact_utils.get_single_instance(input_dict[TOWERS_KEY])
        index = IndexConfig.model_validate_json(exec_properties[INDEX_KEY])
        for knobs in input_dict.get(KNOBS_KEY) or []:
            index = index.model_copy(update=read_knobs(knobs.uri)["index"])
        towers_path = path_utils.serving_model_path(towers.uri)
        embeddings = artifact_utils.get_single_uri(input_dict[EMBEDDINGS_KEY])
        path = path_utils.serving_model_dir(
            artifact_utils.get_single_uri(output_dict[MODEL_KEY])
        )
        about = json.loads(exec_properties[ABOUT_KEY])
        for previous in found(input_dict.get(PREVIOUS_KEY)):
            before = path_utils.serving_model_path(previous.uri)
            update_servable(towers_path, embeddings, before, index, path, about)
            return
        if index.shards == 1:
            build_servable(towers_path, embeddings, index, path, about)
            return
        names = [shard_name(shard, index.shards) for shard in range(index.shards)]
        check_not_empty(os.path.join(embeddings, SHARDS), names)
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | beam.Create(names)
                | beam.Reshuffle()
                | beam.ParDo(_BuildShard(towers_path, embeddings, index, path, about))
            )
        write_manifest(path)
