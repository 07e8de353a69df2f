# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executor of CandidateEmbedder."""

import json
import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
from apache_beam.utils.shared import Shared
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import records
from serving.candidates import Source, embed, parse, shard_schema
from serving.towers import Towers

CANDIDATES_KEY = "candidates"
MODEL_KEY = "model"
EMBEDDINGS_KEY = "embeddings"
CANDIDATE_ID_KEY = "candidate_id"
TITLE_KEY = "title"
ATTRIBUTES_KEY = "attributes"
BATCH_SIZE_KEY = "batch_size"
FINGERPRINT_KEY = "fingerprint"


class _Embed(beam.DoFn):
    """Turns files of candidates into Arrow tables, a batch at a time."""

    def __init__(self, model_path: str, source: Source, batch_size: int):
        self._model_path, self._source = model_path, source
        self._batch_size = batch_size
        self._shared = Shared()

    def setup(self) -> None:
        """Loads the towers once a worker process."""
        self._towers = self._shared.acquire(lambda: Towers(self._model_path))

    def process(self, path: str) -> Iterator[pa.Table]:
        """Embeds the candidates of one file."""
        for batch in records.read_batches(path, self._batch_size):
            features = parse(self._towers, self._source, batch)
            yield embed(self._towers, self._source, features)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Embeds every candidate once and writes Parquet shards."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the candidate tower over all splits of the candidates.

        Args:
            input_dict: `candidates` (Examples) and `model` (Model).
            output_dict: `embeddings` (CandidateEmbeddings).
            exec_properties: `candidate_id`, `title`, `attributes`, JSON, and
                `batch_size`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        model_path = path_utils.serving_model_path(model.uri)
        candidates = artifact_utils.get_single_instance(input_dict[CANDIDATES_KEY])
        folder = artifact_utils.get_single_uri(output_dict[EMBEDDINGS_KEY])
        files = [file.path for file in records.list_files(candidates)]
        source = Source(
            exec_properties[CANDIDATE_ID_KEY],
            exec_properties[TITLE_KEY],
            json.loads(exec_properties[ATTRIBUTES_KEY]),
        )
        schema = shard_schema(_dimensions(model_path), source.attributes)
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | beam.Create(files)
                | beam.Reshuffle()
                | beam.ParDo(
                    _Embed(model_path, source, exec_properties[BATCH_SIZE_KEY])
                )
                | beam.io.WriteToParquetBatched(
                    os.path.join(folder, "candidates"),
                    schema=schema,
                    file_name_suffix=".parquet",
                )
            )


def _dimensions(model_path: str) -> int:
    """Returns the width of a model's candidate embeddings."""
    model = tf.saved_model.load(model_path)
    outputs = model.signatures["embed_candidate"].structured_outputs
    return outputs["embedding"].shape[1]
