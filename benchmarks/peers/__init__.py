# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The index against other libraries, each tuned for the same time."""
