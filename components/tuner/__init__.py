# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""RecipeTuner: the Tuner with the catalogue as one more input."""
