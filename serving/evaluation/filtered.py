# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The native engine under filters, beside exact search of what each filter leaves."""

from typing import Any

import numpy as np

from serving.evaluation import metrics
from serving.native import NativeEngine

_QUERIES = 200
"""Queries asked with each filter, at most."""


def filtered_recall(
    engine: NativeEngine, queries: np.ndarray, k: int
) -> list[dict[str, Any]]:
    """Measures recall under a few filters that each attribute offers.

    Args:
      engine: Of a version.
      queries: float32 [queries, dimensions].
      k: Results of a query.

    Returns:
      For each filter `filter`, `candidates` that it leaves, and `recall`, by id; empty
      where there is nothing to filter by.
    """
    asked = queries[:_QUERIES]
    found = []
    for text in engine.attributes.common() if engine.attributes else ():
        within = engine.survivors(text)
        assert within is not None  # it is no empty text
        truth = metrics.exact_top_k(asked, engine.embeddings[within.rows], k)[1]
        rows = np.full((len(asked), k), -1, np.int64)
        for at, query in enumerate(asked):
            nearest = engine.nearest(query, k, within=within)[0]
            rows[at, : len(nearest)] = nearest
        exact = np.where(truth < 0, -1, within.rows[truth])
        recall = float(metrics.recall_against_exact(rows, exact, k).mean())
        found.append({"filter": text, "candidates": within.count, "recall": recall})
    return found
