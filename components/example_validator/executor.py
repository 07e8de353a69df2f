# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Runs TFX's validation and raises what it found as one sentence."""

import os
from collections.abc import Mapping
from typing import Any

from tensorflow_data_validation.utils import anomalies_util
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import executor as standard_executor
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_component_specs

from serving.errors import UserError

SOURCE_KEY = "source"
FINGERPRINT_KEY = "fingerprint"

_MAX_ANOMALIES = 10


class Executor(standard_executor.Executor):
    """The standard executor, which here fails if it wrote anomalies."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """Validates statistics against a schema.

        Args:
            input_dict: `statistics` and `schema`, as for the standard executor.
            output_dict: `anomalies`, as for the standard executor.
            exec_properties: Those of the standard executor and `source`, which the
                sentence names.

        Raises:
            UserError: If there is an anomaly in any split that is not excluded.
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
        if texts := describe(anomalies):
            more = len(texts) - _MAX_ANOMALIES
            tail = f"; and {more} more" if more > 0 else ""
            raise UserError(
                f"the {exec_properties[SOURCE_KEY]} do not fit their schema: "
                f"{'; '.join(texts[:_MAX_ANOMALIES])}{tail}: mend the data, or the "
                "schema if the data is right"
            )
        return result


def describe(anomalies: Mapping[str, anomalies_pb2.Anomalies]) -> list[str]:
    """Returns a text for each anomaly: the feature, its splits, what is wrong.

    Args:
        anomalies: The anomalies of each split, by the split's name.
    """
    splits: dict[tuple[str, str], list[str]] = {}
    details: dict[tuple[str, str], str] = {}
    for split, found in anomalies.items():
        infos = {f"feature {name!r}": info for name, info in found.anomaly_info.items()}
        if found.HasField("dataset_anomaly_info"):
            infos["the dataset as a whole"] = found.dataset_anomaly_info
        for where, info in sorted(infos.items()):
            for reason in info.reason or [info]:
                key = (where, reason.short_description)
                splits.setdefault(key, []).append(split)
                details.setdefault(key, reason.description.strip().rstrip("."))
    return [
        f"{where} in {', '.join(splits[where, short])}: {short} "
        f"({details[where, short]})"
        for where, short in splits
    ]
