# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Parts interactions by query on disk and prepares one part at a time."""

import collections
import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components import records
from components.interaction_preparer import preparation
from components.interaction_preparer.preparation import WEIGHT_FEATURE, Log, Preparation
from serving.errors import UserError

INTERACTIONS_KEY = "interactions"
PREPARED_KEY = "prepared_interactions"
PREPARATION_KEY = "preparation"
FINGERPRINT_KEY = "fingerprint"

_LOGGER = logging.getLogger(__name__)
_NAMESPACE = "InteractionPreparer"
_PART_BYTES = 8 << 20
_MAX_PARTS = 512
_READ, _KEPT = "read:", "kept:"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Three passes: part by query, count candidates, select and write."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the prepared interactions.

        Args:
            input_dict: `interactions`, one Examples artifact.
            output_dict: `prepared_interactions`, with the same splits.
            exec_properties: `preparation`, a Preparation as JSON.

        Raises:
            UserError: If nothing is left of a split.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        source = artifact_utils.get_single_instance(input_dict[INTERACTIONS_KEY])
        prepared = artifact_utils.get_single_instance(output_dict[PREPARED_KEY])
        rules = Preparation(**json.loads(exec_properties[PREPARATION_KEY]))
        splits = artifact_utils.decode_split_names(source.split_names)
        files = records.list_files(source)
        parts = _part_count([file.path for file in files])
        folder = os.path.join(prepared.uri, records.UNFINISHED_FOLDER)
        pipeline = self._make_beam_pipeline()
        with pipeline:
            newest = (
                pipeline
                | "Files" >> beam.Create(files)
                | beam.Reshuffle()
                | "Part" >> beam.ParDo(_PartByQuery(rules, folder, parts))
                | "Newest" >> beam.CombineGlobally(_newest)
            )
            # Each part waits for all files, which the newest timestamp stands for.
            ready = newest | "Parts" >> beam.FlatMap(_each_part, parts)
            ready = ready | "SpreadParts" >> beam.Reshuffle()
            counts = (
                ready
                | "Count" >> beam.ParDo(_CountCandidates(rules, folder))
                | "Sum" >> beam.CombineGlobally(_add_up)
            )
            _ = ready | "Write" >> beam.ParDo(
                _WritePart(rules, folder, prepared.uri, splits, parts),
                beam.pvalue.AsSingleton(counts),
            )
        _check(records.counters(pipeline, _NAMESPACE), splits)
        records.finish_examples(prepared, splits)


