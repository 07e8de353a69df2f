# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""TwoTowerTrainer: the Trainer with the catalogue as one more input."""
