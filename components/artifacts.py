# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Artifact types of our own."""

import json
import os
from collections.abc import Iterable
from typing import Any

from tfx.dsl.io import fileio
from tfx.types import artifact

from components.findings import Finding, dump_findings, load_findings

_FINDINGS_FILE = "findings.json"
_KNOBS_FILE = "knobs.json"


class CandidateEmbeddings(artifact.Artifact):
    """Parquet files with columns candidate_id, title and embedding, one row each.

    Of a catalogue in shards they lie in a folder for each, below `shards`.
    """

    TYPE_NAME = "CandidateEmbeddings"


class IndexKnobs(artifact.Artifact):
    """The knobs that IndexTuner chose, and from what, as `knobs.json`."""

    TYPE_NAME = "IndexKnobs"


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


def write_knobs(uri: str, tuned: dict[str, Any]) -> None:
    """Writes the contents of an IndexKnobs artifact, `serving.index_tuning.Tuned`."""
    with fileio.open(os.path.join(uri, _KNOBS_FILE), "w") as file:
        file.write(json.dumps(tuned, indent=1) + "\n")


def read_knobs(uri: str) -> dict[str, Any]:
    """Reads the contents of an IndexKnobs artifact."""
    with fileio.open(os.path.join(uri, _KNOBS_FILE)) as file:
        return json.loads(file.read())
