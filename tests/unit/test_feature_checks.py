# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The checks of features, held against brute force and against chance."""

import collections
import itertools
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feature_validator import agreement, checks, columns, scan
from components.feature_validator.agreement import Sample
from components.feature_validator.scan import Plan, Scan
from components.findings import Finding

TYPES = {
    "id": pa.large_binary(),
    "category": pa.large_binary(),
    "categories": pa.large_binary(),
    "text": pa.large_binary(),
    "history": pa.large_binary(),
    "number": pa.float32(),
    "embedding": pa.float32(),
    "timestamp": pa.int64(),
}


def column(values: list[Any], kind: str = "category") -> pa.LargeListArray:
    """A column of one value, a list of them, or None, a row."""
    rows = [value if isinstance(value, list | None) else [value] for value in values]
    return pa.array(rows, pa.large_list(TYPES[kind]))


def plan(max_new_values: float | None = None, **features: str) -> Plan:
    """A log of u and i at t with these features of the query."""
    return Plan(
        "u", "i", "id", "t", {"u": "id", **features}, {"id": "id"}, max_new_values
    )


def run(
    what: Plan,
    train: dict[str, list[Any]],
    held_out: dict[str, list[Any]] | None = None,
    candidates: dict[str, list[Any]] | None = None,
    cuts: int = 1,
    batch: int = 1000,
) -> list[Finding]:
    """Scans rows in so many files, out of order, and returns what is found."""
    sources = (
        ("interactions", "train", train),
        ("interactions", "eval", held_out or {}),
        ("candidates", "train", candidates or {}),
    )
    kinds = {"u": "id", "i": "id", "id": "id", "t": "timestamp", **what.query_features}
    kinds.update(what.candidate_features)
    scans = []
    for source, split, rows in sources:
        total = len(next(iter(rows.values()), []))
        for cut in range(cuts):
            one = Scan(what, source, split)
            for start in range(cut, total, cuts * batch):
                at = range(start, min(total, start + cuts * batch), cuts)
                arrays = {
                    name: column([values[row] for row in at], kinds[name])
                    for name, values in rows.items()
                    if name in what.columns(source, split)
                }
                one.add(arrays, len(at))
            scans.append(one)
    random.Random(cuts).shuffle(scans)
    parts = collections.defaultdict(list)
    for one in scans:
        for key, part in one.values():
            parts[key].append(part)
    found = collections.defaultdict(list)
    for (name, _), files in parts.items():
        found[name].append(scan.compare(files))
    values = {name: scan.add_up(one) for name, one in found.items()}
    return checks.find(what, scan.merge(one.summary() for one in scans), values)


def only(findings: list[Finding], check: str) -> list[Finding]:
    return [one for one in findings if one.check == check]


# Hashes of rows.

_ROWS = st.lists(
    st.one_of(st.none(), st.lists(st.binary(max_size=2), max_size=3)), max_size=30
)


@given(_ROWS)
def test_rows_have_one_hash_if_they_hold_the_same(rows):
    hashes = columns.hash_rows(column(rows), len(rows))
    content = [tuple(row or ()) for row in rows]
    for (a, hash_a), (b, hash_b) in itertools.combinations(
        zip(content, hashes, strict=True), 2
    ):
        assert (a == b) == (hash_a == hash_b)
    assert [not row for row in content] == (hashes == columns.MISSING).tolist()


def test_the_order_of_a_vector_counts():
    rows = [[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]]
    first, second, third = columns.hash_rows(column(rows, "embedding"), 3)
    assert first == third != second


def test_a_batch_that_is_a_slice_hashes_as_its_rows():
    rows = column([b"a", [], [b"b", b"c"], None, b"a"])
    whole = columns.hash_rows(rows, 5)
    assert columns.hash_rows(rows[2:], 3).tolist() == whole[2:].tolist()


# Agreement.


def brute_force(units: list[int], values: list[int]) -> tuple[float, int, int] | None:
    """Krippendorff's alpha by its pairs of rows, with rows and usual values."""
    groups = collections.defaultdict(list)
    for unit, value in zip(units, values, strict=True):
        if value:
            groups[unit].append(value)
    several = [group for group in groups.values() if len(group) > 1]
    rows = [value for group in several for value in group]
    if len(set(rows)) < 2:
        return None
    observed = sum(
        sum(a != b for a, b in itertools.permutations(group, 2)) / (len(group) - 1)
        for group in several
    ) / len(rows)
    pairs = list(itertools.permutations(rows, 2))
    expected = sum(a != b for a, b in pairs) / len(pairs)
    usual = sum(max(collections.Counter(group).values()) for group in several)
    return 1 - observed / expected, len(rows), usual


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), max_size=40))
def test_agreement_is_krippendorffs_alpha(rows):
    units, values = ([row[at] for row in rows] for at in (0, 1))
    found = agreement.agreement(np.array(units, np.uint64), np.array(values, np.uint64))
    wanted = brute_force(units, values)
    if wanted is None:
        assert found is None
    else:
        assert (found.alpha, found.rows, found.usual) == (
            pytest.approx(wanted[0]),
            *wanted[1:],
        )


