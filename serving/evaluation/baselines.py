# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Baselines to hold a model against: popularity, item-kNN, EASE and iALS.

Each takes the training interactions as a sparse `[q, n]` matrix, in which every nonzero
entry is one interaction of weight 1, and returns the best candidates for each row of
`history`, `[h, n]`: what is known of those who ask, by default the training matrix.
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


def popularity(
    train: csr_matrix,
    k: int,
    *,
    mask_seen: bool = True,
    history: csr_matrix | None = None,
) -> Indices:
    """Ranks candidates by the number of queries that interacted with them.

    Args:
        train: `[q, n]` training interactions.
        k: Length of the lists, at least 1.
        mask_seen: Whether to leave a query's own history out of its list.
        history: `[h, n]` what is known of those who ask; None: `train`.

    Returns:
        `[h, k]` candidate indices, best first, ties by the lower index; -1 pads lists
        with fewer than k candidates left.

    Raises:
        ValueError: If k is below 1.
    """
    seen = _binary(train)
    counts = np.bincount(seen.indices, minlength=seen.shape[1]).astype(np.float32)

    def score(history: csr_matrix) -> NDArray[Any]:
        return np.tile(counts, (history.shape[0], 1))

    return _rank(score, seen, history, k, mask_seen)


def item_knn(
    train: csr_matrix,
    k: int,
    *,
    mask_seen: bool = True,
    history: csr_matrix | None = None,
    neighbours: int = 100,
    shrinkage: float = 10.0,
) -> Indices:
    """Ranks candidates by their similarity to the query's history.

    Item-based top-N recommendation (Deshpande and Karypis 2004) with shrunk cosine:
    `s_ij = c_ij / (sqrt(c_i c_j) + shrinkage)`, with `c_ij` the queries that
    interacted with both and `c_i` those with i. Each candidate keeps its most similar
    `neighbours`, and scores the sum of `s_ij` over those in the query's history.

    Args:
        train: `[q, n]` training interactions.
        k: Length of the lists, at least 1.
        mask_seen: Whether to leave a query's own history out of its list.
        history: `[h, n]` what is known of those who ask; None: `train`.
        neighbours: Neighbours kept for each candidate, at least 1; ties by the lower
            index.
        shrinkage: Damps similarities that few queries support; 0 is plain cosine.

    Returns:
        `[h, k]` candidate indices, best first, ties by the lower index; -1 pads lists
        with fewer than k candidates that have a neighbour in the history. An empty
        history has an empty list.

    Raises:
        ValueError: If k or neighbours is below 1, or shrinkage is negative.
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

    return _rank(score, seen, history, k, mask_seen)


def ease(
    train: csr_matrix,
    k: int,
    *,
    mask_seen: bool = True,
    history: csr_matrix | None = None,
    regularization: float = 500.0,
    max_candidates: int = EASE_MAX_CANDIDATES,
) -> Indices:
    """Ranks candidates by EASE, a linear item-item model in closed form.

    Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (WWW 2019):
    `P = (X'X + regularization * I)^-1`, `B_ij = -P_ij / P_jj` with a zero diagonal,
    and the scores of a query are its row of `X B`. Time grows with n^3, memory with
    n^2 (up to about 20 n^2 bytes).

    Args:
        train: `[q, n]` training interactions X.
        k: Length of the lists, at least 1.
        mask_seen: Whether to leave a query's own history out of its list.
        history: `[h, n]` what is known of those who ask; None: `train`.
        regularization: Weight of the squared norm of B, above 0.
        max_candidates: Largest n accepted.

    Returns:
        `[h, k]` candidate indices, best first, ties by the lower index; -1 pads lists
        with fewer than k candidates left. An empty history has an empty list.

    Raises:
        UserError: If the catalogue is larger than `max_candidates`, or the
            regularization is too small to invert the matrix.
        ValueError: If k is below 1 or the regularization is not above 0.
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

    return _rank(score, seen, history, k, mask_seen)


def ials(
    train: csr_matrix,
    k: int,
    *,
    mask_seen: bool = True,
    history: csr_matrix | None = None,
    factors: int = 64,
    regularization: float = 20.0,
    alpha: float = 4.0,
    iterations: int = 15,
    seed: int = 42,
) -> Indices:
    """Ranks candidates by iALS, a matrix factorisation, as `implicit` fits it.

    Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets"
    (ICDM 2008): factors of queries and candidates minimise the squared error of a 1
    where there was an interaction, weighed `alpha`, and of a 0 elsewhere, weighed 1,
    plus `regularization` times their squared norms. A history that was not trained on
    is folded in: its factors are solved for with those of the candidates fixed.

    Args:
        train: `[q, n]` training interactions.
        k: Length of the lists, at least 1.
        mask_seen: Whether to leave a query's own history out of its list.
        history: `[h, n]` what is known of those who ask; None: `train`.
        factors: Dimensions of the factors.
        regularization: Weight of their squared norms.
        alpha: Weight of an interaction.
        iterations: Passes of alternating least squares.
        seed: Of the initial factors.

    Returns:
        `[h, k]` candidate indices, best first, ties by the lower index; -1 pads lists
        with fewer than k candidates left. An empty history has an empty list.

    Raises:
        ValueError: If k is below 1.
    """
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    seen = _binary(train).astype(np.float32)

    def score(history: csr_matrix) -> NDArray[Any]:
        rows = np.arange(history.shape[0])
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
        return _rank(score, seen, history, k, mask_seen)


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
        block = np.arange(start, min(start + step, n))
        similarity = (by_candidate[block] @ seen).toarray()
        norms = np.sqrt(np.outer(counts[block], counts)) + shrinkage
        # Candidates nobody interacted with have a norm of 0 and nothing in common.
        np.divide(similarity, norms, out=similarity, where=similarity > 0)
        similarity[similarity == 0] = -np.inf
        similarity[np.arange(len(block)), block] = -np.inf
        _, nearest = top_k_from_scores(similarity, min(neighbours, n))
        rows, ranks = np.nonzero(nearest >= 0)
        columns = nearest[rows, ranks]
        cells = (similarity[rows, columns], (rows, columns))
        blocks.append(csr_matrix(cells, shape=(len(block), n)))
    return vstack(blocks, format="csr") if blocks else csr_matrix((0, 0))


def _rank(
    score: Callable[[csr_matrix], NDArray[Any]],
    seen: csr_matrix,
    history: csr_matrix | None,
    k: int,
    mask_seen: bool,
) -> Indices:
    """Scores histories block by block and keeps the best k candidates of each."""
    known = seen if history is None else _binary(history)
    queries, candidates = known.shape
    step = max(1, _CELLS_PER_BLOCK // max(1, candidates))
    lists = [np.empty((0, k), np.int64)]
    for start in range(0, queries, step):
        block = known[start : start + step]
        scores = score(block)
        if mask_seen:
            scores[block.nonzero()] = -np.inf
        lists.append(top_k_from_scores(scores, k)[1])
    return np.concatenate(lists)


def _binary(interactions: csr_matrix) -> csr_matrix:
    """Copies interactions with every nonzero entry, however often stored, as 1."""
    from scipy.sparse import csr_matrix

    matrix: csr_matrix = csr_matrix(interactions, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.data = np.ones(len(matrix.data))
    return matrix
