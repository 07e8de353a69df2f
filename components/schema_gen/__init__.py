# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A SchemaGen that goes by what the config declares."""