def test_agreement_of_the_published_example():
    # Krippendorff 2011, section C: four observers, twelve units, nominal data.
    observers = (
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    )
    cells = [line.split() for line in observers]
    values = [0 if cell == "." else int(cell) for line in cells for cell in line]
    units = [unit for _ in observers for unit in range(12)]
    found = agreement.agreement(np.array(units, np.uint64), np.array(values, np.uint64))
    assert found.alpha == pytest.approx(0.743, abs=5e-4)
    assert found.rows == 40


# Samples.

_SAMPLED = st.lists(
    st.tuples(st.integers(1, 12), st.integers(1, 6), st.integers(0, 3)), max_size=60
)


def wanted_sample(rows: list[tuple[int, int, int]], per_unit: int, most: int) -> list:
    """The rows of a sample, from its definition."""
    kept: list[tuple[int, int, int]] = []
    for unit in sorted({row[0] for row in rows}):
        mine = sorted(row for row in rows if row[0] == unit)
        firsts = [next(g) for _, g in itertools.groupby(mine, key=lambda row: row[1])]
        if len(kept) + len(firsts[:per_unit]) > most:
            break
        kept += firsts[:per_unit]
    return kept


@given(_SAMPLED, st.lists(st.integers(0, 4), min_size=60, max_size=60))
def test_a_sample_is_the_same_however_files_are_cut(rows, files):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, "MAX_ROWS", 15)
        patch.setattr(agreement, "MAX_ROWS_PER_UNIT", 4)
        samples = []
        for file in range(5):
            mine = [row for row, at in zip(rows, files, strict=False) if at == file]
            array = np.array(mine, np.uint64).reshape(-1, 3)
            samples.append(Sample.of([Sample(array)]))
        found = Sample.of([Sample.of(samples[:2]), Sample.of(samples[2:])])
    assert [tuple(row) for row in found.rows.tolist()] == wanted_sample(rows, 4, 15)


# Leakage: what the candidate determines.


def log(rng: np.random.Generator, rows: int, queries: int, candidates: int) -> dict:
    """Interactions with a popularity that falls off."""
    weights = 1 / np.arange(1, candidates + 1)
    return {
        "u": [b"%d" % one for one in rng.integers(0, queries, rows)],
        "i": [
            b"%d" % c for c in rng.choice(candidates, rows, p=weights / weights.sum())
        ],
        "t": list(range(rows)),
    }


def test_what_the_candidate_determines_is_found_and_what_the_query_does_is_not():
    rng = np.random.default_rng(0)
    train = log(rng, 3000, 150, 200)
    train["genre"] = [b"g%d" % (int(i) % 7) for i in train["i"]]
    train["genres"] = [[b"g%d" % (int(i) % 7), b"all"] for i in train["i"]]
    train["price"] = [float(int(i) % 50) for i in train["i"]]
    train["country"] = [b"c%d" % (int(u) % 5) for u in train["u"]]
    train["age"] = [float(int(u) % 50) for u in train["u"]]
    train["device"] = rng.choice([b"phone", b"desk"], 3000).tolist()
    what = plan(
        genre="category",
        genres="categories",
        price="number",
        country="category",
        age="number",
        device="category",
    )
    found = only(run(what, train, cuts=3), checks.DETERMINED)
    assert [one.feature for one in found] == ["genre", "genres", "price"]
    one = found[0]
    assert one.stops and one.splits == ("train",)
    assert one.count == one.total > 1000
    assert len(one.examples) == 5
    for text in one.examples:
        value, candidate = text.split(" of candidate ")
        assert value == f"'g{int(candidate.strip(chr(39))) % 7}'"


def test_a_few_wrong_values_do_not_hide_a_leak_but_a_weak_tie_is_none():
    rng = np.random.default_rng(1)
    train = log(rng, 4000, 150, 100)
    genre = np.array([int(i) % 7 for i in train["i"]])
    for share, found in ((0.01, 1), (0.3, 0)):
        wrong = rng.random(4000) < share
        mixed = np.where(wrong, rng.integers(0, 7, 4000), genre)
        rows = {**train, "genre": [b"g%d" % one for one in mixed]}
        assert len(only(run(plan(genre="category"), rows), checks.DETERMINED)) == found


@pytest.mark.parametrize("rows", [8, 20, 60])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_chance_makes_no_suspect(rows, share):
    for seed in range(100):
        rng = np.random.default_rng(seed)
        train = log(rng, rows, 5, 10)
        train["flag"] = np.where(rng.random(rows) < share, b"y", b"n").tolist()
        assert not only(run(plan(flag="category"), train), checks.DETERMINED)


