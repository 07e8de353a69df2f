# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Baselines to hold a model against: popularity, item-kNN, EASE and iALS.

Each is fitted to the training interactions, a sparse `[q, n]` matrix in which every
nonzero entry is one interaction of weight 1, and gives a scorer. `rank` returns the
best candidates for any histories, `[h, n]`: what is known of those who ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving.errors import UserError
from serving.evaluation.metrics import Indices, top_k_from_scores

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Scorer = Callable[["csr_matrix"], NDArray[Any]]
"""Scores all candidates for a block of binary histories: [b, n] to float32 [b, n]."""

EASE_MAX_CANDIDATES = 20_000
"""Largest catalogue EASE takes: 3.2 GB a matrix, about 8 GB at its peak."""

_CELLS_PER_BLOCK = 1 << 22


def interaction_matrix(
    query: ArrayLike, candidate: ArrayLike, shape: tuple[int, int]
) -> csr_matrix:
    """Builds the binary matrix of interactions that the baselines take.

    Args:
        query: `[m]` query index of each interaction.
        candidate: `[m]` candidate index of each interaction; those of -1, outside
            the catalogue, are left out.
        shape: Number of queries q and of candidates n.

    Returns:
        `[q, n]` float64 matrix with a 1 for each pair that interacted, however often.

    Raises:
        ValueError: If the arrays are not parallel or an index is outside the shape.
    """
    from scipy.sparse import csr_matrix

    rows, columns = np.asarray(query), np.asarray(candidate)
    if rows.shape != columns.shape or rows.ndim != 1:
        raise ValueError(
            "query and candidate must be parallel vectors, but their shapes are "
            f"{rows.shape} and {columns.shape}."
        )
    known = columns >= 0
    rows, columns = rows[known], columns[known]
    for name, index, size in (
        ("query", rows, shape[0]),
        ("candidate", columns, shape[1]),
    ):
        if index.size and (index.min() < 0 or index.max() >= size):
            raise ValueError(
                f"{name} holds indices {index.min()} to {index.max()}, but the matrix "
                f"has 0 to {size - 1}."
            )
    return _binary(csr_matrix((np.ones(len(rows)), (rows, columns)), shape))


def rank(
    score: Scorer,
    history: csr_matrix,
    k: int,
    *,
    mask_seen: bool = True,
    hidden: csr_matrix | None = None,
) -> Indices:
    """Returns the best candidates for each history, block by block.

    Args:
        score: Of one of the baselines.
        history: `[h, n]` what is known of those who ask.
        k: Length of the lists, at least 1.
        mask_seen: Whether to leave the history itself out of the list.
        hidden: `[h, n]` what to leave out beside it, or None.

    Returns:
        `[h, k]` candidate indices, best first, ties by the lower index; -1 pads lists
        with fewer than k candidates left, or that are scored at all.

    Raises:
        ValueError: If k is below 1.
    """
    known = _binary(history)
    queries, candidates = known.shape
    step = max(1, _CELLS_PER_BLOCK // max(1, candidates))
    lists = [np.empty((0, k), np.int64)]
    for start in range(0, queries, step):
        block = known[start : start + step]
        scores = score(block)
        if mask_seen:
            scores[block.nonzero()] = -np.inf
        if hidden is not None:
            scores[hidden[start : start + step].nonzero()] = -np.inf
        lists.append(top_k_from_scores(scores, k)[1])
    return np.concatenate(lists)


def popularity(train: csr_matrix) -> Scorer:
    """Ranks candidates by the number of queries that interacted with them.

    Args:
        train: `[q, n]` training interactions.

    Returns:
        A scorer, the same scores for every history.
    """
    seen = _binary(train)
    counts = np.bincount(seen.indices, minlength=seen.shape[1]).astype(np.float32)

    def score(history: csr_matrix) -> NDArray[Any]:
        return np.tile(counts, (history.shape[0], 1))

    return score


def item_knn(
    train: csr_matrix,
    *,
    neighbours: int = 100,
    shrinkage: float = 10.0,
) -> Scorer:
    """Ranks candidates by their similarity to the query's history.

    Item-based top-N recommendation (Deshpande and Karypis 2004) with shrunk cosine:
    `s_ij = c_ij / (sqrt(c_i c_j) + shrinkage)`, with `c_ij` the queries that
    interacted with both and `c_i` those with i. Each candidate keeps its most similar
    `neighbours`, and scores the sum of `s_ij` over those in the query's history.

    Args:
        train: `[q, n]` training interactions.
        neighbours: Neighbours kept for each candidate, at least 1; ties by the lower
            index.
        shrinkage: Damps similarities that few queries support; 0 is plain cosine.

    Returns:
        A scorer, which scores candidates without a neighbour in the history -inf.

    Raises:
        ValueError: If neighbours is below 1, or shrinkage is negative.
    """
    if neighbours < 1:
        raise ValueError(f"neighbours must be at least 1, but is {neighbours}.")
    if shrinkage < 0:
        raise ValueError(f"shrinkage must not be negative, but is {shrinkage}.")
    seen = _binary(train)
    weights = _neighbourhoods(seen, neighbours, shrinkage).T.tocsr()

    def score(history: csr_matrix) -> NDArray[Any]:
        scores: NDArray[Any] = (history @ weights).toarray().astype(np.float32)
        scores[scores <= 0] = -np.inf
        return scores

    return score


def ease(
    train: csr_matrix,
    *,
    regularization: float = 500.0,
    max_candidates: int = EASE_MAX_CANDIDATES,
) -> Scorer:
    """Ranks candidates by EASE, a linear item-item model in closed form.

    Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (WWW 2019):
    `P = (X'X + regularization * I)^-1`, `B_ij = -P_ij / P_jj` with a zero diagonal,
    and the scores of a query are its row of `X B`. Time grows with n^3, memory with
    n^2 (up to about 20 n^2 bytes).

    Args:
        train: `[q, n]` training interactions X.
        regularization: Weight of the squared norm of B, above 0.
        max_candidates: Largest n accepted.

    Returns:
        A scorer, which scores an empty history -inf throughout.

    Raises:
        UserError: If the catalogue is larger than `max_candidates`, or the
            regularization is too small to invert the matrix.
        ValueError: If the regularization is not above 0.
    """
    if not regularization > 0:
        raise ValueError(f"regularization must be above 0, but is {regularization}.")
    if train.shape[1] > max_candidates:
        raise UserError(
            f"EASE inverts a dense candidates x candidates matrix and takes at most "
            f"{max_candidates} candidates, but the catalogue has {train.shape[1]}: "
            "leave EASE out of the baselines, or raise max_candidates if memory allows."
        )
    seen = _binary(train)
    weights = _ease_weights(seen, regularization)

    def score(history: csr_matrix) -> NDArray[Any]:
        scores = np.asarray(history @ weights).astype(np.float32)
        scores[np.diff(history.indptr) == 0] = -np.inf
        return scores

    return score


def ials(
    train: csr_matrix,
    *,
    factors: int = 64,
    regularization: float = 20.0,
    alpha: float = 4.0,
    iterations: int = 15,
    seed: int = 42,
) -> Scorer:
    """Ranks candidates by iALS, a matrix factorisation, as `implicit` fits it.

    Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets"
    (ICDM 2008): factors of queries and candidates minimise the squared error of a 1
    where there was an interaction, weighed `alpha`, and of a 0 elsewhere, weighed 1,
    plus `regularization` times their squared norms. A history that was not trained on
    is folded in: its factors are solved for with those of the candidates fixed.

    Args:
        train: `[q, n]` training interactions.
        factors: Dimensions of the factors.
        regularization: Weight of their squared norms.
        alpha: Weight of an interaction.
        iterations: Passes of alternating least squares.
        seed: Of the initial factors.

    Returns:
        A scorer, which scores an empty history -inf throughout.
    """
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    seen = _binary(train).astype(np.float32)

    def score(history: csr_matrix) -> NDArray[Any]:
        rows = np.arange(history.shape[0])
        with threadpool_limits(1, "blas"):
            queries = model.recalculate_user(rows, history.astype(np.float32))
        scores = queries @ model.item_factors.T
        scores[np.diff(history.indptr) == 0] = -np.inf
        return scores

    # implicit has threads of its own, which those of BLAS would get in the way of.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=factors,
            regularization=regularization,
            alpha=alpha,
            iterations=iterations,
            random_state=seed,
        )
        model.fit(seen, show_progress=False)
        return score


