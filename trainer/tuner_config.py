# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What the Tuner may change of a recipe, and how a change is written down."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from trainer.config import ModelConfig, TrainingConfig

_FIXED = ("seed", "checkpoint", "distribution", "warm_start")
"""Keys of `training` that say how a training runs, not what it makes."""


class TunerConfig(BaseModel):
    """The search for a better recipe on the valid split, before the training."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    trials: NonNegativeInt = 0
    """Trainings, each of another recipe, the first of the one that is given; the best
    one then trains the model. They begin with fresh weights, even where the training
    does not (`warm_start`). 0: no search."""
    minutes: PositiveFloat | None = None
    """No trial starts after so many; null: all of them run."""
    k: PositiveInt = 100
    """The best recipe has the highest NDCG at this k on the valid split, what is known
    of the query left out."""
    space: dict[str, Any] = {}
    """What to try for each key of `model` and `training`: a list of values, or {min: …,
    max: …}, with `log: true` where it is the order of magnitude that matters. Empty:
    embedding_dim, temperature and learning_rate, and what else matters most for the
    kind of rows."""


@dataclasses.dataclass(frozen=True)
class Range:
    """All values from one to another."""

    low: float
    high: float
    log: bool
    whole: bool
    """Whether they are whole numbers."""


Space = Mapping[str, Range | list[Any]]
"""What to try, by keys such as `training.learning_rate`."""


def space_of(
    tuner: TunerConfig, recipe: ModelConfig, training: TrainingConfig
) -> Space:
    """Returns what a search tries; a list begins with the recipe's own value.

    Raises:
      ValueError: A key is none of the recipe, or a value is none of its key.
    """
    given = tuner.space or _default_space(recipe, training)
    return {
        key: _tried(key, values, _own_value(key, recipe, training), recipe, training)
        for key, values in given.items()
    }


def _default_space(recipe: ModelConfig, training: TrainingConfig) -> dict[str, Any]:
    """Returns what matters most on the data sets of docs/recipe.md."""
    space: dict[str, Any] = {
        "model.embedding_dim": [64, 128, 256],
        "training.learning_rate": {"min": 0.001, "max": 0.02, "log": True},
    }
    if recipe.normalize:
        # A temperature that is given or was found is near the best one.
        low, high = (0.05, 0.6) if recipe.temperature is None else (
            recipe.temperature / 1.5, recipe.temperature * 1.5
        )  # fmt: skip
        space["model.temperature"] = {"min": low, "max": high, "log": True}
    if training.rows == "interaction":
        return {**space, "training.uniform_negatives": [0, 256, 1024]}
    return {
        **space,
        "training.history_share": {"min": 0.2, "max": 0.8},
        "training.id_dropout": {"min": 0.0, "max": 0.9},
    }


def _own_value(key: str, recipe: ModelConfig, training: TrainingConfig) -> Any:
    section, _, name = key.partition(".")
    part = {"model": recipe, "training": training}.get(section)
    if part is None or name not in type(part).model_fields or name in _FIXED:
        raise ValueError(
            f"tuner.space.{key}: it is no key to tune; take one of model and training, "
            f"e.g. training.learning_rate, but none of {', '.join(_FIXED)}"
        )
    return getattr(part, name)


def _tried(
    key: str, values: Any, own: Any, recipe: ModelConfig, training: TrainingConfig
) -> Range | list[Any]:
    """Returns what is tried for one key, once it is checked."""
    if isinstance(values, list) and values:
        for value in values:
            _check(key, value, recipe, training)
        return [own, *(one for one in values if one != own)]
    tried = _range(key, values)
    _check(key, tried.low, recipe, training)
    _check(key, tried.high, recipe, training)
    between = tried.low + (tried.high - tried.low) / math.pi
    try:
        _check(key, between, recipe, training)
    except ValueError:
        return dataclasses.replace(tried, whole=True)
    return tried


def _check(key: str, value: Any, recipe: ModelConfig, training: TrainingConfig) -> None:
    """Refuses a value that a recipe can't have."""
    try:
        changed(recipe, training, {key: json.dumps(value)})
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        raise ValueError(f"tuner.space.{key}: {message}, got {value!r}") from None


def _range(key: str, values: Any) -> Range:
    """Reads {min: …, max: …, log: …}."""
    named: dict[str, Any] = values if isinstance(values, dict) else {}
    log = named.get("log", False)
    numbers = [
        end
        for end in (named.get("min"), named.get("max"))
        if isinstance(end, int | float) and not isinstance(end, bool)
    ]
    is_read = set(named) <= {"min", "max", "log"} and isinstance(log, bool)
    if len(numbers) < 2 or not is_read:
        raise ValueError(
            f"tuner.space.{key}: give a list of values or {{min: …, max: …}} of "
            f"numbers, with log: true if need be, got {values!r}"
        )
    low, high = numbers
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"tuner.space.{key}: min {low} is not below max {high}")
    if log and low <= 0:
        raise ValueError(
            f"tuner.space.{key}: with log: true, min must be above 0, got {low}"
        )
    return Range(low, high, log, whole=False)


def changed(
    recipe: ModelConfig, training: TrainingConfig, values: Mapping[str, Any]
) -> tuple[ModelConfig, TrainingConfig]:
    """Returns a recipe with some values changed.

    Args:
      recipe: The towers.
      training: How they are fitted.
      values: By key; text is JSON, as choices of a search are kept.

    Raises:
      pydantic.ValidationError: They do not go together.
    """
    parts: dict[str, dict[str, Any]] = {
        "model": recipe.model_dump(),
        "training": training.model_dump(),
    }
    for key, value in values.items():
        section, name = key.split(".", 1)
        parts[section][name] = json.loads(value) if isinstance(value, str) else value
    return ModelConfig(**parts["model"]), TrainingConfig(**parts["training"])
