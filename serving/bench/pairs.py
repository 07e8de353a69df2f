# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""(Query, candidate) pairs of a workload, on which accuracy is measured.

They are what a run held out, handed over as ids in a file, or drawn.
"""

import dataclasses
import json
import os
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from serving.bench.workload import Workload
from serving.errors import UserError
from serving.exact import exact_top_k
from serving.native import NativeEngine

DEPTH = 1000
"""Best candidates of a query among which a pair's is drawn."""

_ARRAYS, _ABOUT = "pairs.npz", "pairs.json"


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of a query and the candidate that it is to find, in an order by chance."""

    queries: np.ndarray
    """float32 [queries, dimensions], distinct ones."""
    query: np.ndarray
    """int64 [pairs]: rows of `queries`."""
    candidate: np.ndarray
    """int64 [pairs]: rows of the workload's vectors."""
    about: dict[str, Any]
    """Where they come from: `origin`, `how` and `left_out`."""

    def __len__(self) -> int:
        """Returns the number of pairs."""
        return len(self.query)


def held_out(file: str, path: str, count: int, seed: int) -> Pairs:
    """Reads pairs of ids, and draws some of them where there are more than enough.

    Queries are embedded by their ids alone.

    Args:
      file: Parquet with the texts `query_id` and `candidate_id`.
      path: Folder of the version whose candidates the workload begins with.
      count: Pairs to keep, at most.
      seed: Of their order.

    Raises:
      UserError: No candidate is in the version's catalogue.
    """
    engine = NativeEngine(path)
    table = pq.read_table(file)
    candidate = np.array(engine.ids.rows(table["candidate_id"].to_pylist()), np.int64)
    known = np.flatnonzero(candidate >= 0)
    if not len(known):
        raise UserError(
            f"none of the candidates that were held out is one of the model in {path}; "
            "leave the accuracy out by --pairs 0"
        )
    kept = np.random.default_rng(seed).permutation(known)[:count]
    asking = np.array(table["query_id"].to_pylist(), object)[kept]
    ids, query = np.unique(asking, return_inverse=True)
    assert engine.query_id is not None  # the workload was made of its queries
    embedded = engine.embed({engine.query_id: ids.tolist()})
    about = {
        "origin": "held out",
        "how": f"{len(kept):,} of {len(candidate):,} interactions of the split eval, "
        "queries embedded by their ids alone",
        "left_out": len(candidate) - len(known),
    }
    return Pairs(np.asarray(embedded), query, candidate[kept], about)


def drawn(workload: Workload, count: int, seed: int) -> Pairs:
    """Draws pairs: a query, and one of those that exact search finds best for it.

    Args:
      workload: What to draw from.
      count: Pairs to draw.
      seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    depth = min(DEPTH, len(workload.vectors))
    best = exact_top_k(workload.queries, workload.vectors, depth)[1]
    query = rng.integers(len(workload.queries), size=count)
    about = {
        "origin": "drawn",
        "how": f"a query, and evenly one of its exact best {depth:,}: by id exact "
        f"search is right in about k / {depth:,}, which says nothing of the model",
        "left_out": 0,
    }
    candidate = best[query, rng.integers(depth, size=count)]
    return Pairs(workload.queries, query, candidate, about)


def write(pairs: Pairs, folder: str) -> None:
    """Writes pairs into the folder of their workload."""
    arrays = {name: getattr(pairs, name) for name in ("queries", "query", "candidate")}
    np.savez(os.path.join(folder, _ARRAYS), **arrays)
    with open(os.path.join(folder, _ABOUT), "w", encoding="utf-8") as file:
        json.dump(pairs.about, file)


def read(folder: str) -> Pairs | None:
    """Reads the pairs of a workload, if it has any."""
    path = os.path.join(folder, _ARRAYS)
    if not os.path.exists(path):
        return None
    with open(os.path.join(folder, _ABOUT), encoding="utf-8") as file:
        about = json.load(file)
    with np.load(path) as arrays:
        return Pairs(**arrays, about=about)
