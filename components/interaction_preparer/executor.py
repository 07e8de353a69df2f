# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Parts interactions by query on disk and prepares one part at a time."""

import collections
import dataclasses
import heapq
import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components import records
from components.columns import WEIGHT_FEATURE
from components.interaction_preparer import preparation
from components.interaction_preparer.preparation import Log, Preparation
from components.interaction_preparer.table import QueryTable
from components.splits import SPLIT_NAMES
from serving import folders
from serving.errors import UserError

INTERACTIONS_KEY = "interactions"
QUERIES_KEY = "queries"
PREPARED_KEY = "prepared_interactions"
PREPARATION_KEY = "preparation"
FINGERPRINT_KEY = "fingerprint"

_LOGGER = logging.getLogger(__name__)
_PART_BYTES = 8 << 20
_MAX_PARTS = 512
_TABLE = "table"
_MAX_EXAMPLES = 5
_MAX_SHOWN = 40


@dataclasses.dataclass
class Report:
    """What a preparation did; reports of all files and parts are added up."""

    read: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    """Interactions read, by split."""
    kept: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    """Interactions written, by split."""
    without_row: collections.Counter[bytes] = dataclasses.field(
        default_factory=collections.Counter
    )
    """Interactions of queries that the table lacks, of the smallest such ids."""
    without_rows: int = 0
    """Interactions of all queries that the table lacks."""
    duplicates: collections.Counter[bytes] = dataclasses.field(
        default_factory=collections.Counter
    )
    """Rows of the table per id that has several, of the smallest such ids."""
    duplicate_ids: int = 0
    """Ids of the table that have several rows."""
    without_id: int = 0
    """Rows of the table without an id."""
    weight: float = 0.0
    """Sum of the weights of training interactions."""

    def __add__(self, other: "Report") -> "Report":
        """Returns both in one, with no more examples than a sentence names."""
        values = {
            name: value + getattr(other, name) for name, value in vars(self).items()
        }
        for name in ("without_row", "duplicates"):
            values[name] = _smallest(values[name])
        return Report(**values)


def _smallest(counts: Mapping[bytes, int]) -> "collections.Counter[bytes]":
    ids = heapq.nsmallest(_MAX_EXAMPLES, counts)
    return collections.Counter({id_: counts[id_] for id_ in ids})


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
            input_dict: `interactions` and maybe `queries`, one Examples artifact each.
            output_dict: `prepared_interactions`, with the splits of the interactions.
            exec_properties: `preparation`, a Preparation as JSON.

        Raises:
            UserError: If nothing is left of a split, or the table of queries has
                rows without an id, or several of one id that may not be.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        source = artifact_utils.get_single_instance(input_dict[INTERACTIONS_KEY])
        tables = input_dict.get(QUERIES_KEY) or []
        prepared = artifact_utils.get_single_instance(output_dict[PREPARED_KEY])
        rules = Preparation(**json.loads(exec_properties[PREPARATION_KEY]))
        splits = artifact_utils.decode_split_names(source.split_names)
        report_path = os.path.join(
            prepared.uri, records.UNFINISHED_FOLDER, "report.json"
        )
        with self._make_beam_pipeline() as pipeline:
            _ = (
                _prepare(
                    pipeline,
                    records.list_files(source),
                    [file for table in tables for file in records.list_files(table)],
                    rules,
                    prepared.uri,
                )
                | "AllReports" >> beam.CombineGlobally(_add_up)
                | "WriteReport" >> beam.Map(_write_report, report_path)
            )
        _check(_read_report(report_path), rules, splits)
        records.finish_examples(prepared, splits)


