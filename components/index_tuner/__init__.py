# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""IndexTuner: finds the cheapest knobs of the index that reach a recall."""
