# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Exact search against a loop in Python, where float32 decides and where it can't."""

import concurrent.futures
import math
import tracemalloc

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from serving import exact
from serving.exact import ExactSearch, best, exact_top_k


@pytest.fixture(scope="module", autouse=True)
def small_parts():
    """Small catalogues are searched as large ones: in threads, by many parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_LEAST_CELLS", 0)
        patch.setattr(exact, "_NORM_ROWS", 3)
        patch.setattr(exact, "_RESCORED", 16)
        patch.setattr(exact, "_MANY", 8)
        patch.setattr(exact, "_GROUPS", 2)
        yield


def loop(queries, candidates, k, excluded):
    """Searches in Python; sums of what the tests draw are exact in float64."""
    lists = []
    for query, without in zip(queries.tolist(), excluded, strict=True):
        found = []
        for at, candidate in enumerate(candidates.tolist()):
            pairs = zip(query, candidate, strict=True)
            with np.errstate(over="ignore"):
                score = float(np.float32(sum(a * b for a, b in pairs)))
            if at not in without and score > -math.inf:
                found.append((-score, at))
        found = sorted(found)[:k] + [(math.inf, -1)] * max(0, k - len(found))
        lists.append(found)
    scores, indices = np.array(lists).reshape(-1, k, 2).transpose(2, 0, 1)
    return -scores, indices.astype(int)


@st.composite
def vectors(draw, dimensions, dtype, most):
    """Small whole numbers, each vector times a power of two; some many times."""
    tiny, huge = (-147, 120) if dtype == np.float32 else (-400, 400)
    exponent = st.sampled_from([0, 0, 0, 0, 1, -1, -60, 60, tiny, huge])
    numbers = st.lists(st.integers(-3, 3), min_size=dimensions, max_size=dimensions)
    drawn = draw(st.lists(st.tuples(numbers, exponent), min_size=1, max_size=most // 2))
    rows = draw(st.lists(st.sampled_from(drawn), max_size=most))
    return np.array(
        [np.ldexp(np.array(row, np.float64), power) for row, power in rows], dtype
    ).reshape(-1, dimensions)


@st.composite
def searches(draw):
    dimensions = draw(st.integers(1, 5))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    queries = draw(vectors(dimensions, dtype, 8))
    candidates = draw(vectors(dimensions, dtype, 40))
    one = st.sets(st.integers(0, max(0, len(candidates) - 1)), max_size=6)
    excluded = [draw(one) if len(candidates) else set() for _ in queries]
    return queries, candidates, excluded


@given(
    searches(),
    st.integers(1, 45),
    st.integers(1, 9),
    st.integers(1, 20),
    st.integers(1, 3),
    st.booleans(),
)
@settings(deadline=None, max_examples=300)
def test_it_is_a_loop_in_any_blocks_and_threads(
    case, k, block_queries, block_candidates, threads, sparse
):
    queries, candidates, excluded = case
    blocks = {
        "block_queries": block_queries,
        "block_candidates": block_candidates,
        "threads": threads,
    }
    lists = [sorted(one) for one in excluded]
    exclude = [[*one, -1] for one in lists]
    if sparse:
        cells = np.zeros((len(queries), len(candidates)), bool)
        for row, one in enumerate(lists):
            cells[row, one] = True
        exclude = csr_matrix(cells)
    search = ExactSearch(candidates)
    none = [set() for _ in queries]
    for found, expected in (
        (search.search(queries, k, exclude, **blocks), loop(*case[:2], k, excluded)),
        (search.search(queries, k, **blocks), loop(*case[:2], k, none)),
        (search.search(queries, k, distinct=False), loop(*case[:2], k, none)),
    ):
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[0], expected[0])


def reference(queries, candidates, k):
    """Sorts all scores, summed in more than float64."""
    wide = queries.astype(np.longdouble) @ candidates.astype(np.longdouble).T
    with np.errstate(over="ignore"):
        scores = wide.astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


def random(rows, dimensions=24, seed=1):
    return np.random.default_rng(seed).standard_normal((rows, dimensions), np.float32)


def outlier(candidates):
    candidates[1500] *= 1e6
    return candidates


def nearly_equal(candidates):
    """A few vectors, many times; copies differ by a unit in the last place."""
    copies = np.tile(candidates[:7], (len(candidates) // 7 + 1, 1))[: len(candidates)]
    nudged = copies.view(np.int32) + (np.abs(candidates) > 1).astype(np.int32)
    return nudged.view(np.float32)


CATALOGUES = {
    "drawn": lambda candidates: candidates,
    "worst first": lambda candidates: candidates[np.argsort(candidates[:, 0])],
    "one far away": outlier,
    "nearly equal": nearly_equal,
    "all equal": lambda candidates: np.tile(candidates[:1], (len(candidates), 1)),
    "zero": np.zeros_like,
    "denormal": lambda candidates: candidates * np.float32(1e-40),
    "huge": lambda candidates: candidates * np.float32(1e38 / 5),
}


@pytest.mark.parametrize("k", [1, 10, 300])
@pytest.mark.parametrize("name", CATALOGUES)
def test_thousands_are_searched_as_by_a_sort(name, k):
    candidates = CATALOGUES[name](random(3000))
    queries = np.abs(random(9, seed=2))
    queries[3] = 0  # somebody unknown, to whom all are equal
    found = exact_top_k(queries, candidates, k, block_candidates=256, block_queries=4)
    scores, indices = reference(queries, candidates, k)
    np.testing.assert_array_equal(found[0], scores)
    np.testing.assert_array_equal(found[1], indices)
    again = exact_top_k(queries, candidates, k, threads=1)
    np.testing.assert_array_equal(again[1], indices)


def test_equal_queries_have_equal_answers_and_their_own_exclusions():
    queries = np.repeat(random(5), 4, axis=0)[np.random.default_rng(1).permutation(20)]
    candidates = random(200, seed=2)
    together = exact_top_k(queries, candidates, 7)
    apart = exact_top_k(queries, candidates, 7, distinct=False)
    for once, each in zip(together, apart, strict=True):
        np.testing.assert_array_equal(once, each)
    same = np.repeat(queries[:1], 2, axis=0)
    first = int(exact_top_k(same, candidates, 1)[1][0, 0])
    found = exact_top_k(same, candidates, 1, [[first], []])[1]
    assert found[0, 0] != first and found[1, 0] == first


def test_a_mapped_catalogue_is_never_copied(tmp_path):
    path = tmp_path / "vectors.npy"
    np.save(path, random(1_000_000, 32))
    mapped = np.load(path, mmap_mode="r")
    queries = random(16, 32, seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_NORM_ROWS", 4096)
        tracemalloc.start()
        found = exact_top_k(queries, mapped, 10, threads=2)[1]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 48e6 < mapped.nbytes / 2.5
    np.testing.assert_array_equal(found, reference(queries, mapped, 10)[1])


def test_scores_that_are_no_numbers_are_refused():
    queries, candidates = np.array([[1e200, 1e200]]), np.array([[1e200, -1e200]])
    with pytest.raises(ValueError, match="small enough for their dot products"):
        exact_top_k(queries, candidates, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_found_anywhere(bad):
    candidates = random(100)
    candidates[67, 3] = bad
    with pytest.raises(ValueError, match="candidates must be finite"):
        ExactSearch(candidates)


def test_threads_below_one_are_refused():
    with pytest.raises(ValueError, match="threads must be at least 1, but is 0"):
        exact_top_k(random(2), random(2), 1, threads=0)


def blas_threads() -> list[int]:
    libraries = threadpoolctl.threadpool_info()
    return [one["num_threads"] for one in libraries if one["user_api"] == "blas"]


def test_searches_side_by_side_leave_blas_as_it_was():
    before = blas_threads()
    candidates, queries = random(5000), random(64, seed=2)

    def search(seed):
        return exact_top_k(random(64, seed=seed), candidates, 5, threads=2)[1]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(search, [2, 3, 2, 3]))
    assert (found[0] == found[2]).all() and (found[1] == found[3]).all()
    with pytest.raises(ValueError, match="names candidate 5000"):
        exact_top_k(queries, candidates, 5, [[5000]] * 64, threads=2)
    assert blas_threads() == before


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=80), st.integers(0, 80))
@settings(deadline=None)
def test_the_best_of_one_query_are_those_of_a_sort(values, k):
    scores = np.array(values, np.float32)
    rows, found = best(scores, min(k, len(values)))
    assert found.tolist() == sorted(scores.tolist(), reverse=True)[:k]
    assert (scores[rows] == found).all() and len(set(rows.tolist())) == len(rows)


@pytest.mark.parametrize("k", [1, 10, 100, 5000, 100_000])
def test_the_best_of_many_are_looked_for_in_groups(k, monkeypatch):
    for name, value in (("_MANY", 1 << 13), ("_GROUPS", 256)):
        monkeypatch.setattr(exact, name, value)
    scores = random(100_000, 1).reshape(-1)
    assert (best(scores, k)[0] == np.argsort(-scores, kind="stable")[:k]).all()
