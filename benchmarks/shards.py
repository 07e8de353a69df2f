# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""One catalogue in one index and in shards: recall against exact search, and effort.

The vectors are those of `shortlist bench --synthetic`. Each number of shards is asked
in one process, one shard after the other, by the native engine: with the default, as
many leaves in each as one index has, and with those that a catalogue of a shard's size
would get.
"""

import serving.process

serving.process.set_up()

import argparse  # noqa: E402
import os  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pyarrow.compute as pc  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from benchmarks import record  # noqa: E402
from serving.bench import workload  # noqa: E402
from serving.build import build_servable  # noqa: E402
from serving.evaluation.metrics import recall_against_exact  # noqa: E402
from serving.index_config import SHARDS, IndexConfig, shard_name  # noqa: E402
from serving.manifest import read  # noqa: E402
from serving.shards import open_engine, shard_of, write_manifest  # noqa: E402

KS = (10, 100)
PROTOCOL = (
    "synthetic vectors in clusters; leaves to search: a tenth; candidates to rescore: "
    "400; recall by id against exact search over the whole catalogue, mean over "
    "queries; CPU milliseconds of single queries for k = 10, all shards together, "
    "median: of this thread, so that other work beside it matters less"
)


def build(folder: str, shards: int, leaves: int | None) -> str:
    """Builds a version from the workload's Parquet; returns its folder."""
    towers, candidates, version, embedded = (
        os.path.join(folder, name)
        for name in (
            workload.TOWERS_FOLDER,
            workload.CANDIDATES_FOLDER,
            f"version-{shards}-{leaves}",
            f"embedded-{shards}-{leaves}",
        )
    )
    config = IndexConfig(kind="scann", leaves=leaves, shards=shards)
    if shards == 1:
        build_servable(towers, candidates, config, version, {})
        return version
    table = pq.read_table(candidates)
    where = shard_of(table["candidate_id"].to_numpy(), shards)
    for shard in range(shards):
        name = shard_name(shard, shards)
        part = os.path.join(embedded, name)
        os.makedirs(part)
        rows = table.filter(pc.equal(where, shard))
        pq.write_table(rows, os.path.join(part, "candidates.parquet"))
        build_servable(towers, part, config, os.path.join(version, SHARDS, name), {})
    write_manifest(version)
    return version


def measure(folder: str, shards: int, leaves: int | None) -> dict[str, Any]:
    """Builds and asks one number of shards, of so many leaves each."""
    asked = workload.read(folder)
    started = time.process_time()
    version = build(folder, shards, leaves)
    built = time.process_time() - started
    engine = open_engine(version)
    assert engine is not None  # every version of ScaNN's has one
    rows = workload.rows_of(engine)
    recall = {
        str(k): float(
            recall_against_exact(
                rows[engine.nearest_batch(asked.queries, k)[0]], asked.truth, k
            ).mean()
        )
        for k in KS
    }
    taken = []
    for row in range(len(asked.queries)):
        query = {workload.QUERY_ID_FEATURE: str(row)}
        started = time.thread_time()
        engine.recommend(query, KS[0])
        taken.append((time.thread_time() - started) * 1e3)
    return {
        "shards": shards,
        "leaves": read(version)["index"]["leaves"],
        "recall": recall,
        "cpu_ms": float(np.median(taken[len(taken) // 10 :])),
        "build_cpu_seconds": built,
    }


def as_table(content: dict[str, Any]) -> str:
    """Returns the results as Markdown."""
    return record.table(
        [
            "shards",
            "leaves each",
            *(f"recall@{k}" for k in KS),
            "CPU ms a query",
            "CPU s to build",
        ],
        [
            [
                str(one["shards"]),
                str(one["leaves"]),
                *(f"{one['recall'][str(k)]:.4f}" for k in KS),
                f"{one['cpu_ms']:.3f}",
                f"{one['build_cpu_seconds']:.0f}",
            ]
            for one in content["results"]
        ],
    )


def main() -> None:
    """Measures, writes the results file and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    record.add_arguments(parser, "shards")
    parser.add_argument("--candidates", type=int, default=200_000)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--shards", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    if not options.show:
        content = {**record.about("shards"), "protocol": PROTOCOL}
        content["workload"] = {
            name: getattr(options, name)
            for name in ("candidates", "dimensions", "queries", "seed")
        }
        with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
            workload.synthetic(
                options.candidates, options.dimensions, options.queries,
                options.seed, folder,
            )  # fmt: skip
            asked: list[tuple[int, int | None]] = [(1, None)]
            asked += [(shards, None) for shards in options.shards]
            asked += [
                (shards, round((options.candidates / shards) ** 0.5))
                for shards in options.shards
            ]
            content["results"] = [measure(folder, *one) for one in asked]
        record.write(options.out, content)
    print(as_table(record.read(options.out)))


if __name__ == "__main__":
    main()
