# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The vectors of a benchmark: a pushed model's, many times over, or synthetic ones."""

import dataclasses
import functools
import json
import math
import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from serving.errors import UserError
from serving.evaluation import metrics
from serving.native import NativeEngine, QueryEngine
from serving.towers import QUERY_ID

QUERY_ID_FEATURE = "query_id"
CANDIDATES_FOLDER = "candidates"
TOWERS_FOLDER = "towers"
MOST_K = 100
"""Results up to which recall is measured."""

_VECTORS = "vectors.npy"
_QUERIES = "queries.npy"
_TRUTH = "truth.npy"
_SHARD = 1_000_000
_TITLE = "Title "
_NOISE = 0.5
"""Of synthetic vectors around their cluster's centre, beside a length of 1."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """A catalogue and queries in a folder, as a pipeline would leave them."""

    folder: str
    vectors: np.ndarray
    """float32 [candidates, dimensions], memory-mapped."""
    queries: np.ndarray
    """float32 [queries, dimensions]: those that recall is measured on."""
    truth: np.ndarray
    """int64 [queries, MOST_K]: rows of exact search, best first."""

    @functools.cached_property
    def titles(self) -> list[str]:
        """The titles of the candidates, by row."""
        return [_title(_name(row)) for row in range(len(self.vectors))]

    def ids_of(self, queries: np.ndarray) -> list[str]:
        """Returns the ids of queries of the workload, [batch, dimensions]."""
        return [str(self._row_of[one.tobytes()]) for one in queries]

    @functools.cached_property
    def _row_of(self) -> dict[bytes, int]:
        return {one.tobytes(): row for row, one in enumerate(self.queries)}


def from_model(path: str, copies: int, queries: int, seed: int, folder: str) -> None:
    """Writes a workload of a model's candidates and perturbed copies of them.

    As in the TFRS tutorial, each copy of the catalogue is multiplied by numbers drawn
    evenly from 0 to 1, one for each candidate and dimension; but copies have ids of
    their own, so that what is found can be told from what should have been.

    Args:
      path: Folder of a pushed version with a native engine that knows query ids.
      copies: Number of copies beside the catalogue itself.
      queries: How many query ids to ask with, at most.
      seed: Of the draws.
      folder: Where to write.
    """
    engine = NativeEngine(path)
    if engine.query_id is None:
        raise UserError(
            f"the model in {path} knows no query ids to ask with; take another one, or "
            "--synthetic"
        )
    rng = np.random.default_rng(seed)
    known = engine.query_embeddings
    # All but the last row, that of somebody unknown. In no order: a half of them is
    # like the other half, while vocabularies begin with whoever does most.
    chosen = rng.permutation(len(known) - 1)[:queries]
    original = np.asarray(engine.embeddings)

    def blocks() -> Iterator[np.ndarray]:
        yield original
        for _ in range(copies):
            yield original * rng.random(original.shape, np.float32)

    size = len(original) * (copies + 1)
    _write(folder, blocks(), (size, original.shape[1]), np.asarray(known[chosen]))


def synthetic(
    count: int, dimensions: int, queries: int, seed: int, folder: str
) -> None:
    """Writes a workload of vectors in clusters, as trained towers make them.

    There are √n clusters; cluster c = 1, 2, ... has a share proportional to c^-0.5.
    A vector is its cluster's centre, of length 1, and noise in all dimensions, brought
    to length 1. Queries are drawn alike.

    Args:
      count: Number of candidates.
      dimensions: Of the vectors.
      queries: How many queries to ask.
      seed: Of the draws.
      folder: Where to write.
    """
    rng = np.random.default_rng(seed)
    clusters = max(1, round(np.sqrt(count)))
    centres = _unit(rng.standard_normal((clusters, dimensions), np.float32))
    weights = np.arange(1, clusters + 1) ** -0.5

    def draw(number: int) -> np.ndarray:
        at = rng.choice(clusters, number, p=weights / weights.sum())
        noise = rng.standard_normal((number, dimensions), np.float32)
        return _unit(centres[at] + _NOISE / math.sqrt(dimensions) * 2 * noise)

    asked = draw(queries)
    sizes = [min(_SHARD, count - at) for at in range(0, count, _SHARD)]
    _write(folder, (draw(size) for size in sizes), (count, dimensions), asked)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _write(
    folder: str,
    blocks: Iterator[np.ndarray],
    shape: tuple[int, int],
    queries: np.ndarray,
) -> None:
    """Writes vectors, Parquet shards, towers and what exact search finds."""
    vectors = np.lib.format.open_memmap(
        os.path.join(folder, _VECTORS), "w+", np.float32, shape
    )
    at = 0
    for block in blocks:
        vectors[at : at + len(block)] = block
        at += len(block)
    np.save(os.path.join(folder, _QUERIES), queries)
    _write_shards(os.path.join(folder, CANDIDATES_FOLDER), vectors)
    _write_towers(os.path.join(folder, TOWERS_FOLDER), queries)
    k = min(MOST_K, len(vectors))
    truth = metrics.exact_top_k(queries, vectors, k)[1]
    np.save(os.path.join(folder, _TRUTH), truth)


def read(folder: str) -> Workload:
    """Reads a workload that was written."""
    vectors, queries, truth = (
        np.load(os.path.join(folder, name), mmap_mode="r")
        for name in (_VECTORS, _QUERIES, _TRUTH)
    )
    return Workload(folder, vectors, np.array(queries), np.array(truth))


def _name(row: int) -> str:
    """Returns the id of a row."""
    return f"{row:010}"


def rows_of(engine: QueryEngine) -> np.ndarray:
    """Returns the workload's row of each row that an engine over it finds, int64."""
    return np.array(engine.candidate_ids()).astype(np.int64)


