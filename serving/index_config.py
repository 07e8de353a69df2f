# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The index's knobs: what a config may say, and what the data then allow."""

import logging
import math
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

# ScaNN's own advice (docs/algorithms.md in its repository): brute force below 20k
# points, asymmetric hashing with rescoring below 100k, a partition above.
EXACT_BELOW = 20_000
PARTITION_FROM = 100_000
# Asymmetric hashing learns 16 codes a block from at least as many points; with one
# point ScaNN 1.3.2 ends the process.
HASHABLE_FROM = 16
MOST_REORDERED = 100_000
"""Hits that a request may have rescored, lest one takes the time of all others."""
# ScaNN draws its training sample at random, so that it may be smaller than asked.
_POINTS_PER_LEAF = 40

_log = logging.getLogger(__name__)

SHARDS = "shards"
"""Folder of a catalogue's shards: below a version, and below what was embedded."""

PlanKind = Literal["exact", "scann", "tfrs-scann", "tfrs-brute-force"]
IndexKind = Literal["auto", PlanKind]


class TuningConfig(BaseModel):
    """What the search for knobs is to reach, and what it may take."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    target_recall: float = Field(default=0.99, gt=0, le=1)
    """Least mean share of exact search's best k that the index finds, by id."""
    k: PositiveInt | None = None
    """Results of a query, for the target; null: `index.k`."""
    max_ms: PositiveFloat | None = None
    """Most milliseconds of a single query, median, on one core; of all that keep it,
    what takes least memory is chosen. Null: the fastest is chosen."""
    max_memory_mb: PositiveFloat | None = None
    """Most that the searched index may take, 10^6 bytes; null: any."""
    minutes: PositiveFloat = 8.0
    """After which no further index is built."""
    builds: PositiveInt = 20
    """Indexes to build, at most."""
    queries: Annotated[int, Field(ge=3)] = 4000
    """Queries to ask, at most: a third searches, the others set the effort of what was
    found."""
    seed: NonNegativeInt = 42
    """Of the search and of the draw of queries."""


class IndexConfig(BaseModel):
    """How candidates are indexed. A knob left at null follows ScaNN's own rules."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: IndexKind = "auto"
    """auto (by catalogue size), exact, scann, or TFRS's plain layers to compare."""
    knobs: Literal["given", "tuned"] = "given"
    """tuned: IndexTuner searches for the kind and the knobs below that are cheapest for
    `tuning`, and what is given here but `k` is where it begins."""
    tuning: TuningConfig = TuningConfig()
    k: PositiveInt = 100
    """Results returned when a request does not say how many."""
    leaves: NonNegativeInt | None = None
    """Partitions; 0: none, null: about the square root of the catalogue's size, of the
    whole catalogue's also where it is in shards."""
    leaves_to_search: PositiveInt | None = None
    """Partitions looked into per query; null: a tenth of them, at least 10."""
    reorder: PositiveInt | None = None
    """Best approximate hits rescored exactly; null: 4 k, at least 100 (TFRS: none)."""
    dimensions_per_block: PositiveInt = 2
    """Dimensions that share one 4-bit code; 2 is ScaNN's own advice."""
    anisotropic_threshold: float = Field(default=0.2, ge=0, lt=1)
    """Anisotropic quantisation threshold for dot products; 0: plain quantisation."""
    spherical: bool = False
    """Partition by direction alone; for embeddings that are all of one length."""
    avq_eta: float = Field(default=2.5, ge=1)
    """How much more an error along a vector counts than one across it when centroids
    are learned, h∥ / h⊥ of Guo et al. (ICML 2020); 1: plain k-means."""
    quantize_centroids: bool = False
    """Choose partitions by 8-bit centroids; worth it from some ten thousand leaves."""
    soar_lambda: float = Field(default=0, ge=0)
    """SOAR: each candidate in a second partition too, found by the native engine; ScaNN
    advises 1.5; 0: in one only."""
    reorder_type: Literal["float32", "bfloat16", "int8"] = "float32"
    """Of the vectors that rescore; bfloat16 halves the native engine's memory."""
    training_sample: PositiveInt = 250_000
    """Candidates that train the partition."""
    training_iterations: PositiveInt = 12
    """Iterations of k-means in that training."""
    rebuild_above: float = Field(default=0.1, ge=0, le=1)
    """Share of the catalogue that updates (`shortlist update`) may change in an index
    before it is built anew."""
    shards: PositiveInt = 1
    """Servables that the catalogue is divided among, by a hash of the id; 1: one. The
    other knobs are those of each; with several there is no Evaluator, and what it
    checks and slices is left out: docs/sharding.md."""

    @model_validator(mode="after")
    def _shards_have_both_engines(self) -> "IndexConfig":
        if self.shards > 1 and self.kind.startswith("tfrs"):
            raise ValueError(
                f"kind: {self.kind} is there to compare with and has no shards; take "
                "auto, exact or scann, or set index.shards to 1"
            )
        return self

    @model_validator(mode="after")
    def _searches_no_more_than_there_is(self) -> "IndexConfig":
        if self.leaves and self.leaves_to_search:
            if self.leaves_to_search > self.leaves:
                raise ValueError(
                    f"leaves_to_search ({self.leaves_to_search}) is more than "
                    f"leaves ({self.leaves}); lower it"
                )
        return self

    @model_validator(mode="after")
    def _tunes_what_has_knobs(self) -> "IndexConfig":
        if self.knobs == "tuned" and self.kind not in ("auto", "scann"):
            raise ValueError(
                f"knobs of kind {self.kind} can't be tuned; set kind to auto or scann"
            )
        if self.knobs == "tuned" and self.shards > 1:
            raise ValueError(
                "knobs: tuned is for one index; set index.shards to 1, or give the "
                "knobs that 'shortlist tune' finds for one of the shards"
            )
        return self


