# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Exact search by dot product, for one query and for many, in bounded memory.

float32 decides what cannot be among the best, float64 scores the few that may be. A
dot product of d numbers computed in float32, in whatever order, is at most
`d u / (1 - d u) * sum(|q_i v_i|)` from the true one, u = 2^-24 (Higham, "Accuracy and
Stability of Numerical Algorithms", 3.1), and that sum is at most `|q| |v|`. Whatever
lies further below the k-th best than that is passed over.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import threadpoolctl
from numpy.typing import ArrayLike, NDArray

from serving.checks import Indices, indices, matrix, positive

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Scores = NDArray[np.float32]
Values = NDArray[np.float64]

PADDING = -1
"""Where a list has no candidate."""

BLOCK_QUERIES = 128
BLOCK_CANDIDATES = 8192
"""With as many queries, scores of 4 MB: they stay in a core's cache."""
_NORM_ROWS = 4096
"""Candidates whose largest norm is kept."""
_RESCORED = 1 << 18
"""Numbers of either side that are rescored at once."""
_LEAST_CELLS = 1 << 21
"""Scores below which threads are not worth their start."""
_MANY = 1 << 13
"""Scores of a single query from which on their groups are looked at first."""
_GROUPS = 256
"""Least number of groups whose maxima are looked at."""
_LARGEST = float(np.finfo(np.float32).max)
_TINY = float(np.finfo(np.float32).tiny)


def exact_top_k(
    queries: ArrayLike,
    candidates: ArrayLike,
    k: int,
    exclude: csr_matrix | Sequence[ArrayLike] | None = None,
    **options: Any,
) -> tuple[Scores, Indices]:
    """Searches candidates once: `ExactSearch(candidates).search(queries, k, ...)`."""
    return ExactSearch(candidates).search(queries, k, exclude, **options)


def _distinct(rows: NDArray[Any]) -> tuple[Indices, Indices]:
    """Returns the first of all equal rows, and which of these each row is."""
    whole = np.ascontiguousarray(rows)
    keys = whole.view(np.dtype((np.void, whole.itemsize * whole.shape[1]))).reshape(-1)
    _, first, of_row = np.unique(keys, return_index=True, return_inverse=True)
    return first, of_row


class ExactSearch:
    """Exact search over candidates.

    Scores are accumulated in float64, always in the same order, and rounded to float32
    before they are compared: equal embeddings tie, and neither block sizes, threads nor
    the BLAS library decide what is found.
    """

    def __init__(self, candidates: ArrayLike):
        """Reads the candidates once, in blocks.

        Args:
            candidates: `[n, d]` embeddings, finite; float32 is not copied and may be
                memory-mapped.

        Raises:
            ValueError: They are no matrix or hold NaN or infinity.
        """
        self.candidates = matrix("candidates", candidates)
        self._norms = _largest_norms("candidates", self.candidates, _NORM_ROWS)

    def search(
        self,
        queries: ArrayLike,
        k: int,
        exclude: csr_matrix | Sequence[ArrayLike] | None = None,
        *,
        block_queries: int = BLOCK_QUERIES,
        block_candidates: int = BLOCK_CANDIDATES,
        threads: int | None = None,
        distinct: bool = True,
    ) -> tuple[Scores, Indices]:
        """Searches for many queries.

        Beyond inputs and result each thread holds about `block_queries * (6 *
        block_candidates + 300 * k)` bytes, 10 MB by default for k = 100. Where float32
        does not decide (nearly all candidates of a block tie, or overflow) it is up to
        `110 * block_queries * block_candidates`, 115 MB, and the search takes several
        times as long.

        Args:
            queries: `[q, d]` embeddings, finite.
            k: Candidates to retrieve, at least 1.
            exclude: Candidates never to retrieve: a sparse `[q, n]` matrix whose
                nonzero entries are excluded, or q index arrays, in which -1 is
                padding.
            block_queries: Queries scored at once by a thread.
            block_candidates: Candidates scored at once; more where there are fewer
                queries.
            threads: Threads over blocks of queries; None: as many as this process may
                use cores. Each calls BLAS with one thread.
            distinct: Search equal rows of queries once, where nothing is excluded.

        Returns:
            `[q, k]` float32 scores, best first, ties by the lower index, and their
            `[q, k]` candidate indices; padded with -inf and -1 where fewer than k
            candidates remain. A score below float32's range is not retrieved.

        Raises:
            ValueError: On shapes that do not fit, queries that are not finite, an
                excluded index of n or more, a k, block or number of threads below 1,
                or float64 embeddings so large that a score is no number.
        """
        cores = len(os.sched_getaffinity(0)) if threads is None else threads
        for name, value in (
            ("k", k),
            ("block_queries", block_queries),
            ("block_candidates", block_candidates),
            ("threads", cores),
        ):
            positive(name, value)
        asked, norms = self._queries(queries)
        of_row = None
        if distinct and exclude is None and asked.size:
            first, of_row = _distinct(asked)
            asked, norms = asked[first], norms[first]
        shape = len(asked), len(self.candidates)
        excluded = _exclusions(exclude, shape)
        step, workers = _share(shape, block_queries, cores)
        width = max(block_candidates, block_queries * block_candidates // step)
        scores = np.full((len(asked), k), -np.inf, np.float32)
        found = np.full((len(asked), k), PADDING, np.int64)

        def search_block(start: int) -> None:
            block = slice(start, start + step)
            cells = _excluded_cells(excluded, block, shape[1])
            # What overflows is scored anew, or said to.
            with np.errstate(over="ignore", invalid="ignore"):
                one = _Block(self, asked[block], norms[block], k, cells)
                scores[block], found[block] = one.search(width)

        _run(search_block, range(0, len(asked), step), workers)
        return (scores, found) if of_row is None else (scores[of_row], found[of_row])

    def rescore(self, queries: NDArray[Any], rows: Indices, columns: Indices) -> Scores:
        """Returns the scores of (query, candidate) pairs, `[pairs]`.

        Args:
            queries: float64 `[b, d]`.
            rows: `[pairs]` queries.
            columns: `[pairs]` candidates.

        Raises:
            ValueError: A score is no number.
        """
        scores = np.empty(len(rows), np.float32)
        step = max(1, _RESCORED // max(1, self.candidates.shape[1]))
        for at in range(0, len(rows), step):
            part = slice(at, at + step)
            # Unlike BLAS, it adds up a pair alike wherever the pair stands.
            scores[part] = np.einsum(
                "ij,ij->i",
                queries[rows[part]],
                self.candidates[columns[part]].astype(np.float64, copy=False),
            )
        if np.isnan(scores).any():
            raise ValueError(
                "queries and candidates must be small enough for their dot products."
            )
        return scores

    def longest(self, first: int, after: int) -> float:
        """Returns a bound of the norms of candidates from first to after."""
        norms = self._norms[first // _NORM_ROWS : -(-after // _NORM_ROWS)]
        return float(norms.max(initial=0))

    def error(
        self, lengths: Values, first: int, after: int
    ) -> tuple[Values, NDArray[np.bool_]]:
        """Bounds what float32 errs by on some candidates.

        Beside that of the sum it covers what is lost where numbers are brought to
        float32 and the result is, at either end, and numbers too small for float32,
        which a processor may take for 0.

        Args:
            lengths: `[b]` norms of queries.
            first: Of the candidates.
            after: Behind the last one.

        Returns:
            For each query the bound, and whether it holds: float32 may overflow.
        """
        longest = self.longest(first, after)
        dimensions = self.candidates.shape[1]
        share = (dimensions + 8) * 2.0**-24
        if share > 0.5 or longest > _LARGEST:
            return np.full(len(lengths), np.inf), np.zeros(len(lengths), bool)
        relative = longest * 1.01 * share / (1 - share)
        tiny = _TINY * math.sqrt(dimensions)
        slack = (
            lengths * (relative + tiny) + tiny * longest + _TINY * (2 * dimensions + 8)
        )
        trusted = np.maximum(lengths, lengths * longest + slack) < _LARGEST
        # Zeros are common, somebody unknown for one, and tie with everything.
        slack = np.where((lengths == 0) | (longest == 0), 0, slack)
        return np.where(trusted, slack, np.inf), trusted

    def _queries(self, queries: ArrayLike) -> tuple[NDArray[Any], Values]:
        """Checks queries and returns them with their norms."""
        asked = matrix("queries", queries)
        if asked.shape[1] != self.candidates.shape[1]:
            raise ValueError(
                "queries and candidates must have the same dimension, but are "
                f"{asked.shape} and {self.candidates.shape}."
            )
        return asked, _largest_norms("queries", asked, 1)


def _share(shape: tuple[int, int], most: int, cores: int) -> tuple[int, int]:
    """Shares queries out evenly; returns those of a block, and threads."""
    queries = max(1, shape[0])
    workers = min(cores, queries) if queries * shape[1] > _LEAST_CELLS else 1
    rounds = -(-queries // (workers * most))
    return -(-queries // (rounds * workers)), workers


def _run(task: Callable[[int], None], starts: range, workers: int) -> None:
    """Runs a task for each block of queries, in threads if there are many."""
    with _BLAS.one_thread():
        if workers == 1:
            for start in starts:
                task(start)
            return
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(task, starts):
                pass  # raises what the task has raised


class _Block:
    """The search for a block of queries, all candidates after one another."""

    def __init__(
        self,
        over: ExactSearch,
        queries: NDArray[Any],
        norms: Values,
        k: int,
        excluded: tuple[Indices, Indices],
    ):
        """Starts with empty lists; excluded are (row, candidate), by candidate."""
        self._over, self._norms, self._k = over, norms, k
        self._queries = queries.astype(np.float64)
        self._rough_queries = queries.astype(np.float32)
        self._excluded = excluded
        # Candidates ascend in a row, so that the first of ties is the lowest.
        self._scores = np.full((len(queries), k), -np.inf, np.float32)
        self._found = np.full((len(queries), k), PADDING, np.int64)
        self._least = self._scores.min(axis=1)
        self._waiting: list[tuple[Indices, Indices, Scores]] = []
        self._count = 0

    def search(self, width: int) -> tuple[Scores, Indices]:
        """Returns scores and candidates, both `[b, k]`, best first."""
        size = len(self._over.candidates)
        buffer = np.empty(len(self._queries) * min(width, size), np.float32)
        for first in range(0, size, width):
            chunk = self._over.candidates[first : first + width]
            rough = buffer[: len(self._queries) * len(chunk)].reshape(-1, len(chunk))
            chunk = chunk.astype(np.float32, copy=False)
            np.matmul(self._rough_queries, chunk.T, out=rough)
            rows, columns = self._passing(rough, first)
            if len(rows):
                self._add(rows, columns + first)
        self._merge()
        order = np.argsort(-self._scores, axis=1, kind="stable")
        return (
            np.take_along_axis(self._scores, order, axis=1),
            np.take_along_axis(self._found, order, axis=1),
        )

    def _passing(self, rough: Scores, first: int) -> tuple[Indices, Indices]:
        """Finds what may be among the k best, by its float32 score `[b, w]`."""
        width = rough.shape[1]
        low, high = np.searchsorted(self._excluded[1], (first, first + width))
        excluded = (self._excluded[0][low:high], self._excluded[1][low:high] - first)
        rough[excluded] = -np.inf
        slack, trusted = self._over.error(self._norms, first, first + width)
        floor = self._least - slack
        # A later candidate that ties with the k-th best is behind it.
        passing = rough > _rounded_down(floor)
        if not trusted.all():
            passing[~trusted] = True
            passing[excluded] = False
        cells = np.flatnonzero(passing)
        if len(cells) > 2 * self._scores.size and width > self._k:
            kth = _at_most_kth(rough, self._k)
            least = _rounded_down(np.fmax(floor, kth - 2 * slack))
            reaching = rough > np.nextafter(least, np.float32(-np.inf))
            passing &= reaching | ~trusted[:, None]
            if np.count_nonzero(passing) > passing.size // 8:
                passing &= self._beating(first, width)
            cells = np.flatnonzero(passing)
        rows, columns = np.divmod(cells, width)
        return rows, columns

    def _beating(self, first: int, width: int) -> NDArray[np.bool_]:
        """Tells where float64 can't rule out that a candidate beats the k-th best.

        To beat it a score must be rounded to more: to lie halfway to the next float32.
        """
        chunk = self._over.candidates[first : first + width]
        upper = np.nextafter(self._least, np.float32(np.inf)).astype(np.float64)
        upper[np.isinf(upper) & np.isfinite(self._least)] = 2.0**128
        # As in float32, but for numbers that matter to no float32.
        share = 1.01 * (chunk.shape[1] + 8) * 2.0**-53
        slack = share * self._norms * self._over.longest(first, first + width)
        halfway = (self._least + upper) / 2 - slack
        scores = self._queries @ chunk.astype(np.float64, copy=False).T
        return ~(scores <= halfway[:, None])  # what is no number is told of later

    def _add(self, rows: Indices, found: Indices) -> None:
        """Scores what passed, in ascending order of rows, then of candidates."""
        scores = self._over.rescore(self._queries, rows, found)
        better = scores > self._least[rows]
        self._waiting.append((rows[better], found[better], scores[better]))
        self._count += int(np.count_nonzero(better))
        if self._count >= self._scores.size:
            self._merge()

    def _merge(self) -> None:
        """Takes what waits into the lists."""
        if not self._waiting:
            return
        parts = zip(*self._waiting, strict=True)
        rows, found, scores = (np.concatenate(part) for part in parts)
        self._waiting, self._count = [], 0
        # Of few bits, they are sorted by counting.
        small = rows.astype(np.min_scalar_type(len(self._scores)))
        order = np.argsort(small, kind="stable")
        rows = rows[order]
        counts = np.bincount(rows, minlength=len(self._scores))
        column = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows] + self._k
        more = [(0, 0), (0, int(counts.max()))]
        all_scores = np.pad(self._scores, more, constant_values=-np.inf)
        all_found = np.pad(self._found, more, constant_values=PADDING)
        all_scores[rows, column] = scores[order]
        all_found[rows, column] = found[order]
        top = _top_columns(all_scores, self._k)
        self._scores = np.take_along_axis(all_scores, top, axis=1)
        self._found = np.take_along_axis(all_found, top, axis=1)
        self._least = self._scores.min(axis=1)


def _rounded_down(values: Values) -> NDArray[np.float32]:
    """Returns the float32 numbers `[b, 1]` at or below."""
    near = values.astype(np.float32)
    lower = np.nextafter(near, np.float32(-np.inf))
    return np.where(near > values, lower, near)[:, None]


def best(scores: Scores, k: int) -> tuple[Indices, Scores]:
    """Returns where the k highest of `[n]` scores stand, and these.

    It is what answers a single query: its scores are those of float32.

    Args:
        scores: `[n]`, no NaN.
        k: At most n.

    Returns:
        Positions and scores `[k]`, best first, ties by the lower position.
    """
    if k >= len(scores) or not k:
        rows = np.arange(len(scores) if k else 0)
    elif len(scores) >= _MANY:
        (rows,) = (scores >= _at_most_kth(scores, k)).nonzero()
    else:
        (rows,) = (scores >= np.partition(scores, -k)[-k]).nonzero()
    rows = rows[np.lexsort((rows, -scores[rows]))][:k]
    return rows, scores[rows]


def _at_most_kth(scores: Scores, k: int) -> Scores:
    """Returns what at least k of the scores in each row reach, and not many more.

    Of many scores it is the k-th highest of the maxima of groups.
    """
    columns = scores.shape[-1]
    groups = max(_GROUPS, 3 * k)
    size = columns // groups
    if size > 1:
        whole = scores[..., : size * groups]
        # One number of a group after the other: maxima of whole vectors are fast.
        scores = whole.reshape(*scores.shape[:-1], size, groups).max(axis=-2)
    cut = scores.shape[-1] - k
    return np.partition(scores, cut, axis=-1)[..., cut]


def _largest_norms(name: str, rows: NDArray[Any], step: int) -> Values:
    """Returns the largest norm of each `step` rows, infinite if it overflows.

    It is 0 only where all rows are.

    Raises:
        ValueError: They hold NaN or infinity.
    """
    norms = np.empty(-(-len(rows) // step))
    block = -(-_NORM_ROWS // step) * step
    for first in range(0, len(rows), block):
        part = rows[first : first + block]
        wide = part.astype(np.float64)
        with np.errstate(over="ignore"):
            squares = np.einsum("ij,ij->i", wide, wide)
        if not np.isfinite(squares).all() and not np.isfinite(wide).all():
            raise ValueError(f"{name} must be finite, but hold NaN or infinity.")
        zero = np.flatnonzero(squares == 0)
        squares[zero[wide[zero].any(axis=1)]] = np.finfo(np.float64).tiny
        largest = np.maximum.reduceat(squares, np.arange(0, len(part), step))
        norms[first // step : first // step + len(largest)] = np.sqrt(largest)
    return norms


class _Blas:
    """The number of threads of BLAS, which a whole process shares."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._limit: Any = None

    @functools.cached_property
    def _controller(self) -> Any:
        # Looking for the libraries of a process takes milliseconds.
        return threadpoolctl.ThreadpoolController()

    @contextlib.contextmanager
    def one_thread(self) -> Iterator[None]:
        """Lets each call of BLAS use one thread, until the last user is done."""
        with self._lock:
            if not self._users:
                self._limit = self._controller.limit(limits=1, user_api="blas")
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._limit.restore_original_limits()


_BLAS = _Blas()


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
    positive("k", k)
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
    """Lists a block's excluded (row within the block, candidate), by candidate."""
    none = np.empty(0, np.int64)
    if exclude is None:
        return none, none
    if hasattr(exclude, "tocsr"):
        rows, columns = exclude[block].nonzero()
    else:
        lists = [indices("exclude", row, 1) for row in exclude[block]]
        rows = np.repeat(np.arange(len(lists)), [len(row) for row in lists])
        columns = np.concatenate([none, *lists])
        if columns.max(initial=PADDING) >= candidates:
            raise ValueError(
                f"exclude names candidate {columns.max()}, but the catalogue's last is "
                f"{candidates - 1}."
            )
    order = np.argsort(columns)
    return rows[order].astype(np.int64), columns[order].astype(np.int64)
