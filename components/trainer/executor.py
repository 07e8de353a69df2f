# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executor of TwoTowerTrainer: hands more URIs on to the run_fn."""

import os
from typing import Any

from tfx import types
from tfx.components.trainer import executor, fn_args_utils
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils

from trainer.run import CHECKPOINT_DIR

CANDIDATE_TRANSFORM_GRAPH_KEY = "candidate_transform_graph"
CANDIDATES_KEY = "candidates"
CANDIDATE_FILES_KEY = "candidate_files"
HAS_VALID_SPLIT_KEY = "has_valid_split"
VALID_FILES_KEY = "valid_files"
_CHECKPOINTS = "checkpoints"


class Executor(executor.GenericExecutor):
    """TFX's own, whose run_fn finds our extra inputs in its custom config."""

    def _checkpoint_dir(self, output_dict: dict[str, list[types.Artifact]]) -> str:
        """Returns a folder that a later execution of this node finds again.

        TFX makes a folder for such state, but here by a new name in each execution, so
        ours is beside it. A runner that makes none may repeat a task into the same
        outputs.
        """
        made = self._context.stateful_working_dir if self._context else None
        run = artifact_utils.get_single_uri(
            output_dict[standard_component_specs.MODEL_RUN_KEY]
        )
        beside = os.path.dirname(made.rstrip("/")) if made else run
        return os.path.join(beside, _CHECKPOINTS)

    def _GetFnArgs(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> fn_args_utils.FnArgs:
        fn_args = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        config = fn_args.custom_config
        config[CANDIDATE_TRANSFORM_GRAPH_KEY] = artifact_utils.get_single_uri(
            input_dict[CANDIDATE_TRANSFORM_GRAPH_KEY]
        )
        config[CANDIDATE_FILES_KEY] = [
            io_utils.all_files_pattern(
                artifact_utils.get_split_uri(input_dict[CANDIDATES_KEY], "train")
            )
        ]
        config[CHECKPOINT_DIR] = self._checkpoint_dir(output_dict)
        has_valid = config.pop(HAS_VALID_SPLIT_KEY)
        config[VALID_FILES_KEY] = fn_args.eval_files if has_valid else []
        return fn_args
