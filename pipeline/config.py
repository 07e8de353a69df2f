# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The configuration of a pipeline: typed, checked at once, overridable key by key."""

import difflib
import os
import re
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    model_validator,
)

from serving.errors import UserError
from serving.evaluation.config import EvaluationConfig
from serving.index_config import IndexConfig
from trainer.config import ModelConfig, TrainingConfig


class _Strict(BaseModel):
    """A part of the config: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TfdsSource(_Strict):
    """A TensorFlow Datasets dataset by name."""

    tfds: str
    """Its name, as tfds.builder takes it, e.g. movielens/100k-ratings."""
    dataset_split: str = "train"
    """Which of the dataset's own splits to read."""


class NoSplit(_Strict):
    """Everything in one split, train."""

    method: Literal["none"]


Fraction = Annotated[float, Field(ge=0, le=1)]


class _FractionSplit(_Strict):
    """Shares of the interactions a split."""

    fractions: dict[Literal["train", "valid", "eval"], Fraction] = {
        "train": 0.8,
        "eval": 0.2,
    }
    """Shares of train, eval and (for early stopping) valid; they add up to 1."""

    @model_validator(mode="after")
    def _adds_up(self) -> "_FractionSplit":
        total = sum(self.fractions.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(
                f"the fractions add up to {total:g}; make them add up to 1"
            )
        for name in ("train", "eval"):
            if not self.fractions.get(name):
                raise ValueError(
                    f"the split '{name}' is empty; give it a share above 0"
                )
        return self


class RandomSplit(_FractionSplit):
    """By a seeded hash of query id, candidate id and time: no order plays a part."""

    method: Literal["random"]
    seed: int = 42
    """Another seed is another split."""


class TimeSplit(_FractionSplit):
    """By time: the oldest interactions train, the newest evaluate."""

    method: Literal["time"]


class ShuffleSplit(_Strict):
    """tf.data's shuffle of the whole data set, as the TFRS tutorial splits.

    It depends on the order of the source; for reproducing that tutorial only.
    """

    method: Literal["shuffle"]
    seed: int = 42
    """Of tf.random and of the shuffle."""
    counts: dict[Literal["train", "valid", "eval"], PositiveInt]
    """Interactions a split, taken in this order."""

    @model_validator(mode="after")
    def _none_is_empty(self) -> "ShuffleSplit":
        for name in ("train", "eval"):
            if name not in self.counts:
                raise ValueError(f"the split '{name}' is empty; give it a count")
        return self


Split = Annotated[RandomSplit | TimeSplit | ShuffleSplit, Field(discriminator="method")]


class InteractionsConfig(_Strict):
    """The log of who chose what, when."""

    source: TfdsSource
    """Where it comes from."""
    query_id: str
    """The feature that says who."""
    candidate_id: str
    """The feature that says what."""
    timestamp: str | None = None
    """The feature that says when, in whole units since any epoch."""
    split: Split = RandomSplit(method="random")
    """How it is parted into train, eval and, if wanted, valid."""
    schema_file: str | None = Field(default=None, alias="schema")
    """A curated schema (.pbtxt), relative to the config; null: inferred."""
    orphans: Literal["stop", "drop"] = "stop"
    """What to do with interactions whose candidate is not in the catalogue."""

    @model_validator(mode="after")
    def _time_is_there(self) -> "InteractionsConfig":
        if self.split.method == "time" and not self.timestamp:
            raise ValueError(
                "split.method time needs a timestamp; name the feature that holds it"
            )
        return self


class CandidatesConfig(_Strict):
    """The catalogue."""

    source: TfdsSource
    """Where it comes from."""
    candidate_id: str
    """The feature that identifies a candidate."""
    title: str | None = None
    """The feature to show for it; null: its id."""
    schema_file: str | None = Field(default=None, alias="schema")
    """A curated schema (.pbtxt), relative to the config; null: inferred."""
    duplicates: Literal["stop", "keep_one"] = "stop"
    """What to do with several candidates of one id."""


class PipelineConfig(_Strict):
    """One pipeline, from its sources to its gates."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    """Its name, and the name of its folder below the root."""
    data_dir: str = "data"
    """Where prepared data sets are cached."""
    interactions: InteractionsConfig
    candidates: CandidatesConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    index: IndexConfig = IndexConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    embedding_batch_size: PositiveInt = 4096
    """Candidates embedded in one call into the tower."""
    beam_args: list[str] = []
    """Arguments for Beam, e.g. --direct_num_workers=2."""


def load_config(path: str, overrides: list[str] | None = None) -> PipelineConfig:
    """Reads a YAML config and applies `key.path=value` overrides.

    Args:
      path: The YAML file. Schema paths in it are relative to its folder.
      overrides: Values are read as YAML, so that `null`, `true` and `[1, 2]` work.

    Returns:
      The checked config, schema paths made absolute.

    Raises:
      UserError: The file can't be read, or a key or value is wrong.
    """
    tree = _read_yaml(path)
    for override in overrides or []:
        _apply(tree, override)
    for section in ("interactions", "candidates"):
        part = tree.get(section)
        if not isinstance(part, dict):
            continue
        schema = part.get("schema")
        if isinstance(schema, str) and "://" not in schema:
            folder = os.path.dirname(os.path.abspath(path))
            part["schema"] = os.path.join(folder, schema)
    try:
        config = PipelineConfig.model_validate(tree)
    except pydantic.ValidationError as error:
        raise UserError(f"{path}: {_explain(error)}") from None
    _check_files(path, config)
    return config


def _read_yaml(path: str) -> dict[str, Any]:
    """Reads a YAML mapping."""
    try:
        with open(path, encoding="utf-8") as file:
            tree = yaml.safe_load(file)
    except OSError as error:
        raise UserError(f"can't read config {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{path}{line}: not valid YAML: {problem}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} holds no keys; start from one of configs/")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    """Sets one `key.path=value` in a tree of mappings."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set {override!r} is not of the form key.path=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {key}: the value {text!r} is not valid YAML") from None
    *parents, last = key.split(".")
    at = tree
    for parent in parents:
        at = at.setdefault(parent, {})
        if not isinstance(at, dict):
            raise UserError(f"--set {key}: '{parent}' is a value, it has no keys below")
    at[last] = value


