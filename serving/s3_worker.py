# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Imported by Beam's workers elsewhere where a pipeline has s3:// paths."""

from serving import s3

s3.register()
