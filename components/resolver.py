# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Which blessed model a new one is compared with."""

from ml_metadata import metadata_store
from tfx import types
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)

CANDIDATE_KEY = "candidate"


class LatestOtherBlessedModelStrategy(LatestBlessedModelStrategy):
    """TFX's LatestBlessedModelStrategy, which never resolves to the candidate itself.

    A run whose model comes from the cache would else be compared with itself: a new
    evaluation and a new push of the same model in every second run.
    """

    def resolve_artifacts(
        self,
        store: metadata_store.MetadataStore,
        input_dict: dict[str, list[types.Artifact]],
    ) -> dict[str, list[types.Artifact]] | None:
        """Resolves the latest blessed model but the candidate.

        Args:
            store: ML Metadata's store.
            input_dict: `candidate` and the two keys of the standard strategy.

        Returns:
            The standard strategy's answer; the candidate is not part of it.
        """
        if not all(input_dict.values()) or CANDIDATE_KEY not in input_dict:
            return {key: [] for key in input_dict}  # nothing was blessed yet
        own = {artifact.id for artifact in input_dict[CANDIDATE_KEY]}
        others = {
            key: [artifact for artifact in artifacts if artifact.id not in own]
            for key, artifacts in input_dict.items()
            if key != CANDIDATE_KEY
        }
        return super().resolve_artifacts(store, others)
