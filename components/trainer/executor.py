# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executor of TwoTowerTrainer: hands more URIs on to the run_fn."""

import os
from typing import Any

from tfx import types
from tfx.components.trainer import executor, fn_args_utils
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils

from components.artifacts import found
from trainer.inputs import STATE_DIR

CANDIDATE_TRANSFORM_GRAPH_KEY = "candidate_transform_graph"
CANDIDATES_KEY = "candidates"
CANDIDATE_FILES_KEY = "candidate_files"
HAS_VALID_SPLIT_KEY = "has_valid_split"
VALID_FILES_KEY = "valid_files"
_STATE = "state"


class Executor(executor.GenericExecutor):
    """TFX's own, whose run_fn finds our extra inputs in its custom config."""

    def _GetFnArgs(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> fn_args_utils.FnArgs:
        base = standard_component_specs.BASE_MODEL_KEY
        inputs = {**input_dict, base: found(input_dict.get(base))}
        fn_args = super()._GetFnArgs(inputs, output_dict, exec_properties)
        run = output_dict[standard_component_specs.MODEL_RUN_KEY]
        add_inputs(fn_args.custom_config, fn_args.eval_files, input_dict)
        fn_args.custom_config[STATE_DIR] = state_dir(self._context, run)
        return fn_args


def add_inputs(
    config: dict[str, Any],
    eval_files: list[str],
    input_dict: dict[str, list[types.Artifact]],
) -> None:
    """Puts into a custom config what TFX's own Trainer and Tuner have no input for.

    Args:
        config: What the run_fn or tuner_fn gets.
        eval_files: Of the split that may be the valid one.
        input_dict: `candidates` and `candidate_transform_graph` among others.
    """
    config[CANDIDATE_TRANSFORM_GRAPH_KEY] = artifact_utils.get_single_uri(
        input_dict[CANDIDATE_TRANSFORM_GRAPH_KEY]
    )
    config[CANDIDATE_FILES_KEY] = [
        io_utils.all_files_pattern(
            artifact_utils.get_split_uri(input_dict[CANDIDATES_KEY], "train")
        )
    ]
    has_valid = config.pop(HAS_VALID_SPLIT_KEY)
    config[VALID_FILES_KEY] = eval_files if has_valid else []


def state_dir(
    context: BaseExecutor.Context | None, output: list[types.Artifact]
) -> str:
    """Returns a folder that a later execution of a node finds again.

    TFX makes a folder for such state, but here by a new name in each execution, so
    ours is beside it. A runner that makes none may repeat a task into the same
    outputs.

    Args:
        context: Of the executor.
        output: One of its outputs.
    """
    made = context.stateful_working_dir if context else None
    uri = artifact_utils.get_single_uri(output)
    return os.path.join(os.path.dirname(made.rstrip("/")) if made else uri, _STATE)