def test_what_cannot_be_told_apart_from_the_query_is_no_suspect():
    # Sessions of one row each: the city may be the visitor's.
    train = {
        "u": [b"s%d" % n for n in range(600)],
        "i": [b"%d" % (n % 40) for n in range(600)],
        "t": list(range(600)),
        "city": [b"c%d" % (n % 40 // 8) for n in range(600)],
    }
    assert not only(run(plan(city="category"), train), checks.DETERMINED)


def test_repeated_interactions_of_a_query_prove_nothing():
    # Each song has a fan who plays it all day on one device, and a chance listener:
    # nearly all pairs of its rows agree, but not its two listeners.
    rng = np.random.default_rng(0)
    train: dict[str, list] = {"u": [], "i": [], "t": [], "device": []}
    for user, song in itertools.product(range(60), range(4)):
        fan, device = song < 2, b"d%d" % rng.integers(4)
        for again in range(60 if fan else 1):
            train["u"].append(b"%d" % user)
            train["i"].append(b"%d" % ((user * 2 + song) % 120))
            train["t"].append(again)
            train["device"].append(device)
    naive = agreement.agreement(
        columns.hash_rows(column(train["i"]), len(train["i"])),
        columns.hash_rows(column(train["device"]), len(train["i"])),
    )
    assert naive.alpha > checks.MIN_CANDIDATE_ALPHA
    assert not only(run(plan(device="category"), train), checks.DETERMINED)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(1, 50))
def test_findings_ignore_how_rows_are_cut(seed, cuts, batch):
    rng = np.random.default_rng(seed)
    train, held_out = log(rng, 300, 12, 20), log(rng, 60, 30, 30)
    for rows in (train, held_out):
        rows["genre"] = [b"g%d" % (int(i) % 5) for i in rows["i"]]
        rows["seen"] = [t + int(rng.integers(-40, 10)) for t in rows["t"]]
    what = plan(genre="category", seen="timestamp")
    whole = run(what, train, held_out)
    assert run(what, train, held_out, cuts=cuts, batch=batch) == whole
    assert {one.check for one in whole} >= {checks.DETERMINED, checks.LATER}


# Instants after the interaction.


@pytest.mark.parametrize(
    ("rows", "later", "found"),
    [
        (1000, 0, False),
        (1000, 10, False),
        (1000, 11, True),
        (100, 4, False),
        (5, 5, True),
    ],
)
def test_instants_after_the_interaction(rows, later, found):
    train = {
        "u": [b"%d" % (n % 3) for n in range(rows)],
        "i": [b"%d" % (n % 2) for n in range(rows)],
        "t": [1_000_000_000 + n for n in range(rows)],
        "seen": [1_000_000_000 + n + (60 if n < later else 0) for n in range(rows)],
    }
    findings = only(run(plan(seen="timestamp"), train, cuts=2), checks.LATER)
    assert bool(findings) == found
    if found:
        (one,) = findings
        assert (one.count, one.total, len(one.examples)) == (later, rows, 5)
        assert one.examples[0] == (
            "2001-09-09T01:47:40Z of an interaction at 2001-09-09T01:46:40Z"
        )
        assert f"in {later:,} of {rows:,} rows of train" in one.sentence


def test_the_time_of_the_interaction_itself_may_be_a_feature():
    train = {"u": [b"1", b"2"] * 9, "i": [b"1", b"2", b"3"] * 6, "t": list(range(18))}
    assert not run(plan(t="timestamp"), train)


def test_a_row_without_an_instant_does_not_count():
    train = {
        "u": [b"1", b"2"] * 9,
        "i": [b"1", b"2", b"3"] * 6,
        "t": [100] * 18,
        "seen": [101] * 6 + [None] * 12,
    }
    (one,) = only(run(plan(seen="timestamp"), train), checks.LATER)
    assert (one.count, one.total) == (6, 6)


# Constant features.


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([b"x"] * 6, "has the same value, 'x', in all 6 rows"),
        ([None] * 6, "has no value in any of 6 rows"),
        ([b"x"] * 5 + [b"y"], None),
        ([b"x"] * 5 + [None], None),
        ([[b"x", b"y"]] * 6, "has the same value, 'x, y', in all 6 rows"),
    ],
)
def test_constant_features(values, told):
    train = {"u": [b"1", b"2"] * 3, "i": [b"1", b"2", b"3"] * 2, "t": list(range(6))}
    candidates = {"id": [b"1", b"2"] * 3, "f": values}
    for what in (
        plan(f="categories"),
        Plan("u", "i", "id", "t", {"u": "id"}, {"id": "id", "f": "categories"}),
    ):
        in_queries = "f" in what.query_features
        rows = {**train, "f": values} if in_queries else train
        for cuts in (1, 3):
            found = run(what, rows, candidates=candidates, cuts=cuts)
            found = only(found, checks.CONSTANT)
            assert [one.feature for one in found] == ["f"] * bool(told)
            if told:
                assert told in found[0].sentence
                assert found[0].source == "interactions" if in_queries else "candidates"
                assert (found[0].count, found[0].total) == (6, 6)


