# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Quality and run times, measured beside peers; results/ keeps what came out."""
