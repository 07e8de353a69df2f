# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Baselines against naive loops, direct solves and cases worked by hand."""

import functools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit import als
from scipy.sparse import csc_matrix, csr_matrix

from serving.errors import UserError
from serving.evaluation import baselines


def fitted_and_ranked(fit):
    """A baseline in one call; without a history the training rows ask."""

    @functools.wraps(fit)
    def rank(train, k, *, mask_seen=True, history=None, **options):
        asking = train if history is None else history
        return baselines.rank(fit(train, **options), asking, k, mask_seen=mask_seen)

    return rank


popularity = fitted_and_ranked(baselines.popularity)
item_knn = fitted_and_ranked(baselines.item_knn)
ease = fitted_and_ranked(baselines.ease)
ials = fitted_and_ranked(baselines.ials)
ALL = [popularity, item_knn, ease, ials]


@st.composite
def histories(draw, max_queries=6, max_candidates=8):
    """Small interaction matrices as nested lists of 0 and 1, empty ones included."""
    n = draw(st.integers(1, max_candidates))
    row = st.lists(st.integers(0, 1), min_size=n, max_size=n)
    return draw(st.lists(row, min_size=1, max_size=max_queries))


def random_matrix(queries, candidates, density=0.2, seed=0):
    cells = np.random.default_rng(seed).random((queries, candidates)) < density
    return csr_matrix(cells.astype(np.float64))


def naive_lists(scores, rows, k, mask_seen):
    """Sorts scores in Python, by index where they tie; None is never retrieved."""
    lists = []
    for score, seen in zip(scores, rows, strict=True):
        left = [
            i
            for i in range(len(seen))
            if score[i] is not None and not (mask_seen and seen[i])
        ]
        best = sorted(left, key=lambda i: (-score[i], i))[:k]
        lists.append(best + [-1] * (k - len(best)))
    return lists


def naive_item_knn(rows, neighbours, shrinkage):
    """Scores every candidate by its nearest neighbours, in dictionaries."""
    n = len(rows[0])
    users = [{u for u, row in enumerate(rows) if row[i]} for i in range(n)]
    nearest = []
    for i in range(n):
        similar = {
            j: len(users[i] & users[j])
            / (math.sqrt(len(users[i]) * len(users[j])) + shrinkage)
            for j in range(n)
            if j != i and users[i] & users[j]
        }
        kept = sorted(similar, key=lambda j: (-similar[j], j))[:neighbours]
        nearest.append({j: similar[j] for j in kept})
    scores = []
    for row in rows:
        terms = [[s for j, s in nearest[i].items() if row[j]] for i in range(n)]
        # Equal sums must tie whatever the order of their terms.
        scores.append([float(np.float32(math.fsum(t))) if t else None for t in terms])
    return scores


def direct_ease(dense, regularization):
    """Solves one ridge regression a column, over all other columns."""
    n = dense.shape[1]
    weights = np.zeros((n, n))
    for j in range(n):
        others = [i for i in range(n) if i != j]
        x = dense[:, others]
        weights[others, j] = np.linalg.solve(
            x.T @ x + regularization * np.eye(n - 1), x.T @ dense[:, j]
        )
    return weights


# interaction_matrix


def test_interaction_matrix_is_binary_and_drops_unknown_candidates():
    matrix = baselines.interaction_matrix([0, 0, 2, 1], [1, 1, 0, -1], (3, 2))
    assert matrix.toarray().tolist() == [[0, 1], [0, 0], [1, 0]]


@pytest.mark.parametrize(
    ("query", "candidate", "message"),
    [
        ([0, 3], [0, 0], "query holds indices 0 to 3, but the matrix has 0 to 2"),
        ([0, 1], [0, 2], "candidate holds indices 0 to 2, but the matrix has 0 to 1"),
        ([-1], [0], "query holds indices -1 to -1"),
        ([0, 1], [0], "parallel vectors"),
    ],
)
def test_interaction_matrix_names_the_wrong_index(query, candidate, message):
    with pytest.raises(ValueError, match=message):
        baselines.interaction_matrix(query, candidate, (3, 2))


