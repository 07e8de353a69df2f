# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""CandidateEmbedder: spec and channels."""

import json
from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.artifacts import CandidateEmbeddings
from components.candidate_embedder import executor


class CandidateEmbedderSpec(component_spec.ComponentSpec):
    """Spec of CandidateEmbedder."""

    PARAMETERS = {
        executor.CANDIDATE_ID_KEY: component_spec.ExecutionParameter(type=str),
        executor.TITLE_KEY: component_spec.ExecutionParameter(type=str),
        executor.ATTRIBUTES_KEY: component_spec.ExecutionParameter(type=str),
        executor.BATCH_SIZE_KEY: component_spec.ExecutionParameter(type=int),
        executor.SHARDS_KEY: component_spec.ExecutionParameter(type=int),
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.CANDIDATES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        ),
        executor.MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model
        ),
        executor.PREVIOUS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
    }
    OUTPUTS = {
        executor.EMBEDDINGS_KEY: component_spec.ChannelParameter(
            type=CandidateEmbeddings
        )
    }


class CandidateEmbedder(base_beam_component.BaseBeamComponent):
    """Runs the candidate tower over the catalogue, on Beam, each candidate once.

    With several shards each gets a folder of its own.

    Component `outputs` contains:
     - `embeddings`: Channel of type `CandidateEmbeddings`.
    """

    SPEC_CLASS = CandidateEmbedderSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        candidates: types.BaseChannel,
        model: types.BaseChannel,
        candidate_id: str,
        title: str | None = None,
        attributes: Mapping[str, str] | None = None,
        batch_size: int = 4096,
        previous: types.BaseChannel | None = None,
        shards: int = 1,
        fingerprint: str = "",
    ) -> None:
        """Constructs a CandidateEmbedder component.

        Args:
            candidates: Raw candidates, `standard_artifacts.Examples`.
            model: The towers, `standard_artifacts.Model`.
            candidate_id: Feature of the candidates with their id.
            title: Feature to show for a candidate; None: its id.
            attributes: Types of the features to filter by: category, categories or
                number.
            batch_size: Candidates embedded in one call.
            previous: A servable of the same towers, `standard_artifacts.Model`:
                candidates that it has just as they are now get no embedding.
            shards: Folders to divide them among, by a hash of the id; 1: none.
            fingerprint: Of the code behind this component.
        """
        super().__init__(
            CandidateEmbedderSpec(
                candidates=candidates,
                model=model,
                previous=previous,
                candidate_id=candidate_id,
                title=title or candidate_id,
                attributes=json.dumps(dict(attributes or {})),
                batch_size=batch_size,
                shards=shards,
                fingerprint=fingerprint,
                embeddings=types.Channel(type=CandidateEmbeddings),
            )
        )
