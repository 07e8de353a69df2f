# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The native engine: the same answers as the SavedModel's, without TensorFlow's graph.

A call into a TensorFlow function takes longer than ScaNN's whole search. So the folder
of a version also holds what a process needs to answer by itself: ScaNN's files, the
catalogue's ids and titles, the embeddings of all query ids, and the query tower for
requests that tell more than an id. What holds for every answer of the servable holds
here (`serving.servable`), but for padding: a list has as many results as there are.
"""

import abc
import contextlib
import functools
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import tensorflow as tf

from serving import filters, folders, histories, manifest, scann_files
from serving.candidates import FINGERPRINT, Candidates
from serving.errors import UserError
from serving.exact import ExactSearch, best
from serving.filters import Attributes, Survivors
from serving.index_config import MOST_REORDERED, IndexPlan
from serving.queries import read_query
from serving.servable import CANDIDATE_ID, EMBEDDING, SCORE, TITLE, missing_feature
from serving.texts import Texts, read_table, write_table
from serving.towers import Towers, read_query_ids

FOLDER = os.path.join("assets.extra", "native")
"""Below the folder of a version."""
KINDS = ("exact", "scann")
"""Kinds of index of which a version has a native engine, since `FORMAT`."""
FORMAT = 2
"""Of the manifest."""
SCANN = "scann"
"""Folder of ScaNN's files, below."""


_CATALOGUE = "catalogue.arrow"
_VECTORS = "embeddings.npy"
_QUERY_IDS = "query_ids.arrow"
_QUERIES = "queries.npy"
_TOWER = "query_tower"
_ATTRIBUTES = "attributes"
_HISTORIES = "histories"
_NO_ENGINE = (
    "{} has no native engine; push the model again, with index.kind auto, exact or "
    "scann"
)
_MOST_QUERIES = 10_000_000
"""Ids up to which their embeddings are kept; more are embedded by the tower."""
_EMBED_BATCH = 65_536
_HIT = 8
"""Vectors that exact search reads in the time that ScaNN takes for one more hit."""
_CODE = 1 / 12
"""And in the time in which it scores one code; see benchmarks/filters.py."""
_MORE = 4
"""Times as many hits are asked for where a filter leaves too few of them."""
_GATHERING = 8
"""Times that reading a vector out of order takes longer than in order."""


def has_native_engine(path: str) -> bool:
    """Tells whether the folder of a version holds a native engine."""
    return tf.io.gfile.isdir(os.path.join(path, FOLDER))


def read_catalogue(path: str) -> pa.Table:
    """Reads ids, titles and fingerprints of a version's candidates, and no more.

    Raises:
      UserError: The version has no native engine.
    """
    file = os.path.join(path, FOLDER, _CATALOGUE)
    if not has_native_engine(path):
        raise UserError(_NO_ENGINE.format(path))
    if os.path.exists(file):
        return read_table(file)
    with tf.io.gfile.GFile(file, "rb") as remote:
        return pa.ipc.open_file(pa.BufferReader(remote.read())).read_all()


def fetch(path: str, scratch: str) -> str:
    """Returns the local folder of a native engine's files.

    Args:
      path: Folder of a version that has one.
      scratch: Local folder; those of a remote version are copied there.
    """
    folder = os.path.join(path, FOLDER)
    if os.path.isdir(folder):
        return folder
    copied = os.path.join(scratch, "native")
    folders.copy(folder, copied)
    return copied


@contextlib.contextmanager
def damage_told(folder: str, about: dict[str, Any] | None = None) -> Iterator[None]:
    """Tells in a sentence what can't be read of a native engine's files.

    Args:
      folder: Of them.
      about: The servable's manifest, where they may be another stack's.

    Raises:
      UserError: In place of what reading raised.
    """
    try:
        yield
    except (
        OSError, EOFError, ValueError, LookupError, RuntimeError, pa.ArrowException
    ) as error:  # fmt: skip
        what = f"the native engine in {folder}"
        raise manifest.unreadable(what, about or {}, error) from None


def map_vectors(folder: str) -> np.ndarray:
    """Maps the embeddings of a native engine, [candidates, d], in its index's order.

    Args:
      folder: Local, of the engine's files.
    """
    # ScaNN's own, if it keeps them.
    of_scann = os.path.join(folder, SCANN, scann_files.VECTORS)
    own = os.path.join(folder, _VECTORS)
    return np.load(of_scann if os.path.exists(of_scann) else own, mmap_mode="r")


