# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""CandidateEmbedder: every candidate embedded once, in Parquet shards."""
