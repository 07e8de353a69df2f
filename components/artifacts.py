# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Artifact types of our own.

A node in a container finds a type by its name, which Kubeflow wants to be of a package
and a class: `components` hands them on.
"""

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from tfx import types
from tfx.dsl.io import fileio
from tfx.types import artifact
from tfx.utils import io_utils

from components.findings import Finding, dump_findings, load_findings

_FINDINGS_FILE = "findings.json"
_KNOBS_FILE = "knobs.json"
_FOUND_PROPERTY = "found"


class CandidateEmbeddings(artifact.Artifact):
    """Parquet files with columns candidate_id, title and embedding, one row each.

    Of a catalogue in shards they lie in a folder for each, below `shards`.
    """

    TYPE_NAME = "components.CandidateEmbeddings"


class IndexKnobs(artifact.Artifact):
    """The knobs that IndexTuner chose, and from what, as `knobs.json`."""

    TYPE_NAME = "components.IndexKnobs"


class IndexEvaluation(artifact.Artifact):
    """IndexEvaluator's report, as `report.json`."""

    TYPE_NAME = "components.IndexEvaluation"


class CleaningReport(artifact.Artifact):
    """What an ExampleCleaner found and dropped, as `report.json`."""

    TYPE_NAME = "components.CleaningReport"


class DataFindings(artifact.Artifact):
    """What a validator found in the data, as `findings.json`."""

    TYPE_NAME = "components.DataFindings"


class RegisteredModel(artifact.Artifact):
    """What a model is in a registry, as `registered.json`."""

    TYPE_NAME = "components.RegisteredModel"


TYPES = {
    one.__name__: one
    for one in (
        CandidateEmbeddings, CleaningReport, DataFindings, IndexEvaluation, IndexKnobs,
        RegisteredModel,
    )
}  # fmt: skip
"""By what `components` hands them on as."""


def write_findings(uri: str, findings: Iterable[Finding]) -> None:
    """Writes the contents of a DataFindings artifact."""
    io_utils.write_string_file(
        os.path.join(uri, _FINDINGS_FILE), dump_findings(findings)
    )


def read_findings(uri: str) -> list[Finding]:
    """Reads the contents of a DataFindings artifact."""
    with fileio.open(os.path.join(uri, _FINDINGS_FILE)) as file:
        return load_findings(file.read())


def write_knobs(uri: str, tuned: dict[str, Any]) -> None:
    """Writes the contents of an IndexKnobs artifact, `serving.index_tuning.Tuned`."""
    io_utils.write_string_file(
        os.path.join(uri, _KNOBS_FILE), json.dumps(tuned, indent=1) + "\n"
    )


def read_knobs(uri: str) -> dict[str, Any]:
    """Reads the contents of an IndexKnobs artifact."""
    with fileio.open(os.path.join(uri, _KNOBS_FILE)) as file:
        return json.loads(file.read())


def set_found(output: types.Artifact, uri: str | None) -> None:
    """Says in the output of a finder where the artifact is, or that there is none.

    Args:
      output: Of the finder.
      uri: Of what was found.
    """
    output.set_int_custom_property(_FOUND_PROPERTY, int(uri is not None))
    if uri:
        output.uri = uri


def found(artifacts: Sequence[types.Artifact] | None) -> list[types.Artifact]:
    """Returns the inputs that there are.

    A container has to write its outputs, so a finder that finds nothing says so in
    them; TFX's resolvers leave such an input out.
    """
    return [
        one
        for one in artifacts or []
        if not one.has_custom_property(_FOUND_PROPERTY)
        or one.get_int_custom_property(_FOUND_PROPERTY)
    ]
