# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Reads arrays that a caller hands over, or says which argument is wrong."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Indices = NDArray[np.int64]


def indices(name: str, values: ArrayLike, dimensions: int) -> Indices:
    """Reads an int64 array of known rank.

    Raises:
        ValueError: It has another rank or holds something else than integers.
    """
    array = np.asarray(values)
    if array.ndim != dimensions:
        raise ValueError(
            f"{name} must have {dimensions} dimension(s), but its shape is "
            f"{array.shape}."
        )
    # An empty list has no type of its own: NumPy calls it float64.
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integer indices, but holds {array.dtype}.")
    return array.astype(np.int64, copy=False)


def matrix(name: str, values: ArrayLike) -> NDArray[Any]:
    """Reads a matrix without copying it.

    Raises:
        ValueError: It is none.
    """
    array = np.asarray(values)
    if array.ndim != 2:
        raise ValueError(f"{name} must be [rows, dimension], but is {array.shape}.")
    return array


def positive(name: str, value: int) -> None:
    """Refuses a count below 1.

    Raises:
        ValueError: It is.
    """
    if value < 1:
        raise ValueError(f"{name} must be at least 1, but is {value}.")
