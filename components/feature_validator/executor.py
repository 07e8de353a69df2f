# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Scans all files in one Beam pass and acts on what the checks find."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components import records
from components.artifacts import read_findings, write_findings
from components.feature_validator import checks, scan
from components.feature_validator.scan import NewValues, Plan, Scan, Summary
from components.findings import FINDINGS_KEY, POLICY_KEY, Policy, act

INTERACTIONS_KEY = scan.INTERACTIONS
CANDIDATES_KEY = scan.CANDIDATES
PLAN_KEY = "plan"
FINGERPRINT_KEY = "fingerprint"

_VALUES = "values"
_SUMMARIES = "summaries"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes the findings and acts on them.

    Of each file a worker keeps what does not grow with its rows, and the distinct
    values of identifiers and categories: 8 bytes for one of train, about 100 for one
    of eval. These are compared part by part, by their hash.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Checks the features.

        Args:
            input_dict: `interactions` and `candidates`, one Examples artifact each.
            output_dict: `findings`.
            exec_properties: `plan` and `policy`, as JSON.

        Raises:
            UserError: If there are findings that the policy does not let pass.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        uri = artifact_utils.get_single_uri(output_dict[FINDINGS_KEY])
        plan = Plan(**json.loads(exec_properties[PLAN_KEY]))
        files = [
            (key, file)
            for key in (INTERACTIONS_KEY, CANDIDATES_KEY)
            for file in records.list_files(
                artifact_utils.get_single_instance(input_dict[key])
            )
            if file.split in (scan.TRAIN, scan.EVAL)
        ]
        with self._make_beam_pipeline() as pipeline:
            scanned = (
                pipeline
                | beam.Create(files)
                | beam.Reshuffle()
                | beam.ParDo(_ScanFile(plan)).with_outputs(_VALUES, main=_SUMMARIES)
            )
            values = (
                scanned[_VALUES]
                | "GroupParts" >> beam.GroupByKey()
                | "Compare" >> beam.MapTuple(_compare)
                | "GroupColumns" >> beam.GroupByKey()
                | "AddUp" >> beam.MapTuple(_add_up)
            )
            _ = (
                scanned[_SUMMARIES]
                | "Merge" >> beam.CombineGlobally(scan.merge)
                | "Find" >> beam.Map(_find, plan, uri, beam.pvalue.AsDict(values))
            )
        act(read_findings(uri), Policy.load(exec_properties[POLICY_KEY]))


class _ScanFile(beam.DoFn):
    """Yields the summary of a file and, on the side, its distinct values."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def process(self, element: tuple[str, records.ExamplesFile]) -> Iterator[Any]:
        source, file = element
        scanned = Scan(self._plan, source, file.split)
        decoder = records.ColumnDecoder(self._plan.columns(source, file.split))
        for batch in records.read_batches(file.path):
            scanned.add(decoder.decode_arrays(batch), len(batch))
        yield scanned.summary()
        for part in scanned.values():
            yield beam.pvalue.TaggedOutput(_VALUES, part)


def _compare(
    key: tuple[str, int], parts: Iterable[scan.Values]
) -> tuple[str, NewValues]:
    return key[0], scan.compare(parts)


def _add_up(name: str, parts: Iterable[NewValues]) -> tuple[str, NewValues]:
    return name, scan.add_up(list(parts))


def _find(summary: Summary, plan: Plan, uri: str, values: dict[str, NewValues]) -> None:
    write_findings(uri, checks.find(plan, summary, values))
