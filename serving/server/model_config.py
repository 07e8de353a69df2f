# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Which models are served, in which versions: TensorFlow Serving's own config file."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import s3
from serving.errors import UserError

_PLATFORM = "tensorflow"


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """What is served under a name."""

    name: str
    base_path: str
    latest: int = 1
    """How many of the newest versions; 0: all."""
    specific: tuple[int, ...] = ()
    """Only these versions, if any are named."""
    labels: tuple[tuple[str, int], ...] = ()
    """Labels and the versions that they stand for."""

    def aspired(self, found: Sequence[int]) -> list[int]:
        """Returns those of the versions that are there that should be served."""
        if self.specific:
            return [one for one in found if one in self.specific]
        return sorted(found)[-self.latest :] if self.latest else sorted(found)


def read_config(path: str) -> list[ModelSettings]:
    """Reads a model config file, TensorFlow Serving's ModelServerConfig as text.

    Raises:
      UserError: It can't be read, or says something that can't be meant.
    """
    config = model_server_config_pb2.ModelServerConfig()
    try:
        with tf.io.gfile.GFile(path) as file:
            text_format.Parse(file.read(), config)
    except tf.errors.OpError as error:
        raise UserError(f"{path} can't be read ({error.message})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text") from None
    except text_format.ParseError as error:
        raise UserError(f"{path} is no model config: {error}") from None
    try:
        return settings_of(config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def settings_of(
    config: model_server_config_pb2.ModelServerConfig,
) -> list[ModelSettings]:
    """Returns the models of a config.

    Raises:
      UserError: It names none, one twice, or one incompletely.
    """
    if config.WhichOneof("config") == "custom_model_config":
        raise UserError("custom_model_config is not supported; use model_config_list")
    found = [_settings(one) for one in config.model_config_list.config]
    if not found:
        raise UserError("no model is named; fill in model_config_list")
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"the model '{name}' is named twice")
    return found


def _settings(config: model_server_config_pb2.ModelConfig) -> ModelSettings:
    if not config.name or not config.base_path:
        raise UserError("each model needs a name and a base_path")
    check_name(config.name)
    s3.register_where_named(config.base_path)
    if config.model_platform not in ("", _PLATFORM):
        raise UserError(
            f"the model '{config.name}' has model_platform '{config.model_platform}', "
            f"which must be {_PLATFORM}"
        )
    policy = config.model_version_policy
    return ModelSettings(
        config.name,
        config.base_path,
        *_policy(policy),
        labels=tuple(sorted(config.version_labels.items())),
    )


def _policy(policy: Any) -> tuple[int, tuple[int, ...]]:
    """Returns how many of the newest versions are served, or which ones."""
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return 0, ()
    if kind == "specific":
        if not policy.specific.versions:
            raise UserError("model_version_policy specific names no versions")
        return 0, tuple(policy.specific.versions)
    return policy.latest.num_versions or 1, ()


def check_name(name: str) -> None:
    """Refuses a name that no path of the REST API can hold.

    Raises:
      UserError: It has a slash or a colon, or is empty.
    """
    if not name or "/" in name or ":" in name:
        raise UserError(f"the model's name must be without / and :, got '{name}'")
