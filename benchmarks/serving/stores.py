# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Vector stores that one would take instead, asked by their own clients.

Each gets the same vectors with ids and titles, builds the index that it advises, and
is asked with embeddings that are there already. The least effort that reaches the
recall on one half of the queries is measured on the other, or on as many of them as it
answers in half a minute.

Run as `python -m benchmarks.serving.stores REQUEST.json RESULT.json`, in an
environment that has the stores.
"""

import abc
import concurrent.futures
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

K = 10
_BATCH = 20_000
_SECONDS = 8.0
_PATIENCE_S = 30.0
_THREADS = 4


class Store(abc.ABC):
    """A store that runs within this process."""

    name: str
    package: str
    efforts: Sequence[Any]
    """From the least on."""

    @abc.abstractmethod
    def build(self, vectors: np.ndarray, folder: str) -> str:
        """Takes in vectors and indexes them; returns what the index is."""

    @abc.abstractmethod
    def ask(self, query: np.ndarray, effort: Any) -> list[tuple[str, str, float]]:
        """Returns ids, titles and scores of the K best."""


class LanceDb(Store):
    """LanceDB, embedded."""

    name = package = "lancedb"
    efforts = tuple((probes, refine) for refine in (2, 8) for probes in
                    (4, 8, 16, 32, 64, 128))  # fmt: skip

    def build(self, vectors: np.ndarray, folder: str) -> str:
        """See `Store.build`."""
        import lancedb
        import pyarrow as pa
        from lancedb.index import HnswSq

        count, width = vectors.shape
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), width)
        ids = pa.array([f"{row:010}" for row in range(count)])
        data = pa.table({"id": ids, "title": ids, "vector": column})
        self._table = lancedb.connect(folder).create_table("candidates", data)
        partitions = max(1, round(count**0.5) // 8)
        self._table.create_index(
            "vector", config=HnswSq(distance_type="dot", num_partitions=partitions)
        )
        return f"IVF_HNSW_SQ, {partitions} partitions"

    def ask(self, query: np.ndarray, effort: Any) -> list[tuple[str, str, float]]:
        """See `Store.ask`."""
        probes, refine = effort
        found = (
            self._table.search(query)
            .distance_type("dot")
            .nprobes(probes)
            .refine_factor(refine)
            .limit(K)
            .select(["id", "title", "_distance"])
            .to_list()
        )
        return [(one["id"], one["title"], -one["_distance"]) for one in found]


class MilvusLite(Store):
    """Milvus Lite, by Milvus' own client."""

    name, package = "milvus-lite", "milvus-lite"
    efforts = (16, 32, 64, 128, 256, 512)

    def build(self, vectors: np.ndarray, folder: str) -> str:
        """See `Store.build`."""
        from pymilvus import DataType, MilvusClient

        self._client = MilvusClient(os.path.join(folder, "milvus.db"))
        schema = self._client.create_schema()
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=16)
        schema.add_field("title", DataType.VARCHAR, max_length=64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
        index = self._client.prepare_index_params()
        index.add_index(
            "vector", index_type="HNSW", metric_type="IP",
            params={"M": 16, "efConstruction": 200},
        )  # fmt: skip
        self._client.create_collection("candidates", schema=schema, index_params=index)
        for at in range(0, len(vectors), _BATCH):
            part = vectors[at : at + _BATCH]
            rows = [
                {"id": f"{at + row:010}", "title": f"{at + row:010}", "vector": one}
                for row, one in enumerate(part)
            ]
            self._client.insert("candidates", rows)
        self._client.flush("candidates")
        self._client.load_collection("candidates")
        return "HNSW, M 16, efConstruction 200"

    def ask(self, query: np.ndarray, effort: Any) -> list[tuple[str, str, float]]:
        """See `Store.ask`."""
        (found,) = self._client.search(
            "candidates",
            data=[query.tolist()],
            limit=K,
            search_params={"metric_type": "IP", "params": {"ef": effort}},
            output_fields=["title"],
        )
        return [(one["id"], one["entity"]["title"], one["distance"]) for one in found]


STORES = {one.name: one for one in (MilvusLite, LanceDb)}


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Builds a store, finds the effort and measures."""
    store = STORES[request["store"]]()
    vectors, queries, truth = (
        np.load(request[name]) for name in ("vectors", "queries", "truth")
    )
    began = time.perf_counter()
    index = store.build(vectors, request["folder"])
    built = time.perf_counter() - began
    chosen = store.efforts[-1]
    for effort in store.efforts:
        if _recall(store, queries[::2], truth[::2], effort)[0] >= request["target"]:
            chosen = effort
            break
    fresh = queries[1::2]
    recall, asked = _recall(store, fresh, truth[1::2], chosen)
    taken = np.array([_timed(store, one, chosen) for one in fresh[:asked]]) * 1e3
    return {
        "version": importlib.metadata.version(store.package),
        "index": index,
        "effort": chosen,
        "build_seconds": built,
        "recall": recall,
        "queries": asked,
        "ms": {f"p{p}": float(np.percentile(taken, p)) for p in (50, 99)},
        "per_second": {
            str(threads): _rate(store, fresh, chosen, threads)
            for threads in (1, _THREADS)
        },
    }


def _recall(
    store: Store, queries: np.ndarray, truth: np.ndarray, effort: Any
) -> tuple[float, int]:
    """Returns the recall, and of how many queries in the time that there is."""
    end = time.perf_counter() + _PATIENCE_S
    hits: list[int] = []
    for query, nearest in zip(queries, truth[:, :K], strict=True):
        if time.perf_counter() > end:
            break
        found = {int(id_) for id_, *_ in store.ask(query, effort)}
        hits.append(len(found & set(nearest.tolist())))
    return float(np.mean(hits) / K), len(hits)


def _timed(store: Store, query: np.ndarray, effort: Any) -> float:
    began = time.perf_counter()
    store.ask(query, effort)
    return time.perf_counter() - began


def _rate(store: Store, queries: np.ndarray, effort: Any, threads: int) -> float:
    """Returns queries per second of some threads that ask again and again."""
    end = time.perf_counter() + _SECONDS

    def ask_on(offset: int) -> int:
        count = 0
        while time.perf_counter() < end:
            store.ask(queries[(offset + count) % len(queries)], effort)
            count += 1
        return count

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(ask_on, range(0, 1000 * threads, 1000))) / _SECONDS


def main(arguments: Sequence[str]) -> None:
    """Carries out a request."""
    request = json.loads(Path(arguments[0]).read_text())
    Path(arguments[1]).write_text(json.dumps(measure(request)))


if __name__ == "__main__":
    main(sys.argv[1:])
