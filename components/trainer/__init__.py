# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""TwoTowerTrainer: the Trainer with one more input, the catalogue's transform graph."""
