# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Ranking metrics, exact search and intervals against naive loops and known values."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_matrix, csr_matrix

from serving.evaluation import intervals, metrics

ROOT = Path(__file__).resolve().parents[2]


@st.composite
def ranked_lists(draw, max_queries=5, candidates=8, queries=None):
    """Lists of distinct candidates with padding anywhere, as int32 or int64."""
    rows = queries or draw(st.integers(1, max_queries))
    width = draw(st.integers(0, candidates))
    lists = np.full((rows, width), -1)
    for row in lists:
        order = draw(st.permutations(range(candidates)))[:width]
        kept = draw(st.lists(st.booleans(), min_size=width, max_size=width))
        row[:] = [c if keep else -1 for c, keep in zip(order, kept, strict=True)]
    return lists.astype(draw(st.sampled_from([np.int32, np.int64])))


@st.composite
def evaluations(draw, candidates=8):
    """Lists together with interactions, some repeated, some outside the catalogue."""
    lists = draw(ranked_lists(candidates=candidates))
    pair = st.tuples(st.integers(0, len(lists) - 1), st.integers(-1, candidates - 1))
    pairs = draw(st.lists(pair, max_size=20))
    query, candidate = np.array(pairs, np.int64).reshape(-1, 2).T
    return lists, query, candidate


def naive_rank(row, wanted):
    for position, candidate in enumerate(row):
        if candidate == wanted and wanted != -1:
            return position
    return -1


def naive_query_metrics(row, relevant, k):
    """Scores one list by the textbook, from Python lists alone."""
    gains = [1 if c != -1 and c in relevant else 0 for c in list(row)[:k]]
    ideal = sum(1 / math.log2(i + 2) for i in range(min(k, len(relevant))))
    first = gains.index(1) if 1 in gains else None
    return {
        "recall": sum(gains) / len(relevant),
        "ndcg": sum(g / math.log2(i + 2) for i, g in enumerate(gains)) / ideal,
        "mrr": 0.0 if first is None else 1 / (first + 1),
        "hit_rate": 0.0 if first is None else 1.0,
        "map": sum(
            sum(gains[: i + 1]) / (i + 1) for i, gain in enumerate(gains) if gain
        )
        / min(k, len(relevant)),
    }


# ranks


def test_ranks_by_hand():
    lists = [[4, 2, -1], [0, 1, 2]]
    found = metrics.ranks(lists, [0, 0, 1, 1, 0], [4, 2, 2, 3, -1])
    assert found.tolist() == [0, 1, 2, -1, -1]
    assert found.dtype == np.int64


def test_ranks_take_the_first_of_a_repeated_candidate():
    assert metrics.ranks([[5, 3, 3]], [0], [3]).tolist() == [1]


@given(evaluations())
def test_ranks_equal_a_loop(case):
    lists, query, candidate = case
    found = metrics.ranks(lists, query, candidate)
    expected = [naive_rank(lists[q], c) for q, c in zip(query, candidate, strict=True)]
    assert found.tolist() == expected


def test_ranks_are_the_same_in_blocks(monkeypatch):
    generator = np.random.default_rng(0)
    lists = generator.integers(-1, 30, (6, 10))
    query, candidate = generator.integers(0, 6, 57), generator.integers(-1, 30, 57)
    whole = metrics.ranks(lists, query, candidate)
    monkeypatch.setattr(metrics, "_COMPARISONS_PER_BLOCK", 40)
    assert metrics.ranks(lists, query, candidate).tolist() == whole.tolist()
    assert (whole >= 0).any() and (whole < 0).any()


@pytest.mark.parametrize("width", [0, 3])
def test_ranks_of_nothing(width):
    assert metrics.ranks(np.zeros((2, width), int), [], []).shape == (0,)


def test_ranks_in_empty_lists_are_misses():
    assert metrics.ranks(np.zeros((2, 0), int), [0, 1], [3, -1]).tolist() == [-1, -1]


