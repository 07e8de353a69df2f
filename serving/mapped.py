# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays in mapped files, which may be larger than memory."""

import numpy as np

_ROWS = 1 << 20
"""Moved at a time."""


def take_rows(source: np.ndarray, rows: np.ndarray, path: str) -> np.ndarray:
    """Writes rows of an array into a local file.

    Args:
      source: [n, ...].
      rows: int64 [m], of `source`.
      path: Of the file, in NumPy's own format.

    Returns:
      The array in it, [m, ...], mapped and writable.
    """
    taken = np.lib.format.open_memmap(
        path, "w+", source.dtype, (len(rows), *source.shape[1:])
    )
    for at in range(0, len(rows), _ROWS):
        taken[at : at + _ROWS] = source[rows[at : at + _ROWS]]
    return taken
