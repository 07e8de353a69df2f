# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Bootstrap confidence intervals for means of per-interaction and per-query values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_DRAWS_PER_BLOCK = 1 << 20


class Interval(NamedTuple):
    """A two-sided confidence interval."""

    low: float
    """Lower end."""

    high: float
    """Upper end."""


def bootstrap_mean(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 42,
) -> Interval:
    """Computes a percentile bootstrap interval of a mean (Efron 1979).

    With clusters, whole clusters are drawn with replacement and each brings all of
    its values (Field and Welsh 2007). The interactions of one query are not
    independent, so per-interaction figures want `clusters=query`; without, their
    interval is too narrow. The sample mean is `sum of sums / sum of counts`.

    Args:
        values: `[m]` numbers, or booleans for a share.
        clusters: `[m]` cluster of each value (any type), or None when the values
            are independent.
        samples: Bootstrap samples.
        confidence: Coverage aimed at, between 0 and 1.
        seed: Seed of the draws; the same seed gives the same interval.

    Returns:
        The interval; NaN at both ends without values. A single cluster cannot show
        any spread: both ends are then the mean.

    Raises:
        ValueError: On shapes that do not fit, values that are not finite, fewer than
            one sample or a confidence outside (0, 1).
    """
    numbers = _values("values", values)
    means = resampled_means(numbers[:, None], clusters, samples, seed)
    return percentile_interval(means[:, 0], confidence)


def resampled_means(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    samples: int = 1000,
    seed: int = 42,
) -> NDArray[np.float64]:
    """Draws the means of several systems over the same cases, resampled together.

    The difference of two columns is then a sample of the paired difference, and one
    draw serves every system and every pair of them.

    Args:
        values: `[m, s]` values of each case, a column a system.
        clusters: `[m]` cluster of each case, as for `bootstrap_mean`.
        samples: Bootstrap samples.
        seed: Seed of the draws.

    Returns:
        `[samples, s]` means; NaN without cases.

    Raises:
        ValueError: On shapes that do not fit, values that are not finite or fewer than
            one sample.
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 2:
        raise ValueError(f"values must be [cases, systems], but is {table.shape}.")
    if not np.isfinite(table).all():
        raise ValueError("values must be finite, but hold NaN or infinity.")
    if samples < 1:
        raise ValueError(f"samples must be at least 1, but is {samples}.")
    if len(table) == 0:
        return np.full((samples, table.shape[1]), np.nan)
    sums, counts = _totals(table, clusters)
    return _resampled_means(sums, counts, samples, seed)


def percentile_interval(means: ArrayLike, confidence: float = 0.95) -> Interval:
    """Returns the interval that holds the middle share of resampled means.

    Raises:
        ValueError: If the confidence is outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, but is {confidence}.")
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.asarray(means), [tail, 1 - tail])
    return Interval(float(low), float(high))


def paired_bootstrap_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 42,
) -> Interval:
    """Computes the interval of `mean(a) - mean(b)` over the same cases.

    Both systems are resampled together, so what makes a case hard for both cancels
    out. An interval above 0 says that a is better at this confidence.

    Args:
        a: `[m]` values of one system.
        b: `[m]` values of the other system on the same cases, in the same order.
        clusters: `[m]` cluster of each case, as for `bootstrap_mean`.
        samples: Bootstrap samples.
        confidence: Coverage aimed at, between 0 and 1.
        seed: Seed of the draws.

    Returns:
        The interval of the difference; NaN at both ends without cases.

    Raises:
        ValueError: As for `bootstrap_mean`, or if a and b differ in length.
    """
    left, right = _values("a", a), _values("b", b)
    if len(left) != len(right):
        raise ValueError(
            "a and b must score the same cases, but have "
            f"{len(left)} and {len(right)} values."
        )
    return bootstrap_mean(left - right, clusters, samples, confidence, seed)


def _totals(
    values: NDArray[np.float64], clusters: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Adds up the values of each cluster: `[c, s]` sums and `[c]` counts."""
    if clusters is None:
        return values, np.ones(len(values))
    names = np.asarray(clusters)
    if names.shape != values.shape[:1]:
        raise ValueError(
            f"clusters must name one cluster for each of the {len(values)} values, "
            f"but its shape is {names.shape}."
        )
    _, owner, counts = np.unique(names, return_inverse=True, return_counts=True)
    columns = [np.bincount(owner, weights=column) for column in values.T]
    return np.stack(columns, axis=1), counts.astype(np.float64)


def _resampled_means(
    sums: NDArray[np.float64], counts: NDArray[np.float64], samples: int, seed: int
) -> NDArray[np.float64]:
    """Draws `[samples, s]` means of as many clusters as there are, in bounded memory.

    How often each cluster was drawn, times the totals, is one product of matrices.
    """
    generator = np.random.default_rng(seed)
    size = len(sums)
    totals = np.column_stack([sums, counts])
    means = np.empty((samples, sums.shape[1]))
    step = max(1, _DRAWS_PER_BLOCK // size)
    for start in range(0, samples, step):
        block = means[start : start + step]
        drawn = generator.integers(size, size=(len(block), size))
        cells = (drawn + np.arange(len(block))[:, None] * size).ravel()
        times = np.bincount(cells, minlength=len(block) * size).reshape(-1, size)
        drawn_totals = times.astype(np.float64) @ totals
        block[:] = drawn_totals[:, :-1] / drawn_totals[:, -1:]
    return means


def _values(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Reads a finite float64 vector, or says which argument is wrong."""
    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a vector, but its shape is {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, but hold NaN or infinity.")
    return array
