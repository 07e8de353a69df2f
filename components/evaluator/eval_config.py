# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The EvalConfig that TFX's Evaluator judges a servable by."""

import json

from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.metrics import top_k_accuracy_name
from serving.evaluation.config import EvaluationConfig, GatesConfig
from serving.servable import QUERY_SEGMENT

CANDIDATE = "candidate"
"""What TFMA calls the model under evaluation, where there is a baseline beside it."""

_KS = (1, 5, 10, 50, 100)
_RANKING_K = 10
_SIGNATURE = "serving_examples"


def make_eval_config(
    label: str, config: EvaluationConfig, fingerprint: str
) -> config_pb2.EvalConfig:
    """Says what to measure, by which slices, and what blesses a model.

    Args:
        label: Feature of the interactions with the id of the chosen candidate.
        config: Slices and gates.
        fingerprint: Of the code behind the metrics.

    Returns:
        The config. With no bound set, every model that can be evaluated is blessed.
    """
    metric = config_pb2.MetricConfig(
        class_name="RetrievalMetrics",
        module="components.evaluator.metrics",
        config=json.dumps(
            {"ks": _KS, "ranking_k": _RANKING_K, "fingerprint": fingerprint}
        ),
    )
    count = config_pb2.MetricConfig(class_name="ExampleCount")
    gate = top_k_accuracy_name(config.gates.gate_k)
    options = config_pb2.Options()
    options.compute_confidence_intervals.value = config.confidence_intervals
    options.confidence_intervals.method = config_pb2.ConfidenceIntervalOptions.JACKKNIFE
    return config_pb2.EvalConfig(
        model_specs=[
            _model_spec(CANDIDATE, label),
            _model_spec("baseline", label, is_baseline=True),
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=[QUERY_SEGMENT]),
            *(config_pb2.SlicingSpec(feature_keys=[name]) for name in config.slices),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[metric, count],
                per_slice_thresholds={gate: _overall(_threshold(config.gates))},
            )
        ],
        options=options,
    )


def _model_spec(
    name: str, label: str, is_baseline: bool = False
) -> config_pb2.ModelSpec:
    """Says how to ask a servable; its query segments are features to slice by."""
    return config_pb2.ModelSpec(
        name=name,
        signature_name=_SIGNATURE,
        preprocessing_function_names=[QUERY_SEGMENT],
        label_key=label,
        is_baseline=is_baseline,
    )


def _overall(
    threshold: config_pb2.MetricThreshold,
) -> config_pb2.PerSliceMetricThresholds:
    """Returns a threshold of the overall slice; a plain one would bind every slice."""
    return config_pb2.PerSliceMetricThresholds(
        thresholds=[
            config_pb2.PerSliceMetricThreshold(
                slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold
            )
        ]
    )


def _threshold(gates: GatesConfig) -> config_pb2.MetricThreshold:
    """Returns the bounds of top-k accuracy; open ones still ask for a figure."""
    threshold = config_pb2.MetricThreshold()
    # A model without any threshold is never validated, and so never blessed.
    threshold.value_threshold.lower_bound.value = gates.min_top_k_accuracy or 0.0
    if gates.max_drop_from_baseline is not None:
        threshold.change_threshold.direction = (
            config_pb2.MetricDirection.HIGHER_IS_BETTER
        )
        threshold.change_threshold.absolute.value = -gates.max_drop_from_baseline
    return threshold
