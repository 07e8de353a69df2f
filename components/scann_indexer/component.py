# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""ScannIndexer: spec and channels."""

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.artifacts import CandidateEmbeddings, IndexKnobs
from components.scann_indexer import executor
from serving.index_config import IndexConfig


class ScannIndexerSpec(component_spec.ComponentSpec):
    """Spec of ScannIndexer."""

    PARAMETERS = {
        executor.INDEX_KEY: component_spec.ExecutionParameter(type=str),
        executor.ABOUT_KEY: component_spec.ExecutionParameter(type=str),
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.TOWERS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model
        ),
        executor.EMBEDDINGS_KEY: component_spec.ChannelParameter(
            type=CandidateEmbeddings
        ),
        executor.KNOBS_KEY: component_spec.ChannelParameter(
            type=IndexKnobs, optional=True
        ),
        executor.PREVIOUS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
    }
    OUTPUTS = {
        executor.MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model
        )
    }


class ScannIndexer(base_beam_component.BaseBeamComponent):
    """Indexes the embedded catalogue and joins it with the towers.

    With several shards each is built for itself, on Beam; with one no Beam is started.

    Component `outputs` contains:
     - `model`: Channel of type `standard_artifacts.Model`: the servable, raw query
       features in, candidate ids, titles and scores out; or a folder `shards` with
       several of them and a manifest of them all.
    """

    SPEC_CLASS = ScannIndexerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        towers: types.BaseChannel,
        embeddings: types.BaseChannel,
        index: IndexConfig,
        about: dict[str, Any],
        knobs: types.BaseChannel | None = None,
        previous: types.BaseChannel | None = None,
        fingerprint: str = "",
    ) -> None:
        """Constructs a ScannIndexer component.

        Args:
            towers: The Trainer's model, `standard_artifacts.Model`.
            embeddings: The embedded catalogue, `CandidateEmbeddings`.
            index: The index's knobs.
            about: What the servable's manifest should say of the pipeline.
            knobs: IndexTuner's, `IndexKnobs`; they stand before those of `index`.
            previous: The servable that the embeddings are to update,
                `standard_artifacts.Model`; it has what is not embedded.
            fingerprint: Of the code behind this component.
        """
        super().__init__(
            ScannIndexerSpec(
                towers=towers,
                embeddings=embeddings,
                knobs=knobs,
                previous=previous,
                index=index.model_dump_json(),
                about=json.dumps(about, sort_keys=True),
                fingerprint=fingerprint,
                model=types.Channel(type=standard_artifacts.Model),
            )
        )