def test_interaction_matrix_of_nothing():
    assert baselines.interaction_matrix([], [], (3, 2)).shape == (3, 2)


# popularity


def test_popularity_by_hand():
    train = csr_matrix([[1, 1, 0, 1], [0, 1, 0, 1], [0, 0, 0, 1]])
    assert popularity(train, 3, mask_seen=False).tolist() == [[3, 1, 0]] * 3
    assert popularity(train, 3).tolist() == [
        [2, -1, -1],
        [0, 2, -1],
        [1, 0, 2],
    ]


def test_what_is_hidden_is_left_out_beside_the_history(monkeypatch):
    train, hidden = random_matrix(9, 12, seed=1), random_matrix(9, 12, seed=2)
    score = baselines.popularity(train)
    everything = baselines.rank(score, train, 12, mask_seen=False)
    monkeypatch.setattr(baselines, "_CELLS_PER_BLOCK", 24)  # two rows a block
    for mask_seen in (False, True):
        left_out = (hidden + (train if mask_seen else 0 * train)).toarray() > 0
        found = baselines.rank(score, train, 12, mask_seen=mask_seen, hidden=hidden)
        for row, full, gone in zip(found, everything, left_out, strict=True):
            kept = [i for i in full if not gone[i]]
            assert row.tolist() == kept + [-1] * (12 - len(kept))


@given(histories(), st.integers(1, 10), st.booleans())
def test_popularity_equals_a_loop(rows, k, mask_seen):
    counts = Counter(i for row in rows for i, seen in enumerate(row) if seen)
    scores = [[counts[i] for i in range(len(rows[0]))]] * len(rows)
    found = popularity(csr_matrix(np.array(rows)), k, mask_seen=mask_seen)
    assert found.tolist() == naive_lists(scores, rows, k, mask_seen)


# item-kNN


def test_item_knn_by_hand():
    # 0 and 1 share two of three queries, 2 meets 1 once, 3 meets nobody.
    train = csr_matrix([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0]])
    lists = item_knn(train, 3)
    assert lists.tolist() == [[2, -1, -1], [2, -1, -1], [0, -1, -1], [1, -1, -1]]


def test_shrinkage_prefers_what_many_queries_support():
    # Beside candidate 0, popular candidate 1 was met 8 times, candidate 2 once.
    asks = [[1, 0, 0]]
    rows = asks + [[1, 1, 0]] * 8 + [[1, 0, 0]] + [[1, 0, 1]] + [[0, 1, 0]] * 60
    train = csr_matrix(np.array(rows))
    plain = item_knn(train, 1, shrinkage=0)
    shrunk = item_knn(train, 1, shrinkage=20)
    assert (plain[0, 0], shrunk[0, 0]) == (2, 1)


@given(
    histories(),
    st.integers(1, 10),
    st.booleans(),
    st.integers(1, 4),
    st.sampled_from([0.0, 1.0, 10.0]),
)
def test_item_knn_equals_a_loop(rows, k, mask_seen, neighbours, shrinkage):
    found = item_knn(
        csr_matrix(np.array(rows)),
        k,
        mask_seen=mask_seen,
        neighbours=neighbours,
        shrinkage=shrinkage,
    )
    scores = naive_item_knn(rows, neighbours, shrinkage)
    assert found.tolist() == naive_lists(scores, rows, k, mask_seen)


def test_item_knn_equals_a_loop_on_a_larger_matrix():
    train = random_matrix(40, 60)
    rows = train.toarray().astype(int).tolist()
    expected = naive_lists(naive_item_knn(rows, 15, 10.0), rows, 20, True)
    assert item_knn(train, 20, neighbours=15).tolist() == expected


# EASE


