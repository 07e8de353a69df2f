# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What bringing an index up to date with 1% of its catalogue costs, and what it loses.

On the vectors of benchmarks/index.py: half of the changed candidates get another
vector, a quarter goes, a quarter is new. Measure on a quiet machine.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import record, workloads

SHARE = 0.01
K = 10
ROUNDS = 5
PROTOCOL = (
    "vectors of benchmarks/index.py, the index that index.kind auto builds; 1% of the "
    "candidates: half get another vector, a quarter goes, a quarter is new, by seed "
    "42; new vectors are others times numbers drawn evenly from 0 to 1; wall seconds, "
    "all cores, median of 5 rounds: in memory is ScaNN's training against its own "
    "updates, with files is from the vectors, or the files before, to files, version "
    "is from shards to a whole version with both engines, that of the round before "
    "being removed; recall@10 by id of the "
    "native engine against exact search of the new catalogue, all query ids, as built"
)
STEPS = ("in memory", "with files", "version")


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Builds a version, updates it, and builds it anew."""
    import serving.process

    serving.process.set_up()
    from serving.bench.workload import CANDIDATES_FOLDER, TOWERS_FOLDER, read
    from serving.build import build_servable, update_servable
    from serving.index_config import IndexConfig

    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        made = workloads.make(name, options, folder)
        workload = read(folder)
        towers = os.path.join(folder, TOWERS_FOLDER)
        before = os.path.join(folder, "before")
        config, about = IndexConfig(k=K), {"pipeline": "update"}
        build_servable(
            towers, os.path.join(folder, CANDIDATES_FOLDER), config, before, about
        )
        changed = _Changed(np.asarray(workload.vectors))
        part, whole = (os.path.join(folder, one) for one in ("part", "whole"))
        changed.write(part, only_new=True)
        changed.write(whole, only_new=False)
        seconds = _index_alone(changed, before, folder)
        paths: dict[str, str] = {}

        def empty(kind: str) -> None:
            if kind in paths:
                shutil.rmtree(paths[kind])
            paths[kind] = tempfile.mkdtemp(dir=folder)

        def rebuild() -> None:
            build_servable(towers, whole, config, paths["rebuilt"], about)

        def update() -> None:
            update_servable(towers, part, before, config, paths["updated"], about)

        seconds["version"] = [
            _median(rebuild, lambda: empty("rebuilt")),
            _median(update, lambda: empty("updated")),
        ]
        recall = {
            kind: _recall(path, workload.queries)
            for kind, path in {"before": before, **paths}.items()
        }
        return {
            **made,
            "changes": int(changed.is_new.sum()) + changed.removed,
            "seconds": seconds,
            "recall": recall,
        }


class _Changed:
    """A catalogue after its changes: rows that stay come first."""

    def __init__(self, vectors: np.ndarray):
        """Draws what changes of [candidates, dimensions]."""
        rng = np.random.default_rng(42)
        size = len(vectors)
        order = rng.permutation(size)
        count = round(SHARE * size)
        gone = order[: count // 4]
        moved = order[count // 4 : count // 4 + count // 2]
        self.removed = len(gone)
        self.before = vectors
        self.moved, self.gone = np.sort(moved), np.sort(gone)

        def draw(number: int) -> np.ndarray:
            some = vectors[rng.integers(0, size, number)]
            return some * rng.random(some.shape, np.float32)

        kept = np.setdiff1d(np.arange(size), gone)
        added = count - count // 4 - count // 2
        self.ids = [f"{row:010}" for row in kept] + [f"n{n:09}" for n in range(added)]
        self.vectors = np.concatenate([vectors[kept], draw(added)])
        self.is_new = np.concatenate([np.isin(kept, moved), np.ones(added, bool)])
        self.vectors[np.flatnonzero(self.is_new[: len(kept)])] = draw(len(moved))
        self.added = self.vectors[len(kept) :]
        self.moved_vectors = self.vectors[: len(kept)][self.is_new[: len(kept)]]

    def write(self, folder: str, only_new: bool) -> None:
        """Writes shards as CandidateEmbedder does, of all or of what is new."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        os.makedirs(folder)
        dimensions = self.vectors.shape[1]
        has_vector = self.is_new if only_new else np.ones(len(self.ids), bool)
        ends = np.concatenate([[0], np.cumsum(has_vector) * dimensions])
        embedding = pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()), pa.array(self.vectors[has_vector].reshape(-1))
        )
        ids = pa.array(self.ids)
        table = pa.table({"candidate_id": ids, "title": ids, "embedding": embedding})
        pq.write_table(table, os.path.join(folder, "00000.parquet"))


