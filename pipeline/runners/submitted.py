# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a cluster says of a run that was asked for."""

from typing import NamedTuple


class Submitted(NamedTuple):
    """A run that was asked for."""

    run_id: str
    url: str
    """Where to look at it."""
