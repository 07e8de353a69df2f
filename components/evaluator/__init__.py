# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What TFMA's Evaluator needs to judge a servable: metrics and their config."""
