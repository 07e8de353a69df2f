# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Checks ids of interactions and candidates and writes both without what may go."""

import collections
import contextlib
import dataclasses
import heapq
import json
import logging
import os
from collections.abc import Container, Iterable, Iterator
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components import records
from components.findings import Finding
from serving.errors import UserError

INTERACTIONS_KEY = "interactions"
CANDIDATES_KEY = "candidates"
QUERY_ID_KEY = "query_id"
CANDIDATE_ID_KEY = "candidate_id"
CATALOGUE_ID_KEY = "catalogue_id"
ORPHANS_KEY = "orphans"
DUPLICATES_KEY = "duplicates"
FINGERPRINT_KEY = "fingerprint"
CLEANED_INTERACTIONS_KEY = "cleaned_interactions"
CLEANED_CANDIDATES_KEY = "cleaned_candidates"
REPORT_KEY = "report"

STOP = "stop"
DROP = "drop"
KEEP_ONE = "keep_one"

REPORT_FILE = "report.json"
_MAX_SHOWN = 40
_MAX_WIDTH = 20
MAX_EXAMPLES = 5
"""Ids that a report names: the smallest, so that no order of rows matters."""

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass
class FileReport:
    """What was found in one file. Reports of all files are added up."""

    source: str
    split: str
    rows: int = 0
    kept: int = 0
    without: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    """Rows without exactly one non-empty value, per id feature."""
    dropped: collections.Counter[bytes] = dataclasses.field(
        default_factory=collections.Counter
    )
    """Rows per orphaned or duplicated id, cut to the smallest `MAX_EXAMPLES` ids."""
    dropped_rows: int = 0
    alike: dict[bytes, bytes] = dataclasses.field(default_factory=dict)
    """Ids of the catalogue that are like orphans but for zeros or letter case."""

    def cut(self) -> "FileReport":
        """Returns the report with `dropped` cut to what a report may name."""
        smallest = heapq.nsmallest(MAX_EXAMPLES, self.dropped)
        dropped = collections.Counter({id_: self.dropped[id_] for id_ in smallest})
        return dataclasses.replace(self, dropped=dropped)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes cleaned interactions, cleaned candidates and a report.

    The ids of the whole catalogue stand in the memory of each worker, about 100 bytes
    an id. Interactions may be of any number.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Cleans both sources.

        Args:
            input_dict: `interactions` and `candidates`, one Examples artifact each.
            output_dict: `cleaned_interactions` and `cleaned_candidates`, with the
                same splits, and `report`.
            exec_properties: `query_id`, `candidate_id`, `catalogue_id`, `orphans` and
                `duplicates`; see the component.

        Raises:
            UserError: If rows lack ids, if orphans or duplicates are found that may
                not go, or if nothing is left of a split.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        inputs = {key: _only(input_dict, key) for key in _OUTPUT_OF}
        outputs = {key: _only(output_dict, out) for key, out in _OUTPUT_OF.items()}
        report_path = os.path.join(_only(output_dict, REPORT_KEY).uri, REPORT_FILE)
        with self._make_beam_pipeline() as pipeline:
            files = {
                key: pipeline
                | f"Files[{key}]" >> beam.Create(records.list_files(artifact))
                | f"Spread[{key}]" >> beam.Reshuffle()
                for key, artifact in inputs.items()
            }
            uris = {key: artifact.uri for key, artifact in outputs.items()}
            reports = _clean(files, uris, exec_properties)
            _ = (
                reports
                | "Gather" >> beam.combiners.ToList()
                | "WriteReport" >> beam.Map(_write_report, report_path)
            )
        with fileio.open(report_path, "r") as file:
            report = json.load(file)
        _check(report, exec_properties)
        for key, artifact in outputs.items():
            names = artifact_utils.decode_split_names(inputs[key].split_names)
            records.finish_examples(artifact, names)


_OUTPUT_OF = {
    INTERACTIONS_KEY: CLEANED_INTERACTIONS_KEY,
    CANDIDATES_KEY: CLEANED_CANDIDATES_KEY,
}


def _only(artifacts: dict[str, list[types.Artifact]], key: str) -> types.Artifact:
    return artifact_utils.get_single_instance(artifacts[key])


def _clean(
    files: dict[str, beam.PCollection],
    uris: dict[str, str],
    exec_properties: dict[str, Any],
) -> beam.PCollection:
    """Writes the cleaned files; returns their reports."""
    catalogue_id = exec_properties[CATALOGUE_ID_KEY]
    candidates = files[CANDIDATES_KEY]
    counts = beam.pvalue.AsSingleton(
        candidates
        | "CatalogueIds" >> beam.ParDo(_CountIds(catalogue_id))
        | "AllIds" >> beam.CombineGlobally(_add_up)
    )
    kept = beam.pvalue.AsDict(
        candidates
        | "Duplicates" >> beam.ParDo(_DuplicatedRows(catalogue_id), counts)
        | "KeepSmallest" >> beam.CombinePerKey(min)
    )
    cleaned_candidates = candidates | "CleanCandidates" >> beam.ParDo(
        _CleanCandidates(catalogue_id, uris[CANDIDATES_KEY]), kept
    )
    cleaned_interactions = files[INTERACTIONS_KEY] | "CleanInteractions" >> beam.ParDo(
        _CleanInteractions(
            exec_properties[QUERY_ID_KEY],
            exec_properties[CANDIDATE_ID_KEY],
            uris[INTERACTIONS_KEY],
        ),
        counts,
    )
    return (cleaned_candidates, cleaned_interactions) | beam.Flatten()


