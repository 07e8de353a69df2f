# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Artifact types of our own."""

from tfx.types import artifact


class CandidateEmbeddings(artifact.Artifact):
    """Parquet shards with columns candidate_id, title and embedding, one row each."""

    TYPE_NAME = "CandidateEmbeddings"


class IndexEvaluation(artifact.Artifact):
    """IndexEvaluator's report, as `report.json`."""

    TYPE_NAME = "IndexEvaluation"
