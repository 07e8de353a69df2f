# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executors of PushedModelFinder and EarlierSpanFinder."""

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import pushes
from components.artifacts import set_found
from serving import manifest
from serving.errors import UserError

PUSHES_KEY = "pushes"
KIND_KEY = "kind"
LIKE_KEY = "like"
REQUIRED_KEY = "required"
CANDIDATE_KEY = "candidate"
MODEL_KEY = "model"
SOURCE_KEY = "source"
CURRENT_KEY = "current"
EARLIER_KEY = "earlier"


class ModelExecutor(base_executor.BaseExecutor):
    """Answers with the URI of the last model that fits."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Finds the model.

        Args:
            input_dict: Maybe `candidate` (Model).
            output_dict: `model` (Model).
            exec_properties: `pushes`, `kind`, `required`, and `like` as JSON.

        Raises:
            UserError: There is none and one is required.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        folder = exec_properties[PUSHES_KEY]
        candidates = input_dict.get(CANDIDATE_KEY) or []
        push = _last_like(folder, json.loads(exec_properties[LIKE_KEY]), candidates)
        if push is None and exec_properties[REQUIRED_KEY]:
            raise UserError(
                f"no model of the same interactions was pushed so far by {folder}; run "
                "the whole pipeline first"
            )
        uri = getattr(push, exec_properties[KIND_KEY]) if push else None
        set_found(artifact_utils.get_single_instance(output_dict[MODEL_KEY]), uri)


def _last_like(
    folder: str, like: dict[str, Any], candidates: list[types.Artifact]
) -> pushes.Push | None:
    """Returns the last push whose manifest has the same parts."""
    for push in pushes.read_all(folder):
        if push.servable in [candidate.uri for candidate in candidates]:
            continue
        path = path_utils.serving_model_dir(push.servable)
        if not manifest.exists(path):
            continue  # deleted since
        content = manifest.read(path)
        config = content["config"]
        known = candidates == [] or content.get("format") == manifest.FORMAT
        if known and _is_like(config, like):
            return push
    return None


def _is_like(config: Any, like: Any) -> bool:
    """Tells whether a part of a config has all that is wanted of it."""
    if isinstance(like, dict) and isinstance(config, dict):
        return all(_is_like(config.get(key), one) for key, one in like.items())
    return config == like


class SpanExecutor(base_executor.BaseExecutor):
    """Answers with the URI of the statistics of an earlier span."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Finds the statistics.

        Args:
            input_dict: `current` (ExampleStatistics).
            output_dict: `earlier` (ExampleStatistics).
            exec_properties: `pushes` and `source`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        current = artifact_utils.get_single_instance(input_dict[CURRENT_KEY])
        earlier = artifact_utils.get_single_instance(output_dict[EARLIER_KEY])
        told = [
            push.statistics[exec_properties[SOURCE_KEY]]
            for push in pushes.read_all(exec_properties[PUSHES_KEY])
            if exec_properties[SOURCE_KEY] in push.statistics
        ]
        before = [one for one in told if one["span"] < current.span]
        last = max(before, key=lambda one: one["span"], default=None)
        set_found(earlier, last["uri"] if last else None)
        if last:
            earlier.span = last["span"]
            earlier.split_names = last["split_names"]
