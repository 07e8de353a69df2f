# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What is learned: preprocessing, the two towers, their loss and the run_fn."""

import serving.process  # noqa: F401  (must come before TensorFlow)
