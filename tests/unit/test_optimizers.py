# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Optimizers, schedules, averages and precision, against independent arithmetic."""

import math
import typing

import numpy as np
import pytest
import tensorflow as tf

from tests.unit.training import (
    interactions,
    items,
    model,
    towers,
    train,
    training,
    users,
)
from trainer import optimizers
from trainer.config import TrainingConfig
from trainer.fit import VALID_ACCURACY, fit
from trainer.optimizers import LazyAdam, learning_rate_of, make_optimizer

NAMES = typing.get_args(TrainingConfig.model_fields["optimizer"].annotation)


def config(**options) -> TrainingConfig:
    decay = 0.004 if options.get("optimizer") == "adamw" else 0
    return training(**{"weight_decay": decay, **options})


def variable(rows: int = 4) -> tf.Variable:
    return tf.Variable(tf.ones([rows, 2]))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "auto"])
def test_the_optimizer_is_the_one_of_the_config(name):
    chosen = config(optimizer=name, learning_rate=0.25, gradient_clip_norm=2.5, ema=0.9)
    optimizer = make_optimizer(chosen, 100, [variable()])
    assert type(optimizer).__name__.lower() == name.replace("_", "")
    assert float(optimizer.learning_rate) == 0.25
    assert optimizer.weight_decay == (0.004 if name == "adamw" else None)
    assert optimizer.global_clipnorm == 2.5
    assert optimizer.use_ema and optimizer.ema_momentum == 0.9


@pytest.mark.parametrize("name", [name for name in NAMES if name != "auto"])
def test_every_optimizer_goes_down(name):
    weight = variable()
    optimizer = make_optimizer(config(optimizer=name, learning_rate=0.1), 9, [weight])
    gradient = tf.IndexedSlices(tf.ones([3, 2]), tf.constant([0, 2, 0]), [4, 2])
    for _ in range(3):
        optimizer.apply_gradients([(gradient, weight)])
    assert (weight.numpy()[[0, 2]] < 0.99).all()


@pytest.mark.parametrize("name", ["lazy_adam", "adagrad", "sgd"])
def test_rows_that_are_not_looked_up_stay_as_they_are(name):
    weight = variable()
    optimizer = make_optimizer(config(optimizer=name, learning_rate=0.1), 9, [weight])
    every = tf.IndexedSlices(tf.ones([4, 2]), tf.range(4), [4, 2])
    optimizer.apply_gradients([(every, weight)])
    before = weight.numpy()
    some = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([2]), [4, 2])
    optimizer.apply_gradients([(some, weight)])
    moved = (weight.numpy() != before).any(axis=1)
    assert moved.tolist() == [False, False, True, False]


def test_auto_is_adam_up_to_a_size(monkeypatch):
    monkeypatch.setattr(optimizers, "LAZY_ABOVE", 16)
    small = make_optimizer(config(), 9, [variable(4), variable(4)])
    large = make_optimizer(config(), 9, [variable(4), variable(5)])
    assert type(small) is tf.keras.optimizers.Adam
    assert type(large) is LazyAdam


def test_lazy_adam_is_adam_where_every_row_is_looked_up():
    rng = np.random.default_rng(0)
    weights = variable(), variable()
    both = LazyAdam(0.1), tf.keras.optimizers.Adam(0.1)
    for _ in range(5):
        # Row 1 twice: its gradients are added up.
        values = rng.normal(size=(5, 2)).astype(np.float32)
        rows = tf.constant([3, 1, 0, 2, 1])
        for weight, optimizer in zip(weights, both, strict=True):
            gradient = tf.IndexedSlices(tf.constant(values), rows, [4, 2])
            optimizer.apply_gradients([(gradient, weight)])
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-5)


def test_lazy_adam_against_arithmetic():
    weight, optimizer = variable(), LazyAdam(0.1, epsilon=1e-7)
    first = second = 0.0
    expected, other = 1.0, weight.numpy()[1].tolist()
    for step, gradient in enumerate([0.5, -2.0, 1.0], start=1):
        slices = tf.IndexedSlices(tf.fill([1, 2], gradient), tf.constant([3]), [4, 2])
        optimizer.apply_gradients([(slices, weight)])
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        unbiased = first / (1 - 0.9**step), second / (1 - 0.999**step)
        expected -= 0.1 * unbiased[0] / math.sqrt(unbiased[1])
        assert weight.numpy()[3, 0] == pytest.approx(expected, rel=1e-4)
    assert weight.numpy()[1].tolist() == other


def rates(**options) -> list[float]:
    rate = learning_rate_of(config(learning_rate=0.2, **options), 100)
    return [float(rate(step)) if callable(rate) else rate for step in range(101)]


def test_the_schedule_is_what_its_name_says():
    assert rates() == [0.2] * 101
    cosine = [0.1 * (1 + math.cos(math.pi * step / 100)) for step in range(101)]
    assert rates(schedule="cosine") == pytest.approx(cosine, abs=1e-6)


