# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Rows that are queries: what a step holds, its loss, and what is exported."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import trainer.rows
from tests.unit.training import (
    CANDIDATES,
    QUERIES,
    USER,
    interactions,
    items,
    model,
    towers,
    train,
    training,
    users,
)
from trainer.batches import CANDIDATES as DRAWN
from trainer.batches import LOG_SAMPLED, QUERY, TARGETS, WEIGHTS, Interactions
from trainer.distribution import Share
from trainer.feature_config import load_features
from trainer.fit import VALID_ACCURACY, fit
from trainer.model import Catalogue, TwoTowerModel
from trainer.rows import group, questions, row_batches
from trainer.task import SharedSoftmax
from trainer.towers import OWN_HISTORY, KnownHistories, united

DATA = interactions()
COUNTS = np.bincount(DATA.candidate, minlength=CANDIDATES)
SEEN = np.arange(CANDIDATES)


def by_user(data: Interactions) -> dict[int, list[int]]:
    """What each user interacted with, in the order of the log."""
    found: dict[int, list[int]] = {}
    for user, candidate in zip(data.key, data.candidate, strict=True):
        found.setdefault(int(user), []).append(int(candidate))
    return found


def batches(take: int, **options):
    """The first batches of 7 rows, and what they are made of."""
    arguments = {
        name: options.pop(name) for name in ("first_epoch", "share") if name in options
    }
    how = training(**{"rows": "query", "batch_size": 7, **options})
    rows = group(DATA, OWN_HISTORY)
    made = row_batches(rows, how, OWN_HISTORY, "user", SEEN, **arguments)
    return list(made.take(take))


# Grouping


def test_a_query_is_a_row_with_all_its_interactions():
    rows = group(DATA, None)
    expected = by_user(DATA)
    assert len(rows) == len(expected)
    asked = rows.query["user"].numpy()
    for user, targets, owner in zip(asked, rows.targets, rows.owner, strict=True):
        assert targets.numpy().tolist() == expected[user]
        assert rows.histories.candidates[owner].numpy().tolist() == expected[user]
    assert (rows.weights.flat_values.numpy() == 1).all()