class Found(NamedTuple):
    """What was found for a query, best first."""

    ids: list[str]
    titles: list[str]
    scores: np.ndarray
    """float32 [results]."""

    def as_results(self) -> list[dict[str, Any]]:
        """Returns `candidate_id`, `title` and `score` of each result."""
        found = zip(self.ids, self.titles, self.scores.tolist(), strict=True)
        return [{CANDIDATE_ID: i, TITLE: t, SCORE: s} for i, t, s in found]


class QueryEngine(abc.ABC):
    """What answers raw queries: one native engine, or those of all shards."""

    @property
    @abc.abstractmethod
    def default_k(self) -> int:
        """Results of a request that does not say how many."""

    @abc.abstractmethod
    def candidate_ids(self) -> list[str]:
        """Returns the ids of all candidates, by the rows that searches return."""

    @abc.abstractmethod
    def embed(self, queries: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """Embeds raw query features, each [batch], as float32 [batch, dimensions]."""

    @abc.abstractmethod
    def find(self, *arguments: Any, **options: Any) -> Found:
        """Answers one query that is embedded, see `NativeEngine.find`."""

    def recommend(
        self,
        query: Mapping[str, Any],
        k: int | None = None,
        exclude: Sequence[str] = (),
        leaves_to_search: int = 0,
        reorder: int = 0,
        filter: str = "",
    ) -> list[dict[str, Any]]:
        """Answers one query.

        Args:
          query: Its features by name; what is left out is missing.
          k: Most results; None: as the config of the model says.
          exclude: Candidate ids to leave out.
          leaves_to_search: Of ScaNN's partitions; 0: as the index was built.
          reorder: Hits that ScaNN rescores; 0: as the index was built.
          filter: Restricts candidates by their attributes, see `serving.filters`.

        Returns:
          `candidate_id`, `title` and `score` of each result, best first.

        Raises:
          UserError: k < 1, a feature is unknown, or the filter can't be read.
        """
        if k is not None and k < 1:
            raise UserError(f"k must be at least 1, got {k}")
        embedded = self.embed({name: [value] for name, value in query.items()})[0]
        found = self.find(
            embedded, k or self.default_k, exclude, leaves_to_search, reorder, filter
        )
        return found.as_results()


class NativeEngine(QueryEngine):
    """A version of a model, loaded to answer natively."""

    def __init__(self, path: str):
        """Loads what `write` has written.

        Args:
          path: Folder of a version; of a remote one the engine is copied.

        Raises:
          UserError: The version has no native engine or a part of it is damaged.
        """
        if not has_native_engine(path):
            raise UserError(_NO_ENGINE.format(path))
        folder = os.path.join(path, FOLDER)
        if not os.path.isdir(folder):
            self._copy = tempfile.TemporaryDirectory(prefix="shortlist-")
            folder = fetch(path, self._copy.name)
        self._folder = folder
        about = manifest.read_known(path)
        self.plan = IndexPlan(**about["index"])
        with damage_told(folder, about):
            self.catalogue = read_table(os.path.join(folder, _CATALOGUE))
            self.ids, self.titles = (
                Texts(self.catalogue[name].chunk(0)) for name in (CANDIDATE_ID, TITLE)
            )
            self.embeddings = map_vectors(folder)
            self.searcher = (
                scann_files.load_native(os.path.join(folder, SCANN))
                if self.plan.kind == "scann"
                else None
            )
            self._load_queries()
            attributes = os.path.join(folder, _ATTRIBUTES)
            self.attributes = (
                Attributes(attributes, len(self.ids))
                if os.path.isdir(attributes)
                else None
            )
            """What requests may filter by."""

    @property
    def size(self) -> int:
        """The number of candidates."""
        return len(self.ids)

    @property
    def default_k(self) -> int:
        """Results of a request that does not say how many."""
        return self.plan.k

    def candidate_ids(self) -> list[str]:
        """See `QueryEngine.candidate_ids`; the index has an order of its own."""
        return self.catalogue[CANDIDATE_ID].to_pylist()

    def _load_queries(self) -> None:
        self.query_id: str | None = None
        file = os.path.join(self._folder, _QUERY_IDS)
        if os.path.exists(file):
            table = read_table(file)
            (self.query_id,) = table.column_names
            self._query_ids = Texts(table.column(0).chunk(0))
            # A plain array over the file: NumPy's own class is slow to be asked.
            self.query_embeddings = np.asarray(
                np.load(os.path.join(self._folder, _QUERIES), mmap_mode="r")
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
          UserError: A feature is unknown, or an id is no text.
        """
        if self.query_id is not None and set(queries) == {self.query_id}:
            ids = queries[self.query_id]
            _check_texts(self.query_id, ids)
            # The last embedding, row -1, is that of unknown ids.
            rows = self._query_ids.rows(ids)
            if len(rows) == 1:
                # A view: NumPy takes long to pick by a list.
                return self.query_embeddings[rows[0] :][:1]
            return self.query_embeddings[rows]
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

    def known_queries(self, prefix: str, limit: int) -> list[str]:
        """Returns the first query ids that begin so, of those that training knew."""
        if self.query_id is None:
            return []
        return self._query_ids.beginning(prefix, limit)

    @functools.cached_property
    def _histories(self) -> histories.Histories | None:
        folder = os.path.join(self._folder, _HISTORIES)
        return histories.Histories(folder) if os.path.isdir(folder) else None

    def history(self, query_id: str, limit: int) -> tuple[list[dict[str, str]], int]:
        """Returns what training has seen a query choose.

        Args:
          query_id: Of the query.
          limit: Most candidates.

        Returns:
          `candidate_id` and `title` of some, and how many they were in all; none of
          an id that training did not know.

        Raises:
          UserError: The version keeps no histories.
        """
        if self._histories is None:
            raise UserError(
                "the version keeps no histories; push the model again, with a query id "
                "among its features"
            )
        (position,) = self._query_ids.rows([query_id])
        if position < 0:
            return [], 0
        rows, total = self._histories.of(position)
        at = rows[:limit].tolist()
        found = zip(self.ids.take(at), self.titles.take(at), strict=True)
        return [{CANDIDATE_ID: i, TITLE: t} for i, t in found], total

    def read_query(self, query: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
        """Reads query features that are given as text, for `recommend`.

        Raises:
          UserError: All features are missing, one is unknown or of the wrong type.
        """
        if self.query_id is not None and set(query) == {self.query_id}:
            # The tower, which takes seconds to load, is not needed for it.
            specs = {self.query_id: tf.TensorSpec([None], tf.string)}
        else:
            specs = self._tower.structured_input_signature[1]
        return {name: value for name, (value,) in read_query(query, specs).items()}

    def rows_of(self, ids: Sequence[str]) -> set[int]:
        """Returns the rows of candidate ids; unknown ones have none.

        Raises:
          UserError: One is no text.
        """
        _check_texts(CANDIDATE_ID, ids)
        return set(self.ids.rows(ids)) - {-1} if ids else set()

    def nearest(
        self,
        query: np.ndarray,
        k: int,
        exclude: set[int] | frozenset[int] = frozenset(),
        leaves_to_search: int = 0,
        reorder: int = 0,
        within: Survivors | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the candidates with the highest dot products.

        Args:
          query: float32 [dimensions].
          k: Most results, at least 1.
          exclude: Rows to leave out.
          leaves_to_search: Of ScaNN's partitions; 0: as the index was built.
          reorder: Hits that ScaNN rescores; 0: as the index was built.
          within: What a filter leaves, from `survivors`; None: everything.

        Returns:
          Rows and scores [m], best first; m < k only where the catalogue has no more.
        """
        if within is not None:
            return self._nearest_within(
                query, k, exclude, leaves_to_search, reorder, within
            )
        size = len(self.embeddings)
        left = min(k, size - len(exclude))
        if self.searcher is not None:
            wanted = min(k + len(exclude), size)
            rows, scores = self.searcher.search(
                query, wanted, *self._effort(wanted, leaves_to_search, reorder)
            )
            rows, scores = _kept(rows, scores, exclude, k)
            if len(rows) >= left:
                return rows, scores
        return self._nearest_exactly(query, left, exclude)

    def survivors(self, text: str) -> Survivors | None:
        """Works out a filter, as `serving.filters` describes it; "" leaves everything.

        Raises:
          UserError: It can't be read, or the model has nothing to filter by.
        """
        if not text.strip():
            return None
        if self.attributes is None:
            raise UserError(
                "the model has no attributes to filter by; declare some as "
                "candidates.attributes in its config"
            )
        return self.attributes.survivors(text)

    def _nearest_within(
        self,
        query: np.ndarray,
        k: int,
        exclude: set[int] | frozenset[int],
        leaves: int,
        reorder: int,
        within: Survivors,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the best of what a filter leaves.

        ScaNN knows of no filter: with r hits rescored of n candidates, s of which are
        left, r n / s hits bring as many of these as a query without a filter looks at,
        if the filter has nothing to do with the query. Where it has, and they bring
        fewer than half, more are asked for. Exact search looks at s and is taken
        where that takes less.
        """
        if self.searcher is not None:
            rescored, searched = self._effort(k, leaves, reorder)
            times = len(self.embeddings) / max(within.count, 1)
            while True:
                wanted = math.ceil((rescored + len(exclude)) * times)
                looked_into, share = searched, 1.0
                if self.plan.leaves:
                    looked_into = min(math.ceil(searched * times), self.plan.leaves)
                    share = looked_into / self.plan.leaves
                if _HIT * wanted + _CODE * share * len(self.embeddings) > within.count:
                    break
                rows, scores = self.searcher.search(query, wanted, wanted, looked_into)
                is_left = np.isfinite(scores) & within.mask[rows]
                rows, scores = _kept(rows[is_left], scores[is_left], exclude, rescored)
                if len(rows) >= max(k, rescored // 2):
                    return rows[:k], scores[:k]
                times *= _MORE
        return self._nearest_exactly_within(query, k, exclude, within)

    def _nearest_exactly_within(
        self,
        query: np.ndarray,
        k: int,
        exclude: set[int] | frozenset[int],
        within: Survivors,
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = within.rows
        if exclude:
            rows = rows[~np.isin(rows, list(exclude))]
        if len(rows) * _GATHERING < len(self.embeddings):
            scores = self.embeddings[rows] @ query
        else:
            # All in one go is faster than most, one by one.
            scores = (self.embeddings @ query)[rows]
        at, found = best(scores, min(k, len(rows)))
        return rows[at], found

    def nearest_batch(
        self,
        queries: np.ndarray,
        k: int,
        leaves_to_search: int = 0,
        reorder: int = 0,
        threads: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the candidates with the highest dot products for many queries.

        Args:
          queries: float32 [batch, dimensions].
          k: Results, at most as many as there are candidates.
          leaves_to_search: Of ScaNN's partitions; 0: as the index was built.
          reorder: Hits that ScaNN rescores; 0: as the index was built.
          threads: 1: ScaNN searches on the calling thread; 0: on all cores.

        Returns:
          Rows and scores, [batch, k], best first.
        """
        if self.searcher is None or not len(queries):
            return self._search_exactly(queries, k)
        effort = self._effort(k, leaves_to_search, reorder)
        search = (
            self.searcher.search_batched
            if threads == 1
            else self.searcher.search_batched_parallel
        )
        rows, scores = search(queries, k, *effort)
        short = ~np.isfinite(scores).all(axis=1)
        if short.any() or rows.shape[1] < k:
            whole = np.full((len(queries), k), -1, np.int64)
            values = np.full((len(queries), k), -np.inf, np.float32)
            whole[:, : rows.shape[1]], values[:, : rows.shape[1]] = rows, scores
            short |= rows.shape[1] < k
            whole[short], values[short] = self._search_exactly(queries[short], k)
            return whole, values
        return rows, scores

    def _effort(self, wanted: int, leaves: int, reorder: int) -> tuple[int, int]:
        """Returns hits to rescore and leaves to search, within bounds.

        Of an index without leaves the latter is -1, by which ScaNN means its default.
        """
        plan = self.plan
        if reorder <= 0:
            reorder = plan.reorder
        rescored = max(wanted, min(reorder, MOST_REORDERED))
        if not plan.leaves:
            return rescored, -1
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

    def find(
        self,
        query: np.ndarray,
        k: int,
        exclude: Sequence[str] = (),
        leaves_to_search: int = 0,
        reorder: int = 0,
        filter: str = "",
        exact: bool = False,
    ) -> Found:
        """Answers one query that is embedded.

        Args:
          query: float32 [dimensions].
          k: Most results, at least 1.
          exclude: Candidate ids to leave out.
          leaves_to_search: Of ScaNN's partitions; 0: as the index was built.
          reorder: Hits that ScaNN rescores; 0: as the index was built.
          filter: Restricts candidates by their attributes, see `serving.filters`.
          exact: Search exhaustively.

        Raises:
          UserError: The filter can't be read, there is nothing to filter by, or an id
            is no text.
        """
        rows = self.rows_of(exclude)
        within = self.survivors(filter)
        if not exact:
            found = self.nearest(query, k, rows, leaves_to_search, reorder, within)
        elif within is not None:
            found = self._nearest_exactly_within(query, k, rows, within)
        else:
            left = min(k, self.size - len(rows))
            found = self._nearest_exactly(query, left, rows)
        return self._described(*found)

    def find_batch(
        self, queries: np.ndarray, k: int, leaves_to_search: int = 0, reorder: int = 0
    ) -> list[Found]:
        """Answers many queries that are embedded, on the calling thread alone.

        Args:
          queries: float32 [batch, dimensions].
          k: Results, at most as many as there are candidates.
          leaves_to_search: Of ScaNN's partitions; 0: as the index was built.
          reorder: Hits that ScaNN rescores; 0: as the index was built.
        """
        if self.searcher is None or len(queries) == 1:
            effort = (leaves_to_search, reorder)
            return [
                self._described(*self.nearest(query, k, frozenset(), *effort))
                for query in queries
            ]
        found = self.nearest_batch(queries, k, leaves_to_search, reorder, threads=1)
        return [self._described(*one) for one in zip(*found, strict=True)]

    def _described(self, rows: np.ndarray, scores: np.ndarray) -> Found:
        at = rows.tolist()
        return Found(self.ids.take(at), self.titles.take(at), scores)


def _check_texts(name: str, ids: Sequence[Any]) -> None:
    """Refuses ids that are no texts, such as numbers, which would be unknown."""
    for one in ids:
        if not isinstance(one, str):
            raise UserError(f"{name} is a text, got {one!r}")


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


def write(path: str, towers: Towers, candidates: Candidates, scann: str | None) -> None:
    """Writes the native engine of a version.

    Args:
      path: Folder of the version, local or remote.
      towers: The Trainer's.
      candidates: The embedded catalogue.
      scann: Local folder of ScaNN's files, which are moved; None for exact search.
    """
    with tempfile.TemporaryDirectory(prefix="shortlist-") as made:
        _write_catalogue(made, candidates)
        known = read_query_ids(towers.path)
        if known and len(known[1]) <= _MOST_QUERIES:
            name, query_ids = known
            write_table(os.path.join(made, _QUERY_IDS), {name: query_ids})
            queries = _embed_ids(towers, name, [*query_ids, ""])
            np.save(os.path.join(made, _QUERIES), queries)
            histories.copy(towers.path, candidates.ids, os.path.join(made, _HISTORIES))
        towers.save_query_tower(os.path.join(made, _TOWER))
        _move(made, os.path.join(path, FOLDER))
    write_index(path, candidates.embeddings, scann)


def rewrite_catalogue(
    path: str, previous_path: str, candidates: Candidates, sources: np.ndarray
) -> None:
    """Writes what changes with the catalogue and needs no index; `write_index` follows.

    Args:
      path: Folder of the version, local or remote.
      previous_path: Folder of the version before, of the same towers.
      candidates: The embedded catalogue.
      sources: int64 [candidates], the row of each in the version before, -1 for none.
    """
    before, target = (os.path.join(one, FOLDER) for one in (previous_path, path))
    with tempfile.TemporaryDirectory(prefix="shortlist-") as made:
        _write_catalogue(made, candidates)
        rows = np.flatnonzero(sources >= 0)
        row_of = np.full(len(read_catalogue(previous_path)), -1)
        row_of[sources[rows]] = rows
        histories.move(
            os.path.join(before, _HISTORIES), row_of, os.path.join(made, _HISTORIES)
        )
        _move(made, target)
    folders.copy(os.path.join(before, _TOWER), os.path.join(target, _TOWER))
    for name in (_QUERY_IDS, _QUERIES):
        if tf.io.gfile.exists(os.path.join(before, name)):
            tf.io.gfile.copy(os.path.join(before, name), os.path.join(target, name))


def write_index(path: str, embeddings: np.ndarray, scann: str | None) -> None:
    """Writes the index of a version whose catalogue is written.

    Args:
      path: Folder of the version, local or remote.
      embeddings: float32 [candidates, dimensions], in the order of the index.
      scann: Local folder of ScaNN's files, which are moved; None for exact search.
    """
    target = os.path.join(path, FOLDER)
    if not scann or not scann_files.holds_vectors(scann):
        with tempfile.TemporaryDirectory(prefix="shortlist-") as made:
            np.save(os.path.join(made, _VECTORS), embeddings)
            _move(made, target)
    if scann:
        _move(scann, os.path.join(target, SCANN))


def _write_catalogue(folder: str, candidates: Candidates) -> None:
    """Writes what the native engine knows of candidates into a local folder."""
    columns: dict[str, Any] = {CANDIDATE_ID: candidates.ids, TITLE: candidates.titles}
    if candidates.fingerprints is not None:
        columns[FINGERPRINT] = candidates.fingerprints
    write_table(os.path.join(folder, _CATALOGUE), columns)
    if candidates.attributes:
        filters.write(os.path.join(folder, _ATTRIBUTES), candidates.attributes)


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


def _move(source: str, target: str) -> None:
    """Moves what is in a local folder into a new one, local or remote."""
    tf.io.gfile.makedirs(target)
    if not os.path.isdir(target):
        folders.copy(source, target)
        return
    for name in os.listdir(source):
        shutil.move(os.path.join(source, name), target)
