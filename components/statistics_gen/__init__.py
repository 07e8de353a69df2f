# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A StatisticsGen that reads thousands of rows at a time."""
