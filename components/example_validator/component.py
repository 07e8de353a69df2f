# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""SchemaValidator: an ExampleValidator that lets no anomaly pass untold."""

from collections.abc import Sequence

from tfx import types
from tfx.components import ExampleValidator
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from components.artifacts import DataFindings
from components.example_validator import executor
from components.findings import FINDINGS_KEY, POLICY_KEY, Policy
from serving.errors import UserError


class SchemaValidatorSpec(standard_component_specs.ExampleValidatorSpec):
    """Spec of SchemaValidator: the standard one, the source's name and the policy."""

    PARAMETERS = {
        **standard_component_specs.ExampleValidatorSpec.PARAMETERS,
        executor.SOURCE_KEY: component_spec.ExecutionParameter(type=str),
        POLICY_KEY: component_spec.ExecutionParameter(type=str),
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    OUTPUTS = {
        **standard_component_specs.ExampleValidatorSpec.OUTPUTS,
        FINDINGS_KEY: component_spec.ChannelParameter(type=DataFindings),
    }


class SchemaValidator(ExampleValidator):
    """TFX's ExampleValidator, which here fails the run if it finds an anomaly.

    It writes its anomalies as always; then, if there are any, it raises one sentence
    that names source, split, feature and what is wrong, so that nothing is trained on
    such data. A policy may have them told instead.

    Component `outputs` contains:
     - `anomalies`: Channel of type `standard_artifacts.ExampleAnomalies`.
     - `findings`: Channel of type `DataFindings`: the anomalies as findings.
    """

    SPEC_CLASS = SchemaValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        source: str,
        exclude_splits: Sequence[str] = (),
        policy: Policy | None = None,
        fingerprint: str = "",
    ) -> None:
        """Constructs a SchemaValidator component.

        Args:
            statistics: Channel of type `standard_artifacts.ExampleStatistics`.
            schema: Channel of type `standard_artifacts.Schema`.
            source: What to call the data, in the plural: `interactions`, `candidates`.
            exclude_splits: Names of splits that are not validated.
            policy: What an anomaly does; None: it stops the run.
            fingerprint: Of the code behind this component; another one means another
                execution.

        Raises:
            UserError: If `source` is empty.
        """
        if not source:
            raise UserError("source is empty: name the data that is validated")
        spec = SchemaValidatorSpec(
            statistics=statistics,
            schema=schema,
            source=source,
            exclude_splits=json_utils.dumps(list(exclude_splits)),
            policy=(policy or Policy()).dump(),
            fingerprint=fingerprint,
            anomalies=types.Channel(type=standard_artifacts.ExampleAnomalies),
            findings=types.Channel(type=DataFindings),
        )
        # The parent's constructor builds the standard spec, which knows no source.
        base_component.BaseComponent.__init__(self, spec=spec)
