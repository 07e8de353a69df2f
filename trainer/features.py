# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Names of what Transform makes, shared by all that read it."""

QUERY_VOCABULARY = "query_ids"
CANDIDATE_VOCABULARY = "candidate_ids"
CANDIDATE_FREQUENCY = "candidate_frequency"

QUERY_INDEX = "query_index"
CANDIDATE_INDEX = "candidate_index"