def shard_name(shard: int, shards: int) -> str:
    """Returns the name of a shard's folder below `SHARDS`, e.g. 00000-of-00004."""
    return f"{shard:05}-of-{shards:05}"


class IndexPlan(BaseModel):
    """The knobs in force for one catalogue: every choice made, nothing left null."""

    model_config = ConfigDict(frozen=True)

    kind: PlanKind
    reason: str
    k: int
    leaves: int
    """0: no partition, every code is scanned."""
    leaves_to_search: int
    reorder: int
    """0: approximate scores are final."""
    dimensions_per_block: int
    anisotropic_threshold: float
    spherical: bool = False
    avq_eta: float = 1
    """1: plain k-means."""
    quantize_centroids: bool = False
    soar_lambda: float = 0
    """0: each candidate is in one partition."""
    reorder_type: str = "float32"
    training_sample: int
    training_iterations: int

    @property
    def knobs(self) -> dict[str, Any]:
        """All of it but the reason, by which plans are compared."""
        return self.model_dump(exclude={"reason"})


def _choose_kind(config: IndexConfig, candidates: int) -> tuple[PlanKind, str]:
    """Returns the kind of index and why it was chosen."""
    if "scann" in config.kind and candidates < HASHABLE_FROM:
        reason = f"ScaNN needs {HASHABLE_FROM} candidates and there are {candidates}"
        _log.warning("index.kind changed from %s to exact: %s", config.kind, reason)
        return "exact", reason
    if config.kind != "auto":
        is_tuned = config.knobs == "tuned"
        return config.kind, (
            "IndexTuner chose it" if is_tuned else f"index.kind is {config.kind}"
        )
    if candidates < EXACT_BELOW:
        return "exact", f"{candidates:,} candidates are fewer than {EXACT_BELOW:,}"
    return "scann", f"{candidates:,} candidates are at least {EXACT_BELOW:,}"


def _clamp(name: str, value: int, most: int, why: str) -> int:
    """Lowers a knob to what the data allow, and says so."""
    if value <= most:
        return value
    _log.warning("index.%s lowered from %d to %d: %s", name, value, most, why)
    return most