def _explain(error: pydantic.ValidationError) -> str:
    """Turns the first error of a validation into one sentence."""
    first = error.errors()[0]
    location = _user_location(first["loc"])
    key = ".".join(location) or "the config"
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}'{_nearest(location)}"
    if first["type"] == "missing":
        return f"the key '{key}' is missing; add it"
    if first["type"] == "union_tag_not_found":
        return f"the key '{key}.method' is missing; add it"
    if first["type"] == "union_tag_invalid":
        tag, expected = first["ctx"]["tag"], first["ctx"]["expected_tags"]
        return f"{key}.method: input should be one of {expected}, got '{tag}'"
    message = re.sub(r"^(Value error, )", "", first["msg"])
    if first["type"] == "value_error":
        return f"{key}: {message}"
    return f"{key}: {message[:1].lower()}{message[1:]}, got {first['input']!r}"


_SPLIT_TAGS = {"random", "time", "shuffle"}


def _user_location(location: tuple[int | str, ...]) -> list[str]:
    """Returns pydantic's path to an error as the user wrote it.

    Pydantic adds the tag of a discriminated union, and "[key]" for a wrong key.
    """
    parts = [str(part) for part in location if part != "[key]"]
    if parts[1:2] == ["split"] and parts[2:3] and parts[2] in _SPLIT_TAGS:
        del parts[2]
    return parts


def all_keys() -> list[str]:
    """Returns every key path that a config may hold."""
    return sorted(_keys(PipelineConfig, ""))


def _keys(model: type[BaseModel], prefix: str) -> set[str]:
    """Returns the key paths below a model."""
    found = set()
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        found.add(key)
        for part in _models_in(field.annotation):
            found |= _keys(part, f"{key}.")
    return found


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Returns the models that an annotation names, inside unions as well."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    arguments = getattr(annotation, "__args__", ())
    return [model for part in arguments for model in _models_in(part)]


def _nearest(location: list[str]) -> str:
    """Suggests the nearest key that exists, first among the siblings."""
    keys = all_keys()
    *parents, last = location
    prefix = "".join(f"{parent}." for parent in parents)
    siblings = [
        key.removeprefix(prefix)
        for key in keys
        if key.startswith(prefix) and "." not in key.removeprefix(prefix)
    ]
    if last in siblings:
        # It is there, but in another variant of this part.
        return f"; it does not go with this kind of {parents[-1]}, take it out"
    near = difflib.get_close_matches(last, siblings, 1, 0.5)
    if near:
        return f"; did you mean '{prefix}{near[0]}'?"
    near = [key for key in keys if key.split(".")[-1] == last][:1]
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; the keys here are {', '.join(siblings)}"


def _check_files(path: str, config: PipelineConfig) -> None:
    """Checks what a config refers to."""
    for section in ("interactions", "candidates"):
        schema = getattr(config, section).schema_file
        if schema and "://" not in schema and not os.path.isfile(schema):
            raise UserError(
                f"{path}: {section}.schema names {schema}, which is not there; mend "
                "the path or set it to null to infer the schema"
            )
