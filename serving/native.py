# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The native engine: the same answers as the SavedModel's, without TensorFlow's graph.

A call into a TensorFlow function takes longer than ScaNN's whole search. So the folder
of a version also holds what a process needs to answer by itself: ScaNN's files, the
catalogue's ids and titles, the embeddings of all query ids, and the query tower for
requests that tell more than an id. What holds for every answer of the servable holds
here (`serving.servable`), but for padding: a list has as many results as there are.
"""

import functools
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from serving import manifest, scann_files
from serving.errors import UserError
from serving.exact import ExactSearch, best
from serving.index_config import MOST_REORDERED, IndexPlan
from serving.servable import CANDIDATE_ID, EMBEDDING, SCORE, TITLE, missing_feature
from serving.towers import Towers, read_query_ids

FOLDER = os.path.join("assets.extra", "native")
"""Below the folder of a version."""

_SCANN = "scann"
_CATALOGUE = "catalogue.arrow"
_VECTORS = "embeddings.npy"
_QUERY_IDS = "query_ids.arrow"
_QUERIES = "queries.npy"
_TOWER = "query_tower"
_MOST_QUERIES = 10_000_000
"""Ids up to which their embeddings are kept; more are embedded by the tower."""
_EMBED_BATCH = 65_536


def has_native_engine(path: str) -> bool:
    """Tells whether the folder of a version holds a native engine."""
    return tf.io.gfile.isdir(os.path.join(path, FOLDER))


class Texts:
    """A column of texts in a memory-mapped file, read without copying it."""

    def __init__(self, column: pa.Array):
        """Reads a column of large strings without nulls."""
        _, offsets, data = column.buffers()
        self._offsets = np.frombuffer(offsets, np.int64)
        self._data = memoryview(data) if data else memoryview(b"")
        self._first, self._length = column.offset, len(column)

    def __len__(self) -> int:
        """Returns the number of texts."""
        return self._length

    def take(self, rows: Iterable[int]) -> list[str]:
        """Returns the texts of rows."""
        offsets, data, first = self._offsets, self._data, self._first
        return [
            str(data[offsets[first + row] : offsets[first + row + 1]], "utf-8")
            for row in rows
        ]

    @functools.cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each text, made when it is first asked for."""
        return {text: row for row, text in enumerate(self.take(range(len(self))))}


