# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Runners: what takes the graph and runs its nodes."""
