# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Measures one system in a process of its own, so that memory and warmth are its own.

`python -m serving.bench.measure REQUEST.json RESULT.json`
"""

import functools
import json
import os
import sys
import time
from typing import Any

import serving.process

serving.process.set_up()

import numpy as np  # noqa: E402

from serving import s3  # noqa: E402
from serving.bench import accuracy  # noqa: E402
from serving.bench import pairs as pairs_of  # noqa: E402
from serving.bench import workload as workloads  # noqa: E402
from serving.bench.systems import (  # noqa: E402
    SYSTEMS,
    WITH_ACCURACY,
    System,
    disk_bytes,
    make_system,
)
from serving.build import build_servable  # noqa: E402
from serving.efforts import (  # noqa: E402
    efforts,
    efforts_near,
    mean_and_error,
    mean_of,
)
from serving.errors import UserError  # noqa: E402
from serving.evaluation import metrics  # noqa: E402
from serving.index_config import MOST_REORDERED, IndexConfig  # noqa: E402

RECALL_KS = (10, 100)
BATCHES = (1, 32, 1000)
_WARMUP = 20
_LEAST_SECONDS = 1.0
_MOST_SCORES = 2 * 10**9
"""Of an exhaustive search of many queries, 8 GB."""
_TIMED = 500
"""Single queries that tell what an effort costs."""
_GOALS = (0.9, 0.95, 0.99, 0.999)
"""Recalls that the frontier is to tell of."""
Effort = tuple[int, int, float, float]
"""Leaves to search, hits to rescore, recall and milliseconds."""


def make(request: dict[str, Any]) -> dict[str, Any]:
    """Writes the vectors, and what exact search finds of them.

    Args:
      request: `workload` (a folder), `vectors` (arguments of what writes it), `pairs`
        (`count`, 0 for none, and `file`, of ids, or None to draw them).

    Returns:
      `candidates`, `dimensions` and `queries`, and of `pairs` what is known of them,
      None without.
    """
    vectors = request["vectors"]
    write = workloads.synthetic if "count" in vectors else workloads.from_model
    write(**vectors, folder=request["workload"])
    made = workloads.read(request["workload"])
    asked, seed = request["pairs"], vectors["seed"]
    pairs = None
    if asked["count"]:
        pairs = (
            pairs_of.held_out(asked["file"], vectors["path"], asked["count"], seed)
            if asked["file"]
            else pairs_of.drawn(made, asked["count"], seed)
        )
        pairs_of.write(pairs, request["workload"])
    return {
        "pairs": pairs
        and {**pairs.about, "pairs": len(pairs), "queries": len(pairs.queries)},
        "candidates": made.vectors.shape[0],
        "dimensions": made.vectors.shape[1],
        "queries": len(made.queries),
    }


def build(request: dict[str, Any]) -> dict[str, Any]:
    """Builds a version of a workload as a pipeline does.

    Args:
      request: `workload` and `version` (folders), `index` (an IndexConfig as values).

    Returns:
      `build_seconds`, `disk_bytes` and `memory_bytes`, the peak of the process.
    """
    folder, version = request["workload"], request["version"]
    started = time.perf_counter()
    build_servable(
        os.path.join(folder, workloads.TOWERS_FOLDER),
        os.path.join(folder, workloads.CANDIDATES_FOLDER),
        IndexConfig(**request["index"]),
        version,
        {"pipeline": "bench"},
    )
    return {
        "build_seconds": time.perf_counter() - started,
        "disk_bytes": disk_bytes(version),
        "memory_bytes": _memory("VmHWM"),
    }


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Measures a system.

    Args:
      request: `system` (its name), `workload` and `version` (folders), `threads`,
        `target_recall`, `streaming_seconds` (for which a slow system is asked).

    Returns:
      `load_seconds`, `memory_bytes` (resident, when all is loaded and was asked),
      `recall` at each k and `recall_error`, its standard error, `ms` (percentiles of
      single queries), `qps` by batch size; where a query may say how hard to search,
      also `effort`, the cheapest that reaches the target on the first half of the
      queries, and `frontier`. Where there are pairs, of some systems also `accuracy`,
      with the effort as built; of a system that is not in SYSTEMS nothing else.
    """
    workload = workloads.read(request["workload"])
    started = time.perf_counter()
    system = make_system(request["system"], workload, request["version"])
    loaded = time.perf_counter() - started
    # Only now: an index may be built by all cores.
    _use_cores(request["threads"])
    result: dict[str, Any] = {"load_seconds": loaded}
    if request["system"] in SYSTEMS:
        result |= _measure_search(system, request["target_recall"])
    pairs = pairs_of.read(request["workload"])
    if pairs and request["system"] in WITH_ACCURACY:
        result["accuracy"] = accuracy.measure(
            system, pairs, request["streaming_seconds"]
        )
    return result


def _measure_search(system: System, target: float) -> dict[str, Any]:
    """Measures recall and speed, after an effort is chosen where one may be."""
    half = len(system.workload.queries) // 2
    result: dict[str, Any] = {}
    if system.has_effort and system.workload.vectors.shape[0] >= 20_000:
        result |= choose_effort(system, half, target)
    found = {
        str(k): mean_and_error(recalls(system, slice(half, None), k))
        for k in RECALL_KS
        if k <= len(system.workload.vectors)
    }
    result["recall"] = {k: mean for k, (mean, _) in found.items()}
    result["recall_error"] = {k: error for k, (_, error) in found.items()}
    result["ms"] = single_queries(system)
    result["qps"] = {str(size): throughput(system, size) for size in BATCHES}
    result["memory_bytes"] = _memory("VmRSS")
    return result


