# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The indexes a servable can hold: exact search, ScaNN, and TFRS's plain layers.

Each is a `tf.Module` with one method, `search(queries, k)`, that returns
`(scores [batch, m], rows [batch, m])`, best first, where a row is a position in the
catalogue and -1 means that there is no such result (its score is -inf). `m` may be
smaller than `k`.
"""

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from serving import scann_files, scann_library
from serving.index_config import MOST_REORDERED, IndexPlan

if TYPE_CHECKING:
    from tensorflow_recommenders.layers import factorized_top_k


class Effort(NamedTuple):
    """How hard a request wants to be searched for; 0: as the index was built."""

    leaves_to_search: Any = 0
    """int32 scalar; bounded by the leaves that there are."""
    reorder: Any = 0
    """int32 scalar: hits to rescore, at most `MOST_REORDERED`."""


AS_BUILT = Effort()


def length(variable: tf.Variable) -> tf.Tensor:
    """Returns the number of a variable's rows as it is when the graph runs, int32 [].

    A graph that knows no size serves another catalogue with other variables.
    """
    return tf.raw_ops.VariableShape(input=variable.handle)[0]


class Index(Protocol):
    """What a servable asks of an index."""

    def search(
        self, queries: tf.Tensor, k: tf.Tensor, effort: Effort = AS_BUILT
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Finds the candidates with the highest dot products.

        Args:
          queries: float32 [batch, dimensions].
          k: int32 scalar, at least 1; may exceed the catalogue.
          effort: For ScaNN.

        Returns:
          Scores float32 [batch, m] and rows int32 [batch, m], m <= k, best first.
        """
        ...


class ExactIndex(tf.Module):
    """Exhaustive dot-product search over all candidates."""

    def __init__(self, embeddings: np.ndarray):
        """Holds the embeddings, float32 [candidates, dimensions]."""
        super().__init__()
        self.embeddings = tf.Variable(
            embeddings,
            trainable=False,
            dtype=tf.float32,
            shape=[None, embeddings.shape[1]],
        )

    def search(
        self, queries: tf.Tensor, k: tf.Tensor, effort: Effort = AS_BUILT
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Index.search`; ties go to the lower row."""
        scores = tf.matmul(queries, self.embeddings, transpose_b=True)
        return tf.math.top_k(scores, tf.minimum(k, tf.shape(scores)[1]))


def _drop_bogus(
    scores: tf.Tensor, rows: tf.Tensor, candidates: int | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Marks what ScaNN pads its answers with.

    Where the searched leaves hold fewer than k points ScaNN fills up with score NaN
    and row 0, which is somebody's real candidate.
    """
    real = tf.math.is_finite(scores) & (rows >= 0) & (rows < candidates)
    return tf.where(real, scores, -np.inf), tf.where(real, rows, -1)


class ScannIndex(tf.Module):
    """ScaNN: partition, asymmetric hashing, exact rescoring of the best."""

    def __init__(self, vectors: tf.Variable, plan: IndexPlan, folder: str):
        """Reads what `scann_files.build` has written.

        Args:
          vectors: float32 [candidates, dimensions].
          plan: The knobs that it was built with.
          folder: Local, with its files.
        """
        super().__init__()
        self._ops = scann_library.operations()
        self._vectors, self._plan = vectors, plan
        self.state = scann_files.load_state(folder, vectors)

    def search(
        self, queries: tf.Tensor, k: tf.Tensor, effort: Effort = AS_BUILT
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Index.search`; rescores at least k hits, so that k may be raised."""
        plan = self._plan
        batch = tf.shape(queries)[0]
        # ScaNN 1.4 refuses an empty batch.
        spare = tf.zeros([tf.cast(batch == 0, tf.int32), queries.shape[1]])
        searcher = self._ops.searcher_from_module(self.state)
        size = length(self._vectors)
        k = tf.minimum(k, size)
        leaves = _or_default(effort.leaves_to_search, plan.leaves_to_search)
        reorder = _or_default(effort.reorder, plan.reorder)
        result = searcher.search_batched(
            tf.concat([queries, spare], 0),
            final_num_neighbors=k,
            pre_reorder_num_neighbors=tf.maximum(
                k, tf.minimum(reorder, MOST_REORDERED)
            ),
            leaves_to_search=tf.minimum(leaves, plan.leaves) if plan.leaves else None,
        )
        return _drop_bogus(result.distances[:batch], result.indices[:batch], size)


def _or_default(given: Any, default: int) -> tf.Tensor:
    """Returns what a request asks for, or what the index was built with for 0."""
    given = tf.convert_to_tensor(given)
    return tf.where(given > 0, given, default)


class TfrsIndex(tf.Module):
    """One of TFRS's own top-k layers, as its tutorial uses it, for comparison."""

    def __init__(self, layer: "factorized_top_k.TopK", embeddings: np.ndarray):
        """Indexes float32 [candidates, dimensions] embeddings by their row."""
        super().__init__()
        self._candidates = len(embeddings)
        self.layer = layer
        # Identifiers are left to the layer: it then answers with rows.
        self.layer.index(tf.constant(embeddings))

    def search(
        self, queries: tf.Tensor, k: tf.Tensor, effort: Effort = AS_BUILT
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Index.search`."""
        scores, rows = self.layer(queries, k=tf.minimum(k, self._candidates))
        return _drop_bogus(scores, tf.cast(rows, tf.int32), self._candidates)


def make_index(exact: ExactIndex, plan: IndexPlan, folder: str) -> Index:
    """Makes the index that a plan asks for.

    Args:
      exact: Exact search over the same embeddings.
      plan: Settled knobs, from `serving.index_config.plan_index`.
      folder: Local; where `scann_files.build` has written, for kind "scann".

    Returns:
      The index; `exact` itself for kind "exact".
    """
    if plan.kind == "exact":
        return exact
    if plan.kind == "scann":
        return ScannIndex(exact.embeddings, plan, folder)
    from tensorflow_recommenders.layers import factorized_top_k

    embeddings = exact.embeddings.numpy()
    if plan.kind == "tfrs-brute-force":
        return TfrsIndex(factorized_top_k.BruteForce(k=plan.k), embeddings)
    layer = factorized_top_k.ScaNN(
        k=plan.k,
        num_leaves=plan.leaves,
        num_leaves_to_search=plan.leaves_to_search,
        training_iterations=plan.training_iterations,
        dimensions_per_block=plan.dimensions_per_block,
        num_reordering_candidates=plan.reorder or None,
    )
    return TfrsIndex(layer, embeddings)