def test_a_query_has_a_row_for_each_context_and_one_history():
    hour = tf.constant(np.arange(len(DATA)) % 2)
    data = Interactions({**DATA.query, "hour": hour}, DATA.candidate, DATA.key)
    rows = group(data, None)
    expected: dict[tuple[int, int], list[int]] = {}
    for at, (user, candidate) in enumerate(zip(DATA.key, DATA.candidate, strict=True)):
        expected.setdefault((int(user), at % 2), []).append(int(candidate))
    found = {
        (int(user), int(of)): targets.numpy().tolist()
        for user, of, targets in zip(
            rows.query["user"], rows.query["hour"], rows.targets, strict=True
        )
    }
    assert found == expected
    whole = by_user(DATA)
    for user, owner in zip(rows.query["user"].numpy(), rows.owner, strict=True):
        assert rows.histories.candidates[owner].numpy().tolist() == whole[user]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.lists(st.integers(0, 2), max_size=3),
            st.sampled_from([0.0, 1.5, float("nan")]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_rows_are_told_apart_by_every_kind_of_value(log):
    query = {
        "tags": tf.ragged.constant([tags for _, tags, _ in log], tf.int64, 1),
        "size": tf.constant([[size] for _, _, size in log], tf.float32),
    }
    key = np.array([user for user, _, _ in log], np.int64)
    of_row, firsts = trainer.rows.distinct(query, key)
    told = [(user, tuple(sorted(tags)), str(size)) for user, tags, size in log]
    same = [[a == b for b in told] for a in told]
    assert (of_row[:, None] == of_row[None]).tolist() == same
    assert [told[at] for at in firsts[of_row]] == told


def test_weights_go_with_their_targets():
    weight = np.arange(len(DATA), dtype=np.float32)
    data = Interactions(DATA.query, DATA.candidate, DATA.key, weight)
    rows = group(data, None)
    for user, targets, weights in zip(
        rows.query["user"].numpy(), rows.targets, rows.weights, strict=True
    ):
        at = np.flatnonzero(DATA.key == user)
        assert targets.numpy().tolist() == DATA.candidate[at].tolist()
        assert weights.numpy().tolist() == at.tolist()


def test_an_unknown_query_has_no_history():
    histories = group(DATA, None).histories
    found = histories.of(np.array([-5, int(histories.keys[3]), 10**12]))
    assert found.row_lengths().numpy().tolist() == [
        0, len(by_user(DATA)[int(histories.keys[3])]), 0
    ]  # fmt: skip


# Steps


def test_an_epoch_has_every_query_once_and_its_own_order():
    rows = len(by_user(DATA))
    first, second = batches(5, cold_share=0), batches(10, cold_share=0)[5:]
    for epoch in (first, second):
        asked = np.concatenate([one[QUERY]["user"] for one in epoch])
        assert len(asked) == rows
    seen = [
        [users.tolist() for one in epoch for users in [one[QUERY]["user"].numpy()]]
        for epoch in (first, second)
    ]
    assert seen[0] != seen[1]
    again = batches(5, first_epoch=1, cold_share=0)
    for one, other in zip(second, again, strict=True):
        assert one[TARGETS].to_list() == other[TARGETS].to_list()
        assert one[QUERY][OWN_HISTORY].to_list() == other[QUERY][OWN_HISTORY].to_list()


def test_a_history_is_another_part_in_each_step_and_targets_are_all():
    expected = by_user(DATA)
    known = total = 0
    parts: dict[int, set] = {}
    for one in batches(100, id_dropout=0.0, history_share=0.3, cold_share=0):
        asked = one[QUERY]["user"].numpy()
        histories = one[QUERY][OWN_HISTORY].to_list()
        for user, targets, part in zip(
            asked, one[TARGETS].to_list(), histories, strict=True
        ):
            assert targets == expected[user]
            left = list(targets)
            for candidate in part:
                left.remove(candidate)  # each comes from the query's own interactions
            parts.setdefault(user, set()).add(tuple(part))
            known, total = known + len(part), total + len(targets)
    assert known / total == pytest.approx(0.3, abs=0.03)
    assert all(len(found) > 5 for found in parts.values())


def test_ids_are_left_out_as_often_as_told_where_there_is_a_history():
    unknown = total = 0
    for one in batches(200, id_dropout=0.4, history_share=0.2, cold_share=0):
        empty = one[QUERY][OWN_HISTORY].row_lengths().numpy() == 0
        left_out = one[QUERY]["user"].numpy() == -1
        assert not left_out[empty].any()
        unknown, total = unknown + left_out.sum(), total + (~empty).sum()
    assert unknown / total == pytest.approx(0.4, abs=0.05)


def test_a_very_long_row_is_thinned(monkeypatch):
    monkeypatch.setattr(trainer.rows, "_MOST", 5)
    longest = [
        max(one[part].row_lengths().numpy().mean() for part in (TARGETS,))
        for one in batches(100)
    ]
    assert np.mean(longest) == pytest.approx(5, abs=0.5)


def test_sampled_candidates_are_distinct_and_hold_all_targets():
    whole = batches(20)
    sampled = batches(20, softmax="sampled", uniform_negatives=6)
    for one, other in zip(whole, sampled, strict=True):
        drawn = other[DRAWN].numpy()
        assert len(set(drawn)) == len(drawn) and drawn.max() < CANDIDATES
        targets = tf.gather(other[DRAWN], other[TARGETS])
        assert targets.to_list() == one[TARGETS].to_list()


def test_a_candidate_is_as_likely_to_be_sampled_as_is_said():
    data = interactions(rows=60)
    how = training(rows="query", batch_size=2, softmax="sampled", uniform_negatives=4)
    rows, seen = group(data, None), np.unique(data.candidate)
    there, said = np.zeros(CANDIDATES), []
    taken = 3000
    for one in row_batches(rows, how, None, None, seen).take(taken):
        there[one[DRAWN].numpy()] += 1
        expected = np.full(CANDIDATES, np.nan)
        expected[one[DRAWN].numpy()] = np.exp(one[LOG_SAMPLED].numpy())
        said.append(expected)
    # Rows are drawn without putting any back, which is what makes the small difference.
    expected = np.nanmean(np.array(said)[:, seen], axis=0)
    np.testing.assert_allclose(there[seen] / taken, expected, atol=0.04)
    assert there.sum() == there[seen].sum()


@pytest.mark.parametrize("softmax", ["catalogue", "sampled"])
def test_the_parts_of_a_batch_are_the_batch(softmax):
    options = {"softmax": softmax, "uniform_negatives": 3 * (softmax == "sampled")}
    whole = batches(5, **options)
    parts = batches(15, share=Share(3, 0, 3), **options)
    for at, one in enumerate(whole):
        cut = parts[3 * at : 3 * at + 3]
        for name in (TARGETS,):
            assert (
                sum((part[name].to_list() for part in cut), []) == one[name].to_list()
            )
        for name in (OWN_HISTORY,):
            found = sum((part[QUERY][name].to_list() for part in cut), [])
            assert found == one[QUERY][name].to_list()
        for part in cut:
            if softmax == "sampled":
                np.testing.assert_array_equal(part[DRAWN], one[DRAWN])


# Loss


@pytest.mark.parametrize("sampled", [False, True])
def test_the_loss_is_the_multinomial_likelihood(sampled):
    rng = np.random.default_rng(3)
    q, v = rng.normal(size=(3, 4)), rng.normal(size=(6, 4))
    targets, weights = [[0, 5], [], [2, 2, 1]], [[1.0, 2.0], [], [0.5, 1.0, 3.0]]
    log_sampled = np.log(rng.uniform(size=6)) if sampled else np.zeros(6)
    expected = 0.0
    for row, (own, counts) in enumerate(zip(targets, weights, strict=True)):
        scores = q[row] @ v.T / 0.4 - log_sampled
        for target, count in zip(own, counts, strict=True):
            probability = np.exp(scores[target]) / np.exp(scores).sum()
            expected -= count * np.log(probability)
    found = SharedSoftmax(0.4)(
        tf.constant(q, tf.float32),
        tf.constant(v, tf.float32),
        tf.ragged.constant(targets, tf.int64),
        tf.ragged.constant(weights, tf.float32),
        tf.constant(log_sampled, tf.float32) if sampled else None,
    )
    assert float(found) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("weight, power", [("sum", 0), ("root", 0.5), ("mean", 1)])
def test_a_query_counts_as_told(weight, power):
    for one in batches(5, query_weight=weight, cold_share=0):
        expected = one[TARGETS].row_lengths().numpy() ** -float(power)
        found = tf.reduce_mean(one[WEIGHTS], axis=1).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_model_scores_the_whole_catalogue():
    how = training(rows="query", batch_size=7)
    made = model(towers(), DATA, how)
    (one,) = batches(1, cold_share=0)
    loss = made.compute_loss(one, training=True)
    q = made.query_tower(one[QUERY]).numpy().astype(float)
    v = made.candidate_tower(items(range(CANDIDATES))).numpy().astype(float)
    scores = q @ v.T / 0.3
    expected = 0.0
    for row, targets in enumerate(one[TARGETS].to_list()):
        total = np.log(np.exp(scores[row]).sum())
        expected += sum(total - scores[row, t] for t in targets) / len(targets) ** 0.5
    assert float(loss) == pytest.approx(expected, rel=1e-4)


# Those never seen


def cold_catalogue(tmp_path, **options) -> tuple[TwoTowerModel, np.ndarray]:
    """Trained towers and all candidates' embeddings: the last four were never seen.

    Each candidate is of a kind, which users stick to; so are the unseen ones.
    """
    kind = np.append(np.arange(CANDIDATES) // (CANDIDATES // 2), [0, 1, 0, 1])
    counts = np.append(COUNTS, [0, 0, 0, 0])
    features = load_features({"item": "id", "kind": "category"})
    catalogue = Catalogue("item", features, {"kind": tf.constant(kind)}, counts)
    how = training(rows="query", epochs=60, learning_rate=0.03, batch_size=8, **options)
    made = TwoTowerModel(
        towers(), how, USER, {"user": QUERIES}, catalogue,
        {"item": CANDIDATES + 4, "kind": 2}, "user",
    )  # fmt: skip
    fit(made, how, DATA, None, str(tmp_path))
    return made, made.embed_catalogue()


@pytest.mark.parametrize("options", [{}, {"softmax": "sampled"}])
def test_a_candidate_never_seen_is_known_by_its_features(tmp_path, options):
    made, embedded = cold_catalogue(tmp_path, **options)
    q = made.query_tower(users(range(QUERIES))).numpy()
    unseen = q @ embedded[CANDIDATES:].T
    even = np.arange(QUERIES) % 2 == 0
    assert (unseen[even][:, [0, 2]].min(1) > unseen[even][:, [1, 3]].max(1)).all()
    assert (unseen[~even][:, [0, 2]].max(1) < unseen[~even][:, [1, 3]].min(1)).all()
    # Nothing tells two of a kind apart, and as a rule they are no better than others.
    np.testing.assert_allclose(embedded[-4:-2], embedded[-2:], atol=1e-6)
    table = made.candidate_tower.biases["item"].embedding.embeddings.numpy()[:, 0]
    rarest = COUNTS == COUNTS.min()
    np.testing.assert_allclose(
        table[CANDIDATES:], table[:CANDIDATES][rarest].mean(), rtol=1e-5
    )


def test_whoever_was_never_seen_gets_what_is_chosen_most(tmp_path):
    rng = np.random.default_rng(7)
    share = np.linspace(1, 8, CANDIDATES)
    candidate = rng.choice(CANDIDATES, 2000, p=share / share.sum())
    key = rng.integers(0, QUERIES, 2000)
    data = Interactions(users(key), candidate, key)
    how = training(rows="query", epochs=3, batch_size=10)
    made = model(towers(embedding_dim=CANDIDATES), data, how)
    fit(made, how, data, None, str(tmp_path))
    scores = (made.query_tower(users([-1])).numpy() @ made.embed_catalogue().T)[0] / 0.3
    weights = np.bincount(key)[key] ** -0.25
    choices = np.bincount(candidate, weights, minlength=CANDIDATES)
    np.testing.assert_allclose(group(data, None).choices(CANDIDATES), choices)
    found = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(found, choices / choices.sum(), rtol=0.02)
    known = made.query_tower(users([0, 1])).numpy()
    np.testing.assert_allclose(np.linalg.norm(known[:, :-1], axis=1), 1, rtol=1e-5)


def test_a_stranger_is_told_by_what_goes_into_the_layers():
    """Layers make something of nothing, by their biases."""
    made = model(towers(hidden_layers=[5]), DATA, training(rows="query"))
    made.build_towers(DATA.query)
    for layer in made.query_tower.hidden:
        layer.bias.assign(tf.ones_like(layer.bias))
    made.query_tower.stranger.assign(np.arange(8.0))
    embedded = made.query_tower(users([-1, 2])).numpy()[:, :8]
    assert embedded[0].tolist() == list(range(8))
    assert np.linalg.norm(embedded[1]) == pytest.approx(1, rel=1e-5)


def cold_batches(take: int, **options):
    """Batches of queries that have a feature beside their id."""
    country = tf.constant(DATA.key % 3)
    data = Interactions({**DATA.query, "country": country}, DATA.candidate, DATA.key)
    how = training(rows="query", batch_size=7, **options)
    rows = group(data, OWN_HISTORY)
    return row_batches(rows, how, OWN_HISTORY, "user", SEEN).take(take)


def test_rows_without_a_query_are_as_many_as_told_and_count_in_full():
    cold = total = 0
    for one in cold_batches(200, cold_share=0.2, id_dropout=0.0):
        empty = one[QUERY][OWN_HISTORY].row_lengths().numpy() == 0
        nobody = one[QUERY]["user"].numpy() == -1
        assert empty[nobody].all()
        weights, lengths = one[WEIGHTS], one[TARGETS].row_lengths().numpy()
        expected = np.where(nobody, 1, 1 / np.sqrt(lengths))
        found = tf.reduce_mean(weights, axis=1).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        cold, total = cold + nobody.sum(), total + len(nobody)
    assert cold / total == pytest.approx(0.2, abs=0.03)


# Training and what it leaves


def test_a_history_is_pooled_by_the_candidates_own_table():
    made = model(
        towers(normalize=False, candidate_bias=False), DATA, training(rows="query")
    )
    made.build_towers(DATA.query)
    made.query_tower.own_history.scale.assign(1.7)
    table = made.candidate_tower.encoders["item"].embedding.embeddings.numpy()
    user = made.query_tower.encoders["user"].embedding.embeddings.numpy()
    found = made.query_tower(
        {
            **users([4, -1, 4]),
            OWN_HISTORY: tf.ragged.constant([[1, -1, 7, 7], [2], []], tf.int64),
        }
    )
    pooled = 1.7 * (table[1] + 2 * table[7]) / np.sqrt(3)
    expected = [user[4] + pooled, 1.7 * table[2], user[4]]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("softmax", ["catalogue", "sampled"])
def test_an_id_alone_is_answered_as_with_its_history(tmp_path, softmax):
    how = training(
        rows="query", epochs=30, learning_rate=0.05, batch_size=8, softmax=softmax
    )
    made = model(towers(), DATA, how)
    before: list[np.ndarray] = []
    fold = made.fold_histories

    def watched(ids, histories) -> None:
        asked = {"user": tf.constant(ids), OWN_HISTORY: histories}
        before.append(made.query_tower(asked).numpy())
        fold(ids, histories)
        before.append(made.query_tower(users(ids)).numpy())

    made.fold_histories = watched
    fit(made, how, DATA, None, str(tmp_path))
    with_history, alone = before
    np.testing.assert_allclose(alone, with_history, rtol=1e-4, atol=1e-5)
    best = (alone @ made.embed_catalogue().T).argmax(axis=1)
    halves = np.array(sorted(by_user(DATA))) % 2
    assert ((best >= CANDIDATES // 2) == halves).all()


def test_valid_accuracy_is_of_the_model_that_is_exported(tmp_path):
    valid = interactions(seed=5, rows=100)
    made, history = train(
        tmp_path, valid, rows="query", epochs=3, learning_rate=0.02, batch_size=8
    )
    q = made.query_tower(valid.query).numpy()
    top = np.argsort(-(q @ made.embed_catalogue().T), axis=1)[:, :10]
    found = (top == valid.candidate[:, None]).any(axis=1).mean()
    assert history[VALID_ACCURACY][-1] == pytest.approx(found, abs=0.011)


def test_whoever_has_no_id_is_answered_by_a_history_alone(tmp_path):
    made, _ = train(
        tmp_path, rows="query", epochs=60, learning_rate=0.05, batch_size=8,
        id_dropout=0.7,
    )  # fmt: skip
    half = CANDIDATES // 2
    histories = tf.ragged.constant([[0, 1, 2], [half, half + 4]], tf.int64)
    q = made.query_tower({**users([-1, -1]), OWN_HISTORY: histories}).numpy()
    best = (q @ made.embed_catalogue().T).argmax(axis=1)
    assert (best >= half).tolist() == [False, True]


def ragged(rows: list[list[int]]) -> tf.RaggedTensor:
    return tf.ragged.constant(rows, tf.int64, ragged_rank=1)


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 9), max_size=6),
            st.lists(st.integers(-1, 9), max_size=6),
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(deadline=None, max_examples=200)
def test_what_is_told_is_added_to_what_is_known_once(rows):
    found = united(ragged([known for known, _ in rows]), ragged([t for _, t in rows]))
    assert found.to_list() == [
        known + [one for one in told if one not in known] for known, told in rows
    ]


def test_known_histories_are_those_of_ids():
    histories = ragged([[4, 5], [1], [], [7, 8, 9]])
    known = KnownHistories(np.array([2, -1, 0, 3]), histories, size=5)
    asked = tf.constant([3, -1, 0, 1, 4, 2], tf.int64)
    assert known(asked).to_list() == [[7, 8, 9], [], [], [], [], [4, 5]]


def of_declared_history() -> tuple[TwoTowerModel, Interactions]:
    """A model whose requests may tell a history, and interactions that tell one."""
    features = load_features({"user": "id", "before": "history"})
    before = ragged([[at % CANDIDATES] for at in range(len(DATA))])
    data = Interactions({**DATA.query, "before": before}, DATA.candidate, DATA.key)
    made = TwoTowerModel(
        towers(), training(rows="query", epochs=3, batch_size=8), features,
        {"user": QUERIES, "before": CANDIDATES},
        Catalogue("item", load_features({"item": "id"}), {}, COUNTS),
        {"item": CANDIDATES}, "user",
    )  # fmt: skip
    return made, data


def test_a_declared_history_is_trained_on_parts_and_asked_with_what_is_known():
    made, data = of_declared_history()
    how = training(rows="query")
    assert made.history_name == "before" and made.query_tower.own_history is None
    rows = group(data, "before")
    assert list(rows.query) == ["user"] and len(rows) == len(by_user(DATA))
    (one,) = row_batches(rows, how, "before", "user", SEEN).take(1)
    assert set(one[QUERY]) == {"user", "before"}
    values, of_row = questions(data, rows.histories, "before")
    told = tf.gather(values["before"], of_row).to_list()
    known = by_user(DATA)
    for at, (user, one) in enumerate(zip(DATA.key, told, strict=True)):
        own = at % CANDIDATES
        assert one == known[user] + [own] * (own not in known[user])
    assert (tf.gather(values["user"], of_row) == data.query["user"]).numpy().all()


def test_a_told_history_is_added_to_the_one_that_an_id_stands_for():
    made, data = of_declared_history()
    how, known = training(rows="query", epochs=3, batch_size=8), by_user(DATA)
    asked = [3, 3, 3, 3, -1]
    unknown = next(c for c in range(CANDIDATES) if c not in known[3])
    told = [[], known[3][:2], [-1, unknown, known[3][0]], [unknown], [unknown]]
    before: list[np.ndarray] = []
    fold = made.fold_histories

    def watched(ids, histories) -> None:
        whole = [known[3], known[3], [*known[3], unknown], [*known[3], unknown]]
        with_all = {**users(asked), "before": ragged([*whole, [unknown]])}
        before.append(made.query_tower(with_all).numpy())
        fold(ids, histories)

    made.fold_histories = watched
    fit(made, how, data, None, None)
    found = made.query_tower({**users(asked), "before": ragged(told)}).numpy()
    np.testing.assert_allclose(found, before[0], rtol=1e-4, atol=1e-5)
    assert np.abs(found[0] - found[2]).max() > 0.01


def test_without_an_id_or_a_history_nothing_is_pooled():
    features = load_features({"country": "category"})
    made = TwoTowerModel(
        towers(), training(rows="query"), features, {"country": 3},
        Catalogue("item", USER, {}, COUNTS), {"user": CANDIDATES}, None,
    )  # fmt: skip
    assert made.history_name is None
    assert set(features) == set(made.query_tower.encoders)


@pytest.mark.parametrize(
    "rows, count, expected",
    [("query", 943, 120), ("query", 12_000, 60), ("query", 10**8, 3),
     ("interaction", 10**6, 16)],
)  # fmt: skip
def test_many_rows_take_fewer_epochs(rows, count, expected):
    assert training(rows=rows).epochs_of(count) == expected
    assert training(rows=rows, epochs=7).epochs_of(count) == 7
