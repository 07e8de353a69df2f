# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Offline evaluation of ranked lists in plain NumPy: metrics, baselines, intervals."""
