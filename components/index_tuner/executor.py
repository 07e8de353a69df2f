# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Executor of IndexTuner: embeds queries, and lets serving search."""

import tempfile
from typing import Any

import numpy as np
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.artifacts import write_knobs
from serving.candidates import read_candidates
from serving.evaluation.interactions import Queries, distinct_queries, read_table
from serving.evaluation.interactions import sample as sample_queries
from serving.index_config import IndexConfig
from serving.index_tuning import tune
from serving.towers import Towers

TOWERS_KEY = "towers"
EMBEDDINGS_KEY = "embeddings"
INTERACTIONS_KEY = "interactions"
KNOBS_KEY = "knobs"
INDEX_KEY = "index"
SPLIT_KEY = "split"
FINGERPRINT_KEY = "fingerprint"

_BATCH = 4096


class Executor(base_executor.BaseExecutor):
    """Searches for knobs and writes what was found."""

    def Do(  # noqa: N802  (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Searches.

        Args:
            input_dict: `towers` (Model), `embeddings` (CandidateEmbeddings) and
                `interactions` (Examples).
            output_dict: `knobs` (IndexKnobs).
            exec_properties: `index`, JSON, and `split`.

        Raises:
            UserError: No index that was tried reaches the target within the budgets.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        config = IndexConfig.model_validate_json(exec_properties[INDEX_KEY])
        model = artifact_utils.get_single_instance(input_dict[TOWERS_KEY])
        towers = Towers(path_utils.serving_model_path(model.uri))
        pattern = io_utils.all_files_pattern(
            artifact_utils.get_split_uri(
                input_dict[INTERACTIONS_KEY], exec_properties[SPLIT_KEY]
            )
        )
        specs = towers.query_features
        every = distinct_queries(read_table([pattern], specs), sorted(specs))
        tuning = config.tuning
        queries, _ = sample_queries(every, tuning.queries, tuning.seed)
        with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
            candidates = read_candidates(
                artifact_utils.get_single_uri(input_dict[EMBEDDINGS_KEY]), folder
            )
            tuned = tune(candidates.embeddings, _embed(towers, queries), config)
        write_knobs(
            artifact_utils.get_single_uri(output_dict[KNOBS_KEY]), tuned.as_values()
        )


def _embed(towers: Towers, queries: Queries) -> np.ndarray:
    """Embeds queries in batches, float32 [queries, dimensions]."""
    parts = []
    for at in range(0, len(queries), _BATCH):
        part = {name: v[at : at + _BATCH] for name, v in queries.features.items()}
        parts.append(towers.embed_query(part).numpy())
    return np.concatenate(parts)