@pytest.mark.parametrize("outside", [-1, 2])
def test_a_query_outside_the_lists_is_refused(outside):
    with pytest.raises(ValueError, match=f"query names row {outside}, .* 0 to 1"):
        metrics.ranks([[1], [2]], [0, outside], [1, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [0], [1]), "retrieved must have 2 dimension"),
        (([[1, 2]], [0, 0], [1]), "parallel arrays, but have 2 and 1"),
        (([[1.0, 2.0]], [0], [1]), "retrieved must hold integer indices.*float64"),
        (([[1, 2]], [0], ["7"]), "candidate must hold integer indices"),
        (([[1, 2]], [[0]], [1]), "query must have 1 dimension"),
    ],
)
def test_ranks_name_the_wrong_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        metrics.ranks(*arguments)


# top-k accuracy


def test_top_k_accuracy_by_hand():
    assert metrics.top_k_accuracy([0, 4, -1, 5], [10, 1, 5]) == {
        10: 0.75,
        1: 0.25,
        5: 0.5,
    }


@given(st.lists(st.integers(-1, 30), min_size=1), st.integers(1, 40))
def test_top_k_accuracy_equals_a_loop_and_grows_with_k(positions, k):
    accuracy = metrics.top_k_accuracy(positions, [k, k + 1])
    assert accuracy[k] == sum(p in range(k) for p in positions) / len(positions)
    assert accuracy[k] <= accuracy[k + 1] <= 1


def test_top_k_accuracy_of_no_interactions_is_undefined():
    assert math.isnan(metrics.top_k_accuracy([], [10])[10])


def test_top_k_accuracy_refuses_k_below_1():
    with pytest.raises(ValueError, match="k must be at least 1, but is 0"):
        metrics.top_k_accuracy([0], [10, 0])


def test_accuracy_by_score_by_hand():
    scores = [[9, 5, 1], [9, 5, 1], [9, 5, 1], [9, math.nan, math.nan]]
    own = [9, 7, 0, 10]
    assert metrics.top_k_accuracy_by_score(scores, own, [1, 2, 3, 4]) == {
        1: 0.25,  # a tie is no better
        2: 0.5,
        3: 0.5,
        4: 0.75,  # a list of three can be no more in the way
    }


def test_accuracy_by_score_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"are \(1, 2\) and \(2,\)"):
        metrics.top_k_accuracy_by_score([[1, 2]], [1, 2], [1])


# per-query metrics


def test_per_query_metrics_by_hand():
    # Query 0 finds 2 of its 3 candidates at ranks 0 and 2; query 2 finds nothing.
    lists = [[7, 1, 8, 9], [1, 2, 3, 4], [1, 2, 3, 4]]
    query, candidate = [0, 0, 0, 2], [7, 8, 5, 9]
    scored = metrics.per_query_metrics(lists, query, candidate, 3)
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert metrics.evaluated_queries(query).tolist() == [0, 2]
    assert scored["recall"].tolist() == pytest.approx([2 / 3, 0])
    assert scored["ndcg"].tolist() == pytest.approx([1.5 / ideal, 0])
    assert scored["mrr"].tolist() == [1, 0]
    assert scored["hit_rate"].tolist() == [1, 0]
    assert scored["map"].tolist() == pytest.approx([(1 + 2 / 3) / 3, 0])


def test_ideal_gain_stops_at_k():
    scored = metrics.per_query_metrics([[1, 2]], [0, 0, 0, 0], [1, 2, 3, 4], 2)
    assert scored["ndcg"].tolist() == pytest.approx([1])
    assert scored["map"].tolist() == [1]
    assert scored["recall"].tolist() == [0.5]


def test_a_short_list_pays_for_what_it_leaves_out():
    short = metrics.per_query_metrics([[1, -1]], [0, 0, 0], [1, 2, 3], 3)
    assert short["ndcg"].tolist() == pytest.approx([1 / (1 + 1 / math.log2(3) + 0.5)])


def test_candidates_outside_the_catalogue_are_relevant_and_never_found():
    known = metrics.per_query_metrics([[1, 2]], [0], [2], 2)
    with_unknown = metrics.per_query_metrics([[1, 2]], [0, 0, 0], [2, -1, -1], 2)
    assert known["recall"].tolist() == [1]
    assert with_unknown["recall"].tolist() == pytest.approx([1 / 3])