def _title(candidate_id: str) -> str:
    return f"{_TITLE}{candidate_id}"


def row_of_title(title: bytes) -> int:
    """Returns the row of the candidate of a title."""
    return int(title[len(_TITLE) :])


def _write_shards(folder: str, vectors: np.ndarray) -> None:
    """Writes the catalogue as CandidateEmbedder does."""
    os.makedirs(folder)
    for at in range(0, len(vectors), _SHARD):
        part = vectors[at : at + _SHARD]
        ids = [_name(row) for row in range(at, at + len(part))]
        table = pa.table(
            {
                "candidate_id": pa.array(ids),
                "title": pa.array(list(map(_title, ids))),
                "embedding": pa.FixedSizeListArray.from_arrays(
                    pa.array(part.reshape(-1)), part.shape[1]
                ),
            }
        )
        pq.write_table(table, os.path.join(folder, f"{at // _SHARD:05}.parquet"))


def _write_towers(path: str, queries: np.ndarray) -> None:
    """Writes towers whose query side looks ids up, "0", "1" and so on."""
    names = [str(row) for row in range(len(queries))]
    towers = tf.Module()
    towers.rows = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(names, tf.range(len(names))), -1
    )
    towers.table = tf.Variable(queries)

    def embed(name: str) -> tf.types.experimental.GenericFunction:
        def call(features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            rows = towers.rows.lookup(features[name])
            known = tf.cast(rows >= 0, tf.float32)[:, tf.newaxis]
            return {"embedding": known * tf.gather(towers.table, tf.maximum(rows, 0))}

        spec = {name: tf.TensorSpec([None], tf.string, name)}
        return tf.function(call, input_signature=[spec], autograph=False)

    towers.embed_query = embed(QUERY_ID_FEATURE)
    towers.embed_candidate = embed("candidate_id")
    towers.is_known_query = tf.function(
        lambda features: towers.rows.lookup(features[QUERY_ID_FEATURE]) >= 0,
        input_signature=[
            {QUERY_ID_FEATURE: tf.TensorSpec([None], tf.string, QUERY_ID_FEATURE)}
        ],
    )
    tf.saved_model.save(
        towers,
        path,
        signatures={
            "embed_query": towers.embed_query,
            "embed_candidate": towers.embed_candidate,
        },
    )
    vocabulary = os.path.join("assets.extra", "queries.txt")
    os.makedirs(os.path.join(path, "assets.extra"))
    with open(os.path.join(path, vocabulary), "w", encoding="utf-8") as file:
        file.writelines(f"{name}\n" for name in names)
    with open(os.path.join(path, QUERY_ID), "w", encoding="utf-8") as file:
        json.dump({"feature": QUERY_ID_FEATURE, "vocabulary": vocabulary}, file)