def _add_up(counters: Iterable[Any]) -> "collections.Counter[bytes]":
    total: collections.Counter[bytes] = collections.Counter()
    for counter in counters:
        total.update(counter)
    return total


class _RowReader(beam.DoFn):
    """Reads records of a file with the ids in some features."""

    def __init__(self, *features: str) -> None:
        self._features = features

    def batches(
        self, file: records.ExamplesFile
    ) -> Iterator[tuple[list[bytes], list[list[Any]]]]:
        """Yields records and, for each feature, their ids (None where missing)."""
        decoder = records.ColumnDecoder(self._features)
        for batch in records.read_batches(file.path):
            columns = decoder.decode(batch)
            yield (
                batch,
                [[records.to_id(v) for v in columns[name]] for name in self._features],
            )


class _CountIds(_RowReader):
    """Yields how often each id occurs in a file of candidates."""

    def process(self, file: records.ExamplesFile) -> Iterator[Any]:
        counts: collections.Counter[bytes] = collections.Counter()
        for _, (ids,) in self.batches(file):
            counts.update(id_ for id_ in ids if id_ is not None)
        yield counts


class _DuplicatedRows(_RowReader):
    """Yields id, contents and place of each candidate whose id is not its own."""

    def process(self, file: records.ExamplesFile, counts: Any) -> Iterator[Any]:
        if len(counts) == sum(counts.values()):
            return
        position = 0
        for batch, (ids,) in self.batches(file):
            for record, id_ in zip(batch, ids, strict=True):
                if counts[id_] > 1:
                    yield id_, (records.canonical(record), file, position)
                position += 1


class _CleanCandidates(_RowReader):
    """Writes a file of candidates without the duplicates that are not kept."""

    def __init__(self, catalogue_id: str, uri: str) -> None:
        super().__init__(catalogue_id)
        self._uri = uri

    def process(self, file: records.ExamplesFile, kept: Any) -> Iterator[Any]:
        report = FileReport(CANDIDATES_KEY, file.split)
        with _writer(self._uri, file) as writer:
            for batch, (ids,) in self.batches(file):
                chosen = []
                for record, id_ in zip(batch, ids, strict=True):
                    place = (file, report.rows)
                    report.rows += 1
                    report.without[self._features[0]] += id_ is None
                    if id_ not in kept:
                        chosen.append(record)
                        continue
                    report.dropped[id_] += 1
                    if kept[id_][1:] == place:
                        chosen.append(record)
                    else:
                        report.dropped_rows += 1
                writer.write(chosen)
                report.kept += len(chosen)
        yield report.cut()


class _CleanInteractions(_RowReader):
    """Writes a file of interactions without those that name no candidate."""

    def __init__(self, query_id: str, candidate_id: str, uri: str) -> None:
        super().__init__(query_id, candidate_id)
        self._uri = uri

    def process(self, file: records.ExamplesFile, catalogue: Any) -> Iterator[Any]:
        report = FileReport(INTERACTIONS_KEY, file.split)
        query_id, candidate_id = self._features
        with _writer(self._uri, file) as writer:
            for batch, (queries, ids) in self.batches(file):
                chosen = [r for r, i in zip(batch, ids, strict=True) if i in catalogue]
                writer.write(chosen)
                orphans = [i for i in ids if i is not None and i not in catalogue]
                report.rows += len(batch)
                report.kept += len(chosen)
                report.dropped_rows += len(orphans)
                report.dropped.update(orphans)
                report.without[query_id] += queries.count(None)
                report.without[candidate_id] += ids.count(None)
        report = report.cut()
        report.alike = {id_: _alike(id_, catalogue) for id_ in report.dropped}
        yield report


def _alike(id_: bytes, catalogue: Container[bytes]) -> bytes:
    """Returns an id of the catalogue that is another way to write this one, or b""."""
    bare = id_.lstrip(b"0")
    ways = [bare, id_.lower(), id_.upper(), id_.removesuffix(b".0"), id_ + b".0"]
    ways += [bare.zfill(width) for width in range(len(bare) + 1, _MAX_WIDTH)]
    return next((way for way in ways if way in catalogue), b"")


def _writer(
    uri: str, file: records.ExamplesFile
) -> contextlib.AbstractContextManager[records.SplitWriter]:
    return records.SplitWriter(uri, file.split, file.index, file.files)


def _write_report(reports: Any, path: str) -> None:
    report = {key: summarize(reports, key) for key in _OUTPUT_OF}
    io_utils.write_string_file(path, json.dumps(report, indent=2) + "\n")