def test_the_warmup_rises_from_zero():
    rising = [0.2 * step / 25 for step in range(25)]
    assert rates(warmup=0.25) == pytest.approx([*rising, *[0.2] * 76], abs=1e-6)
    falling = [0.1 * (1 + math.cos(math.pi * step / 75)) for step in range(76)]
    both = rates(warmup=0.25, schedule="cosine")
    assert both == pytest.approx([*rising, *falling], abs=1e-6)


def test_the_schedule_ends_with_the_last_epoch(tmp_path):
    trained, _ = train(tmp_path, epochs=3, schedule="cosine", warmup=0.1)
    assert int(trained.optimizer.iterations) == 3 * 13
    last = learning_rate_of(
        config(learning_rate=0.05, schedule="cosine", warmup=0.1), 39
    )
    assert float(trained.optimizer.learning_rate) == pytest.approx(float(last(38)))
    assert float(last(39)) == 0


def test_weight_decay_and_clipping_change_what_is_learned(tmp_path):
    def norm(**options) -> float:
        trained, _ = train(tmp_path, epochs=3, **options)
        return float(tf.linalg.global_norm(trained.trainable_variables))

    plain = norm(optimizer="sgd", learning_rate=0.01)
    assert norm(optimizer="sgd", learning_rate=0.01, weight_decay=0.9) < plain * 0.95
    start = norm(optimizer="sgd", learning_rate=1e-12)
    clipped = norm(optimizer="sgd", learning_rate=0.01, gradient_clip_norm=1e-6)
    assert clipped == pytest.approx(start, rel=1e-4) and abs(plain - start) > 0.01


# Averages


def average_of(history: list[np.ndarray], momentum: float) -> np.ndarray:
    average = history[0]
    for value in history[1:]:
        average = momentum * average + (1 - momentum) * value
    return average


def test_the_average_is_what_is_validated_and_what_is_left(tmp_path, monkeypatch):
    seen = {"weights": [], "judged": []}

    class Watched(optimizers.LazyAdam):
        """Remembers the weights after each step."""

        def apply_gradients(self, grads_and_vars, **options):
            pairs = list(grads_and_vars)
            if not seen["weights"]:
                seen["weights"].append(pairs[0][1].numpy())
            result = super().apply_gradients(pairs, **options)
            seen["weights"].append(pairs[0][1].numpy())
            return result

    monkeypatch.setitem(optimizers._OPTIMIZERS, "lazy_adam", Watched)
    data = interactions()
    trained = model(towers(), data)
    embed = trained.embed_catalogue

    def judged() -> np.ndarray:
        seen["judged"].append(trained.trainable_variables[0].numpy())
        return embed()

    monkeypatch.setattr(trained, "embed_catalogue", judged)
    options = config(
        optimizer="lazy_adam", ema=0.8, epochs=2, batch_size=100, learning_rate=0.05
    )
    tf.config.run_functions_eagerly(True)
    try:
        history = fit(trained, options, data, interactions(5, 50), str(tmp_path))
    finally:
        tf.config.run_functions_eagerly(False)
    assert len(history[VALID_ACCURACY]) == 2 and len(seen["weights"]) == 9
    for epoch, weights in enumerate(seen["judged"]):
        expected = average_of(seen["weights"][: 1 + 4 * (epoch + 1)], 0.8)
        np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-6)
    left = trained.trainable_variables[0].numpy()
    np.testing.assert_array_equal(left, seen["judged"][1])


# Precision


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_hidden_layers_compute_in_the_precision_and_nothing_else_does(tmp_path, name):
    def trained(mixed: str):
        tf.keras.utils.set_random_seed(1)
        options = config(
            epochs=15, batch_size=32, learning_rate=0.01, mixed_precision=mixed
        )
        made = model(towers(hidden_layers=[16]), interactions(), options)
        return made, fit(made, options, interactions(), None, str(tmp_path))

    plain, expected = trained("none")
    made, history = trained(name)
    for tower in (made.query_tower, made.candidate_tower):
        assert {layer.compute_dtype for layer in tower.hidden} == {name}
    assert {weight.dtype for weight in made.trainable_variables} == {tf.float32}
    embedded = made.query_tower(users(range(5)))
    assert embedded.dtype == tf.float32
    assert made.candidate_tower(items(range(5))).dtype == tf.float32
    lengths = np.linalg.norm(embedded[:, :8], axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    difference = np.abs(embedded - plain.query_tower(users(range(5))))
    assert difference.max() > 0, "it computed as float32 does"
    # float16 leaves out the first steps, until it has found a scale for the loss.
    rel = 0.1 if name == "float16" else 0.02
    assert history["loss"][0] == pytest.approx(expected["loss"][0], rel=rel)
    assert history["loss"][-1] == pytest.approx(expected["loss"][-1], rel=0.1)
