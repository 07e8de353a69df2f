# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executor of CandidateEmbedder."""

import contextlib
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
from serving.index_config import SHARDS, shard_name
from serving.servable import parse_examples
from serving.shards import shard_of
from serving.towers import Towers

CANDIDATES_KEY = "candidates"
MODEL_KEY = "model"
EMBEDDINGS_KEY = "embeddings"
CANDIDATE_ID_KEY = "candidate_id"
TITLE_KEY = "title"
BATCH_SIZE_KEY = "batch_size"
SHARDS_KEY = "shards"
FINGERPRINT_KEY = "fingerprint"


class _Embed(beam.DoFn):
    """Turns files of candidates into Arrow tables, a batch at a time."""

    def __init__(self, model_path: str, candidate_id: str, title: str, batch_size: int):
        self._model_path = model_path
        self._candidate_id, self._title = candidate_id, title
        self._batch_size = batch_size
        self._shared = Shared()

    def setup(self) -> None:
        """Loads the towers once a worker process."""
        self._towers = self._shared.acquire(lambda: Towers(self._model_path))

    def process(self, path: str) -> Iterator[pa.Table]:
        """Embeds the candidates of one file."""
        for batch in records.read_batches(path, self._batch_size):
            yield self._embed(batch)

    def _embed(self, batch: list[bytes]) -> pa.Table:
        """Embeds one batch of serialized candidates."""
        towers = self._towers
        text = tf.TensorSpec([None], tf.string)
        specs = {
            **towers.candidate_features,
            self._candidate_id: text,
            self._title: text,
        }
        features = parse_examples(tf.constant(batch), specs)
        inputs = {name: features[name] for name in towers.candidate_features}
        embedded = towers.embed_candidate(inputs).numpy()
        ids, titles = (features[name] for name in (self._candidate_id, self._title))
        return pa.table(
            {
                "candidate_id": _strings(ids),
                "title": _strings(tf.where(titles == "", ids, titles)),
                "embedding": pa.FixedSizeListArray.from_arrays(
                    pa.array(embedded.reshape(-1)), embedded.shape[1]
                ),
            }
        )


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


def _strings(values: tf.Tensor) -> pa.Array:
    """Returns a string tensor, [batch], as an Arrow array of text."""
    return pa.array(values.numpy().tolist(), pa.binary()).cast(pa.string())


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
            exec_properties: `candidate_id`, `title`, `batch_size`, `shards`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        model_path = path_utils.serving_model_path(model.uri)
        candidates = artifact_utils.get_single_instance(input_dict[CANDIDATES_KEY])
        folder = artifact_utils.get_single_uri(output_dict[EMBEDDINGS_KEY])
        files = [file.path for file in records.list_files(candidates)]
        embed = _Embed(
            model_path,
            exec_properties[CANDIDATE_ID_KEY],
            exec_properties[TITLE_KEY],
            exec_properties[BATCH_SIZE_KEY],
        )
        shards = exec_properties[SHARDS_KEY]
        if shards > 1:
            self._embed_into_shards(embed, files, folder, shards)
            return
        dimensions = _dimensions(model_path)
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | beam.Create(files)
                | beam.Reshuffle()
                | beam.ParDo(embed)
                | beam.io.WriteToParquetBatched(
                    os.path.join(folder, "candidates"),
                    schema=_schema(dimensions),
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


def _schema(dimensions: int) -> pa.Schema:
    """Returns the columns of a shard."""
    return pa.schema(
        [
            ("candidate_id", pa.string()),
            ("title", pa.string()),
            ("embedding", pa.list_(pa.float32(), dimensions)),
        ]
    )
