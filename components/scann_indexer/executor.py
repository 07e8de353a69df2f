# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executor of ScannIndexer: a thin call into serving."""

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.artifacts import read_knobs
from serving.build import build_servable, update_servable
from serving.index_config import IndexConfig

TOWERS_KEY = "towers"
EMBEDDINGS_KEY = "embeddings"
KNOBS_KEY = "knobs"
PREVIOUS_KEY = "previous"
MODEL_KEY = "model"
INDEX_KEY = "index"
ABOUT_KEY = "about"
FINGERPRINT_KEY = "fingerprint"


class Executor(base_executor.BaseExecutor):
    """Builds the servable into the output model's serving folder."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Indexes the catalogue.

        Args:
            input_dict: `towers` (Model), `embeddings` (CandidateEmbeddings) and maybe
                `knobs` (IndexKnobs) and `previous` (Model), a servable to update.
            output_dict: `model` (Model).
            exec_properties: `index` and `about`, JSON.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        towers = artifact_utils.get_single_instance(input_dict[TOWERS_KEY])
        index = IndexConfig.model_validate_json(exec_properties[INDEX_KEY])
        for knobs in input_dict.get(KNOBS_KEY) or []:
            index = index.model_copy(update=read_knobs(knobs.uri)["index"])
        towers_path = path_utils.serving_model_path(towers.uri)
        embeddings = artifact_utils.get_single_uri(input_dict[EMBEDDINGS_KEY])
        path = path_utils.serving_model_dir(
            artifact_utils.get_single_uri(output_dict[MODEL_KEY])
        )
        about = json.loads(exec_properties[ABOUT_KEY])
        for previous in input_dict.get(PREVIOUS_KEY) or []:
            before = path_utils.serving_model_path(previous.uri)
            update_servable(towers_path, embeddings, before, index, path, about)
            return
        build_servable(towers_path, embeddings, index, path, about)
