# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A temperature is found on a part of the training split."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import trainer.temperature
from tests.unit.training import QUERIES, interactions, model, towers, training, users
from trainer.batches import Interactions
from trainer.model import TwoTowerModel
from trainer.temperature import find_temperature

DATA = interactions()


def make(temperature: float) -> TwoTowerModel:
    tf.keras.utils.set_random_seed(1)
    how = training(rows="query", batch_size=8)
    return model(towers(temperature=temperature), DATA, how)


def found(monkeypatch, height, data: Interactions = DATA, **options) -> float:
    """The temperature that is found if a model of T is as good as height(T)."""
    monkeypatch.setattr(
        trainer.temperature,
        "_score",
        lambda made, how, known, asked: height(made._config.temperature),
    )
    recipe = towers(**{"temperature": None, **options})
    return find_temperature(make, recipe, training(rows="query"), data)


@pytest.mark.parametrize("best", [0.08, 0.1, 0.18, 0.2, 0.33, 0.4])
def test_the_top_of_a_hill_is_found(monkeypatch, best):
    def height(temperature: float) -> float:
        return 1 - np.log(temperature / best) ** 2

    assert found(monkeypatch, height) == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("slope, end", [(1, 0.18 * 1.5**3), (-1, 0.18 / 1.5**3)])
def test_a_hill_without_a_top_ends_at_the_last_step(monkeypatch, slope, end):
    assert found(monkeypatch, lambda t: slope * t) == pytest.approx(end)


def test_what_is_known_is_not_searched_for(monkeypatch):
    def height(temperature: float) -> float:
        raise AssertionError("trained for nothing")

    assert found(monkeypatch, height, temperature=0.7) == 0.7
    assert found(monkeypatch, height, normalize=False) == 1.0
    single = Interactions(users(range(5)), np.arange(5), np.arange(5))
    assert found(monkeypatch, height, single) == 0.18
    plain = find_temperature(make, towers(temperature=None), training(), DATA)
    assert plain == 0.3


def test_short_trainings_tell_a_good_temperature_from_a_bad_one():
    how = training(rows="query", batch_size=8, epochs=40, learning_rate=0.03)
    recipe = towers(temperature=None)
    first = find_temperature(make, recipe, how, DATA)
    again = find_temperature(make, recipe, how, DATA)
    assert again == pytest.approx(first, rel=0.05)
    known, asked = trainer.temperature._parts(DATA, how.seed)
    scores = {
        temperature: trainer.temperature._score(make(temperature), how, known, asked)
        for temperature in (first, 20.0)
    }
    assert scores[first] > scores[20.0] > 0


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(0, 5))
def test_every_query_keeps_what_it_is_known_by(keys, seed):
    key = np.array(keys)
    data = Interactions(users(key), np.arange(len(key)), key)
    known, asked = trainer.temperature._parts(data, seed)
    assert set(known.key) == set(keys)
    together = sorted([*known.candidate, *asked.candidate])
    assert together == list(range(len(key)))
    for part in (known, asked):
        assert (part.key == key[part.candidate]).all()
        assert (part.query["user"].numpy() == part.key).all()


def test_a_long_log_is_sampled_by_queries(monkeypatch):
    monkeypatch.setattr(trainer.temperature, "_QUERIES", 10)
    monkeypatch.setattr(trainer.temperature, "_ASKED", 4)
    known, asked = trainer.temperature._parts(DATA, 1)
    assert len(set(known.key)) == 10 < QUERIES
    assert len(set(asked.key)) == 4 and set(asked.key) <= set(known.key)
