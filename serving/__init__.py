# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What answers: the servable, its indexes, its loader and its evaluation. No TFX."""

import serving.process  # noqa: F401  (must come before TensorFlow)
