# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The tutorial's FactorizedTopK comparison: accuracy and wall time over pairs."""

import time
from typing import Any

import numpy as np

from serving.bench.pairs import Pairs
from serving.bench.systems import System
from serving.evaluation import metrics
from serving.exact import ExactSearch

KS = (1, 5, 10, 50, 100)
"""Those of tfrs.metrics.FactorizedTopK."""
BATCH = 8192
"""Pairs that are asked at once, as many as in the tutorial."""
_FIRST = 256
"""Pairs that tell how long a slow system takes."""
_WARM_UP = 8


def measure(system: System, pairs: Pairs, seconds: float) -> dict[str, Any]:
    """Measures how often a system finds what its queries are to find.

    Args:
      system: Is asked each pair, in batches, as FactorizedTopK asks; then, unless it
        is slow, each query once. It searches as hard as it was built to.
      pairs: What to ask.
      seconds: For which a slow system is asked a sample; 0: all pairs.

    Returns:
      `by_id` and `by_score`, accuracy at each k as text; `pairs` that were asked and
      the `seconds` that took, and `seconds_by_query` for each query once.
    """
    k = min(max(KS), len(system.workload.vectors))
    system.effort = (0, 0)
    _ask(system, pairs.queries[:_WARM_UP], k)
    asked = _sample(system, pairs, k, seconds) if system.is_slow else len(pairs)
    query, candidate = pairs.query[:asked], pairs.candidate[:asked]
    found, scores, taken = _ask(system, pairs.queries[query], k)
    result: dict[str, Any] = {"pairs": asked, "seconds": taken}
    if not system.is_slow:
        result["seconds_by_query"] = _ask(system, pairs.queries, k)[2]
    ranks = metrics.ranks(found, np.arange(asked), candidate)
    own = ExactSearch(system.workload.vectors).rescore(
        pairs.queries.astype(np.float64), query, candidate
    )
    # Else rounding would put a candidate above itself.
    hit = np.flatnonzero(ranks >= 0)
    own[hit] = scores[hit, ranks[hit]]
    by_score = metrics.top_k_accuracy_by_score(scores, own, KS)
    for name, figures in (
        ("by_id", metrics.top_k_accuracy(ranks, KS)),
        ("by_score", by_score),
    ):
        result[name] = {str(one): figures[one] for one in KS}
    return result


def _sample(system: System, pairs: Pairs, k: int, seconds: float) -> int:
    """Returns how many pairs a slow system answers in a time."""
    first = min(_FIRST, len(pairs))
    if not seconds or first == len(pairs):
        return len(pairs)
    taken = _ask(system, pairs.queries[pairs.query[:first]], k)[2]
    return int(np.clip(first * seconds / taken, first, len(pairs)))


def _ask(
    system: System, queries: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns rows and scores that are found, [queries, k], and the seconds."""
    started = time.perf_counter()
    parts = [
        system.many(queries[at : at + BATCH], k) for at in range(0, len(queries), BATCH)
    ]
    taken = time.perf_counter() - started
    rows, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    return rows, scores, taken
