# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Splits: what decides about a row, and that nothing else does."""

import collections
import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import splits
from serving.errors import UserError

RANDOM = {
    "method": "random",
    "seed": 7,
    "fractions": {"train": 0.7, "valid": 0.1, "eval": 0.2},
    "keys": ["user_id", "movie_id", "timestamp"],
}

_VALUE = st.one_of(
    st.binary(max_size=6),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(width=32, allow_nan=False),
)
_KEY = st.lists(st.lists(_VALUE, max_size=3), min_size=1, max_size=3)
_RATINGS = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=4),
        st.binary(min_size=1, max_size=4),
        st.integers(0, 10**9),
    ),
    min_size=1,
    max_size=60,
)


def _assign(split: splits.RandomSplit, ratings: list[tuple]) -> list[int]:
    columns = [[[value] for value in column] for column in zip(*ratings, strict=True)]
    return split.assign(columns).tolist()


@given(_RATINGS, st.randoms())
def test_random_split_ignores_order_and_the_other_rows(ratings, random):
    split = splits.parse_split(RANDOM)
    together = dict(zip(ratings, _assign(split, ratings), strict=True))
    alone = {rating: _assign(split, [rating])[0] for rating in ratings}
    shuffled = random.sample(ratings, len(ratings))
    reordered = dict(zip(shuffled, _assign(split, shuffled), strict=True))
    assert together == alone == reordered


@given(_KEY, st.integers(0, 2**31 - 1))
def test_hash_fraction_is_in_the_unit_interval(key, seed):
    assert 0 <= splits.hash_fraction(seed, key) < 1


def _identity(key: list[list]) -> list[list[tuple]]:
    """What makes two keys the same: types, and for floats their bits."""
    return [
        [
            (type(v).__name__, np.float32(v).tobytes() if type(v) is float else v)
            for v in values
        ]
        for values in key
    ]


@given(_KEY, _KEY)
def test_only_equal_keys_share_a_hash(one, other):
    same = splits.hash_fraction(1, one) == splits.hash_fraction(1, other)
    assert same == (_identity(one) == _identity(other))


def test_values_do_not_run_into_each_other():
    keys = [
        [[b"1", b"2"]],
        [[b"12"]],
        [[b"1"], [b"2"]],
        [[b"12"], []],
        [[], [b"12"]],
        [[12]],
        [[12.0]],
        [[b"i2:12"]],
    ]
    assert len({splits.hash_fraction(0, key) for key in keys}) == len(keys)


def test_the_hash_is_fixed_forever():
    # Another value here moves rows between train and eval for everybody.
    text = b"[1s3:196" + b"[1s3:242" + b"[1i9:881250949"
    digest = hashlib.blake2b(text, digest_size=8, key=(42).to_bytes(8, "big")).digest()
    expected = math.floor(int.from_bytes(digest, "big") / 2**11) / 2**53
    fraction = splits.hash_fraction(42, [[b"196"], [b"242"], [881250949]])
    assert fraction == expected == 0.4083004116472523


