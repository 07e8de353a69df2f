# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executor of CandidateEmbedder."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from apache_beam.utils.shared import Shared
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import records
from components.artifacts import found
from serving.candidates import Source, embed, parse, shard_schema
from serving.index_config import SHARDS, shard_name
from serving.shards import shard_of
from serving.towers import Towers
from serving.update import known_fingerprints

CANDIDATES_KEY = "candidates"
MODEL_KEY = "model"
PREVIOUS_KEY = "previous"
EMBEDDINGS_KEY = "embeddings"
CANDIDATE_ID_KEY = "candidate_id"
TITLE_KEY = "title"
ATTRIBUTES_KEY = "attributes"
BATCH_SIZE_KEY = "batch_size"
SHARDS_KEY = "shards"
FINGERPRINT_KEY = "fingerprint"


@dataclasses.dataclass
class _Loaded:
    """What the workers of a process share."""

    towers: Towers
    known: np.ndarray | None


class _Embed(beam.DoFn):
    """Turns files of candidates into Arrow tables, a batch at a time."""

    def __init__(
        self, model_path: str, source: Source, batch_size: int, previous: str | None
    ):
        self._model_path, self._source = model_path, source
        self._batch_size, self._previous = batch_size, previous
        self._shared = Shared()

    def setup(self) -> None:
        """Loads the towers, and what needs no embedding, once a worker process."""
        self._loaded = self._shared.acquire(
            lambda: _Loaded(
                Towers(self._model_path),
                known_fingerprints(self._previous) if self._previous else None,
            )
        )

    def process(self, path: str) -> Iterator[pa.Table]:
        """Embeds the candidates of one file."""
        towers, known = self._loaded.towers, self._loaded.known
        for batch in records.read_batches(path, self._batch_size):
            features = parse(towers, self._source, batch)
            yield embed(towers, self._source, features, known)


class _EmbedIntoShards(beam.DoFn):
    """Turns files of candidates into Parquet files, one for each shard that it has.

    Their names follow from the file that was read, so that what a worker left that died
    is written over.
    """

    def __init__(self, embed: _Embed, folder: str, shards: int):
        self._embed = embed
        self._folder, self._shards = folder, shards

    def setup(self) -> None:
        """Loads the towers once a worker process."""
        self._embed.setup()

    def process(self, numbered: tuple[int, str]) -> None:
        """Embeds the candidates of one file."""
        number, path = numbered
        writers: dict[int, pq.ParquetWriter] = {}
        with contextlib.ExitStack() as opened:
            for table in self._embed.process(path):
                shards = shard_of(table["candidate_id"].to_numpy(), self._shards)
                for shard in np.unique(shards).tolist():
                    if shard not in writers:
                        writers[shard] = self._open(shard, number, table.schema, opened)
                    writers[shard].write_table(table.filter(shards == shard))

    def _open(
        self, shard: int, number: int, schema: pa.Schema, opened: contextlib.ExitStack
    ) -> pq.ParquetWriter:
        """Opens the file of a shard with the candidates of one file."""
        folder = os.path.join(self._folder, SHARDS, shard_name(shard, self._shards))
        fileio.makedirs(folder)
        # Beam's, as TFX's file lacks what pyarrow asks of one.
        file = FileSystems.create(
            os.path.join(folder, f"candidates-{number:05}.parquet")
        )
        return opened.enter_context(
            pq.ParquetWriter(opened.enter_context(file), schema)
        )


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
            input_dict: `candidates` (Examples), `model` (Model) and maybe `previous`
                (Model), a servable whose candidates need no embedding again.
            output_dict: `embeddings` (CandidateEmbeddings).
            exec_properties: `candidate_id`, `title`, `attributes`, JSON, `batch_size`
                and `shards`.
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
        (previous,) = [
            path_utils.serving_model_path(one.uri)
            for one in found(input_dict.get(PREVIOUS_KEY))
        ] or [None]
        embed = _Embed(model_path, source, exec_properties[BATCH_SIZE_KEY], previous)
        shards = exec_properties[SHARDS_KEY]
        if shards > 1:
            self._embed_into_shards(embed, files, folder, shards)
            return
        dimensions = -1 if previous else _dimensions(model_path)
        schema = shard_schema(dimensions, source.attributes)
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | beam.Create(files)
                | beam.Reshuffle()
                | beam.ParDo(embed)
                | beam.io.WriteToParquetBatched(
                    os.path.join(folder, "candidates"),
                    schema=schema,
                    file_name_suffix=".parquet",
                )
            )

    def _embed_into_shards(
        self, embed: _Embed, files: list[str], folder: str, shards: int
    ) -> None:
        """Writes a folder for each shard, so that its builder reads its own only."""
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | beam.Create(list(enumerate(files)))
                | beam.Reshuffle()
                | beam.ParDo(_EmbedIntoShards(embed, folder, shards))
            )


def _dimensions(model_path: str) -> int:
    """Returns the width of a model's candidate embeddings."""
    model = tf.saved_model.load(model_path)
    outputs = model.signatures["embed_candidate"].structured_outputs
    return outputs["embedding"].shape[1]
