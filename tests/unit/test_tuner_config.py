# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a search may try, and how what it finds is read."""

import json

import pydantic
import pytest

from trainer.config import ModelConfig, TrainingConfig
from trainer.tuner_config import Range, TunerConfig, changed, space_of

RECIPE, TRAINING = ModelConfig(), TrainingConfig()


def space(**given):
    return space_of(TunerConfig(space=given), RECIPE, TRAINING)


def test_a_list_begins_with_the_recipes_own_value():
    found = space(**{"model.embedding_dim": [32, 256, 64], "model.normalize": [False]})
    assert found == {
        "model.embedding_dim": [256, 32, 64],
        "model.normalize": [True, False],
    }


@pytest.mark.parametrize(
    ("key", "ends", "whole"),
    [
        ("model.embedding_dim", (8, 64), True),
        ("training.hard_negatives", (5, 50), True),
        ("training.epochs", (5, 50), True),
        ("training.learning_rate", (1, 2), False),
        ("model.dropout", (0, 0.5), False),  # its default is written 0
        ("model.temperature", (0.1, 1), False),  # its default is null
    ],
)
def test_ranges_are_whole_where_the_key_is(key, ends, whole):
    training = TrainingConfig(rows="interaction")
    tuner = TunerConfig(space={key: {"min": ends[0], "max": ends[1]}})
    (found,) = space_of(tuner, RECIPE, training).values()
    assert found == Range(*ends, log=False, whole=whole)


@pytest.mark.parametrize("rows", ["query", "interaction"])
@pytest.mark.parametrize("normalize", [True, False])
def test_without_a_space_there_is_one(rows, normalize):
    recipe = ModelConfig(normalize=normalize)
    found = space_of(TunerConfig(), recipe, TrainingConfig(rows=rows))
    assert ("model.temperature" in found) == normalize
    if normalize:
        assert found["model.temperature"] == Range(0.05, 0.6, True, False)
        near = space_of(TunerConfig(), ModelConfig(temperature=0.3), TRAINING)
        assert near["model.temperature"].low == pytest.approx(0.2)
        assert near["model.temperature"].high == pytest.approx(0.45)
    assert ("training.history_share" in found) == (rows == "query")
    assert found["training.learning_rate"] == Range(0.001, 0.02, True, False)


def test_what_is_found_changes_a_recipe_and_nothing_else():
    values = {
        "model.hidden_layers": json.dumps([64, 32]),
        "model.temperature": 0.2,
        "training.query_weight": json.dumps("sum"),
        "training.hard_negatives": json.dumps(None),
        "training.batch_size": 100,
    }
    recipe, training = changed(RECIPE, TRAINING, values)
    assert recipe == ModelConfig(hidden_layers=[64, 32], temperature=0.2)
    assert training == TrainingConfig(query_weight="sum", batch_size=100)
    assert changed(RECIPE, TRAINING, {}) == (RECIPE, TRAINING)
    with pytest.raises(pydantic.ValidationError, match="for rows: interaction"):
        changed(RECIPE, TRAINING, {"training.hard_negatives": 50})
