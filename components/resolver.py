# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a new model, and a new span, are compared with."""

import json
from typing import Any

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.shift_validator.executor import CHECKED_PROPERTY, SOURCE_PROPERTY
from serving import manifest

MODEL_KEY = "model"
BLESSING_KEY = "model_blessing"
CANDIDATE_KEY = "candidate"
CURRENT_KEY = "current"
EARLIER_KEY = "earlier"
CHECKED_KEY = "checked"


class LatestOtherBlessedModelStrategy(LatestBlessedModelStrategy):
    """TFX's LatestBlessedModelStrategy among the models that can be compared.

    The candidate itself is none of them: a run whose model comes from the cache would
    else be evaluated and pushed anew every second time. Nor is a model of another
    source or split: it may have been trained on what now evaluates. Nor is one whose
    signatures are of another format: Evaluator could not ask it.
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
            The standard strategy's answer, and the candidate under its own key.
        """
        if not all(input_dict.values()) or CANDIDATE_KEY not in input_dict:
            return {key: [] for key in input_dict}  # nothing was blessed yet
        (candidate,) = input_dict[CANDIDATE_KEY]
        like = _comparable_part(candidate)

        def comparable(artifact: types.Artifact) -> bool:
            if not isinstance(artifact, standard_artifacts.Model):
                return True  # a blessing
            return artifact.id != candidate.id and _comparable_part(artifact) == like

        others = {
            key: [artifact for artifact in artifacts if comparable(artifact)]
            for key, artifacts in input_dict.items()
            if key != CANDIDATE_KEY
        }
        # Not the parent's method: it takes Evaluator's blessings only, and a model in
        # shards has IndexEvaluator's alone.
        resolved = self._resolve(others, MODEL_KEY, BLESSING_KEY)
        # TFX takes an answer without all of its keys for none.
        return {**resolved, CANDIDATE_KEY: [candidate]}


def _comparable_part(model: types.Artifact) -> Any:
    """Returns a servable's data and format by its manifest, None for the towers."""
    path = path_utils.serving_model_dir(model.uri)
    if not manifest.exists(path):
        return None
    content = manifest.read(path)
    config = content["config"]
    parts = ("interactions", "queries", "candidates")
    return content.get("format"), *(config.get(part) for part in parts)


class LatestBlessedServableStrategy(LatestBlessedModelStrategy):
    """Finds the latest blessed servable, to update it.

    Only one of the same source and split: another one may have been trained on what now
    evaluates.
    """

    KIND = "servable"
    """What it finds, as `components.pushes` names it."""

    def __init__(self, interactions: str):
        """Remembers which data is wanted.

        Args:
            interactions: That part of a manifest's config, as JSON: TFX's own form of
                a strategy's config can't hold a null.
        """
        self._wanted = trained_on(json.loads(interactions))

    def resolve_artifacts(
        self,
        store: metadata_store.MetadataStore,
        input_dict: dict[str, list[types.Artifact]],
    ) -> dict[str, list[types.Artifact]]:
        """Resolves the servable.

        Args:
            store: ML Metadata's store.
            input_dict: The two keys of the standard strategy.

        Returns:
            The same keys with the servable and the blessing, or empty.
        """
        if not all(input_dict.values()) or MODEL_KEY not in input_dict:
            return {key: [] for key in input_dict}  # nothing was blessed yet
        models = input_dict[MODEL_KEY]
        comparable = [model for model in models if self._is_comparable(model)]
        resolved = self._resolve(
            {**input_dict, MODEL_KEY: comparable}, MODEL_KEY, BLESSING_KEY
        )
        if not resolved[MODEL_KEY]:
            return {key: [] for key in input_dict}
        return resolved

    def _is_comparable(self, model: types.Artifact) -> bool:
        """Tells whether a model is a servable of the wanted data."""
        path = path_utils.serving_model_dir(model.uri)
        if not manifest.exists(path):
            return False  # the towers
        config = manifest.read(path)["config"]
        return trained_on(config["interactions"]) == self._wanted


class LatestBlessedTowersStrategy(LatestBlessedServableStrategy):
    """Finds the towers in that servable, to begin a training with or to embed by."""

    KIND = "towers"

    def resolve_artifacts(
        self,
        store: metadata_store.MetadataStore,
        input_dict: dict[str, list[types.Artifact]],
    ) -> dict[str, list[types.Artifact]]:
        """Resolves the towers; arguments and answer as of the servable."""
        resolved = super().resolve_artifacts(store, input_dict)
        if not resolved.get(MODEL_KEY):
            return resolved
        (servable,) = resolved[MODEL_KEY]
        used = _inputs_of(store, servable)
        # A servable may be made of another one too, which has a manifest.
        towers = [
            model
            for model in input_dict[MODEL_KEY]
            if model.id in used
            and not manifest.exists(path_utils.serving_model_dir(model.uri))
        ]
        return {**resolved, MODEL_KEY: towers[:1]}


def _inputs_of(store: metadata_store.MetadataStore, made: types.Artifact) -> set[int]:
    """Returns the ids of the artifacts that one was made of."""
    makers = [
        event.execution_id
        for event in store.get_events_by_artifact_ids([made.id])
        if event.type == metadata_store_pb2.Event.OUTPUT
    ]
    return {
        event.artifact_id
        for event in store.get_events_by_execution_ids(makers)
        if event.type == metadata_store_pb2.Event.INPUT
    }


def trained_on(interactions: dict[str, Any]) -> dict[str, Any]:
    """Returns what decides which interactions are in which split."""
    keys = ("source", "split", "query_id", "candidate_id", "timestamp")
    return {key: interactions.get(key) for key in keys}


class EarlierSpanStrategy(resolver.ResolverStrategy):
    """Finds the statistics of the latest span before this one that was let pass.

    A span before: a run is never compared with itself, so that running it again gives
    the same verdict. One that was let pass: a check of drift that stops its run leaves
    no findings, so a span that failed is nothing to compare later ones with.
    """

    def __init__(self, source: str):
        """Remembers whose statistics are wanted, e.g. `interactions`."""
        self._source = source

    def resolve_artifacts(
        self,
        store: metadata_store.MetadataStore,
        input_dict: dict[str, list[types.Artifact]],
    ) -> dict[str, list[types.Artifact]]:
        """Resolves the statistics to compare with.

        Args:
            store: ML Metadata's store.
            input_dict: `current`, the statistics of this run; `earlier`, all
                statistics; `checked`, all DataFindings.

        Returns:
            `earlier` with the statistics, or empty. The other keys are there because
            TFX takes an answer without all of its keys for none.
        """
        (current,) = input_dict[CURRENT_KEY]
        passed = {
            findings.get_int_custom_property(CHECKED_PROPERTY)
            for findings in input_dict[CHECKED_KEY]
            if findings.get_string_custom_property(SOURCE_PROPERTY) == self._source
        }
        earlier = [
            statistics
            for statistics in input_dict[EARLIER_KEY]
            if statistics.id in passed and statistics.span < current.span
        ]
        # Of several runs of a span the last one.
        latest = max(earlier, key=lambda one: (one.span, one.id), default=None)
        return {
            CURRENT_KEY: [current],
            EARLIER_KEY: [latest] if latest else [],
            CHECKED_KEY: [],
        }