def _index_alone(changed: _Changed, before: str, folder: str) -> dict[str, list[float]]:
    """Returns the seconds of ScaNN's training, and of its updates, without all else."""
    from serving import scann_files
    from serving.native import FOLDER, NativeEngine

    files = os.path.join(before, FOLDER, "scann")
    engine = NativeEngine(before)
    plan = engine.plan
    # What goes makes room for what is new, as in serving.update.
    rows = engine.ids.rows([f"{row:010}" for row in (*changed.moved, *changed.gone)])
    vectors = np.ascontiguousarray(
        np.concatenate([changed.moved_vectors, changed.added[: changed.removed]])
    )
    more = np.ascontiguousarray(changed.added[changed.removed :])
    sources = np.concatenate([np.arange(engine.size), np.full(len(more), -1)])
    sources[rows] = -1
    new = np.empty((len(sources), vectors.shape[1]), np.float32)
    new[rows], new[engine.size :] = vectors, more
    new = new[sources < 0]
    taken: dict[str, list[list[float]]] = {
        "in memory": [[], []],
        "with files": [[], []],
    }
    for number in range(ROUNDS):
        started = time.perf_counter()
        built = scann_files.train(changed.vectors, plan)
        in_memory = time.perf_counter() - started
        written = os.path.join(folder, f"built-{number}")
        scann_files.write(built, written)
        taken["in memory"][0].append(in_memory)
        taken["with files"][0].append(time.perf_counter() - started)
        shutil.rmtree(written)
        searcher = scann_files.load_native(files)
        started = time.perf_counter()
        searcher.searcher.upsert(rows, vectors, 256)
        if len(more):
            searcher.searcher.upsert([None] * len(more), more, 256)
        taken["in memory"][1].append(time.perf_counter() - started)
        folder_after = os.path.join(folder, f"updated-{number}")
        os.makedirs(folder_after)
        started = time.perf_counter()
        _update_files(files, sources, new, folder_after)
        taken["with files"][1].append(time.perf_counter() - started)
        shutil.rmtree(folder_after)
    return {
        step: [statistics.median(one) for one in both] for step, both in taken.items()
    }


def _update_files(
    before: str, sources: np.ndarray, new: np.ndarray, folder: str
) -> None:
    """Writes the files of a changed index, its vectors among them."""
    from serving import scann_files
    from serving.mapped import take_rows

    is_new = sources < 0
    old, path = (os.path.join(one, scann_files.VECTORS) for one in (before, folder))
    vectors = take_rows(np.load(old, mmap_mode="r"), np.maximum(sources, 0), path)
    vectors[is_new] = new
    scann_files.update(before, sources, is_new, new, folder)


def _median(work: Callable[[], None], prepare: Callable[[], None]) -> float:
    """Returns the median seconds of a few rounds."""
    taken = []
    for _ in range(ROUNDS):
        prepare()
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _recall(path: str, queries: np.ndarray) -> float:
    """Returns the native engine's recall@10 against exact search, as built."""
    from serving.evaluation.metrics import exact_top_k, recall_against_exact
    from serving.native import NativeEngine

    engine = NativeEngine(path)
    truth = exact_top_k(queries, engine.embeddings, K)[1]
    found = engine.nearest_batch(queries, K)[0]
    return float(recall_against_exact(found, truth, K).mean())


def as_table(results: dict[str, Any]) -> str:
    """Returns one workload as Markdown."""
    rows = []
    for step in STEPS:
        rebuilt, updated = results["seconds"][step]
        rows.append(
            [step, f"{rebuilt:.2f}", f"{updated:.2f}", f"{rebuilt / updated:.1f}"]
        )
    return record.table(["", "built anew, s", "updated, s", "ratio"], rows)


def as_text(name: str, results: dict[str, Any]) -> str:
    """Returns one workload as Markdown, under its name."""
    recall = ", ".join(f"{k} {v:.4f}" for k, v in results["recall"].items())
    return (
        f"**{name}**: {results['changes']:,} changes of "
        f"{results['candidates']:,} candidates; recall@10 {recall}\n\n"
        f"{as_table(results)}"
    )


def main() -> None:
    """Measures, unless it is only to show, and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    workloads.main(parser, "update", PROTOCOL, measure, as_text)


if __name__ == "__main__":
    main()
