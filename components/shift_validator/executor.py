# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Runs TFX's comparison of distributions and acts on what it found."""

import os
from typing import Any

from tensorflow_data_validation.utils import anomalies_util
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx import types
from tfx.components.distribution_validator import executor as standard_executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.proto import distribution_validator_pb2
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.artifacts import found, write_findings
from components.findings import FINDINGS_KEY, POLICY_KEY, Finding, Policy, act
from components.shift_validator.shifts import DRIFT, Side, describe

SOURCE_KEY = "source"
CHECK_KEY = "check"
FINGERPRINT_KEY = "fingerprint"

CHECKED_PROPERTY = "checked_statistics"
"""Custom property of findings of drift: id of the statistics that were checked."""
SOURCE_PROPERTY = "source"
"""Custom property of findings of drift: what the data is called."""

_STATISTICS = standard_component_specs.STATISTICS_KEY
_BASELINE = standard_component_specs.BASELINE_STATISTICS_KEY
_CONFIG = standard_component_specs.DISTRIBUTION_VALIDATOR_CONFIG_KEY
_ANOMALIES = standard_component_specs.ANOMALIES_KEY


class Executor(standard_executor.Executor):
    """The standard executor, whose anomalies become findings."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """Compares distributions.

        Args:
            input_dict: `statistics` and, of drift, `baseline_statistics`, which may be
                empty.
            output_dict: `anomalies`, as for the standard executor, and `findings`.
            exec_properties: Those of the standard executor; `source`, `check`; and
                `policy`, as JSON.

        Raises:
            UserError: If a feature differs more than it may and the policy does not
                let it pass.
        """
        inputs = {**input_dict, _BASELINE: found(input_dict.get(_BASELINE))}
        properties = {**exec_properties, _CONFIG: _config(exec_properties[_CONFIG])}
        result = super().Do(inputs, output_dict, properties)
        source, check = exec_properties[SOURCE_KEY], exec_properties[CHECK_KEY]
        findings = _findings(inputs, output_dict, source, check)
        artifact = artifact_utils.get_single_instance(output_dict[FINDINGS_KEY])
        write_findings(artifact.uri, findings)
        if check == DRIFT:
            statistics = artifact_utils.get_single_instance(inputs[_STATISTICS])
            artifact.set_int_custom_property(CHECKED_PROPERTY, statistics.id)
            artifact.set_string_custom_property(SOURCE_PROPERTY, source)
        # What is not in an executor's answer keeps no properties.
        result.output_artifacts[FINDINGS_KEY].artifacts.append(artifact.mlmd_artifact)
        act(findings, Policy.load(exec_properties[POLICY_KEY]))
        return result


def _config(
    given: str | distribution_validator_pb2.DistributionValidatorConfig,
) -> distribution_validator_pb2.DistributionValidatorConfig:
    """Reads what TFX hands on as JSON in containers and as a message elsewhere."""
    if not isinstance(given, str):
        return given
    empty = distribution_validator_pb2.DistributionValidatorConfig()
    return proto_utils.json_to_proto(given, empty)


def _findings(
    inputs: dict[str, list[types.Artifact]],
    outputs: dict[str, list[types.Artifact]],
    source: str,
    check: str,
) -> list[Finding]:
    """Returns a finding for each feature that differs too much."""
    if not inputs[_BASELINE]:
        return []
    current = artifact_utils.get_single_instance(inputs[_STATISTICS])
    baseline = artifact_utils.get_single_instance(inputs[_BASELINE])
    split = "train" if check == DRIFT else "eval"
    folder = artifact_utils.get_single_uri(outputs[_ANOMALIES])
    path = os.path.join(
        folder, f"SplitPair-{split}_train", standard_executor.DEFAULT_FILE_NAME
    )
    where, was = (
        (f"span {current.span}", f"span {baseline.span}")
        if check == DRIFT
        else ("eval", "train")
    )
    return describe(
        anomalies_util.load_anomalies_binary(path),
        Side(where, split, _load(current, split)),
        Side(was, "train", _load(baseline, "train")),
        source,
        check,
    )


def _load(
    artifact: types.Artifact, split: str
) -> statistics_pb2.DatasetFeatureStatistics:
    return stats_artifact_utils.load_statistics(artifact, split).proto().datasets[0]
