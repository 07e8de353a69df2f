# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Ranking metrics by candidate id, and the exact search they are held against.

Candidates are rows `0..n-1` of the catalogue and queries are rows `0..q-1`. An index
below zero is padding or a candidate outside the catalogue, and never matches anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Indices = NDArray[np.int64]
Scores = NDArray[np.float32]
Values = NDArray[np.float64]

PADDING = -1
_COMPARISONS_PER_BLOCK = 1 << 22


def ranks(retrieved: ArrayLike, query: ArrayLike, candidate: ArrayLike) -> Indices:
    """Finds where each interaction's candidate stands in its query's list.

    Args:
        retrieved: `[q, K]` candidate indices, best first, padded with -1.
        query: `[m]` row of `retrieved` that answers each interaction.
        candidate: `[m]` candidate index of each interaction, -1 when it is not in
            the catalogue.

    Returns:
        `[m]` 0-based ranks, -1 where the candidate was not retrieved. Padding and
        candidates of -1 never match; a candidate listed twice has its first rank.

    Raises:
        ValueError: On a wrong shape or type, or a query outside `0..q-1`.
    """
    lists = _indices("retrieved", retrieved, 2)
    rows, wanted = _interactions(query, candidate, len(lists))
    found = np.full(len(rows), PADDING, np.int64)
    width = lists.shape[1]
    if width == 0:
        return found
    step = max(1, _COMPARISONS_PER_BLOCK // width)
    for start in range(0, len(rows), step):
        block = slice(start, start + step)
        target = wanted[block, None]
        match = (lists[rows[block]] == target) & (target >= 0)
        found[block] = np.where(match.any(axis=1), match.argmax(axis=1), PADDING)
    return found


def top_k_accuracy(ranks: ArrayLike, ks: Iterable[int]) -> dict[int, float]:
    """Computes factorized top-K categorical accuracy, per interaction and by id.

    `accuracy@k = |{i : 0 <= rank_i < k}| / m`: every interaction counts once, so an
    active query weighs more, and an interaction outside the catalogue is a miss.

    Args:
        ranks: `[m]` 0-based ranks, -1 for a miss, as `ranks()` returns them.
        ks: Cut-offs, each at least 1. A k beyond the lists' length counts the whole
            list, which understates the accuracy of a longer one.

    Returns:
        The accuracy at each k, in the order given; NaN when there are no interactions.

    Raises:
        ValueError: If a k is below 1 or `ranks` is not a vector of integers.
    """
    position = _indices("ranks", ranks, 1)
    hit = position[position >= 0]
    accuracy = {}
    for k in ks:
        _positive("k", k)
        hits = np.count_nonzero(hit < k)
        accuracy[int(k)] = hits / len(position) if len(position) else float("nan")
    return accuracy


def evaluated_queries(query: ArrayLike) -> Indices:
    """Lists the queries that `per_query_metrics` scores, in its order.

    Args:
        query: `[m]` query of each evaluation interaction.

    Returns:
        `[r]` distinct queries, ascending: those with a relevant candidate.
    """
    return np.unique(_indices("query", query, 1))


def per_query_metrics(
    retrieved: ArrayLike, query: ArrayLike, candidate: ArrayLike, k: int
) -> dict[str, Values]:
    """Scores each query's list against all of its relevant candidates.

    With `R` the query's relevant candidates and `rel_i` 1 when the candidate at
    0-based rank i is in `R` (Järvelin and Kekäläinen 2002, binary gain):

    - `recall`: `sum(rel_i, i < k) / |R|`
    - `ndcg`: `sum(rel_i / log2(i + 2), i < k)` over the same sum for an ideal list,
      whose first `min(k, |R|)` candidates are relevant
    - `mrr`: `1 / (1 + rank of the first hit)`, 0 without a hit in the first k
    - `hit_rate`: 1 with a hit in the first k, else 0
    - `map`: average precision, `sum(rel_i * precision at i + 1, i < k)` over
      `min(k, |R|)`. Like NDCG it is 1 for an ideal list however many are relevant;
      TREC's `map_cut` divides by `|R|` and is lower where there are more than k.

    An interaction given twice counts once. Candidates of -1 cannot be told apart, so
    each stays in `R` as one that no list finds: leaving candidates out of the
    catalogue never raises a figure. A k beyond the lists' length keeps its ideal, so
    short lists pay for what they leave out.

    Args:
        retrieved: `[q, K]` candidate indices, best first, padded with -1.
        query: `[m]` row of `retrieved` that answers each interaction.
        candidate: `[m]` relevant candidate of each interaction, -1 when it is not in
            the catalogue.
        k: Cut-off, at least 1.

    Returns:
        Name to `[r]` values in [0, 1], one for each query with at least one
        relevant candidate, in the order of `evaluated_queries`.

    Raises:
        ValueError: On a wrong shape or type, a k below 1 or a query outside `0..q-1`.
    """
    _positive("k", k)
    lists = _indices("retrieved", retrieved, 2)
    rows, wanted = _distinct_pairs(*_interactions(query, candidate, len(lists)))
    position = ranks(lists[:, :k], rows, wanted)
    queries, owner, relevant = np.unique(rows, return_inverse=True, return_counts=True)
    hit = position >= 0
    owner, position = owner[hit], position[hit]
    count = len(queries)

    depth = min(k, max(lists.shape[1], int(relevant.max(initial=1))))
    discounts = 1 / np.log2(np.arange(depth) + 2)
    ideal = np.cumsum(discounts)[np.minimum(relevant, depth) - 1]
    gain = np.bincount(owner, weights=discounts[position], minlength=count)
    hits = np.bincount(owner, minlength=count)
    first = np.full(count, np.inf)
    np.minimum.at(first, owner, position.astype(np.float64))
    order = np.lexsort((position, owner))
    owner, position = owner[order], position[order]
    so_far = np.arange(len(owner)) - np.searchsorted(owner, owner) + 1
    precision = np.bincount(owner, so_far / (position + 1), minlength=count)
    return {
        "recall": hits / relevant,
        "ndcg": gain / ideal,
        "mrr": 1 / (first + 1),
        "hit_rate": (hits > 0).astype(np.float64),
        "map": precision / np.minimum(relevant, k),
    }


def list_metrics(
    retrieved: ArrayLike,
    query: ArrayLike,
    candidate: ArrayLike,
    seen_by: ArrayLike,
    queries: int,
    k: int,
) -> dict[str, float]:
    """Describes what all lists together recommend, rather than whether it is right.

    With `L` the first k of each list, n candidates in the catalogue and `u_i` the
    training queries that interacted with candidate i, of `queries` in all:

    - `coverage`: share of the catalogue that is in anyone's L (aggregate diversity,
      Adomavicius and Kwon 2012)
    - `gini`: `sum((2 j - n - 1) p_j, j = 1..n) / (n - 1)` with `p_j` the shares of all
      recommendations that go to each candidate, ascending (Shani and Gunawardana
      2011): 0 when all are recommended as often, 1 when it is always the same one
    - `popularity_bias`: mean `u_i` of what is recommended over that of what was held
      out, each the mean over queries of the mean over a query's candidates: the group
      average popularity of Abdollahpouri et al. ("The Unfairness of Popularity Bias in
      Recommendation", 2019), whose lift is this minus 1. 1 is as popular as what was
      chosen
    - `novelty`: mean over queries of the mean self-information `-log2(u_i / queries)`
      of L, in bits (Zhou et al. 2010; Vargas and Castells 2011). A candidate that
      training has not seen counts as seen once, for the surprise to be finite

    Args:
        retrieved: `[q, K]` candidate indices, best first, padded with -1.
        query: `[m]` row of `retrieved` that each held-out interaction belongs to.
        candidate: `[m]` its candidate, -1 when it is not in the catalogue; these have
            no popularity and are left out.
        seen_by: `[n]` training queries that interacted with each candidate.
        queries: Number of training queries.
        k: Cut-off, at least 1.

    Returns:
        The figures by name. NaN where there is nothing to average: no list has a
        candidate, or nothing that was held out has been seen in training.

    Raises:
        ValueError: On a wrong shape or type, a k below 1, a query outside `0..q-1` or
            a candidate outside the catalogue.
    """
    _positive("k", k)
    lists = _indices("retrieved", retrieved, 2)[:, :k]
    seen = _indices("seen_by", seen_by, 1)
    rows, chosen = _interactions(query, candidate, len(lists))
    for name, values in (("retrieved", lists), ("candidate", chosen)):
        if values.max(initial=PADDING) >= len(seen):
            raise ValueError(
                f"{name} names candidate {values.max()}, but the catalogue's last is "
                f"{len(seen) - 1}."
            )
    owner, column = np.nonzero(lists >= 0)
    recommended = lists[owner, column]
    known = chosen >= 0
    often = np.bincount(recommended, minlength=len(seen))
    held_out = _mean_of_means(seen[chosen[known]], rows[known])
    surprise = np.log2(max(queries, 1)) - np.log2(np.maximum(seen, 1))
    return {
        "coverage": np.count_nonzero(often) / len(seen) if len(seen) else float("nan"),
        "gini": _gini(often),
        "popularity_bias": _mean_of_means(seen[recommended], owner) / held_out
        if held_out
        else float("nan"),
        "novelty": _mean_of_means(surprise[recommended], owner),
    }


def _mean_of_means(values: NDArray[Any], owner: Indices) -> float:
    """Averages over owners the mean of each owner's values; NaN without values."""
    if not len(values):
        return float("nan")
    counts = np.bincount(owner)
    sums = np.bincount(owner, values)
    return float((sums[counts > 0] / counts[counts > 0]).mean())


def _gini(often: Indices) -> float:
    """Computes the Gini index of counts; NaN of nothing, 0 of a single one."""
    total, size = int(often.sum()), len(often)
    if not total:
        return float("nan")
    weights = 2 * np.arange(1, size + 1) - size - 1
    return float(weights @ np.sort(often) / (total * max(size - 1, 1)))


def recall_against_exact(approximate: ArrayLike, exact: ArrayLike, k: int) -> Values:
    """Measures how much of exact search an approximate one brought back, by id.

    `recall@k = |A_k & E_k| / |E_k|` with `A_k` and `E_k` the sets of candidates in
    the first k columns. Padding is in neither set, and a query whose exact list is
    empty has nothing to miss: its recall is 1.

    Args:
        approximate: `[q, K]` candidate indices, best first, padded with -1.
        exact: `[q, K']` candidate indices of exact search over the same embeddings.
        k: Cut-off, at least 1; beyond a list's length it takes the whole list.

    Returns:
        `[q]` recall of each query.

    Raises:
        ValueError: On a wrong shape or type, or a k below 1.
    """
    _positive("k", k)
    found = _indices("approximate", approximate, 2)[:, :k]
    truth = _indices("exact", exact, 2)[:, :k]
    if len(found) != len(truth):
        raise ValueError(
            "approximate and exact must answer the same queries, but have "
            f"{len(found)} and {len(truth)} rows."
        )
    stride = 1 + max(found.max(initial=0), truth.max(initial=0))
    wanted = _row_keys(truth, stride)
    owner = wanted // stride
    hit = np.isin(wanted, _row_keys(found, stride), assume_unique=True)
    size = np.bincount(owner, minlength=len(truth))
    hits = np.bincount(owner[hit], minlength=len(truth))
    return np.where(size == 0, 1.0, hits / np.maximum(size, 1))


def top_k_from_scores(scores: ArrayLike, k: int) -> tuple[Scores, Indices]:
    """Takes the k best columns of each row, ties by the lower column.

    Args:
        scores: `[b, n]` scores; -inf marks a column that must not be retrieved.
        k: Columns to take, at least 1.

    Returns:
        `[b, k]` float32 scores, best first, and their `[b, k]` columns; padded with
        -inf and -1 where a row has fewer than k columns to retrieve.

    Raises:
        ValueError: If k is below 1, or `scores` is not a matrix or holds NaN.
    """
    _positive("k", k)
    matrix = np.asarray(scores)
    if matrix.ndim != 2:
        raise ValueError(f"scores must be [rows, columns], but is {matrix.shape}.")
    rows, columns = matrix.shape
    width = min(k, columns)
    best = np.full((rows, k), -np.inf, np.float32)
    where = np.full((rows, k), PADDING, np.int64)
    if rows == 0 or width == 0:
        return best, where
    if np.isnan(matrix.max()):
        raise ValueError("scores must not hold NaN, which has no place in an order.")
    top = _top_columns(matrix, width)
    found = np.take_along_axis(matrix, top, axis=1)
    # Columns come in ascending order, so a stable sort leaves ties by lower column.
    order = np.argsort(-found, axis=1, kind="stable")
    found = np.take_along_axis(found, order, axis=1)
    best[:, :width] = found
    where[:, :width] = np.where(
        found > -np.inf, np.take_along_axis(top, order, axis=1), PADDING
    )
    return best, where


def exact_top_k(
    queries: ArrayLike,
    candidates: ArrayLike,
    k: int,
    exclude: csr_matrix | Sequence[ArrayLike] | None = None,
    *,
    block_queries: int = 128,
    block_candidates: int = 65_536,
) -> tuple[Scores, Indices]:
    """Searches the candidates exactly by dot product, in bounded memory.

    Scores are accumulated in float64 and rounded to float32 before they are compared,
    so equal embeddings tie and neither the block sizes nor the BLAS kernel decide
    the order. Beyond its inputs and result the search holds about
    `block_queries * block_candidates * 16` bytes (134 MB by default).

    Args:
        queries: `[q, d]` query embeddings, finite.
        candidates: `[n, d]` candidate embeddings, finite.
        k: Candidates to retrieve, at least 1.
        exclude: Candidates never to retrieve: a sparse `[q, n]` matrix whose nonzero
            entries are excluded, or q index arrays, in which -1 is padding.
        block_queries: Queries scored at once.
        block_candidates: Candidates scored at once.

    Returns:
        `[q, k]` float32 scores, best first, ties by the lower index, and their
        `[q, k]` candidate indices; padded with -inf and -1 where fewer than k
        candidates remain.

    Raises:
        ValueError: On shapes that do not fit, embeddings that are not finite, an
            excluded index of n or more, or a k or block below 1.
    """
    for name, value in (
        ("k", k),
        ("block_queries", block_queries),
        ("block_candidates", block_candidates),
    ):
        _positive(name, value)
    asked = _embeddings("queries", queries)
    catalogue = _embeddings("candidates", candidates)
    if asked.shape[1] != catalogue.shape[1]:
        raise ValueError(
            "queries and candidates must have the same dimension, but are "
            f"{asked.shape} and {catalogue.shape}."
        )
    shape = (len(asked), len(catalogue))
    excluded = _exclusions(exclude, shape)
    scores = np.full((len(asked), k), -np.inf, np.float32)
    indices = np.full((len(asked), k), PADDING, np.int64)
    for start in range(0, len(asked), block_queries):
        block = slice(start, start + block_queries)
        masked = _excluded_cells(excluded, block, shape[1])
        best, where = _search(asked[block], catalogue, k, masked, block_candidates)
        scores[block, : best.shape[1]] = best
        indices[block, : best.shape[1]] = where
    return scores, indices


def _search(
    queries: NDArray[Any],
    candidates: NDArray[Any],
    k: int,
    masked: tuple[Indices, Indices],
    block_candidates: int,
) -> tuple[Scores, Indices]:
    """Searches one block of queries; masked cells are (row, candidate) pairs."""
    asked = queries.astype(np.float64)
    rows, columns = masked
    best = np.empty((len(asked), 0), np.float32)
    where = np.empty((len(asked), 0), np.int64)
    for first in range(0, len(candidates), block_candidates):
        chunk = candidates[first : first + block_candidates].astype(np.float64)
        scores = (asked @ chunk.T).astype(np.float32)
        # Padding lies below every chunk.
        inside = (columns >= first) & (columns < first + len(chunk))
        scores[rows[inside], columns[inside] - first] = -np.inf
        found, local = top_k_from_scores(scores, min(k, len(chunk)))
        best = np.concatenate([best, found], axis=1)
        where = np.concatenate(
            [where, np.where(local >= 0, local + first, PADDING)], axis=1
        )
        # Earlier chunks stand to the left with lower indices: stable keeps ties so.
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(best, order, axis=1)
        where = np.take_along_axis(where, order, axis=1)
    return best, where


def _top_columns(scores: NDArray[Any], width: int) -> Indices:
    """Finds each row's `width` best columns in ascending column order."""
    rows, columns = scores.shape
    if width == columns:
        return np.broadcast_to(np.arange(columns), scores.shape)
    cut = columns - width
    threshold = np.partition(scores, cut, axis=1)[:, cut, None]
    keep = scores >= threshold
    tied = np.flatnonzero(np.count_nonzero(keep, axis=1) > width)
    if tied.size:
        above = scores[tied] > threshold[tied]
        at = scores[tied] == threshold[tied]
        room = width - np.count_nonzero(above, axis=1)
        keep[tied] = above | (at & (np.cumsum(at, axis=1) <= room[:, None]))
    return np.nonzero(keep)[1].reshape(rows, width)


def _exclusions(exclude: Any, shape: tuple[int, int]) -> Any:
    """Checks exclusions against `[q, n]` and returns them sliceable by query."""
    if exclude is None:
        return None
    if hasattr(exclude, "tocsr"):
        if tuple(exclude.shape) != shape:
            raise ValueError(
                f"exclude must be a [queries, candidates] matrix of shape {shape}, "
                f"but is {tuple(exclude.shape)}."
            )
        return exclude.tocsr()
    if len(exclude) != shape[0]:
        raise ValueError(
            f"exclude must hold one index array for each of the {shape[0]} queries, "
            f"but holds {len(exclude)}."
        )
    return exclude


def _excluded_cells(
    exclude: Any, block: slice, candidates: int
) -> tuple[Indices, Indices]:
    """Lists a block's excluded (row within the block, candidate) cells, padding too."""
    none = np.empty(0, np.int64)
    if exclude is None:
        return none, none
    if hasattr(exclude, "tocsr"):
        rows, columns = exclude[block].nonzero()
        return rows.astype(np.int64), columns.astype(np.int64)
    lists = [_indices("exclude", row, 1) for row in exclude[block]]
    rows = np.repeat(np.arange(len(lists)), [len(row) for row in lists])
    columns = np.concatenate([none, *lists])
    if columns.max(initial=PADDING) >= candidates:
        raise ValueError(
            f"exclude names candidate {columns.max()}, but the catalogue's last is "
            f"{candidates - 1}."
        )
    return rows, columns


def _row_keys(lists: Indices, stride: int) -> Indices:
    """Gives every distinct (row, candidate) pair of padded lists one sorted number."""
    rows = np.broadcast_to(np.arange(len(lists))[:, None], lists.shape)
    real = lists >= 0
    return np.unique(rows[real] * stride + lists[real])


def _distinct_pairs(query: Indices, candidate: Indices) -> tuple[Indices, Indices]:
    """Drops repeated (query, candidate) pairs, but keeps every candidate of -1."""
    known = candidate >= 0
    stride = 1 + candidate.max(initial=0)
    keys = np.unique(query[known] * stride + candidate[known])
    return (
        np.concatenate([keys // stride, query[~known]]),
        np.concatenate([keys % stride, candidate[~known]]),
    )


def _interactions(
    query: ArrayLike, candidate: ArrayLike, queries: int
) -> tuple[Indices, Indices]:
    """Checks parallel interaction arrays against the number of queries."""
    rows = _indices("query", query, 1)
    wanted = _indices("candidate", candidate, 1)
    if len(rows) != len(wanted):
        raise ValueError(
            "query and candidate must be parallel arrays, but have "
            f"{len(rows)} and {len(wanted)} entries."
        )
    outside = rows[(rows < 0) | (rows >= queries)]
    if outside.size:
        raise ValueError(
            f"query names row {outside[0]}, but the retrieved lists are rows 0 to "
            f"{queries - 1}."
        )
    return rows, wanted


def _indices(name: str, values: ArrayLike, dimensions: int) -> Indices:
    """Reads an int64 array of known rank, or says which argument is wrong."""
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


def _embeddings(name: str, values: ArrayLike) -> NDArray[Any]:
    """Reads a finite embedding matrix, or says which argument is wrong."""
    array = np.asarray(values)
    if array.ndim != 2:
        raise ValueError(f"{name} must be [rows, dimension], but is {array.shape}.")
    # The extremes pass on NaN and infinity without a mask as large as the matrix.
    if array.size and not np.isfinite([array.min(), array.max()]).all():
        raise ValueError(f"{name} must be finite, but hold NaN or infinity.")
    return array


def _positive(name: str, value: int) -> None:
    """Refuses a count below 1."""
    if value < 1:
        raise ValueError(f"{name} must be at least 1, but is {value}.")
