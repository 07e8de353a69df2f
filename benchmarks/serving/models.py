# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The two models that are served: MovieLens 100K's, and one of 1.68 million candidates.

Run as `python -m benchmarks.serving.models REQUEST.json RESULT.json`: it builds or
looks at a version, and times its engine in a process without a server.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

K = 10
_TIMED = 3000


def build(workload: str, path: str) -> None:
    """Builds the version of a workload's candidates, at recall@10 of .99 and more."""
    from serving.bench.workload import CANDIDATES_FOLDER, TOWERS_FOLDER
    from serving.build import build_servable
    from serving.index_config import IndexConfig

    # What benchmarks/tuning.py found for .99, with some leaves more.
    knobs = {"leaves": 2596, "leaves_to_search": 48, "reorder": 120}
    build_servable(
        os.path.join(workload, TOWERS_FOLDER),
        os.path.join(workload, CANDIDATES_FOLDER),
        IndexConfig(k=K, **knobs),
        path,
        {"pipeline": "large"},
    )


def look_at(version: str) -> dict[str, Any]:
    """Returns query ids, recall against exact search, and the engine's own times.

    Args:
      version: Folder of a version with a native engine.
    """
    from threadpoolctl import threadpool_limits

    from serving.evaluation.metrics import exact_top_k, recall_against_exact
    from serving.native import NativeEngine

    engine = NativeEngine(version)
    ids = engine.known_queries("", _TIMED)
    queries = engine.embed({engine.query_id: ids})
    truth = exact_top_k(queries, engine.embeddings, K)[1]
    found = np.stack([engine.nearest(query, K)[0] for query in queries])
    taken = []
    with threadpool_limits(1, "blas"):
        for one in ids * 2:
            began = time.perf_counter()
            engine.recommend({engine.query_id: one}, K)
            taken.append((time.perf_counter() - began) * 1e3)
    taken = taken[len(ids) :]
    return {
        "candidates": engine.size,
        "query_id": engine.query_id,
        "ids": ids,
        "recall": float(recall_against_exact(found, truth, K).mean()),
        "engine_ms": {
            "p50": float(np.median(taken)), "p99": float(np.percentile(taken, 99)),
        },
    }  # fmt: skip


def write_arrays(version: str, folder: str) -> None:
    """Writes a version's vectors, its queries and the truth, for other stores.

    Args:
      version: Folder of a version with a native engine.
      folder: Where vectors.npy, queries.npy and truth.npy go.
    """
    from serving.evaluation.metrics import exact_top_k
    from serving.native import NativeEngine

    engine = NativeEngine(version)
    queries = engine.embed({engine.query_id: engine.known_queries("", _TIMED)})
    truth = exact_top_k(queries, engine.embeddings, K)[1]
    arrays = {"vectors": engine.embeddings, "queries": queries, "truth": truth}
    for name, array in arrays.items():
        np.save(os.path.join(folder, f"{name}.npy"), array)


def main(arguments: Sequence[str]) -> None:
    """Carries out a request."""
    import serving.process

    serving.process.set_up()
    request = json.loads(Path(arguments[0]).read_text())
    result: dict[str, Any] = {}
    if request["step"] == "build":
        build(request["workload"], request["version"])
    elif request["step"] == "arrays":
        write_arrays(request["version"], request["folder"])
    else:
        result = look_at(request["version"])
    Path(arguments[1]).write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
