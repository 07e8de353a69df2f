# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Recall and time of the native engine under filters, at the size of the tutorial.

Filters leave shares of the catalogue, of random candidates or of all copies of random
movies, which have much to do with the vectors. Measure on a quiet machine.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import record, workloads

SHARES = (0.5, 0.1, 0.03, 0.01, 0.001)
QUERIES = 400
K = 10
PROTOCOL = (
    "vectors of benchmarks/index.py, indexed as index.kind auto does with 2 √n leaves "
    "and the effort that finds recall@10 of .99 without a filter; the first 400 of "
    "the shuffled query ids; k = 10; recall by id against exact search of what the "
    "filter leaves; milliseconds: median and 99th percentile of single queries, BLAS "
    "on one thread; exact: exact search of what is left, median of 50"
)
COLUMNS = ("candidates", "recall@10", "ms", "p99 ms", "exact ms")


def measure(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Builds the index of a workload and asks it under each filter."""
    import serving.process

    serving.process.set_up()
    from threadpoolctl import threadpool_limits

    from serving.bench.workload import (
        CANDIDATES_FOLDER,
        TOWERS_FOLDER,
        read,
        rows_of,
    )
    from serving.build import build_servable
    from serving.filters import Survivors
    from serving.index_config import IndexConfig
    from serving.native import NativeEngine

    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        made = workloads.make(name, options, folder)
        version = os.path.join(folder, "version")
        size = made["candidates"]
        build_servable(
            os.path.join(folder, TOWERS_FOLDER),
            os.path.join(folder, CANDIDATES_FOLDER),
            IndexConfig(k=K, leaves=round(2 * size**0.5)),
            version,
            {"pipeline": "filters"},
        )
        engine, workload = NativeEngine(version), read(folder)
        queries = workload.queries[:QUERIES]
        effort = _effort(engine, queries, workload.truth[:QUERIES])
        everything = Survivors(np.ones(size, bool), size)
        found = []
        with threadpool_limits(1, "blas"):
            found.append(_ask(engine, queries, effort, "none", None, everything))
            for kind, mask in _masks(rows_of(engine), options.replicate + 1):
                within = Survivors(mask, int(mask.sum()))
                found.append(_ask(engine, queries, effort, kind, within, within))
    return found


def _effort(engine: Any, queries: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """Returns the least effort for recall@10 of .99 without a filter."""
    from serving.bench.workload import rows_of
    from serving.efforts import efforts
    from serving.evaluation.metrics import recall_against_exact

    rows = rows_of(engine)

    def recall(leaves: int, reorder: int) -> float:
        found = rows[engine.nearest_batch(queries, K, leaves, reorder)[0]]
        return float(recall_against_exact(found, truth[:, :K], K).mean())

    tried = list(efforts(recall, engine.plan.leaves, K, 2000, 0.99))
    enough = [one for one in tried if recall(*one) >= 0.99]
    # A leaf has some 640 candidates to hash, which is as much as 50 hits to rescore.
    return min(enough, key=lambda one: 50 * one[0] + one[1])


def _masks(rows: np.ndarray, copies: int) -> list[tuple[str, np.ndarray]]:
    """Returns what filters leave, by what they are about.

    Args:
      rows: int64 [candidates], the workload's row of each of the index.
      copies: Of each movie.
    """
    rng = np.random.default_rng(42)
    size = len(rows)
    movies = size // copies
    movie = rows % movies
    masks = []
    for share in SHARES:
        masks.append((f"{share:.1%} of candidates", rng.random(size) < share))
        chosen = rng.permutation(movies)[: max(1, round(share * movies))]
        masks.append((f"{share:.1%} of movies", np.isin(movie, chosen)))
    return masks


def _ask(
    engine: Any,
    queries: np.ndarray,
    effort: tuple[int, int],
    kind: str,
    within: Any,
    left: Any,
) -> dict[str, Any]:
    """Measures one filter."""
    from serving.evaluation.metrics import exact_top_k, recall_against_exact

    def nearest(query: np.ndarray) -> np.ndarray:
        return engine.nearest(query, K, frozenset(), *effort, within)[0]

    truth = left.rows[exact_top_k(queries, engine.embeddings[left.rows], K)[1]]
    rows = np.stack([nearest(query) for query in queries])
    taken = _times(nearest, queries)
    exact = _times(
        lambda query: engine._nearest_exactly_within(query, K, frozenset(), left),
        queries[:50],
    )
    return {
        "filter": kind,
        "candidates": left.count,
        "recall": float(recall_against_exact(rows, truth, K).mean()),
        "ms": float(np.median(taken)),
        "p99_ms": float(np.percentile(taken, 99)),
        "exact_ms": float(np.median(exact)),
    }


def _times(search: Callable[[np.ndarray], Any], queries: np.ndarray) -> np.ndarray:
    """Returns the milliseconds of each query."""
    taken = []
    for query in queries:
        started = time.perf_counter()
        search(query)
        taken.append((time.perf_counter() - started) * 1e3)
    return np.array(taken)


def as_table(results: list[dict[str, Any]]) -> str:
    """Returns the filters of one workload as Markdown."""
    rows = [
        [
            one["filter"],
            f"{one['candidates']:,}",
            f"{one['recall']:.4f}",
            *(f"{one[key]:.3f}" for key in ("ms", "p99_ms", "exact_ms")),
        ]
        for one in results
    ]
    return record.table(["filter leaves", *COLUMNS], rows)


def as_text(name: str, results: list[dict[str, Any]]) -> str:
    """Returns one workload as Markdown, under its name."""
    return f"**{name}**\n\n{as_table(results)}"


def main() -> None:
    """Measures, unless it is only to show, and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    workloads.main(parser, "filters", PROTOCOL, measure, as_text)


if __name__ == "__main__":
    main()
