# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Artifact types of our own."""

import os
from collections.abc import Iterable

from tfx.dsl.io import fileio
from tfx.types import artifact

from components.findings import Finding, dump_findings, load_findings

_FINDINGS_FILE = "findings.json"


class CandidateEmbeddings(artifact.Artifact):
    """Parquet files with columns candidate_id, title and embedding, one row each.

    Of a catalogue in shards they lie in a folder for each, below `shards`.
    """

    TYPE_NAME = "CandidateEmbeddings"


class IndexEvaluation(artifact.Artifact):
    """IndexEvaluator's report, as `report.json`."""

    TYPE_NAME = "IndexEvaluation"


class DataFindings(artifact.Artifact):
    """What a validator found in the data, as `findings.json`."""

    TYPE_NAME = "DataFindings"


def write_findings(uri: str, findings: Iterable[Finding]) -> None:
    """Writes the contents of a DataFindings artifact."""
    with fileio.open(os.path.join(uri, _FINDINGS_FILE), "w") as file:
        file.write(dump_findings(findings))


def read_findings(uri: str) -> list[Finding]:
    """Reads the contents of a DataFindings artifact."""
    with fileio.open(os.path.join(uri, _FINDINGS_FILE)) as file:
        return load_findings(file.read())
