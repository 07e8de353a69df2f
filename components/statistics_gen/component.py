# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""BatchStatisticsGen: spec and channels."""

import tensorflow_data_validation as tfdv
from tfx import types
from tfx.components import StatisticsGen
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from components.statistics_gen import executor
from serving.errors import UserError


class BatchStatisticsGenSpec(standard_component_specs.StatisticsGenSpec):
    """Spec of BatchStatisticsGen: the standard one, and how to read."""

    PARAMETERS = {
        **standard_component_specs.StatisticsGenSpec.PARAMETERS,
        executor.SAMPLE_RATE_KEY: component_spec.ExecutionParameter(type=float),
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }


class BatchStatisticsGen(StatisticsGen):
    """TFX's StatisticsGen, which here is made for long logs with many ids.

    It reads record batches, where TFX's own passes each row through Beam; it finds
    frequent values and counts distinct ones by TFDV's sketches, where the default
    sorts all values of all rows (exact up to 16,384 distinct values, close to it
    above); and its sample is the same in every run, where TFDV's is not.

    Component `outputs` contains:
     - `statistics`: Channel of type `standard_artifacts.ExampleStatistics`.
    """

    SPEC_CLASS = BatchStatisticsGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        sample_rate: float = 1.0,
        num_top_values: int = 20,
        num_rank_histogram_buckets: int = 1000,
        fingerprint: str = "",
    ) -> None:
        """Constructs a BatchStatisticsGen component.

        Args:
            examples: Channel of type `standard_artifacts.Examples`.
            sample_rate: Share of the rows to look at, above 0.
            num_top_values: Most frequent values that are kept of a text feature.
            num_rank_histogram_buckets: Values in the histogram of a text feature.
            fingerprint: Of the code behind this component; another one means another
                execution.

        Raises:
            UserError: If the sample rate is no share.
        """
        if not 0 < sample_rate <= 1:
            raise UserError(
                f"sample_rate is {sample_rate}: give a share above 0 and at most 1"
            )
        options = tfdv.StatsOptions(
            num_top_values=num_top_values,
            num_rank_histogram_buckets=num_rank_histogram_buckets,
            use_sketch_based_topk_uniques=True,
        )
        spec = BatchStatisticsGenSpec(
            examples=examples,
            stats_options_json=options.to_json(),
            exclude_splits=json_utils.dumps([]),
            sample_rate=float(sample_rate),
            fingerprint=fingerprint,
            statistics=types.Channel(type=standard_artifacts.ExampleStatistics),
        )
        # The parent's constructor builds the standard spec, which knows no sample.
        base_beam_component.BaseBeamComponent.__init__(self, spec=spec)
