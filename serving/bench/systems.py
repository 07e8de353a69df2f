# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The ways to search that a benchmark compares, behind one interface.

TFRS's layers are called as its tutorial does, eagerly and with what they are given by
default; ours are what a pipeline pushes, read from its folder.
"""

import abc
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from serving.bench.workload import (
    QUERY_ID_FEATURE,
    Workload,
    row_of_title,
    rows_of,
)
from serving.exact import ExactSearch, best
from serving.model import Recommender, load_scann_ops
from serving.native import NativeEngine
from serving.servable import (
    EMBEDDING,
    EXCLUDE,
    LEAVES_TO_SEARCH,
    REORDER,
    K,
)

SINGLE_K = 10
"""Results of single queries that are timed."""


class System(abc.ABC):
    """One way to search a workload."""

    is_exhaustive = False
    """Whether it scores every candidate for all queries of a batch at once."""
    has_effort = False
    """Whether `leaves_to_search` and `reorder` may be chosen for each query."""
    is_slow = False
    """Whether thousands of queries take it minutes."""

    def __init__(self, workload: Workload, version: str):
        """Builds or loads what it needs.

        Args:
          workload: What is searched.
          version: Folder of what `build_servable` has made of it.
        """
        self.workload = workload
        self.effort = (0, 0)

    @abc.abstractmethod
    def one(self, row: int) -> Any:
        """Answers one query of the workload as a user would ask it."""

    @abc.abstractmethod
    def many(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns rows found for embedded queries, and scores, both [batch, k].

        Where there is none, the row is -1 and the score is not finite.
        """


