# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What is measured of a servable, and the gates that it must pass."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat
from pydantic import PositiveInt as Positive

Share = Annotated[float, Field(ge=0, le=1)]


class GatesConfig(BaseModel):
    """Bounds that a model must keep to be pushed; null switches one off."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    min_recall_at_10: Share | None = 0.95
    """Share of exact search's ten best that the index returns, by id."""
    max_p99_ms: PositiveFloat | None = 50.0
    """99th percentile of single-query latency, milliseconds."""
    better_than_popularity: bool = True
    """Masked top-k accuracy above popularity's on the same split, at gate_k; what is
    below, by chance or by more, is refused."""
    not_worse_than_blessed: bool = True
    """Masked top-k accuracy not below the last blessed model's by more than chance: the
    paired 95% interval of the difference does not lie below 0, at gate_k."""
    gate_k: Literal[1, 5, 10, 50, 100] = 100
    """The k of the two bounds above and the two below."""
    min_top_k_accuracy: Share | None = None
    """Least top-k accuracy (seen items kept), checked by Evaluator."""
    max_drop_from_baseline: Share | None = 0.01
    """Most that top-k accuracy may fall below the last blessed model's."""


class EvaluationConfig(BaseModel):
    """How quality, approximation and latency are measured."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    gates: GatesConfig = GatesConfig()
    slices: list[Annotated[str, Field(min_length=1)]] = []
    """Features of the interactions by which Evaluator slices its metrics."""
    confidence_intervals: bool = True
    """Jackknife intervals in Evaluator, bootstrap intervals in IndexEvaluator; without
    them the gates still go by what they need."""
    latency_queries: Positive = 1000
    """Single queries timed, after warm-up, for exact and approximate search each."""
    max_queries: Positive = 20_000
    """Distinct held-out queries that IndexEvaluator asks; of more, a random sample."""
    item_knn_up_to: NonNegativeInt = 50_000
    """Largest catalogue for the item-kNN baseline; 0: never."""
    ials_up_to: NonNegativeInt = 200_000
    """Largest catalogue for the iALS baseline; 0: never."""
    ease_up_to: NonNegativeInt = 10_000
    """Largest catalogue for the EASE baseline (its matrix is dense); 0: never."""
    ease_regularization: PositiveFloat = 500.0
    """EASE's lambda."""
    seed: NonNegativeInt = 42
    """Of the bootstrap, the sample of queries and iALS."""
