# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executor of RegistryPusher."""

import json
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from serving.registry import base
from serving.registry.config import RegistryConfig

PUSHED_MODEL_KEY = "pushed_model"
MODEL_KEY = "model"
REGISTERED_MODEL_KEY = "registered_model"
NAME_KEY = "name"
REGISTRY_KEY = "registry"
CONFIG_HASH_KEY = "config_hash"

REPORT_FILE = "registered.json"


class Executor(base_executor.BaseExecutor):
    """Registers a pushed version."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Registers what was pushed, and gives it its alias.

        Args:
            input_dict: `pushed_model` (PushedModel) and `model` (Model).
            output_dict: `registered_model` (RegisteredModel).
            exec_properties: `name`, `config_hash`, and `registry`, a RegistryConfig as
                JSON.

        Raises:
            UserError: The registry can't be reached, or refuses.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(input_dict[PUSHED_MODEL_KEY])
        registered = None
        if pushed.get_int_custom_property("pushed"):
            model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
            registered = _register(pushed, model, exec_properties)
        folder = artifact_utils.get_single_uri(output_dict[REGISTERED_MODEL_KEY])
        io_utils.write_string_file(
            os.path.join(folder, REPORT_FILE),
            json.dumps(registered and registered._asdict(), indent=1) + "\n",
        )


def _register(
    pushed: types.Artifact, model: types.Artifact, exec_properties: dict[str, Any]
) -> base.Registered:
    config = RegistryConfig.model_validate_json(exec_properties[REGISTRY_KEY])
    registry, name = base.open_registry(config), exec_properties[NAME_KEY]
    path = pushed.get_string_custom_property("pushed_destination")
    tags, metrics = base.describe(path)
    tags |= {
        # Pusher pushes nothing else.
        base.GATES: base.PASSED,
        base.PUSHED_VERSION: pushed.get_string_custom_property("pushed_version"),
        "pushed_to": path,
        "config_hash": exec_properties[CONFIG_HASH_KEY],
        "mlmd.model_id": str(model.id),
        "mlmd.model_uri": model.uri,
    }
    found = registry.register(name, path, tags, metrics)
    if config.alias == base.CHAMPION:
        return registry.promote(name, found.version)
    registry.set_alias(name, config.alias, found.version)
    return registry.find(name, found.version)
