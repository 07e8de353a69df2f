# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The command line: one file a verb, each thin over the library and imported late."""

from pipeline.cli.main import main

__all__ = ["main"]