def _ease_weights(seen: csr_matrix, regularization: float) -> NDArray[np.float64]:
    """Solves for EASE's `[n, n]` weights B."""
    from scipy.linalg import lapack

    n = seen.shape[1]
    if n == 0:
        return np.zeros((0, 0))
    # A transpose of a symmetric matrix is itself, in the order that LAPACK works in.
    gram = (seen.T @ seen).toarray().T
    gram[np.diag_indices(n)] += regularization
    # The Gram matrix is symmetric and positive definite: Cholesky inverts it in place
    # and in half the operations of a general inverse.
    factor, failed = lapack.dpotrf(gram, lower=1, overwrite_a=1, clean=1)
    if not failed:
        inverse, failed = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise UserError(
            f"EASE's matrix cannot be inverted with a regularization of "
            f"{regularization}: raise it (500 suits MovieLens 100K)."
        )
    diagonal = np.diag(inverse).copy()
    inverse += np.tril(inverse, -1).T
    inverse /= -diagonal
    np.fill_diagonal(inverse, 0)
    return np.ascontiguousarray(inverse)


def _neighbourhoods(seen: csr_matrix, neighbours: int, shrinkage: float) -> csr_matrix:
    """Computes `[n, n]` similarities; row i holds candidate i's nearest neighbours."""
    from scipy.sparse import csr_matrix, vstack

    n = seen.shape[1]
    counts = np.bincount(seen.indices, minlength=n)
    by_candidate = seen.T.tocsr()
    step = max(1, _CELLS_PER_BLOCK // max(1, n))
    blocks = []
    for start in range(0, n, step):
        common = (by_candidate[start : start + step] @ seen).tocoo()
        rows, columns = common.row, common.col
        norms = np.sqrt(counts[start + rows] * counts[columns]) + shrinkage
        similarity = np.where(start + rows == columns, -np.inf, common.data / norms)
        order = np.lexsort((columns, -similarity, rows))
        rows, columns, similarity = rows[order], columns[order], similarity[order]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        near = (place < neighbours) & np.isfinite(similarity)
        cells = (similarity[near], (rows[near], columns[near]))
        blocks.append(csr_matrix(cells, shape=(common.shape[0], n)))
    return vstack(blocks, format="csr") if blocks else csr_matrix((0, 0))


def _binary(interactions: csr_matrix) -> csr_matrix:
    """Copies interactions with every nonzero entry, however often stored, as 1."""
    from scipy.sparse import csr_matrix

    matrix: csr_matrix = csr_matrix(interactions, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.data = np.ones(len(matrix.data))
    return matrix
