# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Runs TFX's validation and acts on what it found."""

import os
from collections.abc import Mapping
from typing import Any

from tensorflow_data_validation.utils import anomalies_util
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import executor as standard_executor
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_component_specs

from components.artifacts import write_findings
from components.findings import FINDINGS_KEY, POLICY_KEY, Finding, Policy, act

SOURCE_KEY = "source"
FINGERPRINT_KEY = "fingerprint"

_CHECK = "schema"
_MEND = "mend the data, or the schema if the data is right"


class Executor(standard_executor.Executor):
    """The standard executor, whose anomalies become findings."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """Validates statistics against a schema.

        Args:
            input_dict: `statistics` and `schema`, as for the standard executor.
            output_dict: `anomalies`, as for the standard executor, and `findings`.
            exec_properties: Those of the standard executor; `source`, which the
                sentence names; `policy`, as JSON.

        Raises:
            UserError: If there is an anomaly in any split that is not excluded, and
                the policy does not let it pass.
        """
        result = super().Do(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.ANOMALIES_KEY]
        )
        anomalies = {}
        for split in artifact_utils.decode_split_names(artifact.split_names):
            folder = artifact_utils.get_split_uri([artifact], split)
            path = os.path.join(folder, standard_executor.DEFAULT_FILE_NAME)
            anomalies[split] = anomalies_util.load_anomalies_binary(path)
        source = exec_properties[SOURCE_KEY]
        findings = describe(anomalies, source)
        write_findings(
            artifact_utils.get_single_uri(output_dict[FINDINGS_KEY]), findings
        )
        act(
            findings,
            Policy.load(exec_properties[POLICY_KEY]),
            intro=f"the {source} do not fit their schema: ",
        )
        return result


def describe(
    anomalies: Mapping[str, anomalies_pb2.Anomalies], source: str
) -> list[Finding]:
    """Returns a finding for each anomaly: the feature, its splits, what is wrong.

    Args:
        anomalies: The anomalies of each split, by the split's name.
        source: What the data is called.
    """
    splits: dict[tuple[str, str], list[str]] = {}
    details: dict[tuple[str, str], str] = {}
    for split, found in anomalies.items():
        infos = dict(found.anomaly_info)
        if found.HasField("dataset_anomaly_info"):
            infos[""] = found.dataset_anomaly_info
        for feature, info in sorted(infos.items()):
            for reason in info.reason or [info]:
                key = (feature, reason.short_description)
                splits.setdefault(key, []).append(split)
                details.setdefault(key, reason.description.strip().rstrip("."))
    return [
        Finding(
            check=_CHECK,
            source=source,
            feature=feature,
            splits=tuple(found_in),
            sentence=(
                (f"feature {feature!r}" if feature else "the dataset as a whole")
                + f" in {', '.join(found_in)}: {short} ({details[feature, short]})"
            ),
            mend=_MEND,
        )
        for (feature, short), found_in in splits.items()
    ]
