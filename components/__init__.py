# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Custom TFX components: a folder each, holding the TFX part and nothing else."""

import importlib
from typing import Any

import serving.process  # noqa: F401  Must run before TensorFlow is imported.


def __getattr__(name: str) -> Any:
    """Hands the artifact types on, by which TFX's container entry point finds them."""
    # Late: they import TFX, which most of this package does without.
    if name[:1].isupper():
        types = importlib.import_module("components.artifacts").TYPES
        if name in types:
            return types[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