def test_ease_by_hand():
    # G + I = [[3, 1], [1, 3]]: B = [[0, 1/3], [1/3, 0]].
    train = csr_matrix([[1, 0], [0, 1], [1, 1]])
    weights = baselines._ease_weights(csr_matrix(train, dtype=np.float64), 1.0)
    np.testing.assert_allclose(weights, [[0, 1 / 3], [1 / 3, 0]], atol=1e-15)
    assert ease(train, 2, regularization=1).tolist() == [
        [1, -1],
        [0, -1],
        [-1, -1],
    ]


@pytest.mark.parametrize("regularization", [0.5, 20.0, 500.0])
def test_ease_equals_a_constrained_ridge_regression(regularization):
    train = random_matrix(30, 12, density=0.4, seed=1)
    expected = direct_ease(train.toarray(), regularization)
    weights = baselines._ease_weights(train, regularization)
    np.testing.assert_allclose(weights, expected, rtol=1e-9, atol=1e-14)
    assert np.diag(weights).tolist() == [0] * 12


@pytest.mark.parametrize("mask_seen", [True, False])
def test_ease_lists_follow_the_direct_solution(mask_seen):
    train = random_matrix(30, 12, density=0.4, seed=2)
    dense = train.toarray()
    scores = (dense @ direct_ease(dense, 5.0)).astype(np.float32).tolist()
    found = ease(train, 12, mask_seen=mask_seen, regularization=5.0)
    assert found.tolist() == naive_lists(scores, dense.tolist(), 12, mask_seen)


@given(histories(), st.sampled_from([0.1, 500.0]))
@settings(max_examples=50)
def test_ease_weights_are_stationary_off_the_diagonal(rows, regularization):
    # Gradient of |X - XB|^2 + regularization |B|^2, zero wherever B is free.
    dense = np.array(rows, np.float64)
    weights = baselines._ease_weights(csr_matrix(dense), regularization)
    gradient = dense.T @ (dense @ weights - dense) + regularization * weights
    np.fill_diagonal(gradient, 0)
    np.testing.assert_allclose(gradient, 0, atol=1e-10)


def test_ease_refuses_a_catalogue_too_large_before_any_work():
    train = csr_matrix((1, baselines.EASE_MAX_CANDIDATES + 1))
    with pytest.raises(UserError, match="at most 20000 candidates, .* has 20001"):
        ease(train, 1)
    assert ease(random_matrix(3, 5), 1, max_candidates=5).shape == (3, 1)
    with pytest.raises(UserError, match="at most 4"):
        ease(random_matrix(3, 5), 1, max_candidates=4)


