# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Ranking metrics by candidate id, and the exact search they are held against.

Candidates are rows `0..n-1` of the catalogue and queries are rows `0..q-1`. An index
below zero is padding or a candidate outside the catalogue, and never matches anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving.checks import Indices as Indices
from serving.checks import indices, positive
from serving.exact import PADDING as PADDING
from serving.exact import exact_top_k as exact_top_k
from serving.exact import top_k_from_scores as top_k_from_scores

Values = NDArray[np.float64]

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
    lists = indices("retrieved", retrieved, 2)
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
    position = indices("ranks", ranks, 1)
    hit = position[position >= 0]
    accuracy = {}
    for k in ks:
        positive("k", k)
        hits = int(np.count_nonzero(hit < k))
        accuracy[int(k)] = hits / len(position) if len(position) else float("nan")
    return accuracy


def top_k_accuracy_by_score(
    scores: ArrayLike, own: ArrayLike, ks: Iterable[int]
) -> dict[int, float]:
    """Computes what tfrs.metrics.FactorizedTopK does without ids.

    `accuracy@k = |{i : fewer than k of the scores retrieved for i lie above the true
    candidate's own}| / m`. Of an approximate index it is no lower than that of exact
    search: what the index has missed is in nobody's way. A list with a score that is
    not finite, as TFRS's ScaNN layer pads, is a miss, as for TensorFlow's in_top_k.

    Args:
        scores: `[m, K]` scores retrieved for each interaction.
        own: `[m]` score of each interaction's candidate.
        ks: Cut-offs, each at least 1.

    Returns:
        The accuracy at each k, in the order given; NaN when there are no interactions.

    Raises:
        ValueError: If a k is below 1, or the shapes do not fit.
    """
    retrieved, true = np.asarray(scores), np.asarray(own)
    if retrieved.ndim != 2 or true.shape != retrieved.shape[:1]:
        raise ValueError(
            "scores must be [interactions, K] and own [interactions], but are "
            f"{retrieved.shape} and {true.shape}."
        )
    above = np.count_nonzero(retrieved > true[:, None], axis=1)
    finite = np.isfinite(retrieved).all(axis=1) & np.isfinite(true)
    return top_k_accuracy(np.where(finite, above, PADDING), ks)


def evaluated_queries(query: ArrayLike) -> Indices:
    """Lists the queries that `per_query_metrics` scores, in its order.

    Args:
        query: `[m]` query of each evaluation interaction.

    Returns:
        `[r]` distinct queries, ascending: those with a relevant candidate.
    """
    return np.unique(indices("query", query, 1))


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
    positive("k", k)
    lists = indices("retrieved", retrieved, 2)
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
    positive("k", k)
    lists = indices("retrieved", retrieved, 2)[:, :k]
    seen = indices("seen_by", seen_by, 1)
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
    covered = int(np.count_nonzero(often))
    held_out = _mean_of_means(seen[chosen[known]], rows[known])
    surprise = np.log2(max(queries, 1)) - np.log2(np.maximum(seen, 1))
    return {
        "coverage": covered / len(seen) if len(seen) else float("nan"),
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
    positive("k", k)
    found = indices("approximate", approximate, 2)[:, :k]
    truth = indices("exact", exact, 2)[:, :k]
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
    rows = indices("query", query, 1)
    wanted = indices("candidate", candidate, 1)
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