@given(evaluations(), st.integers(1, 12))
def test_per_query_metrics_equal_a_loop(case, k):
    lists, query, candidate = case
    scored = metrics.per_query_metrics(lists, query, candidate, k)
    evaluated = metrics.evaluated_queries(query)
    assert evaluated.tolist() == sorted(set(query.tolist()))
    for place, row in enumerate(evaluated):
        mine = candidate[query == row].tolist()
        unknown = [f"outside {i}" for i in range(mine.count(-1))]
        relevant = {c for c in mine if c != -1} | set(unknown)
        for name, value in naive_query_metrics(lists[row], relevant, k).items():
            assert scored[name][place] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("k", [1, 10, 20])
def test_per_query_metrics_are_those_of_trec_eval(k):
    """As IR's own tool has them, whose map_cut is over |R| instead of min(k, |R|)."""
    generator = np.random.default_rng(11)
    lists = np.stack([generator.permutation(60)[:25] for _ in range(40)])
    query = np.repeat(np.arange(40), generator.integers(1, 40, 40))
    pairs = {(q, int(generator.integers(60))) for q in query.tolist()}
    query, candidate = np.array(sorted(pairs)).T
    found = metrics.per_query_metrics(lists, query, candidate, k)

    judged: dict[str, dict[str, int]] = {}
    for q, c in pairs:
        judged.setdefault(f"q{q}", {})[f"c{c}"] = 1
    runs = {
        f"q{q}": {f"c{c}": float(k - rank) for rank, c in enumerate(row[:k])}
        for q, row in enumerate(lists.tolist())
    }
    # Lists that end at k, for reciprocal rank, which it does not cut.
    measures = {f"{name}.{k}" for name in ("recall", "ndcg_cut", "success", "map_cut")}
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {*measures, "recip_rank"})
    expected = evaluator.evaluate(runs)
    for place, q in enumerate(metrics.evaluated_queries(query)):
        own, relevant = expected[f"q{q}"], len(judged[f"q{q}"])
        assert {name: values[place] for name, values in found.items()} == pytest.approx(
            {
                "recall": own[f"recall_{k}"],
                "ndcg": own[f"ndcg_cut_{k}"],
                "mrr": own["recip_rank"],
                "hit_rate": own[f"success_{k}"],
                "map": own[f"map_cut_{k}"] * relevant / min(k, relevant),
            }
        )


@given(evaluations(), st.integers(1, 12), st.randoms(use_true_random=False))
def test_order_and_repetition_of_interactions_do_not_matter(case, k, random):
    lists, query, candidate = case
    known = np.flatnonzero(candidate >= 0)
    again = np.concatenate([np.arange(len(query)), known])
    random.shuffle(again)
    once = metrics.per_query_metrics(lists, query, candidate, k)
    twice = metrics.per_query_metrics(lists, query[again], candidate[again], k)
    for name in once:
        np.testing.assert_allclose(once[name], twice[name], rtol=1e-12)


def test_a_huge_k_needs_no_memory_of_its_size():
    scored = metrics.per_query_metrics([[1, 2]], [0], [2], 10**12)
    assert scored["ndcg"].tolist() == pytest.approx([1 / math.log2(3)])


def test_per_query_metrics_of_nothing():
    scored = metrics.per_query_metrics(np.zeros((3, 5), int), [], [], 5)
    assert {name: len(values) for name, values in scored.items()} == {
        "recall": 0,
        "ndcg": 0,
        "mrr": 0,
        "hit_rate": 0,
        "map": 0,
    }


# metrics of all lists together


def naive_list_metrics(lists, held_out, seen_by, queries, k):
    """The definitions, from Python lists alone."""
    recommended = [[c for c in row[:k] if c != -1] for row in lists]
    often = [sum(row.count(c) for row in recommended) for c in range(len(seen_by))]
    total = sum(often)

    def mean_of_means(rows, value):
        means = [sum(map(value, row)) / len(row) for row in rows if row]
        return sum(means) / len(means) if means else math.nan

    def surprise(candidate):
        return -math.log2(max(seen_by[candidate], 1) / queries)

    chosen = [
        [c for q, c in held_out if q == query and c != -1]
        for query in range(len(lists))
    ]
    liked = mean_of_means(chosen, lambda c: seen_by[c])
    # Gini's own form: the mean absolute difference of all pairs.
    pairs = sum(abs(a - b) for a in often for b in often)
    return {
        "coverage": sum(count > 0 for count in often) / len(often),
        "gini": pairs / (2 * (len(often) - 1) * total) if total else math.nan,
        "popularity_bias": mean_of_means(recommended, lambda c: seen_by[c]) / liked
        if liked
        else math.nan,
        "novelty": mean_of_means(recommended, surprise),
    }