def summarize(reports: Iterable[FileReport], source: str) -> dict[str, Any]:
    """Adds up the reports of the files of one source.

    Returns:
        `rows` and `kept`, per split; `without_id`, rows per id feature; `dropped`, the
        number of orphans or of surplus rows of duplicates; `share`, of all rows;
        `examples`, up to five ids with their number of rows; and `alike`, how the
        catalogue writes these ids, if it has them in another way.
    """
    rows: dict[str, int] = {}
    kept: dict[str, int] = {}
    total = FileReport(source, split="")
    chosen = (report for report in reports if report.source == source)
    for report in sorted(chosen, key=lambda report: report.split):
        rows[report.split] = rows.get(report.split, 0) + report.rows
        kept[report.split] = kept.get(report.split, 0) + report.kept
        total.without.update(report.without)
        total.dropped.update(report.dropped)
        total.alike.update(report.alike)
        total.dropped_rows += report.dropped_rows
    examples = total.cut().dropped
    return {
        "rows": rows,
        "kept": kept,
        "without_id": dict(sorted(total.without.items())),
        "dropped": total.dropped_rows,
        "share": total.dropped_rows / max(1, sum(rows.values())),
        "examples": {_text(id_): examples[id_] for id_ in sorted(examples)},
        "alike": {
            _text(id_): _text(other)
            for id_, other in sorted(total.alike.items())
            if other and id_ in examples
        },
    }


def _text(id_: bytes) -> str:
    return id_.decode("utf-8", errors="backslashreplace")


def _check(report: dict[str, Any], exec_properties: dict[str, Any]) -> None:
    """Raises one sentence for what may not stay and warns of what was dropped."""
    for source in (INTERACTIONS_KEY, CANDIDATES_KEY):
        _check_ids(source, report[source])
    stops = {
        CANDIDATES_KEY: exec_properties[DUPLICATES_KEY] == STOP,
        INTERACTIONS_KEY: exec_properties[ORPHANS_KEY] == STOP,
    }
    for finding in describe(report):
        if stops[finding.source]:
            raise UserError(f"{finding.sentence}: {finding.mend}")
        _LOGGER.warning("%s; %s", finding.sentence, _DONE[finding.source])
    for source in (CANDIDATES_KEY, INTERACTIONS_KEY):
        for split, kept in report[source]["kept"].items():
            if not kept:
                raise UserError(
                    f"split {split!r} of the {source} has no rows left of "
                    f"{report[source]['rows'][split]}: check the ids of both sources"
                )
    if sum(report[CANDIDATES_KEY]["kept"].values()) == 1:
        raise UserError(
            "the catalogue has one candidate and leaves nothing to choose: add others"
        )


def _check_ids(source: str, report: dict[str, Any]) -> None:
    total = sum(report["rows"].values())
    for feature, count in report["without_id"].items():
        if count and count == total:
            raise UserError(
                f"the {source} have no feature {feature!r} with ids in it: set the "
                f"name of the id feature under {source}"
            )
        if count:
            raise UserError(
                f"{count} of {total} rows ({count / total:.2%}) of the {source} do not "
                f"have exactly one non-empty id in {feature!r}: remove or complete them"
            )


_WHAT = {
    CANDIDATES_KEY: "of the candidates repeat an id of another row",
    INTERACTIONS_KEY: "of the interactions name a candidate that is not in the "
    "catalogue",
}
_MENDS = {
    CANDIDATES_KEY: f"mend the catalogue or set candidates.duplicates to {KEEP_ONE}",
    INTERACTIONS_KEY: f"complete the catalogue or set interactions.orphans to {DROP}",
}
_DONE = {CANDIDATES_KEY: "one of each was kept", INTERACTIONS_KEY: "they were dropped"}


def describe(report: dict[str, Any]) -> list[Finding]:
    """Returns what a report tells of, candidates first.

    Args:
        report: As in `report.json`.
    """
    found = []
    for source, check in (
        (CANDIDATES_KEY, "duplicates"),
        (INTERACTIONS_KEY, "orphans"),
    ):
        told = report[source]
        if not told["dropped"]:
            continue
        total = sum(told["rows"].values())
        examples = tuple(
            f"{id_[:_MAX_SHOWN]!r} ({rows} {'row' if rows == 1 else 'rows'})"
            for id_, rows in told["examples"].items()
        )
        mend = _MENDS[source]
        for id_, other in list(told["alike"].items())[:1]:
            mend = f"{id_!r} is {other!r} there, write both alike; or {mend}"
        found.append(
            Finding(
                check=check,
                source=source,
                feature="",
                splits=tuple(told["rows"]),
                sentence=f"{told['dropped']} of {total} rows ({told['share']:.2%}) "
                f"{_WHAT[source]}, such as {', '.join(examples)}",
                mend=mend,
                count=told["dropped"],
                total=total,
                examples=examples,
                stops=False,  # The config says what becomes of them.
            )
        )
    return found