def _prepare(
    pipeline: beam.Pipeline,
    files: list[records.ExamplesFile],
    table_files: list[records.ExamplesFile],
    rules: Preparation,
    uri: str,
) -> beam.PCollection:
    """Writes the prepared interactions; returns the reports."""
    parts = _part_count([file.path for file in files])
    splits = list(dict.fromkeys(file.split for file in files))
    folder = os.path.join(uri, records.UNFINISHED_FOLDER)
    parted = (
        pipeline
        | "Files" >> beam.Create(files)
        | "SpreadFiles" >> beam.Reshuffle()
        | "Part" >> beam.ParDo(_PartInteractions(rules, folder, parts))
    )
    parted_table = (
        pipeline
        | "TableFiles" >> beam.Create(table_files)
        | "SpreadTableFiles" >> beam.Reshuffle()
        | "PartTable" >> beam.ParDo(_PartTable(rules, folder, parts))
    )
    # Each part waits for all files, which the newest timestamp stands for.
    newest = (
        (parted, parted_table)
        | "AllParted" >> beam.Flatten()
        | "Times" >> beam.Map(lambda element: element[0])
        | "Newest" >> beam.CombineGlobally(_latest)
    )
    ready = newest | "Parts" >> beam.FlatMap(_each_part, parts)
    ready = ready | "SpreadParts" >> beam.Reshuffle()
    counts = (
        ready
        | "Count" >> beam.ParDo(_CountCandidates(rules, folder))
        | "Sum" >> beam.CombineGlobally(_sum)
    )
    written = ready | "Write" >> beam.ParDo(
        _WritePart(rules, folder, uri, splits, parts), beam.pvalue.AsSingleton(counts)
    )
    read = parted | "ReadReports" >> beam.Map(lambda element: element[1])
    return (read, written) | "Reports" >> beam.Flatten()