def test_a_feature_that_is_nowhere_is_constant():
    train = {"u": [b"1", b"2"], "i": [b"1", b"2"], "t": [1, 2]}
    (one,) = run(plan(f="category"), train)
    assert "feature 'f' has no value in any of 2 rows of train" in one.sentence


# New values.

_VALUES = st.lists(st.binary(min_size=1, max_size=1), min_size=1, max_size=30)


@given(_VALUES, _VALUES, st.integers(1, 3))
def test_new_values_are_those_that_train_does_not_have(old, new, cuts):
    train = {"u": [b"1", b"2"] * len(old), "i": old * 2, "t": [0] * len(old) * 2}
    held_out = {"u": [b"1"] * len(new), "i": new}
    found = run(plan(), train, held_out, cuts=cuts)
    found = [one for one in found if one.feature == "i" and one.check == "new_values"]
    wanted = collections.Counter(value for value in new if value not in old)
    assert bool(found) == bool(wanted)
    if wanted:
        (one,) = found
        assert (one.count, one.total) == (wanted.total(), len(new))
        assert one.examples == tuple(
            columns.to_text(value) for value in sorted(wanted)[:5]
        )
        assert not one.stops


def test_new_values_stop_above_their_limit_only():
    train = {"u": [b"1", b"2"], "i": [b"1", b"2"], "t": [0, 0]}
    held_out = {"u": [b"1", b"2", b"3", b"3"], "i": [b"1"] * 4}
    for limit, stops in ((None, False), (0.5, False), (0.49, True), (0.0, True)):
        (one,) = run(plan(limit), train, held_out)
        assert (one.feature, one.count, one.total, one.stops) == ("u", 2, 4, stops)
        assert ("validation.max_new_values" in one.sentence) == stops
        assert "such as '3' (2 rows)" in one.sentence


def test_each_of_several_categories_counts():
    train = {
        "u": [b"1", b"2"],
        "i": [b"1", b"2"],
        "t": [0, 0],
        "f": [[b"a", b"b"], [b"c"]],
    }
    held_out = {"u": [b"1"] * 2, "i": [b"1"] * 2, "f": [[b"a", b"x"], [b"y", b"x"]]}
    (one,) = run(plan(f="categories"), train, held_out)
    assert (one.count, one.total, one.examples) == (3, 4, ("x", "y"))


def test_an_id_that_is_not_learned_may_be_new():
    train = {"u": [b"1", b"2"], "i": [b"1", b"2"], "t": [0, 0], "f": [b"a", b"b"]}
    held_out = {"u": [b"3"], "i": [b"3"], "f": [b"a"]}
    what = Plan("u", "i", "id", "t", {"f": "category"}, {"g": "category"}, 0.0)
    candidates = {"id": [b"1", b"2"], "g": [b"a", b"b"]}
    assert run(what, train, held_out, candidates) == []


# Values of a row's own.


def test_a_value_of_each_rows_own_is_a_suspect_and_told_once():
    train, held_out = (log(np.random.default_rng(n), 200, 9, 9) for n in range(2))
    train["order"] = [b"o%d" % n for n in range(200)]
    held_out["order"] = [b"p%03d" % n for n in range(200)]
    found = run(plan(order="category"), train, held_out)
    (one,) = [one for one in found if one.feature == "order"]
    assert (one.check, one.count, one.total, one.stops) == (
        checks.OWN_VALUES, 200, 200, True
    )  # fmt: skip
    assert one.examples == tuple(f"p00{n}" for n in range(5))


def test_a_day_is_new_in_a_split_by_time_but_no_rows_own():
    train, held_out = (log(np.random.default_rng(n), 200, 9, 9) for n in range(2))
    train["day"] = [b"d%d" % (n // 20) for n in range(200)]
    held_out["day"] = [b"e%d" % (n // 20) for n in range(200)]
    found = run(plan(day="category"), train, held_out)
    (one,) = [one for one in found if one.feature == "day"]
    assert (one.check, one.stops) == (checks.NEW_VALUES, False)


def test_few_rows_tell_nothing_of_rows_own_values():
    train, held_out = (log(np.random.default_rng(n), 29, 2, 2) for n in range(2))
    train["zip"] = [b"o%d" % n for n in range(29)]
    held_out["zip"] = [b"p%d" % n for n in range(29)]
    found = run(plan(zip="category"), train, held_out)
    assert not only(found, checks.OWN_VALUES)
