# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Retrieval metrics as TFMA metrics: the label's place in the list of candidate ids.

Each row is one interaction: its label is the candidate that was chosen, its prediction
the ids that the servable returned, best first. Seen items are kept.
"""

import math
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types

from serving.model import load_scann_ops
from serving.servable import CANDIDATE_ID

# The model is loaded wherever this module is imported, which TFMA does by its name.
load_scann_ops()


def top_k_accuracy_name(k: int) -> str:
    """Returns the name of top-k accuracy as TFMA reports it."""
    return f"top_{k}_accuracy"


class RetrievalMetrics(tfma.metrics.Metric):
    """Top-k accuracy, NDCG@k and MRR@k of single interactions.

    With r the label's rank, counted from 1, infinite where it is not in the list:

    * top-k accuracy is the mean of 1[r <= k];
    * NDCG@k is the mean of 1[r <= k] / log2(1 + r), there being one relevant item;
    * MRR@k is the mean of 1[r <= k] / r.

    A row that is padded, or whose list is shorter than k, counts like any other; an
    empty slice has no value.
    """

    def __init__(self, ks: list[int], ranking_k: int, fingerprint: str = "") -> None:
        """Makes the metrics.

        Args:
            ks: The k of top-k accuracy.
            ranking_k: The k of NDCG and MRR.
            fingerprint: Of the code, so that an edit invalidates the cache.
        """
        super().__init__(
            _computations, ks=ks, ranking_k=ranking_k, fingerprint=fingerprint
        )


def _computations(
    ks: list[int],
    ranking_k: int,
    fingerprint: str,
    eval_config: tfma.EvalConfig | None = None,
    model_names: Iterable[str] | None = None,
    output_names: Iterable[str] | None = None,
    sub_keys: Iterable[tfma.metrics.SubKey] | None = None,
    example_weighted: bool = False,
    **unused: object,
) -> list[tfma.metrics.MetricComputation]:
    """Makes one computation a model: one pass gives every metric."""
    return [
        tfma.metrics.MetricComputation(
            keys=_keys(ks, ranking_k, model),
            preprocessors=None,
            combiner=_Combiner(ks, ranking_k, model),
        )
        for model in model_names or [""]
    ]


def _keys(ks: list[int], ranking_k: int, model: str) -> list[tfma.metrics.MetricKey]:
    """Returns the keys in the order of the accumulator's sums.

    They carry no `example_weighted` (its default is False): thresholds in a
    MetricsSpec match such keys only.
    """
    names = [top_k_accuracy_name(k) for k in ks]
    names += [f"ndcg_{ranking_k}", f"mrr_{ranking_k}"]
    return [
        tfma.metrics.MetricKey(name=name, model_name=model, example_weighted=None)
        for name in names
    ]


class _Combiner(beam.CombineFn):
    """Sums the gain of each row's rank for each metric; the last entry counts rows."""

    def __init__(self, ks: list[int], ranking_k: int, model: str) -> None:
        self._model = model
        self._keys = _keys(ks, ranking_k, model)
        width = max([*ks, ranking_k])
        rank = np.arange(1, width + 1)
        ranked = rank <= ranking_k
        gains = [
            *(rank <= k for k in ks),
            ranked / np.log2(1 + rank),
            ranked / rank,
        ]
        # Column r - 1: what rank r adds; the last column is a miss, which adds nothing.
        self._gains = np.column_stack([np.array(gains, float), np.zeros(len(gains))])
        self._gains = np.vstack([self._gains, np.ones(width + 1)])

    def create_accumulator(self) -> np.ndarray:
        return np.zeros(len(self._gains))

    def add_input(
        self, accumulator: np.ndarray, element: tfma.metrics.StandardMetricInputs
    ) -> np.ndarray:
        found = element.get_predictions(
            model_name=self._model, output_name=CANDIDATE_ID
        )
        labels = element.get_labels(model_name=self._model)
        label = np.asarray(labels).reshape(-1)[0]
        width = self._gains.shape[1] - 1
        hits = np.flatnonzero(np.asarray(found).reshape(-1)[:width] == label)
        accumulator += self._gains[:, hits[0] if len(hits) else width]
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[np.ndarray]) -> np.ndarray:
        return np.sum(list(accumulators), axis=0)

    def extract_output(
        self, accumulator: np.ndarray
    ) -> dict[tfma.metrics.MetricKey, float]:
        rows = accumulator[-1]
        means = accumulator[:-1] / rows if rows else np.full(len(self._keys), math.nan)
        return dict(zip(self._keys, means.tolist(), strict=True))


metric_types.register_metric(RetrievalMetrics)