def _default_leaves(config: IndexConfig, kind: str, candidates: int) -> int:
    """Returns the number of partitions when the config leaves it open."""
    if kind == "tfrs-scann":
        return min(100, candidates)  # the TFRS layer's own default
    if config.kind == "auto" and candidates < PARTITION_FROM:
        return 0
    # Of the whole catalogue: with the leaves of a shard's own size the merged answer
    # has less recall than that of one index, see benchmarks/README.md#shards.
    return max(1, round(math.sqrt(candidates * config.shards)))


def _leaves(config: IndexConfig, kind: str, candidates: int) -> int:
    """Returns the number of partitions in force, 0 for none."""
    leaves = config.leaves
    if leaves is None:
        leaves = _default_leaves(config, kind, candidates)
    # ScaNN's k-means refuses more clusters than points.
    leaves = _clamp("leaves", leaves, candidates, f"there are {candidates} candidates")
    # ScaNN 1.3.2 answers from a single leaf with the same row over and over; the TFRS
    # layer can't do without a partition.
    least = {"scann": 0, "tfrs-scann": 2}.get(kind, leaves)
    if leaves > 1 or leaves == least:
        return leaves
    _log.warning(
        "index.leaves changed from %d to %d: one leaf is no partition", leaves, least
    )
    return least


def _leaves_to_search(config: IndexConfig, leaves: int) -> int:
    """Returns how many partitions to look into for a query."""
    if config.leaves_to_search is None:
        return min(max(10, math.ceil(leaves / 10)), leaves)
    there_are = f"there are {leaves} leaves"
    return _clamp("leaves_to_search", config.leaves_to_search, leaves, there_are)


def _of_partitions(config: IndexConfig, name: str, kind: str, leaves: int) -> float:
    """Returns a knob of our partitions, and what stands for none where there are none.

    Only who has set the knob is told.
    """
    value, unused = getattr(config, name), IndexPlan.model_fields[name].default
    if kind == "scann" and leaves:
        return value
    if value not in (unused, IndexConfig.model_fields[name].default):
        why = "TFRS's layer has none" if leaves else "there are no partitions"
        _log.warning("index.%s changed to %g: %s", name, unused, why)
    return unused


def _training_sample(config: IndexConfig, leaves: int, candidates: int) -> int:
    """Returns how many candidates train the partition."""
    least = min(_POINTS_PER_LEAF * leaves, candidates)
    if config.training_sample < least:
        _log.warning(
            "index.training_sample raised from %d to %d: there are %d leaves to train",
            config.training_sample, least, leaves,
        )  # fmt: skip
    return min(max(config.training_sample, least), candidates)


def plan_index(config: IndexConfig, candidates: int, dimensions: int) -> IndexPlan:
    """Settles every knob for a catalogue.

    Args:
      config: What the user asked for.
      candidates: Size of the catalogue, or of this shard of it, at least 1.
      dimensions: Width of the candidate embeddings.

    Returns:
      The plan; knobs that the data cannot bear are lowered with a log line.
    """
    kind, reason = _choose_kind(config, candidates)
    leaves = _leaves(config, kind, candidates)
    reorder = 0 if kind == "tfrs-scann" else max(100, 4 * config.k)
    if config.reorder is not None:
        reorder = _clamp(
            "reorder", config.reorder, candidates, f"there are {candidates} candidates"
        )
    return IndexPlan(
        kind=kind,
        reason=reason,
        k=config.k,
        leaves=leaves,
        leaves_to_search=_leaves_to_search(config, leaves),
        reorder=min(reorder, candidates),
        dimensions_per_block=_clamp(
            "dimensions_per_block",
            config.dimensions_per_block,
            dimensions,
            f"embeddings have {dimensions} dimensions",
        ),
        anisotropic_threshold=config.anisotropic_threshold,
        spherical=config.spherical,
        avq_eta=_of_partitions(config, "avq_eta", kind, leaves),
        quantize_centroids=config.quantize_centroids,
        soar_lambda=_of_partitions(config, "soar_lambda", kind, leaves),
        reorder_type=config.reorder_type,
        training_sample=_training_sample(config, leaves, candidates),
        training_iterations=config.training_iterations,
    )
