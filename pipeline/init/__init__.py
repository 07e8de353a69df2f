# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist init`: from unknown files to a commented config that runs.

Files are sampled, columns profiled, roles and types guessed from what the data shows
first and from names second. Every guess carries its reason, which becomes a comment.
"""