def _use_cores(count: int) -> None:
    """Confines all threads of this process, those of libraries too, to some cores."""
    cores = sorted(os.sched_getaffinity(0))[:count]
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), cores)


def recall(system: System, queries: slice, k: int) -> float:
    """Returns the mean share of exact search's k best that a system finds, by id."""
    return float(recalls(system, queries, k).mean())


def recalls(system: System, queries: slice, k: int) -> np.ndarray:
    """Returns of each query the share of exact search's k best, by id, [queries]."""
    whole = system.workload
    asked = whole.queries[queries]
    step = most_at_once(system)
    parts = [
        system.many(asked[at : at + step], k)[0] for at in range(0, len(asked), step)
    ]
    found = np.concatenate(parts)
    truth = whole.truth[queries, :k]
    return metrics.recall_against_exact(found, truth, k)


def choose_effort(system: System, half: int, target: float) -> dict[str, Any]:
    """Sets the cheapest effort that reaches a recall on the first queries.

    Args:
      system: May be told an effort.
      half: Number of queries to choose on; recall is reported on the others.
      target: Recall@10 to reach.

    Returns:
      `effort`, `reaches_target`, and `frontier`: what no other effort beats in both
      recall and time, as leaves to search, reorder, recall and milliseconds.
    """
    k = RECALL_KS[0]

    @functools.cache
    def measured(leaves: int, reorder: int) -> np.ndarray:
        system.effort = leaves, reorder
        return recalls(system, slice(0, half), k)

    recall = mean_of(measured)
    bounds = _leaves_of(system), k, min(MOST_REORDERED, len(system.workload.vectors))

    def timed(effort: tuple[int, int]) -> Effort:
        system.effort = effort
        return *effort, recall(*effort), _median_ms(system, _TIMED)

    goals = sorted({*_GOALS, target})
    tried = [
        timed(one)
        for one in dict.fromkeys(
            one for goal in goals for one in efforts(recall, *bounds, goal)
        )
    ]
    about = _cheapest(tried, target)
    near = efforts_near(recall, (about[0], about[1]), *bounds, target)
    tried += [timed(one) for one in near]
    chosen = _cheapest(tried, target)
    system.effort = chosen[0], chosen[1]
    names = ("leaves_to_search", "reorder", "recall", "ms")
    return {
        "effort": dict(zip(names[:2], chosen, strict=False)),
        "reaches_target": chosen[2] >= target,
        "frontier": [dict(zip(names, one, strict=True)) for one in _frontier(tried)],
    }


def _cheapest(tried: list[Effort], target: float) -> Effort:
    """Returns the fastest that reaches a recall, else what comes nearest to it."""
    enough = [one for one in tried if one[2] >= target]
    if enough:
        return min(enough, key=lambda one: one[3])
    return max(tried, key=lambda one: (one[2], -one[3]))


def _frontier(tried: list[Effort]) -> list[Effort]:
    """Returns what nothing else beats in both recall and time, fastest first."""
    return [
        one
        for one in sorted(tried, key=lambda point: point[3])
        if all(
            other[2] < one[2] or other[3] >= one[3] for other in tried if other != one
        )
    ]


def _leaves_of(system: System) -> int:
    """Returns the number of leaves of a system's index."""
    engine = getattr(system, "engine", None)
    if engine is not None:
        return engine.plan.leaves
    return system.model.manifest["index"]["leaves"]  # type: ignore[attr-defined]


def _times(system: System, count: int) -> np.ndarray:
    """Returns the seconds of single queries, after some to warm up, [count]."""
    rows = np.resize(np.arange(len(system.workload.queries)), _WARMUP + count).tolist()
    taken = []
    for row in rows:
        started = time.perf_counter()
        system.one(row)
        taken.append(time.perf_counter() - started)
    return np.array(taken[_WARMUP:])


def _median_ms(system: System, count: int) -> float:
    return float(np.median(_times(system, count)) * 1e3)


def single_queries(system: System) -> dict[str, float]:
    """Returns percentiles of the milliseconds of single queries."""
    # As many as take some seconds, but enough for a p99.
    count = int(np.clip(3 / np.median(_times(system, 10)), 200, 3000))
    taken = _times(system, count) * 1e3
    return {f"p{p}": float(np.percentile(taken, p)) for p in (50, 99)}


def most_at_once(system: System) -> int:
    """Returns the largest batch whose scores fit, where all candidates are scored."""
    if not system.is_exhaustive:
        return max(BATCHES)
    return max(1, _MOST_SCORES // len(system.workload.vectors))


def throughput(system: System, batch: int) -> float | None:
    """Returns queries per second in batches of a size; None: they are too large."""
    if batch > most_at_once(system):
        return None
    queries = np.resize(
        system.workload.queries, (batch, system.workload.queries.shape[1])
    )
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < _LEAST_SECONDS:
        system.many(queries, RECALL_KS[0])
        done += batch
    return done / (time.perf_counter() - started)


def _memory(key: str) -> int:
    """Returns a line of the process's status in bytes: VmRSS, or VmHWM for the peak."""
    with open("/proc/self/status", encoding="ascii") as file:
        (line,) = (one for one in file if one.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def main(request_path: str, result_path: str) -> None:
    """Reads the request, does what it asks, writes the result."""
    with open(request_path, encoding="utf-8") as file:
        asked = file.read()
    request = json.loads(asked)
    steps = {"make": make, "build": build, "measure": measure}
    try:
        s3.register_where_named(asked)
        result = steps[request["step"]](request)
    except UserError as error:
        sys.exit(str(error))
    with open(result_path, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
