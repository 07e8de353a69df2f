# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Holds the declared features against what a model can learn from and be asked with."""