def _part_count(paths: list[str]) -> int:
    """Returns into how many parts to divide files, so that each is small."""
    size = sum(fileio.open(path, "rb").size() for path in paths)
    return max(1, min(_MAX_PARTS, size // _PART_BYTES))


def _each_part(newest: int, parts: int) -> Iterator[tuple[int, int]]:
    yield from ((part, newest) for part in range(parts))


def _latest(timestamps: Iterable[int]) -> int:
    return max(timestamps, default=0)


def _sum(counters: Iterable[Any]) -> "collections.Counter[bytes]":
    total: collections.Counter[bytes] = collections.Counter()
    for counter in counters:
        total.update(counter)
    return total


def _add_up(reports: Iterable[Report]) -> Report:
    return sum(reports, Report())


class _Partition(beam.DoFn):
    """Writes rows of a file to a file for each part of the queries."""

    def __init__(self, rules: Preparation, folder: str, parts: int) -> None:
        self._rules, self._folder, self._parts = rules, folder, parts

    def write(
        self, name: str, rows: Iterable[tuple[list[bytes], Iterable[bytes]]]
    ) -> None:
        """Writes batches of rows, each with its query ids, to files of one name."""
        writers: dict[int, tf.io.TFRecordWriter] = {}
        for batch, queries in rows:
            for row, query in zip(batch, queries, strict=True):
                part = zlib.crc32(query) % self._parts
                if part not in writers:
                    folder = _part_folder(self._folder, part)
                    fileio.makedirs(folder)
                    path = os.path.join(folder, name)
                    writers[part] = tf.io.TFRecordWriter(path)
                writers[part].write(row)
        for writer in writers.values():
            writer.close()


def _part_folder(folder: str, part: int) -> str:
    return os.path.join(folder, f"part-{part:05d}")


class _PartTable(_Partition):
    """Parts a file of the table of queries; rows without an id go to part 0."""

    def process(self, file: records.ExamplesFile) -> Iterator[tuple[int, Report]]:
        id_feature = str(self._rules.table_id)
        decoder = records.ColumnDecoder([id_feature])

        def rows() -> Iterator[tuple[list[bytes], list[bytes]]]:
            for batch in records.read_batches(file.path):
                ids = map(records.to_id, decoder.decode(batch)[id_feature])
                yield batch, [id_ or b"" for id_ in ids]

        self.write(f"{_TABLE}-{file.split}-{file.index:05d}", rows())
        yield 0, Report()


class _PartInteractions(_Partition):
    """Parts the wanted rows of a file of interactions."""

    def process(self, file: records.ExamplesFile) -> Iterator[tuple[int, Report]]:
        """Yields the latest time of wanted training rows, and what was read."""
        decoder = records.ColumnDecoder(self._rules.features)
        report, newest = Report(), 0

        def rows() -> Iterator[tuple[list[bytes], Iterable[bytes]]]:
            nonlocal newest
            for batch in records.read_batches(file.path):
                columns = decoder.decode(batch)
                log = _read_log(columns, self._rules, file.split, len(batch))
                wanted = np.flatnonzero(preparation.wanted(log, self._rules))
                report.read[file.split] += len(batch)
                if len(wanted) and log.is_train.all():
                    newest = max(newest, int(log.timestamp[wanted].max()))
                yield [batch[row] for row in wanted], log.query[wanted]

        self.write(f"{file.split}-{file.index:05d}", rows())
        yield newest, report


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


@dataclasses.dataclass
class _Part:
    """The rows of a part that deduplication leaves, by query and time."""

    log: Log
    weight: np.ndarray
    records: list[bytes]
    split: np.ndarray
    """Name of each row's split, objects [rows]."""

    def take(self, rows: np.ndarray) -> "_Part":
        """Returns some rows."""
        return _Part(
            self.log.take(rows),
            self.weight[rows],
            [self.records[row] for row in rows],
            self.split[rows],
        )


class _PartReader(beam.DoFn):
    """Reads one part."""

    def __init__(self, rules: Preparation, folder: str) -> None:
        self._rules, self._folder = rules, folder

    def files(self, part: int, of_table: bool) -> list[str]:
        """Returns the names of a part's files, of the table or of interactions.

        What is held out comes last: of interactions at one time, none that trains may
        have one that evaluates in its history.
        """
        folder = _part_folder(self._folder, part)
        names = folders.names_in(folder)
        return [
            os.path.join(folder, name)
            for name in sorted(names, key=_place_of_split)
            if name.startswith(f"{_TABLE}-") == of_table
        ]

    def interactions(self, part: int, newest: int) -> _Part:
        """Reads interactions, deduplicated and weighed."""
        batches: list[bytes] = []
        splits: list[str] = []
        logs = [_read_log(dict.fromkeys(self._rules.features, []), self._rules, "", 0)]
        decoder = records.ColumnDecoder(self._rules.features)
        for path in self.files(part, of_table=False):
            split = os.path.basename(path).rpartition("-")[0]
            for batch in records.read_batches(path):
                columns = decoder.decode(batch)
                logs.append(_read_log(columns, self._rules, split, len(batch)))
                batches += batch
                splits += [split] * len(batch)
        log = _concatenate(logs)
        every = _Part(log, np.ones(len(log)), batches, np.array(splits, object))
        ordered = every.take(preparation.by_time(log))
        weight = preparation.weigh(ordered.log, self._rules, newest)
        rows, weight = preparation.deduplicate(
            ordered.log, weight, self._rules.deduplicate
        )
        return dataclasses.replace(ordered.take(rows), weight=weight)


def _place_of_split(name: str) -> int:
    """Returns where the split in a file's name stands among the splits."""
    split = name.rpartition("-")[0]
    return SPLIT_NAMES.index(split) if split in SPLIT_NAMES else 0


def _concatenate(logs: list[Log]) -> Log:
    names = (field.name for field in dataclasses.fields(Log))
    return Log(**{n: np.concatenate([getattr(log, n) for log in logs]) for n in names})


class _CountCandidates(_PartReader):
    """Yields how many interactions each candidate of a part has."""

    def process(self, element: tuple[int, int]) -> Iterator[Any]:
        if self._rules.min_candidate_interactions > 1:
            yield preparation.counts(self.interactions(*element).log.candidate)


class _WritePart(_PartReader):
    """Writes what stays of a part, to a file for each split."""

    def __init__(
        self, rules: Preparation, folder: str, uri: str, splits: list[str], parts: int
    ) -> None:
        super().__init__(rules, folder)
        self._uri, self._splits, self._parts = uri, splits, parts

    def process(self, element: tuple[int, int], counts: Any) -> Iterator[Report]:
        number, newest = element
        report = Report()
        part = self._select(self.interactions(number, newest), counts)
        features = {
            **self._histories(part.log),
            **self._joined(number, part.log, report),
        }
        if self._rules.has_weight:
            features[WEIGHT_FEATURE] = _lists(
                pa.array(part.weight, pa.float32()), np.ones(len(part.weight), np.int64)
            )
        written = records.with_features(part.records, features)
        for split in self._splits:
            rows = np.flatnonzero(part.split == split).tolist()
            with records.SplitWriter(self._uri, split, number, self._parts) as writer:
                writer.write([written[row] for row in rows])
            report.kept[split] = len(rows)
        report.weight = float(part.weight[part.split == "train"].sum())
        yield report

    def _select(self, part: _Part, counts: Mapping[bytes, int]) -> _Part:
        """Leaves out candidates, then queries, with too few interactions."""
        rules = self._rules
        part = part.take(
            np.flatnonzero(
                preparation.frequent(
                    part.log.candidate, counts, rules.min_candidate_interactions
                )
            )
        )
        queries = part.log.query
        often = preparation.frequent(
            queries, preparation.counts(queries), rules.min_query_interactions
        )
        return part.take(np.flatnonzero(often))

    def _histories(self, log: Log) -> dict[str, pa.Array]:
        candidates = pa.array(log.candidate, pa.large_binary())
        of_all = self._rules.history_of_all_splits
        features = {}
        for name, length in self._rules.histories.items():
            rows, lengths = preparation.histories(log, length, of_all)
            features[name] = _lists(candidates.take(pa.array(rows)), lengths)
        return features

    def _joined(self, number: int, log: Log, report: Report) -> dict[str, pa.Array]:
        """Looks up what the table of queries says."""
        if self._rules.table_id is None:
            return {}
        table = QueryTable(
            [
                row
                for path in self.files(number, of_table=True)
                for batch in records.read_batches(path)
                for row in batch
            ],
            self._rules.table_id,
            self._rules.table_features,
        )
        rows = table.rows_of(log.query)
        missing = preparation.counts(log.query[rows < 0])
        report.without_row, report.without_rows = _smallest(missing), sum(rows < 0)
        report.duplicates = _smallest(table.duplicates)
        report.duplicate_ids = len(table.duplicates)
        report.without_id = table.without_id
        return table.take(rows)


def _lists(values: pa.Array, lengths: np.ndarray) -> pa.Array:
    """Returns values as one list a row, large_list [rows]."""
    ends = pa.array(np.r_[0, np.cumsum(lengths)], pa.int64())
    return pa.LargeListArray.from_arrays(ends, values)


def _write_report(report: Report, path: str) -> None:
    values = {
        name: {_text(key): count for key, count in value.items()}
        if isinstance(value, dict)
        else float(value)
        if name == "weight"
        else int(value)
        for name, value in vars(report).items()
    }
    io_utils.write_string_file(path, json.dumps(values))


def _text(value: bytes | str) -> str:
    return (
        value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
    )


def _read_report(path: str) -> dict[str, Any]:
    with fileio.open(path, "r") as file:
        return json.load(file)


def _check(report: Mapping[str, Any], rules: Preparation, splits: list[str]) -> None:
    """Refuses what may not be and logs what was left out."""
    if report["without_id"]:
        raise UserError(
            f"{report['without_id']} rows of the queries do not have exactly one "
            f"non-empty id in {rules.table_id!r}: remove or complete them"
        )
    if report["duplicate_ids"]:
        found = (
            f"ids of the queries with several rows: {report['duplicate_ids']}, such as "
            f"{_examples(report['duplicates'])}"
        )
        if rules.table_duplicates == "stop":
            raise UserError(
                f"{found}: mend the table or set queries.duplicates to keep_one"
            )
        _LOGGER.warning("%s; one of each was kept", found)
    for split in splits:
        read, kept = report["read"].get(split, 0), report["kept"].get(split, 0)
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
    if rules.has_weight and not report["weight"]:
        raise UserError(
            "every interaction of the training split weighs 0: interactions.signal "
            "needs values above 0, or scale none"
        )
    if report["without_rows"]:
        total = sum(report["kept"].values())
        if report["without_rows"] == total:
            raise UserError(
                f"none of the {total} interactions has a row among the queries, such "
                f"as those of {_examples(report['without_row'])}: write the ids of "
                "both alike"
            )
        _LOGGER.warning(
            "%d of %d interactions (%.2f%%) have no row among the queries, such as "
            "those of %s; they are without its features",
            report["without_rows"], total, 100 * report["without_rows"] / total,
            _examples(report["without_row"]),
        )  # fmt: skip


def _examples(counts: Mapping[str, int]) -> str:
    return ", ".join(
        f"{id_[:_MAX_SHOWN]!r} ({rows} {'row' if rows == 1 else 'rows'})"
        for id_, rows in counts.items()
    )