@given(
    evaluations(),
    st.lists(st.integers(0, 9), min_size=8, max_size=8),
    st.integers(9, 20),
    st.integers(1, 10),
)
def test_list_metrics_equal_a_loop(case, seen_by, queries, k):
    lists, query, candidate = case
    found = metrics.list_metrics(lists, query, candidate, seen_by, queries, k)
    held_out = list(zip(query.tolist(), candidate.tolist(), strict=True))
    expected = naive_list_metrics(lists.tolist(), held_out, seen_by, queries, k)
    assert found == pytest.approx(expected, nan_ok=True, abs=1e-12)


def test_list_metrics_by_hand():
    # Three lists of two; candidate 3 is never recommended.
    lists = [[0, 1], [0, 2], [0, -1]]
    found = metrics.list_metrics(lists, [0, 1, 1], [1, 3, -1], [8, 4, 2, 0], 16, 2)
    assert found["coverage"] == 3 / 4
    # Counts 0, 1, 1, 3: (-3 * 0 - 1 * 1 + 1 * 1 + 3 * 3) / 3 / 5
    assert found["gini"] == pytest.approx(9 / 15)
    assert found["popularity_bias"] == pytest.approx((6 + 5 + 8) / 3 / ((4 + 0) / 2))
    assert found["novelty"] == pytest.approx((1.5 + 2 + 1) / 3)


@pytest.mark.parametrize(
    ("lists", "gini"),
    [([[0, 1], [2, 3]], 0), ([[2], [2], [2]], 1)],
)
def test_gini_is_0_when_all_are_even_and_1_when_one_takes_all(lists, gini):
    found = metrics.list_metrics(lists, [0], [0], [1, 1, 1, 1], 4, 2)
    assert found["gini"] == pytest.approx(gini)


def test_a_candidate_that_training_has_not_seen_is_as_new_as_one_seen_once():
    found = metrics.list_metrics([[0], [1]], [0], [0], [1, 0], 8, 1)
    assert found["novelty"] == 3


def test_list_metrics_of_nothing_are_undefined():
    found = metrics.list_metrics([[-1, -1]], [], [], [3, 1], 4, 2)
    assert found.pop("coverage") == 0
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize(
    ("lists", "candidate", "name"), [([[2]], 0, "retrieved"), ([[0]], 2, "candidate")]
)
def test_list_metrics_refuse_what_is_outside_the_catalogue(lists, candidate, name):
    with pytest.raises(ValueError, match=f"{name} names candidate 2.*last is 1"):
        metrics.list_metrics(lists, [0], [candidate], [1, 1], 4, 1)


# recall against exact


def test_recall_against_exact_by_hand():
    approximate = [[3, 1, 9], [-1, -1, -1], [5, 5, 6], [4, -1, -1]]
    exact = [[1, 2, 3], [-1, -1, -1], [5, 7, 8], [4, 5, -1]]
    recall = metrics.recall_against_exact(approximate, exact, 3)
    assert recall.tolist() == pytest.approx([2 / 3, 1, 1 / 3, 1 / 2])
    # At 1, only the first column of each counts.
    assert metrics.recall_against_exact(approximate, exact, 1).tolist() == [0, 1, 1, 1]


@given(st.data(), st.integers(1, 4), st.integers(1, 10))
def test_recall_against_exact_equals_sets(data, queries, k):
    approximate = data.draw(ranked_lists(queries=queries))
    exact = data.draw(ranked_lists(queries=queries))
    recall = metrics.recall_against_exact(approximate, exact, k)
    for row in range(queries):
        found = set(approximate[row, :k].tolist()) - {-1}
        truth = set(exact[row, :k].tolist()) - {-1}
        expected = len(found & truth) / len(truth) if truth else 1
        assert recall[row] == pytest.approx(expected)


