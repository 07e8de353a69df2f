# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""ScaNN's own features beside the index that a catalogue gets by default.

Which of them pay: each index's least effort for a recall, timed in turns. What only
newer releases have is left out where it is not there. Measure on a quiet machine.
"""

import argparse
import functools
import os
import tempfile
import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks import record, workloads

K, TARGET = 10, 0.99
_MOST_RESCORED = 2000
_ROUNDS, _TIMED = 5, 400
PROTOCOL = (
    "vectors of benchmarks/index.py; recall@10 by id against exact search; effort: of "
    "the least leaves and hits to rescore that reach .99 on one half of the shuffled "
    "query ids the fastest; fresh recall: of the other half; microseconds: single "
    "queries of these to ScaNN's native searcher, all threads on one core, median of "
    "five rounds' medians, all indexes in turns"
)


class Variant(NamedTuple):
    """How an index is built, by ScaNN's own names."""

    roots: float
    """Leaves, in square roots of the catalogue's size."""
    tree: dict[str, Any] = {}
    upper_tree: tuple[float, float] | None = None
    """Centroids of the centroids and how many of these are searched, in square roots of
    the leaves."""
    reorder: tuple[str, float | None] = ("FLOAT32", None)
    """Type of what rescores, and its noise shaping threshold."""
    pca: float | None = None
    """Share of the dimensions that is kept."""


VARIANTS = {
    "default": Variant(1),
    "avq 1.5": Variant(1, {"avq": 1.5}),
    "avq 2.5": Variant(1, {"avq": 2.5}),
    "avq 4": Variant(1, {"avq": 4.0}),
    "SOAR 1.5": Variant(1, {"soar_lambda": 1.5}),
    "3 √n": Variant(3),
    "3 √n, avq 2.5": Variant(3, {"avq": 2.5}),
    "3 √n, upper tree": Variant(3, {}, (1, 0.2)),
    "3 √n, avq 2.5, upper tree": Variant(3, {"avq": 2.5}, (1, 0.2)),
    "6 √n": Variant(6),
    "6 √n, 8-bit centroids": Variant(6, {"quantize_centroids": True}),
    "6 √n, avq 2.5": Variant(6, {"avq": 2.5}),
    "6 √n, avq 2.5, upper tree": Variant(6, {"avq": 2.5}, (1, 0.2)),
    "bfloat16": Variant(1, reorder=("BFLOAT16", None)),
    "bfloat16, noise shaped": Variant(1, reorder=("BFLOAT16", 0.2)),
    "int8": Variant(1, reorder=("INT8", None)),
    "int8, noise shaped": Variant(1, reorder=("INT8", 0.2)),
    "pca, 3/4": Variant(1, pca=0.75),
}
_NEW = ("upper_tree", "pca")
"""Builders' methods that a release may not have."""


def build(vectors: np.ndarray, variant: Variant) -> tuple[Any, int]:
    """Builds an index, otherwise as `serving.scann_files` does.

    Returns:
      ScaNN's searcher, and its leaves.
    """
    from scann.scann_ops.py import scann_builder

    from serving import scann_library
    from serving.index_config import IndexConfig

    config = IndexConfig()
    leaves = round(variant.roots * len(vectors) ** 0.5)
    builder = scann_library.native().builder(vectors, K, "dot_product")
    builder = builder.tree(
        leaves,
        leaves // 10,
        training_sample_size=max(config.training_sample, 40 * leaves),
        training_iterations=config.training_iterations,
        min_partition_size=1,
        **variant.tree,
    )
    if variant.upper_tree:
        upper, searched = (round(one * leaves**0.5) for one in variant.upper_tree)
        builder = builder.upper_tree(upper, searched)
    if variant.pca:
        kept = round(variant.pca * vectors.shape[1])
        builder = builder.pca(reduction_dim=kept, pca_significance_threshold=None)
    builder = builder.score_ah(
        config.dimensions_per_block,
        anisotropic_quantization_threshold=config.anisotropic_threshold,
    )
    kind, threshold = variant.reorder
    shaping = {"anisotropic_quantization_threshold": threshold} if threshold else {}
    builder = builder.reorder(100, scann_builder.ReorderType[kind], **shaping)
    return builder.build(), leaves


