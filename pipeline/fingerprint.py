# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A fingerprint of code: an edit must not be answered from TFX's cache."""

import functools
import hashlib
import importlib.util
import pathlib


@functools.cache
def fingerprint(*packages: str) -> str:
    """Returns a hash of the Python sources of packages, 16 hex digits.

    Args:
      *packages: Names such as `trainer` or `components.pusher`; subpackages count.

    Raises:
      ModuleNotFoundError: There is no such package.
    """
    digest = hashlib.sha256()
    for package in sorted(packages):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no package {package!r} to fingerprint")
        root = pathlib.Path(spec.origin)
        files = root.parent.rglob("*.py") if root.name == "__init__.py" else [root]
        for path in sorted(files):
            digest.update(str(path.relative_to(root.parent)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