def _part_count(paths: list[str]) -> int:
    """Returns into how many parts to divide files, so that each is small."""
    size = sum(fileio.open(path, "rb").size() for path in paths)
    return max(1, min(_MAX_PARTS, size // _PART_BYTES))


def _each_part(newest: int, parts: int) -> Iterator[tuple[int, int]]:
    yield from ((part, newest) for part in range(parts))


def _newest(timestamps: Iterable[int]) -> int:
    return max(timestamps, default=0)


def _add_up(counters: Iterable[Any]) -> "collections.Counter[bytes]":
    total: collections.Counter[bytes] = collections.Counter()
    for counter in counters:
        total.update(counter)
    return total


def _count(name: str, amount: int) -> None:
    beam.metrics.Metrics.counter(_NAMESPACE, name).inc(int(amount))


def _part_path(folder: str, part: int, file: records.ExamplesFile) -> str:
    name = f"{file.split}-{file.index:05d}"
    return os.path.join(folder, f"part-{part:05d}", name)


class _PartByQuery(beam.DoFn):
    """Writes the wanted rows of a file to a file for each part of the queries."""

    def __init__(self, rules: Preparation, folder: str, parts: int) -> None:
        self._rules, self._folder, self._parts = rules, folder, parts

    def process(self, file: records.ExamplesFile) -> Iterator[int]:
        """Yields the latest timestamp of the training rows that are wanted."""
        decoder = records.ColumnDecoder(self._rules.features)
        writers: dict[int, tf.io.TFRecordWriter] = {}
        newest = 0
        for batch in records.read_batches(file.path):
            log = _read_log(decoder.decode(batch), self._rules, file.split, len(batch))
            rows = np.flatnonzero(preparation.wanted(log, self._rules))
            _count(_READ + file.split, len(batch))
            for row in rows:
                part = zlib.crc32(log.query[row]) % self._parts
                if part not in writers:
                    path = _part_path(self._folder, part, file)
                    fileio.makedirs(os.path.dirname(path))
                    writers[part] = tf.io.TFRecordWriter(path)
                writers[part].write(batch[row])
            if log.is_train[rows].any():
                newest = max(newest, int(log.timestamp[rows].max()))
        for writer in writers.values():
            writer.close()
        yield newest


def _read_log(
    columns: Mapping[str, records.Column], rules: Preparation, split: str, rows: int
) -> Log:
    """Turns decoded features into columns; of several values the first counts."""

    def column(name: str | None, missing: Any, kind: Any) -> np.ndarray:
        if name is None:
            return np.full(rows, missing, kind)
        return np.array([v[0] if v else missing for v in columns[name]], kind)

    return Log(
        query=column(rules.query_id, b"", object),
        candidate=column(rules.candidate_id, b"", object),
        timestamp=column(rules.timestamp, 0, np.int64),
        value=column(rules.value, np.nan, np.float64),
        event=column(rules.event, b"", object),
        is_train=np.full(rows, split == "train"),
    )


class _PartReader(beam.DoFn):
    """Reads one part, by query and time, and deduplicates it."""

    def __init__(self, rules: Preparation, folder: str) -> None:
        self._rules, self._folder = rules, folder

    def read(
        self, part: int, newest: int
    ) -> tuple[Log, np.ndarray, list[bytes], list[str]]:
        """Returns the rows that deduplication leaves, with weights, records, splits."""
        folder = os.path.join(self._folder, f"part-{part:05d}")
        names = sorted(fileio.listdir(folder)) if fileio.exists(folder) else []
        batches, splits, logs = [], [], []
        decoder = records.ColumnDecoder(self._rules.features)
        for name in names:
            split = name.rpartition("-")[0]
            for batch in records.read_batches(os.path.join(folder, name)):
                columns = decoder.decode(batch)
                logs.append(_read_log(columns, self._rules, split, len(batch)))
                batches += batch
                splits += [split] * len(batch)
        log = _concatenate(logs) if logs else _read_log({}, _NOTHING, "", 0)
        order = preparation.by_time(log)
        log = log.take(order)
        weight = preparation.weigh(log, self._rules, newest)
        rows, weight = preparation.deduplicate(log, weight, self._rules.deduplicate)
        at = order[rows]
        return log.take(rows), weight, [batches[i] for i in at], [splits[i] for i in at]


_NOTHING = Preparation(None, None)  # type: ignore[arg-type]


def _concatenate(logs: list[Log]) -> Log:
    return Log(
        **{
            name: np.concatenate([vars(log)[name] for log in logs])
            for name in vars(logs[0])
        }
    )


class _CountCandidates(_PartReader):
    """Yields how many interactions each candidate of a part has."""

    def process(self, element: tuple[int, int]) -> Iterator[Any]:
        if self._rules.min_candidate_interactions > 1:
            log = self.read(*element)[0]
            yield preparation.counts(log.candidate)


class _WritePart(_PartReader):
    """Writes what stays of a part, to a file for each split."""

    def __init__(
        self, rules: Preparation, folder: str, uri: str, splits: list[str], parts: int
    ) -> None:
        super().__init__(rules, folder)
        self._uri, self._splits, self._parts = uri, splits, parts

    def process(self, element: tuple[int, int], counts: Any) -> None:
        part, newest = element
        rules = self._rules
        log, weight, batch, splits = self.read(part, newest)
        rows = np.flatnonzero(
            preparation.frequent(
                log.candidate, counts, rules.min_candidate_interactions
            )
        )
        queries = log.query[rows]
        often = preparation.frequent(
            queries, preparation.counts(queries), rules.min_query_interactions
        )
        rows = rows[often]
        batch = [batch[row] for row in rows]
        features: dict[str, Any] = {
            name: preparation.histories(
                log.take(rows), length, rules.history_of_all_splits
            )
            for name, length in rules.histories.items()
        }
        if rules.has_weight:
            features[WEIGHT_FEATURE] = weight[rows].tolist()
        written = [_with_features(r, features, at) for at, r in enumerate(batch)]
        for split in self._splits:
            chosen = [
                written[at] for at, row in enumerate(rows) if splits[row] == split
            ]
            with records.SplitWriter(self._uri, split, part, self._parts) as writer:
                writer.write(chosen)
            _count(_KEPT + split, len(chosen))


def _with_features(record: bytes, features: Mapping[str, Any], row: int) -> bytes:
    """Returns a tf.Example with its weight and histories added."""
    if not features:
        return record
    example = tf.train.Example.FromString(record)
    for name, values in features.items():
        feature = example.features.feature[name]
        feature.Clear()
        if name == WEIGHT_FEATURE:
            feature.float_list.value.append(values[row])
        else:
            feature.bytes_list.value.extend(values[row].tolist())
    return example.SerializeToString()


def _check(counted: dict[str, int], splits: list[str]) -> None:
    """Refuses empty splits and logs what was left out."""
    for split in splits:
        read, kept = counted.get(_READ + split, 0), counted.get(_KEPT + split, 0)
        if not kept:
            raise UserError(
                f"split {split!r} of the interactions has no rows left of {read}: "
                "loosen the rules under interactions.signal"
            )
        if kept < read:
            _LOGGER.info(
                "interactions, %s: %d of %d rows kept (%.2f%%)",
                split, kept, read, 100 * kept / read,
            )  # fmt: skip
