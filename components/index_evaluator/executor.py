# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executor of IndexEvaluator: a fresh process measures, this one blesses."""

import json
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

import serving.process
from components.artifacts import found

MODEL_KEY = "model"
PREVIOUS_MODEL_KEY = "previous_model"
INTERACTIONS_KEY = "interactions"
EVALUATION_KEY = "evaluation"
BLESSING_KEY = "blessing"
QUERY_ID_KEY = "query_id"
CANDIDATE_ID_KEY = "candidate_id"
HISTORIES_KEY = "histories"
CONFIG_KEY = "config"
FINGERPRINT_KEY = "fingerprint"
GATE_KEYS = ("min_recall_at_10", "max_p99_ms")
"""Bounds that a run may be given in place of the config's."""

REPORT_FILE = "report.json"
_TRAIN_SPLIT, _EVAL_SPLIT = "train", "eval"
# What TFX's Pusher reads, and what a person sees in the folder.
_BLESSED_PROPERTY = "blessed"
# By which a resolver finds the model, as in Evaluator's blessing.
_MODEL_ID_PROPERTY = "current_model_id"
_BLESSED, _NOT_BLESSED = "INFRA_BLESSED", "INFRA_NOT_BLESSED"


class Executor(base_executor.BaseExecutor):
    """Evaluates a servable without TFX in the process and writes the blessing."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Measures, and blesses if every gate is passed.

        Args:
            input_dict: `model` (Model), `interactions` (Examples) and maybe
                `previous_model` (Model).
            output_dict: `evaluation` (IndexEvaluation), `blessing` (InfraBlessing).
            exec_properties: `query_id`, `candidate_id`, as JSON `histories` and
                `config`, and maybe bounds of `GATE_KEYS`.

        Raises:
            UserError: The servable can't be loaded or answers with an error.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        interactions = input_dict[INTERACTIONS_KEY]
        splits = artifact_utils.decode_split_names(
            artifact_utils.get_single_instance(interactions).split_names
        )
        patterns = {
            split: io_utils.all_files_pattern(
                artifact_utils.get_split_uri(interactions, split)
            )
            for split in splits
        }
        (model,) = input_dict[MODEL_KEY]
        previous = [
            path_utils.serving_model_path(one.uri)
            for one in found(input_dict.get(PREVIOUS_MODEL_KEY))
        ]
        request = {
            "model": path_utils.serving_model_path(model.uri),
            "previous_model": previous[0] if previous else None,
            "eval_files": [patterns.pop(_EVAL_SPLIT)],
            "train_files": [patterns.pop(_TRAIN_SPLIT)],
            "valid_files": list(patterns.values()),
            "query_id": exec_properties[QUERY_ID_KEY],
            "candidate_id": exec_properties[CANDIDATE_ID_KEY],
            "histories": json.loads(exec_properties[HISTORIES_KEY]),
            "config": _config(exec_properties),
        }
        report = serving.process.ask_module(
            "serving.evaluation.evaluate", request, f"evaluating {request['model']}"
        )
        folder = artifact_utils.get_single_uri(output_dict[EVALUATION_KEY])
        io_utils.write_string_file(
            os.path.join(folder, REPORT_FILE), json.dumps(report, indent=2) + "\n"
        )
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING_KEY])
        blessing.set_int_custom_property(_MODEL_ID_PROPERTY, model.id)
        _bless(blessing, report["passed"])


def _config(exec_properties: dict[str, Any]) -> dict[str, Any]:
    """Returns what to measure, with the bounds that this run was given."""
    config = json.loads(exec_properties[CONFIG_KEY])
    given = {key: exec_properties.get(key) for key in GATE_KEYS}
    config["gates"] |= {key: one for key, one in given.items() if one is not None}
    return config


def _bless(blessing: types.Artifact, passed: bool) -> None:
    """Writes the verdict where TFX's Pusher looks for it."""
    verdict = _BLESSED if passed else _NOT_BLESSED
    blessing.set_int_custom_property(_BLESSED_PROPERTY, int(passed))
    io_utils.write_string_file(os.path.join(blessing.uri, verdict), "")
