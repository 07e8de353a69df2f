# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The towers, their loss and their training, against independent arithmetic."""

import numpy as np
import pytest
import tensorflow as tf

import trainer.batches
from serving.errors import UserError
from tests.unit.training import (
    CANDIDATES,
    ITEM,
    QUERIES,
    USER,
    contrary,
    interactions,
    items,
    model,
    towers,
    train,
    training,
    user_of,
    users,
)
from trainer.batches import NEGATIVES, QUERY, Interactions, interaction_batches
from trainer.config import ModelConfig
from trainer.distribution import Share
from trainer.features import CANDIDATE_INDEX
from trainer.fit import VALID_ACCURACY
from trainer.frequencies import StreamingFrequency
from trainer.model import TwoTowerModel
from trainer.towers import CandidateTower, QueryTower


def query_tower(size: int, config: ModelConfig) -> QueryTower:
    return QueryTower(USER, {"user": size}, config, "q")


def candidate_tower(size: int, config: ModelConfig) -> CandidateTower:
    return CandidateTower(ITEM, {"item": size}, config, "c")


def test_normalised_towers_have_length_one_and_a_bias_column():
    config = ModelConfig(embedding_dim=8, temperature=0.5)
    query = query_tower(QUERIES, config)(users(range(QUERIES))).numpy()
    tower = candidate_tower(CANDIDATES, config)
    candidate = tower(items(range(CANDIDATES))).numpy()
    assert query.shape == (QUERIES, 9) and candidate.shape == (CANDIDATES, 9)
    np.testing.assert_allclose(np.linalg.norm(query[:, :8], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(candidate[:, :8], axis=1), 1, rtol=1e-5)
    assert (query[:, 8] == np.float32(0.5)).all() and (candidate[:, 8] == 0).all()


def test_the_score_over_temperature_is_cosine_over_temperature_plus_bias():
    config = ModelConfig(embedding_dim=4, temperature=0.3)
    query = query_tower(QUERIES, config)
    tower = candidate_tower(CANDIDATES, config)
    positions = items(range(CANDIDATES))
    tower(positions)
    bias = np.random.default_rng(1).normal(size=(CANDIDATES, 1)).astype(np.float32)
    tower.biases["item"].embedding.embeddings.assign(bias)
    q, v = query(users([3])).numpy(), tower(positions).numpy()
    expected = q[:, :4] @ v[:, :4].T / 0.3 + bias.T
    np.testing.assert_allclose(q @ v.T / 0.3, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_an_unknown_query_scores_by_bias_alone(bias):
    config = ModelConfig(embedding_dim=4, temperature=0.3, candidate_bias=bias)
    q = query_tower(QUERIES, config)(users([-1])).numpy()
    assert (q[:, :4] == 0).all()
    assert q.shape == (1, 4 + bias)
    assert not bias or q[0, 4] == np.float32(0.3)


def test_plain_towers_are_just_their_tables():
    config = ModelConfig(
        embedding_dim=4, normalize=False, candidate_bias=False, initializer="uniform"
    )
    tower = candidate_tower(CANDIDATES, config)
    embedded = tower(items(range(CANDIDATES))).numpy()
    np.testing.assert_array_equal(
        embedded, tower.encoders["item"].embedding.embeddings.numpy()
    )
    assert np.abs(embedded).max() <= 0.05


@pytest.mark.parametrize("logq", ["exact", "none"])
@pytest.mark.parametrize("hits", [True, False])
@pytest.mark.parametrize("hard", [None, 3])
@pytest.mark.parametrize("more", [0, 5])
def test_the_loss_is_the_corrected_softmax(logq, hits, hard, more):
    data = interactions()
    config = towers(embedding_dim=4)
    how = training(
        logq=logq, remove_accidental_hits=hits, hard_negatives=hard,
        uniform_negatives=more,
    )  # fmt: skip
    trained = model(config, data, how)
    query, candidate = user_of(data)[:16], data.candidate[:16]
    others = np.array([3, 19, 3, 0, 11])[:more]
    loss = trained.compute_loss(batch(query, candidate, others))
    drawn = np.concatenate([candidate, others])
    q = trained.query_tower(users(query)).numpy().astype(float)
    v = trained.candidate_tower(items(drawn)).numpy().astype(float)
    expected = 0.0
    share = np.bincount(data.candidate, minlength=CANDIDATES) / len(data)
    mixed = (16 * share + more / CANDIDATES) / (16 + more)
    for row in range(16):
        logits = q[row] @ v.T / config.temperature
        if logq == "exact":
            logits = logits - np.log(mixed[drawn])
        same = (drawn == candidate[row]) & (np.arange(16 + more) != row)
        if hits:
            logits[same] = -1e30
        positive = logits[row]
        if hard:
            negatives = np.sort(np.delete(logits, row))[-hard:]
            logits = np.concatenate([[positive], negatives])
        expected -= (
            positive - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        )
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def batch(query, candidate, others=()) -> dict:
    """A batch of interactions, with negatives beside its own candidates."""
    return {
        QUERY: users(query),
        CANDIDATE_INDEX: tf.constant(candidate, tf.int64),
        NEGATIVES: tf.constant(others, tf.int64),
    }


def test_a_candidate_never_seen_in_training_has_a_finite_loss():
    # It is nobody's positive there, but may be one in a batch all the same.
    data = Interactions(users([0, 1, 2]), np.array([3, 3, 4]), np.arange(3))
    config = towers(embedding_dim=4)
    trained = model(config, data)
    query, candidate = np.array([0, 1]), np.array([7, 3])
    loss = trained.compute_loss(batch(query, candidate))
    q = trained.query_tower(users(query)).numpy().astype(float)
    v = trained.candidate_tower(items(candidate)).numpy().astype(float)
    # TFRS takes a probability for at least 1e-6.
    logits = q @ v.T / config.temperature - np.log([1e-6, 2 / 3])
    expected = -np.sum(np.diag(logits) - np.log(np.exp(logits).sum(axis=1)))
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_the_tutorials_loss_is_the_plain_softmax():
    data = interactions()
    config = ModelConfig(
        embedding_dim=4,
        normalize=False,
        temperature=1.0,
        candidate_bias=False,
    )
    trained = model(config, data, training(logq="none"))
    query, candidate = user_of(data)[:9], data.candidate[:9]
    loss = trained.compute_loss(batch(query, candidate))
    q = (
        trained.query_tower.encoders["user"]
        .embedding.embeddings.numpy()[query]
        .astype(float)
    )
    v = (
        trained.candidate_tower.encoders["item"]
        .embedding.embeddings.numpy()[candidate]
        .astype(float)
    )
    logits = q @ v.T
    expected = -np.sum(np.diag(logits) - np.log(np.exp(logits).sum(axis=1)))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_initial_embeddings_are_as_wide_as_the_config_says():
    config = towers(embedding_dim=64, normalize=False, candidate_bias=False)
    tower = query_tower(2000, config)
    embedded = tower(users(range(2000))).numpy()
    assert embedded.shape == (2000, 64)
    assert embedded.std() == pytest.approx(1 / 8, rel=0.02)


def test_a_batch_of_nobody_has_the_width_of_any_other():
    config = towers(embedding_dim=5)
    assert query_tower(3, config)(users([])).shape == (0, 6)
    assert candidate_tower(3, config)(items([])).shape == (0, 6)


# Batches


@pytest.fixture(params=["in memory", "by computing"])
def any_shuffle(request, monkeypatch):
    """Both ways to order an epoch: of a short log and of a long one."""
    if request.param == "by computing":
        monkeypatch.setattr(trainer.batches, "_SHUFFLED_IN_MEMORY", 0)


def rows_of(batches: tf.data.Dataset) -> list[list[list[int]]]:
    """The rows of one epoch, batch by batch."""
    return [
        np.stack([batch[QUERY]["user"], batch[CANDIDATE_INDEX]], axis=1).tolist()
        for batch in batches.as_numpy_iterator()
    ]


def parts_of(data: Interactions, epochs: int, **options) -> list[list[list[int]]]:
    """The rows of the first epochs in batches of 32, 4 batches an epoch."""
    share = options.get("share", Share())
    how = training(seed=options.pop("seed", 1))
    batches = interaction_batches(data, how, np.arange(CANDIDATES), **options)
    return rows_of(batches.take(epochs * 4 * share.count))


@pytest.mark.usefixtures("any_shuffle")
def test_an_epoch_holds_every_row_once_and_keeps_the_last_batch():
    data = interactions(rows=100)
    batches = parts_of(data, epochs=1)
    assert [len(batch) for batch in batches] == [32, 32, 32, 4]
    rows = np.stack([user_of(data), data.candidate], axis=1).tolist()
    assert sorted(sum(batches, [])) == sorted(rows)
    endless = interaction_batches(
        data, training(batch_size=1000), np.arange(CANDIDATES)
    )
    assert [len(batch) for batch in rows_of(endless.take(3))] == [100] * 3
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY


@pytest.mark.usefixtures("any_shuffle")
def test_every_epoch_has_its_own_order_and_a_seed_repeats_them():
    data = interactions(rows=100)
    both = parts_of(data, epochs=2)
    assert both[:4] != both[4:]
    assert parts_of(data, epochs=2) == both
    assert parts_of(data, epochs=1, seed=2) != both[:4]
    # Going on after a kill: an epoch does not depend on those before it.
    assert parts_of(data, epochs=1, first_epoch=1) == both[4:]


@pytest.mark.usefixtures("any_shuffle")
@pytest.mark.parametrize("workers", [1, 2])
def test_the_parts_of_a_batch_are_the_batch(workers):
    data = interactions(rows=97)  # the last batch has one row for three replicas
    whole = parts_of(data, epochs=1)
    shares = [Share(3, 0, 3)] if workers == 1 else [Share(3, 0, 2), Share(3, 2, 1)]
    read = [parts_of(data, epochs=1, share=share) for share in shares]
    for at, batch in enumerate(whole):
        parts = sum(
            (
                parts[at * share.count : (at + 1) * share.count]
                for parts, share in zip(read, shares, strict=True)
            ),
            [],
        )
        assert sum(parts, []) == batch
        sizes = [len(part) for part in parts]
        assert len(sizes) == 3 and max(sizes) - min(sizes) <= 1


def test_queued_negatives_are_the_candidates_before():
    data = interactions(rows=100)
    how = training(queued_negatives=40, uniform_negatives=3, batch_size=32)
    epochs = list(interaction_batches(data, how, np.arange(CANDIDATES)).take(8))
    for epoch in (epochs[:4], epochs[4:]):
        before: list[int] = []
        for one in epoch:
            negatives = one[NEGATIVES].numpy()
            assert negatives[3:].tolist() == before[-40:]
            assert len(negatives) == 3 + min(len(before), 40)
            before += one[CANDIDATE_INDEX].numpy().tolist()


def test_streaming_frequencies_find_those_of_the_batches():
    rng = np.random.default_rng(1)
    share = np.linspace(1, 10, CANDIDATES)
    share /= share.sum()
    estimate = StreamingFrequency(CANDIDATES, first=5.0, rate=0.02)
    there = np.zeros(CANDIDATES)
    for step in range(3000):
        drawn = rng.choice(CANDIDATES, 8, p=share)
        estimate.observe(tf.constant(drawn))
        there[np.unique(drawn)] += step >= 1000
    found = estimate(tf.range(CANDIDATES)).numpy()
    np.testing.assert_allclose(found, there / 2000, rtol=0.25)


def test_streaming_frequencies_go_into_the_loss(tmp_path):
    trained, _ = train(tmp_path, logq="streaming", epochs=20)
    assert accuracy_of_halves(trained) == 1.0
    candidates = tf.range(CANDIDATES)
    exact = np.bincount(interactions().candidate) / 400
    expected = 1 - (1 - exact) ** 32
    found = trained.frequency(candidates).numpy()
    assert np.corrcoef(found, expected)[0, 1] > 0.6
    probability = trained._probability(candidates).numpy()
    np.testing.assert_allclose(probability, found / 32, rtol=1e-6)


# Training


def accuracy_of_halves(trained: TwoTowerModel) -> float:
    """Share of queries whose best candidate is of their own half."""
    q = trained.query_tower(users(range(QUERIES))).numpy()
    v = trained.candidate_tower(items(range(CANDIDATES))).numpy()
    best = (q @ v.T).argmax(axis=1)
    return float(((best >= CANDIDATES // 2) == np.arange(QUERIES) % 2).mean())


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory):
    """A model, its history and the folder of its logs, trained once."""
    folder = tmp_path_factory.mktemp("trained")
    return *train(folder), folder


def test_training_learns_and_leaves_logs(trained_folder):
    trained, history, folder = trained_folder
    assert accuracy_of_halves(trained) == 1.0
    assert len(history["loss"]) == 10 and history["loss"][-1] < history["loss"][0]
    assert list(folder.rglob("events.out.tfevents.*"))


def test_the_loss_of_an_epoch_is_its_mean_over_interactions(tmp_path):
    # Nothing is learned at this rate: each batch has the loss of the initial weights.
    trained, history = train(tmp_path, epochs=2, learning_rate=1e-12)
    batches = interaction_batches(
        interactions(), training(), np.arange(CANDIDATES)
    ).take(13)
    total = sum(float(trained.compute_loss(one)) for one in batches)
    assert history["loss"][0] == pytest.approx(total / 400, rel=1e-5)


@pytest.mark.usefixtures("any_shuffle")
def test_training_runs_whole_epochs_however_they_are_ordered(tmp_path):
    trained, history = train(tmp_path, steps_per_execution=7)
    assert accuracy_of_halves(trained) == 1.0
    assert len(history["loss"]) == 10


def test_a_seed_reproduces_and_another_does_not(tmp_path):
    weights = [
        train(tmp_path, seed=seed, epochs=1)[0]
        .query_tower.encoders["user"]
        .embedding.embeddings.numpy()
        for seed in (1, 1, 2)
    ]
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-5, atol=1e-6)
    assert np.abs(weights[0] - weights[2]).max() > 0.01


def valid_accuracy(trained: TwoTowerModel, valid: Interactions) -> float:
    """Top-10 accuracy of the weights as they are now."""
    q = trained.query_tower(valid.query).numpy().astype(float)
    v = trained.candidate_tower(items(range(CANDIDATES))).numpy()
    top = np.argsort(-(q @ v.T), axis=1)[:, :10]
    return float((top == valid.candidate[:, None]).any(axis=1).mean())


@pytest.mark.parametrize("ema", [0, 0.5])
def test_early_stopping_goes_back_to_the_best(tmp_path, ema):
    valid = contrary(seed=5)
    options = {"early_stopping_patience": 3, "learning_rate": 0.02, "ema": ema}
    trained, history = train(tmp_path, valid, epochs=60, **options)
    watched = history[VALID_ACCURACY]
    assert len(watched) == 1 + int(np.argmax(watched)) + 3 < 60
    assert watched[-1] < max(watched) - 0.05
    assert valid_accuracy(trained, valid) == pytest.approx(max(watched), abs=0.011)


def test_a_valid_split_is_watched_without_stopping(tmp_path, capsys):
    valid = interactions(seed=5, rows=100)
    trained, history = train(tmp_path, valid, epochs=4)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "\x1b[" not in printed.err, "no bar: standard error is no terminal here"
    assert list(tmp_path.rglob("events.out.tfevents.*"))
    assert len(history[VALID_ACCURACY]) == len(history["loss"]) == 4
    found = valid_accuracy(trained, valid)
    assert history[VALID_ACCURACY][-1] == pytest.approx(found, abs=0.011)


def test_a_terminal_sees_a_bar(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("serving.process.is_terminal", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes any stream for a terminal
    _, history = train(tmp_path, epochs=2)
    assert len(history["loss"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "\x1b[" in printed.err and "interactions/s" in printed.err


def test_early_stopping_needs_a_valid_split(tmp_path):
    with pytest.raises(UserError) as caught:
        train(tmp_path, early_stopping_patience=1)
    assert str(caught.value) == (
        "training.early_stopping_patience needs a split to watch; give "
        "interactions.split.fractions a share for 'valid' or set it to 0"
    )


def test_a_loss_that_is_no_number_is_told(tmp_path):
    with pytest.raises(UserError) as caught:
        train(tmp_path, learning_rate=1e38, epochs=3)
    assert str(caught.value) == (
        "the training diverged, to a loss or weights that are no numbers; lower "
        "training.learning_rate (1e+38)"
    )


def test_an_unknown_candidate_has_neither_embedding_nor_anothers_bias():
    tower = candidate_tower(CANDIDATES, towers(embedding_dim=4))
    tower(items([0]))
    tower.biases["item"].embedding.embeddings.assign(tf.ones((CANDIDATES, 1)))
    embedded = tower(items([-1, 0])).numpy()
    assert (embedded[0] == 0).all() and embedded[1, 4] == 1