@given(ranked_lists(), st.integers(1, 10))
def test_recall_of_a_list_against_itself_is_1(lists, k):
    assert (metrics.recall_against_exact(lists, lists, k) == 1).all()


def test_recall_against_exact_refuses_other_queries():
    with pytest.raises(ValueError, match="same queries, but have 1 and 2 rows"):
        metrics.recall_against_exact([[1]], [[1], [2]], 1)


# top-k from scores and exact search


def naive_top_k(scores, k):
    """Sorts one row in Python: by score, then by index; -inf is left out."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept = [i for i in order if scores[i] != -math.inf][:k]
    padding = k - len(kept)
    return (
        [scores[i] for i in kept] + [-math.inf] * padding,
        kept + [-1] * padding,
    )


@given(
    st.integers(0, 9).flatmap(
        lambda n: st.lists(
            st.lists(
                st.sampled_from([-math.inf, -1.0, -0.0, 0.0, 0.5, 2.0]),
                min_size=n,
                max_size=n,
            ),
            min_size=1,
            max_size=4,
        )
    ),
    st.integers(1, 12),
)
def test_top_k_from_scores_equals_a_sort(rows, k):
    scores, columns = metrics.top_k_from_scores(np.array(rows, np.float32), k)
    for row, best, where in zip(rows, scores, columns, strict=True):
        expected_scores, expected_columns = naive_top_k(row, k)
        assert where.tolist() == expected_columns
        assert best.tolist() == expected_scores


def test_top_k_from_scores_refuses_nan():
    with pytest.raises(ValueError, match="NaN"):
        metrics.top_k_from_scores([[1.0, math.nan, 2.0]], 1)


@st.composite
def searches(draw):
    """Small-integer embeddings: exact in any arithmetic, and full of ties."""
    dimension = draw(st.integers(1, 3))
    rows = st.lists(st.integers(-2, 2), min_size=dimension, max_size=dimension)
    queries = np.array(draw(st.lists(rows, min_size=1, max_size=5)), np.float32)
    candidates = draw(st.lists(rows, max_size=12))
    candidates = np.array(candidates, np.float32).reshape(-1, dimension)
    cells = draw(
        st.lists(
            st.booleans(),
            min_size=len(queries) * len(candidates),
            max_size=len(queries) * len(candidates),
        )
    )
    excluded = np.array(cells, bool).reshape(len(queries), len(candidates))
    return queries, candidates, excluded


@given(searches(), st.integers(1, 14), st.integers(1, 5), st.integers(1, 5))
def test_exact_top_k_equals_a_loop_in_any_blocks(case, k, rows, columns):
    queries, candidates, excluded = case
    blocks = {"block_queries": rows, "block_candidates": columns}
    lists = [np.append(np.flatnonzero(row), -1) for row in excluded]
    by_list = metrics.exact_top_k(queries, candidates, k, lists, **blocks)
    by_matrix = metrics.exact_top_k(
        queries, candidates, k, csr_matrix(excluded), **blocks
    )
    default = metrics.exact_top_k(queries, candidates, k, csc_matrix(excluded))
    for row, query in enumerate(queries.tolist()):
        scores = [
            -math.inf
            if excluded[row, i]
            else sum(a * b for a, b in zip(query, candidate, strict=True))
            for i, candidate in enumerate(candidates.tolist())
        ]
        expected_scores, expected_indices = naive_top_k(scores, k)
        for found_scores, found_indices in (by_list, by_matrix, default):
            assert found_indices[row].tolist() == expected_indices
            assert found_scores[row].tolist() == expected_scores


def test_exact_top_k_is_float64_accumulation_and_repeats():
    generator = np.random.default_rng(1)
    queries = generator.standard_normal((37, 24)).astype(np.float32)
    candidates = generator.standard_normal((501, 24)).astype(np.float32)
    scores, indices = metrics.exact_top_k(queries, candidates, 20)
    again = metrics.exact_top_k(
        queries, candidates, 20, block_queries=5, block_candidates=64
    )
    reference = np.einsum(
        "qd,nd->qn", queries.astype(np.longdouble), candidates.astype(np.longdouble)
    )
    expected = np.argsort(-reference, axis=1, kind="stable")[:, :20]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(
        scores, np.take_along_axis(reference, expected, axis=1).astype(np.float32)
    )
    np.testing.assert_array_equal(indices, again[1])
    np.testing.assert_array_equal(scores, again[0])
    assert (scores.dtype, indices.dtype) == (np.float32, np.int64)


def test_equal_embeddings_tie_by_the_lower_index():
    generator = np.random.default_rng(2)
    candidates = np.repeat(
        generator.standard_normal((40, 33)).astype(np.float32), 5, axis=0
    )
    queries = generator.standard_normal((20, 33)).astype(np.float32)
    _, indices = metrics.exact_top_k(queries, candidates, 13, block_candidates=17)
    groups = indices[:, :10].reshape(20, 2, 5)
    np.testing.assert_array_equal(groups % 5, np.tile(np.arange(5), (20, 2, 1)))
    np.testing.assert_array_equal(indices[:, 10:] % 5, np.tile(np.arange(3), (20, 1)))


def test_exact_top_k_pads_when_everything_is_excluded():
    scores, indices = metrics.exact_top_k([[1.0]], [[1.0], [2.0]], 3, [[1, 0]])
    assert indices.tolist() == [[-1, -1, -1]]
    assert scores.tolist() == [[-math.inf] * 3]


def test_exact_top_k_of_no_queries():
    scores, indices = metrics.exact_top_k(np.zeros((0, 2)), np.zeros((3, 2)), 4)
    assert scores.shape == indices.shape == (0, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"block_queries": 0}, "block_queries must be at least 1"),
        ({"block_candidates": -1}, "block_candidates must be at least 1"),
        ({"queries": np.ones((2, 5))}, r"same dimension.*\(2, 5\) and \(3, 4\)"),
        ({"queries": np.ones(4)}, r"queries must be \[rows, dimension\]"),
        ({"candidates": np.full((3, 4), np.nan)}, "candidates must be finite"),
        ({"queries": np.full((2, 4), np.inf)}, "queries must be finite"),
        ({"exclude": [[0]]}, "each of the 2 queries, but holds 1"),
        ({"exclude": [[0], [3]]}, "names candidate 3, .* last is 2"),
        ({"exclude": csr_matrix((3, 2))}, r"shape \(2, 3\), but is \(3, 2\)"),
    ],
)
def test_exact_top_k_names_the_wrong_argument(changes, message):
    arguments = {
        "queries": np.ones((2, 4)),
        "candidates": np.ones((3, 4)),
        "k": 2,
        **changes,
    }
    with pytest.raises(ValueError, match=message):
        metrics.exact_top_k(**arguments)


# intervals


def test_bootstrap_mean_by_hand():
    # Two values: resampled means are 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
    assert intervals.bootstrap_mean([0, 1], confidence=0.95) == (0, 1)
    assert intervals.bootstrap_mean([0, 1], confidence=0.4) == (0.5, 0.5)


def test_clusters_bring_all_of_their_values():
    # Clusters of 3 zeros and of a single one: means 0, 1/4, 1, not 0, 1/2, 1.
    interval = intervals.bootstrap_mean([0, 1, 0, 0], ["a", "b", "a", "a"], 999, 0.4)
    assert interval == (0.25, 0.25)


def test_an_interval_repeats_by_seed_and_ignores_order():
    generator = np.random.default_rng(3)
    values, clusters = generator.random(300), generator.integers(0, 40, 300)
    order = generator.permutation(300)
    first = intervals.bootstrap_mean(values, clusters, seed=7)
    assert intervals.bootstrap_mean(values, clusters, seed=7) == first
    assert intervals.bootstrap_mean(values, clusters, seed=8) != first
    shuffled = intervals.bootstrap_mean(values[order], clusters[order], seed=7)
    assert shuffled == pytest.approx(first)
    assert first.low < values.mean() < first.high


def test_without_clusters_the_interval_is_near_the_normal_one():
    values = np.random.default_rng(4).random(2000)
    low, high = intervals.bootstrap_mean(values, samples=4000)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_memory_blocks_do_not_change_the_interval(monkeypatch):
    values = np.random.default_rng(5).random(50)
    whole = intervals.bootstrap_mean(values, samples=101)
    monkeypatch.setattr(intervals, "_DRAWS_PER_BLOCK", 170)
    # But for the last bit: sums of blocks of another size may be in another order.
    blocks = intervals.bootstrap_mean(values, samples=101)
    np.testing.assert_allclose(blocks, whole, rtol=1e-14)


def simulated_coverage(use_clusters, repeats=300):
    """Counts how often an interval holds the true mean of 0 of clustered data."""
    generator = np.random.default_rng(6)
    covered = 0
    for repeat in range(repeats):
        clusters = np.repeat(np.arange(60), generator.integers(1, 20, 60))
        effect = generator.standard_normal(60)[clusters]
        values = effect + generator.standard_normal(len(clusters))
        low, high = intervals.bootstrap_mean(
            values, clusters if use_clusters else None, samples=300, seed=repeat
        )
        covered += low <= 0 <= high
    return covered / repeats


def test_cluster_bootstrap_covers_as_promised_and_the_naive_one_does_not():
    assert 0.90 <= simulated_coverage(use_clusters=True) <= 0.98
    assert simulated_coverage(use_clusters=False) < 0.75


def test_pairing_cancels_what_both_systems_share():
    generator = np.random.default_rng(8)
    clusters = np.repeat(np.arange(80), 5)
    difficulty = generator.standard_normal(80)[clusters]
    noise = 0.05 * generator.standard_normal(400)
    a, b = difficulty + 0.1, difficulty + noise
    low, high = intervals.paired_bootstrap_difference(a, b, clusters)
    assert 0 < low < a.mean() - b.mean() < high < 0.2
    unpaired = intervals.bootstrap_mean(a, clusters)
    assert unpaired.high - unpaired.low > 10 * (high - low)


def test_a_difference_is_resampled_by_cluster():
    clusters = np.repeat(np.arange(30), 20)
    a = np.random.default_rng(10).standard_normal(30)[clusters]
    b = np.zeros(600)
    by_cluster = intervals.paired_bootstrap_difference(a, b, clusters)
    by_case = intervals.paired_bootstrap_difference(a, b)
    # Twenty equal values a cluster carry the information of one.
    ratio = (by_cluster.high - by_cluster.low) / (by_case.high - by_case.low)
    assert ratio == pytest.approx(math.sqrt(20), rel=0.15)


def test_the_difference_of_equals_is_nothing_and_changes_sign():
    a, b = np.random.default_rng(9).random((2, 60))
    assert intervals.paired_bootstrap_difference(a, a) == (0, 0)
    low, high = intervals.paired_bootstrap_difference(a, b)
    mirrored = intervals.paired_bootstrap_difference(b, a)
    assert mirrored == pytest.approx((-high, -low))


@given(
    st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 3)), min_size=1, max_size=20),
    st.floats(0.01, 0.99),
)
@settings(max_examples=50)
def test_an_interval_stays_within_the_values(cases, confidence):
    values, clusters = zip(*cases, strict=True)
    low, high = intervals.bootstrap_mean(values, clusters, 50, confidence)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_intervals_at_the_edges():
    assert all(math.isnan(end) for end in intervals.bootstrap_mean([]))
    assert intervals.bootstrap_mean([1, 2, 6], ["u", "u", "u"]) == (3, 3)
    assert intervals.bootstrap_mean([True, True]) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [[1.0]]}, "values must be a vector"),
        ({"values": [1.0, math.nan]}, "values must be finite"),
        ({"values": [1.0], "clusters": [1, 2]}, "each of the 1 values"),
        ({"values": [1.0], "samples": 0}, "samples must be at least 1"),
        ({"values": [1.0], "confidence": 95}, "confidence must be between 0 and 1"),
    ],
)
def test_bootstrap_mean_names_the_wrong_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        intervals.bootstrap_mean(**arguments)


def test_a_pair_must_score_the_same_cases():
    with pytest.raises(ValueError, match="same cases, but have 2 and 1"):
        intervals.paired_bootstrap_difference([1, 2], [1])


# the room's own rule


def test_evaluation_imports_numpy_alone():
    script = (
        "import sys\n"
        "import serving.evaluation.baselines, serving.evaluation.intervals\n"
        "import serving.evaluation.metrics\n"
        "heavy = {'tensorflow', 'tfx', 'keras', 'scann', 'apache_beam', 'scipy'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == "[]"
