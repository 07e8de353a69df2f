# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What runs: configuration, the graph of nodes, runners and the command line."""

import serving.process  # noqa: F401  (must come before TensorFlow)