class Built:
    """An index and the effort it is asked with."""

    def __init__(self, vectors: np.ndarray, variant: Variant):
        """Builds it."""
        started = time.perf_counter()
        self.searcher, self.leaves = build(vectors, variant)
        self.build_seconds = time.perf_counter() - started
        self.effort = (self.leaves // 10, 100)

    def recall(
        self, queries: np.ndarray, truth: np.ndarray, leaves: int, reorder: int
    ) -> float:
        """Returns the recall of an effort."""
        from serving.evaluation.metrics import recall_against_exact

        rows, scores = self.searcher.search_batched_parallel(
            queries, K, reorder, leaves
        )
        found = np.where(np.isfinite(scores), rows, -1).astype(np.int64)
        return float(recall_against_exact(found, truth[:, :K], K).mean())

    def choose(self, queries: np.ndarray, truth: np.ndarray) -> None:
        """Sets the fastest of the least efforts that reach the target, if any does."""
        from serving.efforts import efforts

        recall = functools.cache(functools.partial(self.recall, queries, truth))
        tried = efforts(recall, self.leaves, K, _MOST_RESCORED, TARGET)
        enough = [one for one in tried if recall(*one) >= TARGET]
        if enough:
            self.effort = min(enough, key=lambda one: self.us(queries, one))

    def us(self, queries: np.ndarray, effort: tuple[int, int] | None = None) -> float:
        """Returns the median microseconds of single queries."""
        leaves, reorder = effort or self.effort
        taken = []
        for query in np.resize(queries, (_TIMED, queries.shape[1])):
            started = time.perf_counter()
            self.searcher.search(query, K, reorder, leaves)
            taken.append((time.perf_counter() - started) * 1e6)
        return float(np.median(taken))


def _confine(cores: set[int]) -> None:
    """Lets all threads of this process run on some cores."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), cores)


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Builds and asks every variant over a workload."""
    import serving.process

    serving.process.set_up()
    from scann.scann_ops.py.scann_builder import ScannBuilder

    from serving.bench.workload import read

    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        workloads.make(name, options, folder)
        workload = read(folder)
        vectors = np.array(workload.vectors)
    half = len(workload.queries) // 2
    built = {}
    for title, variant in VARIANTS.items():
        if any(getattr(variant, one) for one in _NEW if not hasattr(ScannBuilder, one)):
            continue
        one = built[title] = Built(vectors, variant)
        one.choose(workload.queries[:half], workload.truth[:half])
        print(f"{name}, {title}: {one.build_seconds:.0f} s", flush=True)
    queries, truth = workload.queries[half:], workload.truth[half:]
    recalls = {
        title: one.recall(queries, truth, *one.effort) for title, one in built.items()
    }
    every = os.sched_getaffinity(0)
    _confine({min(every)})
    rounds = [[one.us(queries) for one in built.values()] for _ in range(_ROUNDS)]
    _confine(every)
    return {
        title: {
            "leaves": one.leaves,
            "effort": one.effort,
            "build_seconds": one.build_seconds,
            "recall": recalls[title],
            "us": us,
        }
        for (title, one), us in zip(
            built.items(), np.median(rounds, axis=0).tolist(), strict=True
        )
    }


def as_table(results: dict[str, Any]) -> str:
    """Returns the variants of one workload as Markdown."""
    plain = results["default"]["us"]
    rows = [
        [
            title,
            f"{one['leaves']:,}",
            f"{one['build_seconds']:.0f}",
            "{}; {}".format(*one["effort"]),
            f"{one['recall']:.4f}",
            f"{one['us']:.0f}",
            f"{one['us'] / plain:.2f}",
        ]
        for title, one in results.items()
    ]
    header = ["", "leaves", "build s", "effort", "fresh recall@10", "us", "ratio"]
    return record.table(header, rows)


def main() -> None:
    """Measures, unless it is only to show, and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    workloads.add_arguments(parser)
    record.add_arguments(parser, "scann_features")
    options = parser.parse_args()
    if not options.show:
        content = {
            **record.about("scann_features"), "protocol": PROTOCOL, "results": {}
        }  # fmt: skip
        for name in options.workload or workloads.WORKLOADS:
            content["results"][name] = measure(name, options)
            record.write(options.out, content)
    for name, results in record.read(options.out)["results"].items():
        print(f"**{name}**\n\n{as_table(results)}\n")


if __name__ == "__main__":
    main()
