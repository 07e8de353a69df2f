# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Writes each candidate of the interactions once."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components import records

INTERACTIONS_KEY = "interactions"
EXAMPLES_KEY = "examples"
CANDIDATE_ID_KEY = "candidate_id"
FINGERPRINT_KEY = "fingerprint"

_SPLIT = "train"
_SHARDS = 16


class Executor(base_beam_executor.BaseBeamExecutor):
    """Collects distinct ids file by file and writes them in shards of their hash."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the catalogue.

        Args:
            input_dict: `interactions`, one Examples artifact.
            output_dict: `examples`, one Examples artifact.
            exec_properties: `candidate_id`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        source = artifact_utils.get_single_instance(input_dict[INTERACTIONS_KEY])
        catalogue = artifact_utils.get_single_instance(output_dict[EXAMPLES_KEY])
        name = exec_properties[CANDIDATE_ID_KEY]
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | beam.Create(records.list_files(source))
                | beam.Reshuffle()
                | beam.ParDo(_DistinctIds(name))
                | beam.GroupByKey()
                | beam.ParDo(_WriteShard(name, catalogue.uri))
            )
        records.finish_examples(catalogue, [_SPLIT])


class _DistinctIds(beam.DoFn):
    """Yields the distinct ids of a file, parted by their hash."""

    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, file: records.ExamplesFile) -> Iterator[tuple[int, list[bytes]]]:
        decoder = records.ColumnDecoder([self._name])
        parts: list[set[bytes]] = [set() for _ in range(_SHARDS)]
        for batch in records.read_batches(file.path):
            for values in decoder.decode(batch)[self._name]:
                id_ = records.to_id(values)
                if id_ is not None:
                    parts[zlib.crc32(id_) % _SHARDS].add(id_)
        yield from ((shard, sorted(part)) for shard, part in enumerate(parts))


class _WriteShard(beam.DoFn):
    """Writes the ids of one part, in their order."""

    def __init__(self, name: str, uri: str) -> None:
        self._name, self._uri = name, uri

    def process(self, element: tuple[int, Iterable[list[bytes]]]) -> None:
        shard, parts = element
        with records.SplitWriter(self._uri, _SPLIT, shard, _SHARDS) as writer:
            writer.write([self._example(id_) for id_ in sorted(set().union(*parts))])

    def _example(self, id_: bytes) -> bytes:
        example = tf.train.Example()
        example.features.feature[self._name].bytes_list.value.append(id_)
        return example.SerializeToString()
