# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A catalogue for those who have none: every candidate that was interacted with."""
