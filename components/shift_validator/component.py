# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""ShiftValidator: a DistributionValidator whose anomalies stop the run or are told."""

from collections.abc import Mapping

from tfx import types
from tfx.components import DistributionValidator
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import distribution_validator_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from components.artifacts import DataFindings
from components.findings import FINDINGS_KEY, POLICY_KEY, Policy
from components.shift_validator import executor
from components.shift_validator.shifts import DRIFT, SKEW

_BASELINE = standard_component_specs.BASELINE_STATISTICS_KEY
_INFINITY_NORM = ("category", "categories", "text")
_JENSEN_SHANNON = ("number", "embedding")


def comparable(features: Mapping[str, str]) -> list[str]:
    """Returns the features whose distributions can be compared.

    Ids are not: new ones are what FeatureValidator tells of. Nor are histories, which
    hold ids, and instants, which pass.

    Args:
        features: Type of each feature.
    """
    kinds = _INFINITY_NORM + _JENSEN_SHANNON
    return [name for name, kind in features.items() if kind in kinds]


class ShiftValidatorSpec(standard_component_specs.DistributionValidatorSpec):
    """Spec of ShiftValidator: the standard one, what is compared, and the policy."""

    PARAMETERS = {
        **standard_component_specs.DistributionValidatorSpec.PARAMETERS,
        executor.SOURCE_KEY: component_spec.ExecutionParameter(type=str),
        executor.CHECK_KEY: component_spec.ExecutionParameter(type=str),
        POLICY_KEY: component_spec.ExecutionParameter(type=str),
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        **standard_component_specs.DistributionValidatorSpec.INPUTS,
        # There is none before the first span.
        _BASELINE: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics, optional=True
        ),
    }
    OUTPUTS = {
        **standard_component_specs.DistributionValidatorSpec.OUTPUTS,
        FINDINGS_KEY: component_spec.ChannelParameter(type=DataFindings),
    }


class ShiftValidator(DistributionValidator):
    """TFX's DistributionValidator, which here fails the run if it finds an anomaly.

    It compares the declared features, by TFDV's comparators: categories and texts by
    the infinity norm, the largest difference between the shares of a value; numbers by
    the Jensen-Shannon divergence (base 2) of their histograms. Both go from 0 to 1.

    - `skew`: the eval split against the train split of the same statistics.
    - `drift`: the train split against that of the baseline, an earlier span. Without
      one nothing is compared.

    Component `outputs` contains:
     - `anomalies`: Channel of type `standard_artifacts.ExampleAnomalies`.
     - `findings`: Channel of type `DataFindings`. Of drift it says which statistics
       were checked, so that later spans can be held against them; see
       `components.resolver.EarlierSpanStrategy`.
    """

    SPEC_CLASS = ShiftValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        check: str,
        statistics: types.BaseChannel,
        source: str,
        features: Mapping[str, str],
        threshold: float,
        baseline_statistics: types.BaseChannel | None = None,
        policy: Policy | None = None,
        fingerprint: str = "",
    ) -> None:
        """Constructs a ShiftValidator component.

        Args:
            check: `skew` or `drift`.
            statistics: Channel of type `standard_artifacts.ExampleStatistics`.
            source: What to call the data: `interactions`, `candidates`.
            features: Type of each declared feature.
            threshold: Largest difference that is no finding.
            baseline_statistics: Of an earlier span, for drift.
            policy: What a finding does; None: it stops the run.
            fingerprint: Of the code behind this component; another one means another
                execution.
        """
        pair = {SKEW: ("eval", "train"), DRIFT: ("train", "train")}[check]
        spec = ShiftValidatorSpec(
            statistics=statistics,
            baseline_statistics=statistics if check == SKEW else baseline_statistics,
            distribution_validator_config=_config(features, threshold),
            include_split_pairs=json_utils.dumps([pair]),
            source=source,
            check=check,
            policy=(policy or Policy()).dump(),
            fingerprint=fingerprint,
            anomalies=types.Channel(type=standard_artifacts.ExampleAnomalies),
            findings=types.Channel(type=DataFindings),
        )
        # The parent's constructor builds the standard spec, without our parameters.
        base_component.BaseComponent.__init__(self, spec=spec)


def _config(
    features: Mapping[str, str], threshold: float
) -> distribution_validator_pb2.DistributionValidatorConfig:
    """Says by what to compare which feature."""
    config = distribution_validator_pb2.DistributionValidatorConfig()
    for name in comparable(features):
        feature = config.default_slice_config.feature.add()
        feature.path.step.append(name)
        comparator = feature.distribution_comparator
        if features[name] in _INFINITY_NORM:
            comparator.infinity_norm.threshold = threshold
        else:
            comparator.jensen_shannon_divergence.threshold = threshold
    return config
