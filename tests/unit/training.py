# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A small model and its interactions, which the tests of training share."""

from typing import Any

import numpy as np
import tensorflow as tf

from trainer.batches import Interactions
from trainer.config import ModelConfig, TrainingConfig
from trainer.feature_config import load_features
from trainer.fit import fit
from trainer.model import Catalogue, TwoTowerModel

QUERIES, CANDIDATES = 30, 20
USER, ITEM = load_features({"user": "id"}), load_features({"item": "id"})


def interactions(seed: int = 0, rows: int = 400) -> Interactions:
    """Users of two kinds, who choose among two halves of the catalogue."""
    rng = np.random.default_rng(seed)
    query = rng.integers(0, QUERIES, rows)
    half = CANDIDATES // 2
    candidate = rng.integers(0, half, rows) + half * (query % 2)
    return Interactions(users(query), candidate, query)


def users(positions) -> dict[str, tf.Tensor]:
    """Queries that are a user id alone."""
    return {"user": tf.constant(positions, tf.int64)}


def items(positions) -> dict[str, tf.Tensor]:
    """Candidates that are an item id alone."""
    return {"item": tf.constant(positions, tf.int64)}


def user_of(data: Interactions) -> np.ndarray:
    return data.query["user"].numpy()


def towers(**options: Any) -> ModelConfig:
    """A recipe with a temperature."""
    return ModelConfig(**{"embedding_dim": 8, "temperature": 0.3, **options})


def training(**options: Any) -> TrainingConfig:
    """A training of rows that are interactions, unless told otherwise."""
    defaults = {
        "rows": "interaction", "schedule": "constant", "batch_size": 32,
        "uniform_negatives": 0,
    }  # fmt: skip
    return TrainingConfig(**{**defaults, **options})


def model(
    config: ModelConfig, data: Interactions, how: TrainingConfig | None = None
) -> TwoTowerModel:
    counts = np.bincount(data.candidate, minlength=CANDIDATES)
    catalogue = Catalogue("item", ITEM, {}, counts)
    return TwoTowerModel(
        config, how or training(), USER, {"user": QUERIES}, catalogue,
        {"item": CANDIDATES}, "user",
    )  # fmt: skip


def train(
    folder: Any,
    valid: Interactions | None = None,
    checkpoints: str | None = None,
    **options: Any,
) -> tuple[TwoTowerModel, dict[str, list[float]]]:
    """A trained model and its history."""
    tf.keras.utils.set_random_seed(options.get("seed", 42))
    data = interactions()
    how = training(**{"epochs": 10, "learning_rate": 0.05, **options})
    trained = model(towers(), data, how)
    return trained, fit(trained, how, data, valid, str(folder), checkpoints)


def contrary(seed: int) -> Interactions:
    """Users who like the other half: the more is learned, the worse it gets."""
    likes = interactions(seed, rows=100)
    half = CANDIDATES // 2
    turned = (likes.candidate + half) % CANDIDATES
    return Interactions(likes.query, turned, likes.key)
