# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The tutorial's serving experiment at any size: every way to search, in one run."""
