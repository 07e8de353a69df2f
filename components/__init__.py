# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Custom TFX components: a folder each, holding the TFX part and nothing else."""

import serving.process  # noqa: F401  Must run before TensorFlow is imported.
