# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Builds or loads one index in a process of its own and asks it query by query.

`python -m benchmarks.peers.measure REQUEST.json RESULT.json`
"""

import importlib
import importlib.metadata
import json
import os
import sys
import time
from typing import Any

import numpy as np

from benchmarks.peers import frontier
from benchmarks.peers.systems import OURS, SYSTEMS, K, System

_WARMUP = 20
_SEED = 42


def tune(request: dict[str, Any]) -> dict[str, Any]:
    """Builds an index, saves it and tries efforts on the first half of the queries.

    Args:
      request: `system` (its name), `config`, `workload` (a folder), `folder` (where to
        save; is made), `best` (microseconds known by target of recall, as text).

    Returns:
      `build_seconds` and `build_cpu_seconds` (of all threads), `sweep_seconds`,
      `peak_bytes` of resident memory, the vectors included, `efforts` (how many were
      tried) and `points`, those that no other beats: recall, microseconds, search
      effort, hits rescored.
    """
    vectors = np.load(os.path.join(request["workload"], "vectors.npy"))
    system = _system(request, vectors.shape[1])
    started, worked = time.perf_counter(), time.process_time()
    system.build(vectors)
    built, worked = time.perf_counter() - started, time.process_time() - worked
    peak = _memory("VmHWM")
    os.makedirs(request["folder"])
    system.save(request["folder"])
    started = time.perf_counter()
    points = _sweep(system, request, len(vectors))
    return {
        "build_seconds": built,
        "build_cpu_seconds": worked,
        "sweep_seconds": time.perf_counter() - started,
        "peak_bytes": peak,
        "efforts": len(points),
        "points": [
            [one.recall, one.us, one.search, one.rescored]
            for one in frontier.frontier(points)
        ],
    }


def _sweep(
    system: System, request: dict[str, Any], candidates: int
) -> list[frontier.Point]:
    """Tries efforts of an index on the first half of the queries, on one core."""
    queries, truth = _queries(request["workload"])
    half = len(queries) // 2
    asked = system.asked(queries[:half])
    _use_one_core()

    def at(search: int, rescored: int) -> tuple[float, float]:
        system.set_effort(search, rescored)
        _times(system, asked[:_WARMUP])
        found, us = _times(system, asked)
        return recall(found, truth[:half]), float(np.median(us))

    return frontier.sweep(
        at,
        (system.least, system.most(candidates)),
        system.rescored_hits,
        {float(target): us for target, us in request["best"].items()},
    )


def ask(request: dict[str, Any]) -> dict[str, Any]:
    """Loads a saved index and asks it the second half of the queries.

    The first half is asked right before, to warm up.

    Args:
      request: `system`, `config`, `workload`, `folder`, and `efforts`, pairs of a
        search effort and a number of hits to rescore.

    Returns:
      `version` of the library, `detail`, `load_seconds`, `memory_bytes` (by which
      loading and asking raised the resident memory) and `points`: `recall`, `us`
      (median) and `p99_us` at each effort.
    """
    queries, truth = _queries(request["workload"])
    half = len(queries) // 2
    system = _system(request, queries.shape[1])
    asked = system.asked(queries)
    _use_one_core()
    before, started = _memory("VmRSS"), time.perf_counter()
    system.load(request["folder"])
    loaded = time.perf_counter() - started
    _use_one_core()  # threads that loading has started
    points = []
    for effort in request["efforts"]:
        system.set_effort(*effort)
        _times(system, asked[:half])
        found, us = _times(system, asked[half:])
        p50, p99 = np.percentile(us, (50, 99)).tolist()
        points.append({"recall": recall(found, truth[half:]), "us": p50, "p99_us": p99})
    return {
        "version": importlib.metadata.version(system.package),
        "detail": system.detail(),
        "load_seconds": loaded,
        "memory_bytes": _memory("VmRSS") - before,
        "points": points,
    }


def recall(found: list[np.ndarray], truth: np.ndarray) -> float:
    """Returns the mean share of exact search's K best that was found, by row.

    Args:
      found: Rows by query, [at most K].
      truth: int64 [queries, at least K], best first.
    """
    pairs = zip(found, truth[:, :K].tolist(), strict=True)
    return sum(len({*map(int, rows)} & {*best}) for rows, best in pairs) / (
        len(truth) * K
    )


def _system(request: dict[str, Any], dimensions: int) -> System:
    """Makes a system, everything imported that it needs."""
    if request["system"] == OURS:
        import serving.process

        serving.process.set_up()
    kind = SYSTEMS[request["system"]]
    for module in kind.modules:
        importlib.import_module(module)
    return kind(request["config"], dimensions)


def _queries(workload: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the queries, shuffled, and what exact search finds.

    A workload's ids come as in the model's vocabulary, the most frequent first: halves
    of that order are not alike.
    """
    queries, truth = (
        np.load(os.path.join(workload, f"{name}.npy")) for name in ("queries", "truth")
    )
    order = np.random.default_rng(_SEED).permutation(len(queries))
    return queries[order], truth[order]


def _times(
    system: System, asked: list[np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Asks queries one by one; returns the rows found and microseconds of each."""
    found, taken = [], []
    for query in asked:
        started = time.perf_counter()
        answer = system.one(query)
        taken.append(time.perf_counter() - started)
        found.append(system.rows(answer))
    return found, np.array(taken) * 1e6


def _use_one_core() -> None:
    """Confines all threads of this process, those of libraries too, to one core."""
    core = {min(os.sched_getaffinity(0))}
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), core)


def _memory(key: str) -> int:
    """Returns a line of the process's status in bytes: VmRSS, or VmHWM for the peak."""
    with open("/proc/self/status", encoding="ascii") as file:
        (line,) = (one for one in file if one.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def main(request_path: str, result_path: str) -> None:
    """Reads the request, does what it asks, writes the result."""
    with open(request_path, encoding="utf-8") as file:
        request = json.load(file)
    result = {"tune": tune, "ask": ask}[request["step"]](request)
    with open(result_path, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
