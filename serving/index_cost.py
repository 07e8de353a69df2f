# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What building an index takes, told before it begins."""

import dataclasses
import math
import os

from serving.errors import UserError
from serving.index_config import IndexPlan

_PROCESS = 0.8e9
"""Bytes of a process with TensorFlow, before anything is read."""
_TEXTS = 400
"""Bytes of a candidate's id and title while a servable is made of them."""
_FLOPS = 2.5e10
"""Of k-means on one core, about; measured, see benchmarks/README.md."""
_SECONDS_PER_CANDIDATE = 3e-6
"""Of reading, hashing and writing, beside the partition."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Estimates, right within a factor of about two."""

    memory_bytes: float
    """At most, of the process that builds."""
    seconds: float


def estimate(plan: IndexPlan, candidates: int, dimensions: int, cores: int) -> Cost:
    """Estimates what building the index of a plan takes.

    Memory: ScaNN's copy of the vectors while it trains, or later the SavedModel's; the
    training sample; a code of half a byte and a partition's number for each candidate,
    twice with SOAR; ids and titles. Time: k-means scores sample x leaves in each
    iteration, and all candidates x leaves once at the end.

    Args:
      plan: Settled knobs.
      candidates: Size of the catalogue.
      dimensions: Of the embeddings.
      cores: That may be used.
    """
    vectors = 4.0 * candidates * dimensions
    memory = _PROCESS + 2 * vectors + _TEXTS * candidates
    seconds = _SECONDS_PER_CANDIDATE * candidates
    if plan.kind == "scann":
        copies = 2 if plan.soar_lambda else 1
        codes = dimensions / plan.dimensions_per_block / 2 + 4
        memory += copies * codes * candidates + 4.0 * plan.training_sample * dimensions
        scored = plan.training_sample * plan.training_iterations + candidates
        seconds += 2.0 * scored * plan.leaves * dimensions / _FLOPS / cores
    return Cost(memory, seconds)


_VECTOR_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
"""Of a dimension of what rescores."""


def searched_bytes(plan: IndexPlan, candidates: int, dimensions: int) -> int:
    """Returns the memory that every search of the native engine reads from.

    Vectors of float32 for exact search; for ScaNN a code of half a byte a block and the
    number of a candidate, twice with SOAR, the centroids, and what rescores. Ids,
    titles and what only exact search reads stay on disk until they are asked for.

    Args:
      plan: Settled knobs, of kind "exact" or "scann".
      candidates: Size of the catalogue.
      dimensions: Of the embeddings.
    """
    if plan.kind == "exact":
        return 4 * candidates * dimensions
    copies = 2 if plan.soar_lambda else 1
    code = -(-dimensions // plan.dimensions_per_block) / 2 + 4
    rescored = _VECTOR_BYTES[plan.reorder_type] * dimensions if plan.reorder else 0
    centroids = 4 * plan.leaves * dimensions
    return round(candidates * (copies * code + rescored) + centroids)


def refuse_too_large(cost: Cost, candidates: int, dimensions: int) -> None:
    """Ends a build that can't succeed before it takes hours.

    Raises:
      UserError: More memory is needed than the machine can give.
    """
    available = available_memory()
    if cost.memory_bytes > available:
        raise UserError(
            f"an index of {candidates:,} candidates of {dimensions} dimensions takes "
            f"about {cost.memory_bytes / 1e9:.1f} GB to build and "
            f"{available / 1e9:.1f} GB are available; take a machine with more memory, "
            "raise index.shards, or lower model.embedding_dim"
        )


def available_memory() -> float:
    """Returns bytes that this process may still take, by the machine and its cgroup."""
    with open("/proc/meminfo", encoding="ascii") as file:
        lines = dict(line.split(":") for line in file)
    available = int(lines["MemAvailable"].split()[0]) * 1024.0
    return min(available, _left_by_cgroup("/sys/fs/cgroup"))


def _left_by_cgroup(folder: str) -> float:
    """Returns the bytes that a cgroup (version 2) leaves, infinity without a limit."""
    texts = []
    for name in ("memory.max", "memory.current"):
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            return math.inf
        with open(path, encoding="ascii") as file:
            texts.append(file.read().strip())
    # What it may still take back, such as cached files, counts as used here.
    return math.inf if texts[0] == "max" else float(texts[0]) - float(texts[1])
