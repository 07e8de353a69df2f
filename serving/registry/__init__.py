# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Model registries: which versions there are, how good they are, which one is meant."""
