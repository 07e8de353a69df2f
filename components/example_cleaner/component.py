# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""ExampleCleaner: holds interactions and candidates to each other before training."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.artifacts import CleaningReport
from components.example_cleaner import executor
from serving.errors import UserError


def _examples() -> component_spec.ChannelParameter:
    return component_spec.ChannelParameter(type=standard_artifacts.Examples)


class ExampleCleanerSpec(component_spec.ComponentSpec):
    """Spec of ExampleCleaner."""

    PARAMETERS = {
        key: component_spec.ExecutionParameter(type=str)
        for key in (
            executor.QUERY_ID_KEY,
            executor.CANDIDATE_ID_KEY,
            executor.CATALOGUE_ID_KEY,
            executor.ORPHANS_KEY,
            executor.DUPLICATES_KEY,
            executor.FINGERPRINT_KEY,
        )
    }
    INPUTS = {
        executor.INTERACTIONS_KEY: _examples(),
        executor.CANDIDATES_KEY: _examples(),
    }
    OUTPUTS = {
        executor.CLEANED_INTERACTIONS_KEY: _examples(),
        executor.CLEANED_CANDIDATES_KEY: _examples(),
        executor.REPORT_KEY: component_spec.ChannelParameter(type=CleaningReport),
    }


class ExampleCleaner(base_beam_component.BaseBeamComponent):
    """Checks that ids are there, unique in the catalogue, and known to it.

    Interactions whose candidate is not in the catalogue are orphans, which stop the
    run or are dropped with a warning. Candidates that share an id stop the run, or one
    of each id is kept: the smallest as bytes, whatever the order of the rows. Where
    nothing has to go, the outputs hold the very records of the inputs.

    The ids of the catalogue are a Beam side input: they must fit a worker's memory.

    Component `outputs` contains:
     - `cleaned_interactions`: Channel of type `standard_artifacts.Examples`, with the
       splits of the interactions.
     - `cleaned_candidates`: Channel of type `standard_artifacts.Examples`, with the
       splits of the candidates.
     - `report`: Channel of type `CleaningReport`; see `executor.summarize`.
    """

    SPEC_CLASS = ExampleCleanerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        interactions: types.BaseChannel,
        candidates: types.BaseChannel,
        query_id: str,
        candidate_id: str,
        catalogue_id: str,
        orphans: str = executor.STOP,
        duplicates: str = executor.STOP,
        fingerprint: str = "",
    ) -> None:
        """Constructs an ExampleCleaner component.

        Args:
            interactions: Channel of type `standard_artifacts.Examples`.
            candidates: Channel of type `standard_artifacts.Examples`.
            query_id: Feature of the interactions with the id of the query.
            candidate_id: Feature of the interactions with the id of the candidate.
            catalogue_id: Feature of the candidates with their id.
            orphans: `stop` or `drop`.
            duplicates: `stop` or `keep_one`.
            fingerprint: Of the code behind this component; another one means another
                execution.

        Raises:
            UserError: If a value is missing or wrong.
        """
        for key, value in (
            (executor.QUERY_ID_KEY, query_id),
            (executor.CANDIDATE_ID_KEY, candidate_id),
            (executor.CATALOGUE_ID_KEY, catalogue_id),
        ):
            if not isinstance(value, str) or not value:
                raise UserError(f"{key} is {value!r}: give the name of a feature")
        _check_choice("interactions.orphans", orphans, executor.DROP)
        _check_choice("candidates.duplicates", duplicates, executor.KEEP_ONE)
        super().__init__(
            ExampleCleanerSpec(
                interactions=interactions,
                candidates=candidates,
                query_id=query_id,
                candidate_id=candidate_id,
                catalogue_id=catalogue_id,
                orphans=orphans,
                duplicates=duplicates,
                fingerprint=fingerprint,
                cleaned_interactions=types.Channel(type=standard_artifacts.Examples),
                cleaned_candidates=types.Channel(type=standard_artifacts.Examples),
                report=types.Channel(type=CleaningReport),
            )
        )


def _check_choice(key: str, value: str, alternative: str) -> None:
    if value not in (executor.STOP, alternative):
        raise UserError(f"{key} is {value!r}: choose {executor.STOP} or {alternative}")
