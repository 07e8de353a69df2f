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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks import record, workloads
from serving.index_config import IndexConfig

if TYPE_CHECKING:
    from serving.index_tuning import Questions

K, TARGET = 10, 0.99
_MOST_RESCORED = 2000
_ROUNDS = 5
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
    avq: float | None = IndexConfig.model_fields["avq_eta"].default
    """None: plain k-means."""
    tree: dict[str, Any] = {}
    upper_tree: tuple[float, float] | None = None
    """Centroids of the centroids and how many of these are searched, in square roots of
    the leaves."""
    reorder: tuple[str, float | None] = ("FLOAT32", None)
    """Type of what rescores, and its noise shaping threshold."""
    pca: float | None = None
    """Share of the dimensions that is kept."""

    @property
    def is_new(self) -> bool:
        """Whether only ScaNN 1.4 can build it, as far as its builder goes."""
        return bool(self.upper_tree or self.pca or self.reorder[1])


VARIANTS = {
    "default": Variant(1),
    "no avq": Variant(1, None),
    "avq 1.5": Variant(1, 1.5),
    "avq 4": Variant(1, 4),
    "SOAR 1.5": Variant(1, tree={"soar_lambda": 1.5}),
    "2 √n": Variant(2),
    "2 √n, no avq": Variant(2, None),
    "2 √n, upper tree": Variant(2, upper_tree=(1, 0.2)),
    "3 √n": Variant(3),
    "3 √n, no avq": Variant(3, None),
    "3 √n, upper tree": Variant(3, upper_tree=(1, 0.2)),
    "6 √n": Variant(6),
    "6 √n, 8-bit centroids": Variant(6, tree={"quantize_centroids": True}),
    "6 √n, upper tree": Variant(6, upper_tree=(1, 0.2)),
    "bfloat16": Variant(1, reorder=("BFLOAT16", None)),
    "bfloat16, noise shaped": Variant(1, reorder=("BFLOAT16", 0.2)),
    "int8": Variant(1, reorder=("INT8", None)),
    "int8, noise shaped": Variant(1, reorder=("INT8", 0.2)),
    "pca, 3/4": Variant(1, pca=0.75),
}


def build(vectors: np.ndarray, variant: Variant) -> tuple[Any, int]:
    """Builds an index, otherwise as `serving.scann_files` does.

    Returns:
      ScaNN's searcher, and its leaves.
    """
    from scann.scann_ops.py import scann_builder

    from serving import scann_library

    config = IndexConfig()
    leaves = round(variant.roots * len(vectors) ** 0.5)
    builder = scann_library.native().builder(vectors, K, "dot_product")
    builder = builder.tree(
        leaves,
        leaves // 10,
        training_sample_size=max(config.training_sample, 40 * leaves),
        training_iterations=config.training_iterations,
        min_partition_size=1,
        avq=variant.avq,
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

    def choose(self, questions: "Questions") -> None:
        """Sets the fastest of the least efforts that reach the target, if any does."""
        from serving.efforts import efforts, mean_of

        recall = mean_of(
            functools.cache(functools.partial(questions.recalls, self.searcher))
        )
        tried = efforts(recall, self.leaves, K, _MOST_RESCORED, TARGET)
        enough = [one for one in tried if recall(*one) >= TARGET]
        if enough:
            self.effort = min(enough, key=lambda one: questions.ms(self.searcher, *one))


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
    from serving.index_tuning import Questions

    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        workloads.make(name, options, folder)
        workload = read(folder)
        vectors = np.array(workload.vectors)
    half = len(workload.queries) // 2
    choosing, fresh = (
        Questions(workload.queries[part], workload.truth[part, :K], K)
        for part in (slice(half), slice(half, None))
    )
    built = {}
    for title, variant in VARIANTS.items():
        if variant.is_new and not hasattr(ScannBuilder, "upper_tree"):
            continue
        one = built[title] = Built(vectors, variant)
        one.choose(choosing)
        print(f"{name}, {title}: {one.build_seconds:.0f} s", flush=True)
    recalls = {
        title: float(fresh.recalls(one.searcher, *one.effort).mean())
        for title, one in built.items()
    }
    every = os.sched_getaffinity(0)
    _confine({min(every)})
    rounds = [
        [fresh.ms(one.searcher, *one.effort) * 1e3 for one in built.values()]
        for _ in range(_ROUNDS)
    ]
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


def as_text(name: str, results: dict[str, Any]) -> str:
    """Returns one workload as Markdown, under its name."""
    return f"**{name}**\n\n{as_table(results)}"


def main() -> None:
    """Measures, unless it is only to show, and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    workloads.main(parser, "scann_features", PROTOCOL, measure, as_text)


if __name__ == "__main__":
    main()
