# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays in mapped files, which may be larger than memory."""

from concurrent import futures

import numpy as np

_ROWS = 1 << 16
"""Moved at a time by a thread."""


def take_rows(source: np.ndarray, rows: np.ndarray, path: str) -> np.ndarray:
    """Writes rows of an array into a local file.

    Args:
      source: [n, ...].
      rows: int64 [m], of `source`.
      path: Of the file, in NumPy's own format.

    Returns:
      The array in it, [m, ...], mapped and writable.

    Raises:
      IndexError: There is no such row.
    """
    taken = np.lib.format.open_memmap(
        path, "w+", source.dtype, (len(rows), *source.shape[1:])
    )
    outside = rows[(rows < 0) | (rows >= len(source))]
    if len(outside):
        raise IndexError(f"there is no row {outside[0]} of {len(source)}")

    def move(at: int) -> None:
        # Into its place at once, and without Python's lock; only "raise" needs a copy.
        part = slice(at, at + _ROWS)
        np.take(source, rows[part], axis=0, out=taken[part], mode="clip")

    with futures.ThreadPoolExecutor() as pool:
        for _ in pool.map(move, range(0, len(rows), _ROWS)):
            pass
    return taken
