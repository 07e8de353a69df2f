# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Synthetic logs of any size, with a power law and tastes to learn."""