def test_realised_fractions_are_near_the_wanted_ones():
    rows = 40_000
    ratings = [(b"%d" % (i % 943), b"%d" % (i // 943), i) for i in range(rows)]
    counts = collections.Counter(_assign(splits.parse_split(RANDOM), ratings))
    for index, share in enumerate((0.7, 0.1, 0.2)):
        sd = math.sqrt(share * (1 - share) / rows)
        assert abs(counts[index] / rows - share) < 4 * sd


def test_seeds_are_independent():
    rows = 20_000
    ratings = [(b"%d" % i, b"x", i) for i in range(rows)]
    one, other = (
        np.array(_assign(splits.parse_split({**RANDOM, "seed": seed}), ratings)) == 0
        for seed in (1, 2)
    )
    assert abs((one & other).mean() - 0.49) < 4 * math.sqrt(0.49 * 0.51 / rows)


@given(_RATINGS, st.floats(0.05, 0.9), st.floats(0.05, 0.9))
def test_a_larger_train_share_takes_no_row_out_of_train(ratings, one, other):
    small, large = sorted((one, other))
    in_train = [
        np.array(
            _assign(
                splits.parse_split(
                    {**RANDOM, "fractions": {"train": share, "eval": 1 - share}}
                ),
                ratings,
            )
        )
        == 0
        for share in (small, large)
    ]
    assert not np.any(in_train[0] & ~in_train[1])


WITHIN = {
    "method": "within_query",
    "seed": 7,
    "fractions": {"train": 0.8, "valid": 0.1, "eval": 0.1},
    "query": "user_id",
    "keys": ["user_id", "movie_id", "timestamp"],
}
LAST_OUT = {
    "method": "leave_last_out",
    "query": "user_id",
    "keys": ["user_id", "movie_id", "timestamp"],
    "timestamp": "timestamp",
    "valid": True,
}
_FEW_QUERIES = st.lists(
    st.tuples(
        st.sampled_from([b"a", b"b", b"c"]),
        st.sampled_from([b"x", b"y", b"z", b"w"]),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=60,
)


def _assign_within(config: dict, ratings: list[tuple]) -> list[str]:
    """The name of each rating's split; the features are user, movie and time."""
    split = splits.parse_split(config)
    columns = dict(zip(LAST_OUT["keys"], zip(*ratings, strict=True), strict=True))
    keys = splits.row_keys(split, [[[v] for v in columns[n]] for n in split.columns])
    return [split.names[i] for i in splits.assign_within_queries(split, keys)]


def _by_user(ratings: list[tuple], assigned: list[str]) -> dict[bytes, dict]:
    """The split of each distinct rating of each user."""
    found = collections.defaultdict(dict)
    for rating, name in zip(ratings, assigned, strict=True):
        # Rows that are alike stay together.
        assert found[rating[0]].setdefault(rating, name) == name
    return found


@given(_FEW_QUERIES, st.sampled_from([WITHIN, LAST_OUT]), st.randoms())
def test_splits_within_queries_ignore_order_and_other_queries(ratings, config, random):
    together = dict(zip(ratings, _assign_within(config, ratings), strict=True))
    shuffled = random.sample(ratings, len(ratings))
    reordered = dict(zip(shuffled, _assign_within(config, shuffled), strict=True))
    assert together == reordered
    for user in {rating[0] for rating in ratings}:
        own = [rating for rating in ratings if rating[0] == user]
        for rating, name in zip(own, _assign_within(config, own), strict=True):
            assert together[rating] == name


@given(
    _FEW_QUERIES,
    st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.2, 0.3), (0.05, 0.05, 0.9)]),
)
def test_each_query_gives_its_shares(ratings, shares):
    fractions = dict(zip(splits.SPLIT_NAMES, shares, strict=True))
    assigned = _assign_within({**WITHIN, "fractions": fractions}, ratings)
    for own in _by_user(ratings, assigned).values():
        counts, total = collections.Counter(own.values()), len(own)
        if total < 3:
            assert counts == {"train": total}
            continue
        held_out = min(max(math.floor(shares[2] * total + 1e-9), 1), total - 1)
        assert counts["eval"] == held_out
        wanted = max(math.floor(shares[1] * total + 1e-9), 1)
        assert counts["valid"] == min(wanted, total - 1 - held_out)
        assert counts["train"] >= 1


@given(_FEW_QUERIES, st.booleans())
def test_the_last_interaction_of_each_query_is_held_out(ratings, valid):
    assigned = _assign_within({**LAST_OUT, "valid": valid}, ratings)
    for own in _by_user(ratings, assigned).values():
        if len(own) < 3:
            assert set(own.values()) == {"train"}
            continue
        times = {
            name: [rating[2] for rating, where in own.items() if where == name]
            for name in splits.SPLIT_NAMES
        }
        assert len(times["eval"]) == 1
        assert len(times["valid"]) == int(valid)
        assert max(times["train"]) <= min(times["valid"] + times["eval"])
        assert max(times["valid"] + times["train"]) <= times["eval"][0]


def test_what_evaluates_does_not_depend_on_whether_something_validates():
    ratings = [(b"%d" % (i % 7), b"%d" % i, i // 3) for i in range(80)]
    for with_valid, without in (
        (WITHIN, {**WITHIN, "fractions": {"train": 0.9, "eval": 0.1}}),
        (LAST_OUT, {**LAST_OUT, "valid": False}),
    ):
        held_out = [
            [name == "eval" for name in _assign_within(config, ratings)]
            for config in (with_valid, without)
        ]
        assert held_out[0] == held_out[1]


def test_another_seed_draws_others_within_queries():
    ratings = [(b"%d" % (i % 20), b"%d" % (i // 20), 0) for i in range(20 * 50)]
    one, other = (
        np.array(_assign_within({**WITHIN, "seed": seed}, ratings)) == "eval"
        for seed in (1, 2)
    )
    assert one.sum() == other.sum() == 20 * 5
    # Not the same candidates of each query either: 5 of 50 at random, 20 times.
    drawn = collections.Counter(
        rating[1] for rating, e in zip(ratings, one, strict=True) if e
    )
    assert len(drawn) > 30
    assert abs((one & other).sum() - 10) < 12


def test_a_share_that_is_whole_is_not_rounded_down():
    ratings = [(b"a", b"%d" % i, 0) for i in range(100)]
    fractions = {"train": 0.43, "eval": 0.57}
    assigned = _assign_within({**WITHIN, "fractions": fractions}, ratings)
    assert assigned.count("eval") == 57  # 0.57 * 100 is 56.99999999999999


_TIMES = st.lists(
    st.one_of(st.integers(0, 500), st.integers(0, 2**50)), min_size=1, max_size=200
)
_FRACTIONS = st.sampled_from([(0.8, 0.2), (0.5, 0.5), (0.6, 0.2, 0.2)])


def _time_split(timestamps, fractions, parts=1):
    values = np.array(timestamps, np.int64)
    first, last = int(values.min()), int(values.max())
    counts = sum(
        splits.count_buckets(part, first, last)
        for part in np.array_split(values, parts)
    )
    ends = splits.time_ends(counts, first, last, fractions)
    return splits.assign_times(values, ends), first, last


@given(_TIMES, _FRACTIONS)
def test_time_split_keeps_time_order(timestamps, fractions):
    indices, _, _ = _time_split(timestamps, fractions)
    assert np.all(np.diff(indices[np.argsort(timestamps, kind="stable")]) >= 0)


@given(_TIMES, _FRACTIONS, st.integers(2, 9), st.randoms())
def test_time_split_ignores_order_and_workers(timestamps, fractions, parts, random):
    whole = dict(
        zip(timestamps, _time_split(timestamps, fractions)[0].tolist(), strict=True)
    )
    shuffled = random.sample(timestamps, len(timestamps))
    indices, _, _ = _time_split(shuffled, fractions, parts)
    assert whole == dict(zip(shuffled, indices.tolist(), strict=True))
    for timestamp, index in zip(shuffled, indices.tolist(), strict=True):
        assert whole[timestamp] == index  # rows of one timestamp stay together


@given(_TIMES, _FRACTIONS)
def test_time_ends_are_the_nearest_there_are(timestamps, fractions):
    """Against every possible boundary, tried one by one."""
    indices, first, last = _time_split(timestamps, fractions)
    width = splits.bucket_width(first, last)
    buckets = (np.array(timestamps) - first) // width
    for end, share in enumerate(np.cumsum(fractions)[:-1]):
        below = int(np.sum(indices <= end))
        wanted = share * len(timestamps)
        candidates = [
            int(np.sum(buckets <= bucket)) for bucket in set(buckets.tolist())
        ]
        best = min(abs(count - wanted) for count in [*candidates])
        assert abs(below - wanted) <= best + 1e-6


@given(st.integers(-(2**62), 2**62), st.integers(0, 2**62))
def test_buckets_cover_the_range(first, span):
    last = first + span
    width = splits.bucket_width(first, last)
    assert (last - first) // width < splits.TIME_BUCKETS
    assert width == 1 or (last - first) // (width - 1) >= splits.TIME_BUCKETS


def test_short_ranges_are_exact():
    timestamps = np.repeat(np.arange(1000), 3)
    indices, _, _ = _time_split(timestamps.tolist(), (0.8, 0.2))
    assert np.array_equal(indices, (timestamps >= 800).astype(np.int8))


def test_shuffle_takes_the_tutorials_positions():
    import tensorflow as tf

    tf.random.set_seed(42)
    shuffled = tf.data.Dataset.range(5000).shuffle(
        5000, seed=42, reshuffle_each_iteration=False
    )
    train = list(shuffled.take(4000).as_numpy_iterator())
    test = list(shuffled.skip(4000).take(500).as_numpy_iterator())
    split = splits.parse_split(
        {"method": "shuffle", "seed": 42, "counts": {"train": 4000, "eval": 500}}
    )
    indices = split.assign_positions(5000)
    assert set(np.flatnonzero(indices == 0)) == set(train)
    assert set(np.flatnonzero(indices == 1)) == set(test)
    assert np.sum(indices == -1) == 500


def test_shuffle_leaves_the_seed_of_the_process_alone():
    import tensorflow as tf

    def draws(between):
        tf.random.set_seed(5)
        between()
        return tf.random.uniform([3]).numpy().tolist()

    assert draws(lambda: None) == draws(lambda: splits.shuffled_positions(10, 42))


def test_shuffle_refuses_more_rows_than_there_are():
    split = splits.parse_split(
        {"method": "shuffle", "seed": 1, "counts": {"train": 80, "eval": 20}}
    )
    with pytest.raises(UserError, match="asks for 100 rows.*only 99"):
        split.assign_positions(99)


def test_names_come_in_order_of_time_whatever_the_order_of_the_config():
    fractions = {"eval": 0.2, "valid": 0.1, "train": 0.7}
    split = splits.parse_split({**RANDOM, "fractions": fractions})
    assert split.names == ("train", "valid", "eval")
    assert split.fractions == (0.7, 0.1, 0.2)


def test_a_valid_share_of_zero_switches_it_off():
    fractions = {"train": 0.8, "valid": 0, "eval": 0.2}
    assert splits.parse_split({**RANDOM, "fractions": fractions}).names == (
        "train",
        "eval",
    )


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            {},
            r"split\.method is None: choose one of none, random, within_query, "
            r"leave_last_out, time, shuffle",
        ),
        ({"method": "hash"}, r"split\.method is 'hash'"),
        ({**RANDOM, "extra": 1}, r"takes the keys \['fractions', 'keys', 'seed'\]"),
        ({"method": "time", "fractions": {}}, r"\['fractions', 'timestamp'\]"),
        (
            {**RANDOM, "method": "within_query"},
            r"within_query takes the keys \['fractions', 'keys', 'query', 'seed'\]",
        ),
        ({**WITHIN, "query": ""}, r"names the feature \[''\]"),
        ({**LAST_OUT, "timestamp": 7}, r"names the feature \['user_id', 7\]"),
        ({**RANDOM, "fractions": {"train": 1.0}}, "at least train and eval"),
        (
            {**RANDOM, "fractions": {"train": 0.8, "eval": 0.1, "test": 0.1}},
            "unknown split 'test'",
        ),
        ({**RANDOM, "fractions": {"train": 0.8, "eval": 0.1}}, r"add up to 0\.9"),
        ({**RANDOM, "fractions": {"train": 1.2, "eval": -0.2}}, r"train is 1\.2"),
        ({**RANDOM, "seed": -1}, r"split\.seed is -1"),
        ({**RANDOM, "seed": "42"}, r"split\.seed is '42'"),
        ({**RANDOM, "keys": []}, r"split\.keys is \[\]"),
        ({**RANDOM, "keys": "user_id"}, r"split\.keys is 'user_id'"),
        (
            {"method": "shuffle", "seed": 1, "counts": {"train": 0, "eval": 1}},
            r"split\.counts\.train is 0",
        ),
        (
            {"method": "shuffle", "seed": 1, "counts": {"train": 1.5, "eval": 1}},
            r"split\.counts\.train is 1\.5",
        ),
    ],
)
def test_wrong_configs_get_one_sentence(config, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        splits.parse_split(config)
    assert "\n" not in str(caught.value)
