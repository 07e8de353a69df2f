# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""An ExampleValidator whose anomalies stop the run or are told."""