@pytest.mark.parametrize("mask_seen", [True, False])
def test_ials_lists_follow_the_normal_equations(mask_seen, monkeypatch):
    fitted = []

    make = als.AlternatingLeastSquares

    def make_and_keep(**options):
        fitted.append(make(**options))
        return fitted[0]

    monkeypatch.setattr(als, "AlternatingLeastSquares", make_and_keep)
    train, history = random_matrix(40, 25), random_matrix(9, 25, seed=5)
    lists = ials(train, 10, mask_seen=mask_seen, history=history, factors=5, alpha=3.0)
    factors = np.asarray(fitted[0].item_factors, np.float64)
    asked = history.toarray()
    scores = []
    for row in asked:
        weight = np.where(row > 0, 3.0, 1.0)
        left = (factors.T * weight) @ factors + 20 * np.eye(5)
        scores.append(factors @ np.linalg.solve(left, factors.T @ (weight * row)))
    expected = naive_lists(scores, asked, 10, mask_seen)
    np.testing.assert_array_equal(lists, expected)
    # The factors of the candidates solve the same equations of their own side.
    queries = np.asarray(fitted[0].user_factors, np.float64)
    column = train.toarray()[:, 0]
    weight = np.where(column > 0, 3.0, 1.0)
    left = (queries.T * weight) @ queries + 20 * np.eye(5)
    solved = np.linalg.solve(left, queries.T @ (weight * column))
    np.testing.assert_allclose(factors[0], solved, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("baseline", ALL)
def test_a_history_is_ranked_as_if_it_had_been_a_training_row(baseline):
    train = random_matrix(30, 20)
    rows = np.array([3, 0, 3, 29])
    for mask_seen in (True, False):
        every = baseline(train, 6, mask_seen=mask_seen)
        lists = baseline(train, 6, mask_seen=mask_seen, history=train[rows])
        np.testing.assert_array_equal(lists, every[rows])


def test_ease_says_when_it_cannot_invert():
    with pytest.raises(UserError, match="regularization of 1e-300: raise it"):
        ease(csr_matrix([[1, 1]]), 1, regularization=1e-300)


# what all of them promise


@pytest.mark.parametrize("baseline", ALL)
@pytest.mark.parametrize("mask_seen", [True, False])
def test_lists_hold_distinct_candidates_with_padding_last(baseline, mask_seen):
    train = random_matrix(25, 30, density=0.3, seed=3)
    lists = baseline(train, 40, mask_seen=mask_seen)
    assert lists.shape == (25, 40) and lists.dtype == np.int64
    for row, seen in zip(lists, train.toarray(), strict=True):
        real = row[row >= 0]
        assert (row[len(real) :] == -1).all()
        assert len(set(real)) == len(real) and real.max() < 30
        assert seen[real].any() != mask_seen


@pytest.mark.parametrize("baseline", ALL)
def test_blocks_and_repetition_do_not_change_the_lists(baseline, monkeypatch):
    train = random_matrix(23, 17, seed=4)
    whole = baseline(train, 9).tolist()
    assert baseline(train, 9).tolist() == whole
    monkeypatch.setattr(baselines, "_CELLS_PER_BLOCK", 4 * 17)
    assert baseline(train, 9).tolist() == whole


@pytest.mark.parametrize("baseline", ALL)
def test_weights_duplicates_and_format_of_the_input_do_not_matter(baseline):
    binary = random_matrix(20, 15, seed=5)
    rated = binary.copy()
    rated.data = np.random.default_rng(6).integers(1, 6, rated.nnz).astype(np.int8)
    coo = binary.tocoo()
    rows, columns = np.append(coo.row, coo.row), np.append(coo.col, coo.col)
    doubled = csr_matrix(binary.shape)
    doubled.indptr = 2 * binary.indptr
    order = np.lexsort([-columns, rows])
    doubled.indices, doubled.data = columns[order], np.ones(len(order))
    with_zero = csr_matrix(
        (
            np.append(coo.data, 0),
            (np.append(coo.row, 0), np.append(coo.col, binary[0].toarray().argmin())),
        ),
        shape=binary.shape,
    )
    expected = baseline(binary, 8).tolist()
    before = [a.copy() for a in (rated.data, doubled.indices, with_zero.indices)]
    for same in (rated, doubled, with_zero, csc_matrix(binary), binary.astype(bool)):
        assert baseline(same, 8).tolist() == expected
    after = (rated.data, doubled.indices, with_zero.indices)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("baseline", [item_knn, ease])
def test_a_query_without_history_has_an_empty_list(baseline):
    train = csr_matrix([[1, 1, 0], [0, 0, 0], [0, 1, 1]])
    lists = baseline(train, 2)
    assert lists[1].tolist() == [-1, -1]
    assert lists[0, 0] == 2


@pytest.mark.parametrize("baseline", ALL)
@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_empty_matrices(baseline, shape):
    assert baseline(csr_matrix(shape), 2).tolist() == [[-1, -1]] * shape[0]


@pytest.mark.parametrize(
    ("baseline", "arguments", "message"),
    [
        (popularity, {"k": 0}, "k must be at least 1"),
        (item_knn, {"k": 0}, "k must be at least 1"),
        (ease, {"k": 0}, "k must be at least 1"),
        (item_knn, {"k": 1, "neighbours": 0}, "neighbours must be at least"),
        (item_knn, {"k": 1, "shrinkage": -1}, "shrinkage must not be neg"),
        (ease, {"k": 1, "regularization": 0}, "regularization must be above"),
    ],
)
def test_bad_arguments_are_named(baseline, arguments, message):
    with pytest.raises(ValueError, match=message):
        baseline(csr_matrix([[1, 0]]), **arguments)
