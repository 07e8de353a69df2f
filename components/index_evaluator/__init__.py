# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""IndexEvaluator: the servable against exact search, in a process of its own."""
