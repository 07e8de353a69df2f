# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the files of a run before it is looked up in the cache."""

from typing import Any

from tfx.components.example_gen import driver, utils
from tfx.types import standard_component_specs

from components.file_example_gen import executor, files


class Driver(driver.FileBasedDriver):
    """TFX's own, whose fingerprint here covers every span of the window.

    Kubeflow Pipelines runs TFX's own instead: there the cache goes by the files of the
    latest span.
    """

    def resolve_exec_properties(
        self, exec_properties: dict[str, Any], *unused: Any, **also_unused: Any
    ) -> dict[str, Any]:
        """Adds the latest span and the fingerprint.

        Raises:
            UserError: No file matches.
        """
        found = files.select(
            exec_properties[standard_component_specs.INPUT_BASE_KEY],
            exec_properties[executor.PATTERN_KEY],
            exec_properties[executor.LAST_SPANS_KEY],
        )
        return {
            **exec_properties,
            utils.SPAN_PROPERTY_NAME: found.spans[-1],
            utils.VERSION_PROPERTY_NAME: None,
            utils.FINGERPRINT_PROPERTY_NAME: found.fingerprint,
        }