class NativeEngine:
    """A version of a model, loaded to answer natively."""

    def __init__(self, path: str):
        """Loads what `write` has written.

        Args:
          path: Folder of a version; of a remote one the engine is copied.

        Raises:
          UserError: The version has no native engine or a part of it is damaged.
        """
        folder = os.path.join(path, FOLDER)
        if not has_native_engine(path):
            raise UserError(
                f"{path} has no native engine; push the model again, or ask its "
                "SavedModel"
            )
        if not os.path.isdir(folder):
            self._copy = tempfile.TemporaryDirectory(prefix="shortlist-")
            _copy(folder, self._copy.name)
            folder = self._copy.name
        self._folder = folder
        self.plan = IndexPlan(**manifest.read(path)["index"])
        try:
            catalogue = _read_table(os.path.join(folder, _CATALOGUE))
            self.ids, self.titles = (
                Texts(catalogue[name].chunk(0)) for name in (CANDIDATE_ID, TITLE)
            )
            self.embeddings = np.load(_vectors(folder), mmap_mode="r")
            self._searcher = (
                scann_files.load_native(os.path.join(folder, _SCANN))
                if self.plan.kind == "scann"
                else None
            )
            self._load_queries()
        except (OSError, ValueError, KeyError, RuntimeError, pa.ArrowException) as e:
            raise UserError(
                f"the native engine in {folder} is damaged "
                f"({str(e).splitlines()[0]}); push the model again"
            ) from None

    def _load_queries(self) -> None:
        self.query_id: str | None = None
        file = os.path.join(self._folder, _QUERY_IDS)
        if os.path.exists(file):
            table = _read_table(file)
            (self.query_id,) = table.column_names
            self._query_ids = Texts(table.column(0).chunk(0))
            self.query_embeddings = np.load(
                os.path.join(self._folder, _QUERIES), mmap_mode="r"
            )

    @functools.cached_property
    def _tower(self) -> Any:
        """The query tower, loaded when a request tells more than an id."""
        model = tf.saved_model.load(os.path.join(self._folder, _TOWER))
        return model.signatures["embed_query"]

    def embed(self, queries: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """Embeds raw query features, each [batch], as float32 [batch, dimensions].

        Ids alone are looked up, with the missing values of all other features; more is
        embedded by the tower.

        Args:
          queries: By name; what is left out is missing.

        Raises:
          UserError: A feature is unknown.
        """
        if self.query_id is not None and set(queries) == {self.query_id}:
            rows, unknown = self._query_ids.row_of, len(self._query_ids)
            return self.query_embeddings[
                [rows.get(i, unknown) for i in queries[self.query_id]]
            ]
        specs = self._tower.structured_input_signature[1]
        for name in queries:
            if name not in specs:
                known = ", ".join(sorted(specs))
                raise UserError(
                    f"unknown query feature '{name}'; the model takes {known}"
                )
        batch = len(next(iter(queries.values()), ()))
        features = {
            name: tf.convert_to_tensor(
                queries.get(name, [missing_feature(spec)] * batch), spec.dtype
            )
            for name, spec in specs.items()
        }
        return self._tower(**features)[EMBEDDING].numpy()

    def rows_of(self, ids: Iterable[str]) -> set[int]:
        """Returns the rows of candidate ids; unknown ones have none."""
        if not ids:
            return set()
        rows = self.ids.row_of
        return {rows[one] for one in ids if one in rows}

    def nearest(
        self,
        query: np.ndarray,
        k: int,
        exclude: set[int] | frozenset[int] = frozenset(),
        leaves_to_search: int = 0,
        reorder: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the candidates with the highest dot products.

        Args:
          query: float32 [dimensions].
          k: Most results, at least 1.
          exclude: Rows to leave out.
          leaves_to_search: Of ScaNN's partitions; 0: as the index was built.
          reorder: Hits that ScaNN rescores; 0: as the index was built.

        Returns:
          Rows and scores [m], best first; m < k only where the catalogue has no more.
        """
        size = len(self.embeddings)
        left = min(k, size - len(exclude))
        if self._searcher is not None:
            wanted = min(k + len(exclude), size)
            rows, scores = self._searcher.search(
                query, wanted, *self._effort(wanted, leaves_to_search, reorder)
            )
            rows, scores = _kept(rows, scores, exclude, k)
            if len(rows) >= left:
                return rows, scores
        return self._nearest_exactly(query, left, exclude)

    def nearest_batch(
        self, queries: np.ndarray, k: int, leaves_to_search: int = 0, reorder: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the candidates with the highest dot products for many queries.

        Args:
          queries: float32 [batch, dimensions].
          k: Results, at most as many as there are candidates.
          leaves_to_search: Of ScaNN's partitions; 0: as the index was built.
          reorder: Hits that ScaNN rescores; 0: as the index was built.

        Returns:
          Rows and scores, [batch, k], best first.
        """
        if self._searcher is None or not len(queries):
            return self._search_exactly(queries, k)
        effort = self._effort(k, leaves_to_search, reorder)
        rows, scores = self._searcher.search_batched_parallel(queries, k, *effort)
        short = ~np.isfinite(scores).all(axis=1)
        if short.any() or rows.shape[1] < k:
            whole = np.full((len(queries), k), -1, np.int64)
            values = np.full((len(queries), k), -np.inf, np.float32)
            whole[:, : rows.shape[1]], values[:, : rows.shape[1]] = rows, scores
            short |= rows.shape[1] < k
            whole[short], values[short] = self._search_exactly(queries[short], k)
            return whole, values
        return rows, scores

    def _effort(self, wanted: int, leaves: int, reorder: int) -> tuple[int, int | None]:
        """Returns hits to rescore and leaves to search, within bounds."""
        plan = self.plan
        if reorder <= 0:
            reorder = plan.reorder
        rescored = max(wanted, min(reorder, MOST_REORDERED))
        if not plan.leaves:
            return rescored, None
        return rescored, min(leaves, plan.leaves) if leaves > 0 else (
            plan.leaves_to_search
        )

    @functools.cached_property
    def _exact(self) -> ExactSearch:
        """Made when a batch first asks for it: the vectors are read once."""
        return ExactSearch(self.embeddings)

    def _search_exactly(
        self, queries: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        scores, rows = self._exact.search(queries, k)
        return rows, scores

    def _nearest_exactly(
        self, query: np.ndarray, k: int, exclude: Iterable[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        scores = self.embeddings @ query
        if exclude:
            scores[list(exclude)] = -np.inf
        return best(scores, k)

    def recommend(
        self,
        query: Mapping[str, Any],
        k: int | None = None,
        exclude: Sequence[str] = (),
        leaves_to_search: int = 0,
        reorder: int = 0,
    ) -> list[dict[str, Any]]:
        """Answers one query.

        Args:
          query: Its features by name; what is left out is missing.
          k: Most results; None: as the config of the model says.
          exclude: Candidate ids to leave out.
          leaves_to_search: Of ScaNN's partitions; 0: as the index was built.
          reorder: Hits that ScaNN rescores; 0: as the index was built.

        Returns:
          `candidate_id`, `title` and `score` of each result, best first.

        Raises:
          UserError: k < 1, or a feature is unknown.
        """
        if k is not None and k < 1:
            raise UserError(f"k must be at least 1, got {k}")
        embedded = self.embed({name: [value] for name, value in query.items()})[0]
        rows, scores = self.nearest(
            embedded, k or self.plan.k, self.rows_of(exclude), leaves_to_search, reorder
        )
        at = rows.tolist()
        found = zip(
            self.ids.take(at), self.titles.take(at), scores.tolist(), strict=True
        )
        return [{CANDIDATE_ID: i, TITLE: t, SCORE: s} for i, t, s in found]


def _kept(
    rows: np.ndarray, scores: np.ndarray, exclude: set[int] | frozenset[int], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Drops what ScaNN pads with and what is excluded; at most k stay."""
    if not np.isfinite(scores).all():
        real = np.isfinite(scores)
        rows, scores = rows[real], scores[real]
    if exclude:
        kept = [at for at, row in enumerate(rows.tolist()) if row not in exclude]
        rows, scores = rows[kept], scores[kept]
    return rows[:k], scores[:k]


def write(
    path: str,
    towers_path: str,
    ids: Sequence[str],
    titles: Sequence[str],
    embeddings: np.ndarray,
    scann: str | None,
) -> None:
    """Writes the native engine of a version.

    Args:
      path: Folder of the version, local or remote.
      towers_path: The Trainer's SavedModel.
      ids: Of the candidates, in the order of the embeddings.
      titles: Of the candidates.
      embeddings: float32 [candidates, dimensions].
      scann: Local folder of ScaNN's files, None for exact search.
    """
    towers = Towers(towers_path)
    with tempfile.TemporaryDirectory(prefix="shortlist-") as made:
        _write_table(made, _CATALOGUE, {CANDIDATE_ID: ids, TITLE: titles})
        if not scann or not os.path.exists(os.path.join(scann, scann_files.VECTORS)):
            np.save(os.path.join(made, _VECTORS), embeddings)
        known = read_query_ids(towers_path)
        if known and len(known[1]) <= _MOST_QUERIES:
            name, query_ids = known
            _write_table(made, _QUERY_IDS, {name: query_ids})
            queries = _embed_ids(towers, name, [*query_ids, ""])
            np.save(os.path.join(made, _QUERIES), queries)
        towers.save_query_tower(os.path.join(made, _TOWER))
        _copy(made, os.path.join(path, FOLDER))
    if scann:
        _copy(scann, os.path.join(path, FOLDER, _SCANN))


def _embed_ids(towers: Towers, name: str, ids: Sequence[str]) -> np.ndarray:
    """Embeds queries of which an id and nothing else is known, [ids, dimensions]."""
    parts = []
    for at in range(0, len(ids), _EMBED_BATCH):
        part = ids[at : at + _EMBED_BATCH]
        features = {
            feature: tf.constant([missing_feature(spec)] * len(part), spec.dtype)
            for feature, spec in towers.query_features.items()
        }
        parts.append(towers.embed_query({**features, name: tf.constant(part)}).numpy())
    return np.concatenate(parts)


def _write_table(folder: str, name: str, columns: Mapping[str, Sequence[str]]) -> None:
    table = pa.table(
        {one: pa.array(texts, pa.large_string()) for one, texts in columns.items()}
    )
    with pa.OSFile(os.path.join(folder, name), "wb") as file:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)


def _copy(source: str, target: str) -> None:
    """Copies a folder to a local or remote place."""
    for folder, _, names in tf.io.gfile.walk(source):
        below = os.path.normpath(os.path.join(target, os.path.relpath(folder, source)))
        tf.io.gfile.makedirs(below)
        for name in names:
            tf.io.gfile.copy(os.path.join(folder, name), os.path.join(below, name))


def _vectors(folder: str) -> str:
    """Returns the file of the catalogue's embeddings: ScaNN's own, if it keeps one."""
    of_scann = os.path.join(folder, _SCANN, scann_files.VECTORS)
    return of_scann if os.path.exists(of_scann) else os.path.join(folder, _VECTORS)


def _read_table(path: str) -> pa.Table:
    with pa.memory_map(path) as file:
        return pa.ipc.open_file(file).read_all()
