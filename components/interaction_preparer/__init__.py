# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What an interaction counts for, which ones count at all, and each one's history."""