class TfrsLayer(System):
    """A layer of TFRS over the embeddings, with rows for identifiers."""

    def __init__(self, workload: Workload, make: Callable[[], Any]):
        """Builds the layer as the tutorial does, from batches of candidates."""
        super().__init__(workload, "")
        self.layer = make()
        vectors = workload.vectors
        batches = tf.data.Dataset.from_generator(
            lambda: (
                vectors[at : at + 65_536] for at in range(0, len(vectors), 65_536)
            ),
            output_signature=tf.TensorSpec([None, vectors.shape[1]]),
        )
        self.layer.index_from_dataset(batches)

    def one(self, row: int) -> Any:
        """Answers one query, its embedding a tensor."""
        _, rows = self.layer(
            tf.constant(self.workload.queries[row : row + 1]), SINGLE_K
        )
        return rows.numpy()

    def many(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `System.many`; TFRS pads short answers with score NaN and row 0."""
        scores, rows = (one.numpy() for one in self.layer(tf.constant(queries), k))
        return _padded(rows, scores, k)


def _padded(
    rows: np.ndarray, scores: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a layer of TFRS found, [batch, k], with -1 where it padded."""
    missing = [(0, 0), (0, k - rows.shape[1])]
    rows = np.where(np.isnan(scores), -1, rows)
    return (
        np.pad(rows.astype(np.int64), missing, constant_values=-1),
        np.pad(scores, missing, constant_values=np.nan),
    )


class TfrsStreaming(TfrsLayer):
    """TFRS's layer for exact evaluation: it reads the candidates in batches.

    It is what FactorizedTopK makes of a dataset; the batches are the tutorial's.
    """

    is_slow = True

    def __init__(self, workload: Workload, version: str):
        """Gives the layer a dataset of candidates and their rows."""
        from tensorflow_recommenders.layers import factorized_top_k

        System.__init__(self, workload, version)
        vectors, batch = tf.constant(workload.vectors), 4096
        rows = tf.data.Dataset.range(0, len(workload.vectors), batch)
        self.layer = factorized_top_k.Streaming(k=SINGLE_K)
        self.layer.index_from_dataset(
            rows.map(
                lambda at: (
                    tf.range(at, tf.minimum(at + batch, len(workload.vectors))),
                    vectors[at : at + batch],
                )
            )
        )


def _tfrs_brute_force(workload: Workload, version: str) -> System:
    from tensorflow_recommenders.layers import factorized_top_k

    layer = TfrsLayer(workload, lambda: factorized_top_k.BruteForce(k=SINGLE_K))
    layer.is_exhaustive = True
    return layer


def _tfrs_scann(leaves: int, leaves_to_search: int, reorder: int | None) -> Callable:
    def make(workload: Workload, version: str) -> System:
        from tensorflow_recommenders.layers import factorized_top_k

        return TfrsLayer(
            workload,
            lambda: factorized_top_k.ScaNN(
                k=SINGLE_K,
                num_leaves=min(leaves, len(workload.vectors)),
                num_leaves_to_search=leaves_to_search,
                num_reordering_candidates=reorder,
            ),
        )

    return make


class TfrsId(System):
    """TFRS's ScaNN layer behind a Keras query model, id of a query to titles.

    The tutorial's own form; eagerly, as there.
    """

    def __init__(self, workload: Workload, version: str):
        """Builds both as the tutorial does, with the workload's queries for weights."""
        from tensorflow_recommenders.layers import factorized_top_k

        super().__init__(workload, version)
        ids = [str(row) for row in range(len(workload.queries))]
        lookup = tf.keras.layers.StringLookup(vocabulary=ids, mask_token=None)
        table = tf.keras.layers.Embedding(len(ids) + 1, workload.queries.shape[1])
        model = tf.keras.Sequential([lookup, table])
        model(tf.constant(ids[:1]))
        unknown = np.zeros_like(workload.queries[:1])
        table.set_weights([np.concatenate([unknown, workload.queries])])
        self.layer = factorized_top_k.ScaNN(
            model,
            k=SINGLE_K,
            num_leaves=min(1000, len(workload.vectors)),
            num_leaves_to_search=100,
            num_reordering_candidates=1000,
        )
        self.layer.index(tf.constant(workload.vectors), tf.constant(workload.titles))

    def one(self, row: int) -> Any:
        """Answers one query."""
        scores, titles = self.layer(tf.constant([str(row)]), SINGLE_K)
        return scores.numpy(), titles.numpy()

    def many(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `System.many`; the queries must be of the workload."""
        ids = self.workload.ids_of(queries)
        scores, titles = (one.numpy() for one in self.layer(tf.constant(ids), k))
        numbers = [[row_of_title(title) for title in of_query] for of_query in titles]
        return _padded(np.array(numbers), scores, k)


class ExactNumpy(System):
    """Exact search by NumPy."""

    def __init__(self, workload: Workload, version: str):
        """Reads the vectors once."""
        super().__init__(workload, version)
        self.exact = ExactSearch(workload.vectors)

    def one(self, row: int) -> Any:
        """Answers one query."""
        return best(self.workload.vectors @ self.workload.queries[row], SINGLE_K)

    def many(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `System.many`."""
        # The same for all systems: what is asked twice is searched twice.
        scores, rows = self.exact.search(queries, k, distinct=False)
        return rows, scores


def _rows_and_scores(answer: dict[str, tf.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Returns a servable's answer; ids are numbers of rows, "" is padding."""
    ids = answer["candidate_id"].numpy()
    return np.where(ids == b"", b"-1", ids).astype(np.int64), answer["score"].numpy()


class SavedModel(System):
    """The servable's SavedModel by one of its signatures."""

    def __init__(self, workload: Workload, version: str):
        """Loads it."""
        super().__init__(workload, version)
        self.model = Recommender(version)
        self.nearest = self.model.signature("nearest")
        self.no_exclusion = tf.constant([], tf.string, shape=(1, 0))

    def many(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `System.many`; ids are numbers of rows."""
        return _rows_and_scores(self._ask(tf.constant(queries), k))

    def _ask(self, queries: tf.Tensor, k: int) -> dict[str, tf.Tensor]:
        leaves, reorder = self.effort
        return self.nearest(
            **{
                EMBEDDING: queries,
                K: tf.constant(k),
                EXCLUDE: self.no_exclusion,
                LEAVES_TO_SEARCH: tf.constant(leaves),
                REORDER: tf.constant(reorder),
            }
        )


class SavedModelEmbedding(SavedModel):
    """Embedding to ids."""

    has_effort = True

    def one(self, row: int) -> Any:
        """Answers one query."""
        query = tf.constant(self.workload.queries[row : row + 1])
        return self._ask(query, SINGLE_K)["candidate_id"].numpy()


class SavedModelId(SavedModel):
    """Id of a query to ids, titles and scores."""

    has_effort = True

    def one(self, row: int) -> Any:
        """Answers one query."""
        leaves, reorder = self.effort
        answer = self.model.search(
            {QUERY_ID_FEATURE: [str(row)]},
            SINGLE_K,
            leaves_to_search=leaves,
            reorder=reorder,
        )
        return {name: value.numpy() for name, value in answer.items()}


class SavedModelExact(SavedModel):
    """Id of a query to ids, titles and scores by the exact signature."""

    is_exhaustive = True

    def one(self, row: int) -> Any:
        """Answers one query."""
        query = {QUERY_ID_FEATURE: [str(row)]}
        answer = self.model.search(query, SINGLE_K, exact=True)
        return {name: value.numpy() for name, value in answer.items()}

    def many(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `System.many`; the queries must be of the workload."""
        ids = self.workload.ids_of(queries)
        return _rows_and_scores(
            self.model.search({QUERY_ID_FEATURE: ids}, k, exact=True)
        )


class Native(System):
    """The native engine, embedding to rows."""

    has_effort = True

    def __init__(self, workload: Workload, version: str):
        """Loads it."""
        super().__init__(workload, version)
        self.engine = NativeEngine(version)
        self._rows = rows_of(self.engine)

    def one(self, row: int) -> Any:
        """Answers one query."""
        return self.engine.nearest(
            self.workload.queries[row], SINGLE_K, frozenset(), *self.effort
        )

    def many(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `System.many`."""
        rows, scores = self.engine.nearest_batch(queries, k, *self.effort)
        return self._rows[rows], scores


class NativeId(Native):
    """The native engine, id of a query to ids, titles and scores."""

    def one(self, row: int) -> Any:
        """Answers one query."""
        query = {QUERY_ID_FEATURE: str(row)}
        return self.engine.recommend(query, SINGLE_K, (), *self.effort)


SYSTEMS: dict[str, Callable[[Workload, str], System]] = {
    "TFRS BruteForce": _tfrs_brute_force,
    # The tutorial's settings: leaves, leaves to search, candidates to reorder.
    "TFRS ScaNN 100/10": _tfrs_scann(100, 10, None),
    "TFRS ScaNN 100/30/500": _tfrs_scann(100, 30, 500),
    "TFRS ScaNN 100/10/1000": _tfrs_scann(100, 10, 1000),
    "TFRS ScaNN 1000/100/1000": _tfrs_scann(1000, 100, 1000),
    "TFRS ScaNN 1000/100/1000, id to titles": TfrsId,
    "exact, NumPy": ExactNumpy,
    "exact, SavedModel, id to titles": SavedModelExact,
    "SavedModel, embedding to ids": SavedModelEmbedding,
    "SavedModel, id to titles": SavedModelId,
    "native, embedding to rows": Native,
    "native, id to titles": NativeId,
}
BASE = "TFRS BruteForce"
"""What others are compared with."""


STREAMING = "TFRS Streaming"
"""Asked for its accuracy only: a single query takes it as long as hundreds."""
WITH_ACCURACY: dict[str, Callable[[Workload, str], System]] = {
    STREAMING: TfrsStreaming,
    **{
        name: SYSTEMS[name]
        for name in (
            "TFRS ScaNN 1000/100/1000",
            "exact, NumPy",
            "SavedModel, embedding to ids",
            "native, embedding to rows",
        )
    },
}
"""Those whose accuracy is measured on pairs."""


def make_system(name: str, workload: Workload, version: str) -> System:
    """Builds or loads a system by its name."""
    if name.startswith("TFRS ScaNN"):
        load_scann_ops()
    return {**SYSTEMS, **WITH_ACCURACY}[name](workload, version)


def disk_bytes(folder: str) -> int:
    """Returns the size of all files below a folder."""
    return sum(
        os.path.getsize(os.path.join(at, name))
        for at, _, names in os.walk(folder)
        for name in names
    )
