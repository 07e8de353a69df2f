# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The model that Pusher exports: raw query features in, candidate ids out.

A plain `tf.Module`: the towers, an index, exact search, ids and titles. What holds for
every answer:

* It has exactly k columns, best first. A row with fewer than k results is filled up
  with id "", title "" and score -inf; clients drop these.
* It has fewer than k results only where fewer than k candidates are left in the
  catalogue after the exclusions: where the searched leaves hold too few, that row is
  answered by exact search.
* An excluded id never comes back; an excluded id that is not in the catalogue, and
  the empty string, exclude nothing. An empty batch gives an empty answer.
* A request may say how hard to search for it (`leaves_to_search`, `reorder`), within
  bounds; what is not said, or 0, is as the index was built.
* A query id never seen in training is answered from the candidates' bias alone.
"""

import math
import os
import tempfile
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from serving.errors import UserError
from serving.index import AS_BUILT, Effort, ExactIndex, Index, length, make_index
from serving.index_config import IndexPlan
from serving.texts import padded_tensor, write_lines

K = "k"
EXCLUDE = "exclude"
LEAVES_TO_SEARCH = "leaves_to_search"
REORDER = "reorder"
OPTIONS = (K, EXCLUDE, LEAVES_TO_SEARCH, REORDER)
"""What a request may say beside what is asked for."""
CANDIDATE_ID = "candidate_id"
TITLE = "title"
SCORE = "score"
EMBEDDING = "embedding"

IDS_FILE = "candidate_ids.txt"
"""Asset of a SavedModel: an id a line, in the order of the embeddings."""
WARMUP = os.path.join("assets.extra", "tf_serving_warmup_requests")
"""The request that TensorFlow Serving replays before it takes traffic."""
SCANN_FILES = "scann"
"""Folder of ScaNN's own files, beside the id file."""
QUERY_SEGMENT = "query_segment"
WARM, COLD = "warm", "cold"


class Catalogue(tf.Module):
    """Candidate ids and titles by row, and the row of an id."""

    def __init__(
        self, ids: pa.LargeStringArray, titles: pa.LargeStringArray, folder: str
    ):
        """Holds ids and titles, both [candidates], in the order of the embeddings.

        Args:
          ids: Candidate ids that `check_ids` lets pass.
          titles: What to show for each.
          folder: Where the id file is written that becomes an asset of the model; it
            must stay until the model is saved.

        """
        super().__init__()
        path = os.path.join(folder, IDS_FILE)
        write_lines(path, ids)
        # An asset file, not a constant: a graph may not exceed 2 GB.
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                path,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=-1,
        )
        self.ids, self.titles = _padded_variable(ids), _padded_variable(titles)

    @property
    def size(self) -> tf.Tensor:
        """The number of candidates, int32 [], as it is when the graph runs."""
        return length(self.ids) - 1

    def rows_of(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the rows of ids, int32 of the same shape; -1 where unknown."""
        return tf.cast(self.table.lookup(ids), tf.int32)

    def describe(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns ids and titles of rows, where row -1 has both empty."""
        rows = tf.where(rows < 0, self.size, rows)
        return {
            CANDIDATE_ID: tf.gather(self.ids, rows),
            TITLE: tf.gather(self.titles, rows),
        }


def _padded_variable(texts: pa.LargeStringArray) -> tf.Variable:
    """Makes a variable of one more row: the last is what padding looks like."""
    return tf.Variable(padded_tensor(texts), trainable=False, shape=[None])


def check_ids(ids: pa.LargeStringArray) -> None:
    """Refuses ids that no catalogue can have.

    Raises:
      UserError: A line of text can't hold one, or one is empty or there twice.
    """
    unfit = ids.filter(pc.match_substring_regex(ids, r"^$|[\r\n]"))
    if len(unfit):
        raise UserError(
            f"candidate id {unfit[0].as_py()!r} is empty or holds a line break; "
            "give every candidate a one-line id"
        )
    if pc.count_distinct(ids).as_py() < len(ids):
        values, counts = ids.value_counts().flatten()
        refuse_twice(values.filter(pc.greater(counts, 1))[0].as_py())


def refuse_twice(candidate_id: str) -> NoReturn:
    """Raises the error of an id that two candidates have."""
    raise UserError(
        f"candidate id {candidate_id!r} is in the catalogue twice; ids must be unique"
    )


def is_member(rows: tf.Tensor, sets: tf.Tensor) -> tf.Tensor:
    """Tells which rows are in the set of the same batch entry.

    Args:
      rows: int32 [batch, m].
      sets: int32 [batch, s], in any order, repeats allowed.

    Returns:
      bool [batch, m]. Needs batch x (m + s) memory, not batch x m x s.
    """
    # A sentinel column, so that a position past the end can be gathered.
    sentinel = tf.fill([tf.shape(sets)[0], 1], tf.int32.max)
    ordered = tf.concat([tf.sort(sets, axis=1), sentinel], axis=1)
    # The raw operation: tf.searchsorted's reshape refuses an empty batch.
    position = tf.raw_ops.LowerBound(sorted_inputs=ordered, values=rows)
    return tf.gather(ordered, position, batch_dims=1) == rows


def _count_distinct_known(sets: tf.Tensor) -> tf.Tensor:
    """Counts the distinct rows >= 0 of each batch entry: [batch, s] to [batch]."""
    ordered = tf.sort(sets, axis=1)
    new = tf.concat(
        [tf.ones_like(ordered[:, :1], tf.bool), ordered[:, 1:] != ordered[:, :-1]], 1
    )
    return tf.reduce_sum(tf.cast(new & (ordered >= 0), tf.int32), axis=1)


def keep_best(
    scores: tf.Tensor, rows: tf.Tensor, excluded: tf.Tensor, k: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Drops excluded results and brings the answer to exactly k columns.

    Args:
      scores: float32 [batch, m], best first; rows: int32 [batch, m], -1 for none.
      rows: see scores.
      excluded: int32 [batch, s], -1 for none.
      k: int32 scalar.

    Returns:
      Scores and rows [batch, k]; -inf and -1 where nothing is left.
    """
    dropped = (rows < 0) | is_member(rows, excluded)
    scores = tf.where(dropped, -np.inf, scores)
    rows = tf.where(dropped, -1, rows)
    missing = tf.maximum(k - tf.shape(rows)[1], 0)
    scores = tf.pad(scores, [[0, 0], [0, missing]], constant_values=-np.inf)
    rows = tf.pad(rows, [[0, 0], [0, missing]], constant_values=-1)
    scores, order = tf.math.top_k(scores, k)
    return scores, tf.gather(rows, order, batch_dims=1)


class Servable(tf.Module):
    """Towers, index and catalogue behind the signatures of a served model."""

    def __init__(
        self,
        towers: tf.Module,
        embeddings: np.ndarray,
        ids: pa.LargeStringArray,
        titles: pa.LargeStringArray,
        plan: IndexPlan,
        folder: str | None = None,
    ):
        """Builds the index and holds all that answering needs.

        Args:
          towers: A loaded two-tower model: `embed_query(features)` and
            `embed_candidate(features)` from raw features to float32
            [batch, dimensions], `query_features` and `candidate_features` with the
            names and types of these.
          embeddings: float32 [candidates, dimensions], dimensions as the towers have.
          ids: Candidate ids, [candidates].
          titles: What to show for each candidate, [candidates].
          plan: The settled knobs.
          folder: Where the id file is kept until the model is saved, and where ScaNN's
            files are, in the same order, if the plan is ScaNN's.
        """
        super().__init__()
        self._folder = folder or tempfile.mkdtemp(prefix="shortlist-")
        self.towers = towers
        self.catalogue = Catalogue(ids, titles, self._folder)
        scann = os.path.join(self._folder, SCANN_FILES)
        self.exact = ExactIndex(embeddings)
        self.index = make_index(self.exact, plan, scann)
        self.default_k = plan.k
        self.dimensions = embeddings.shape[1]

    def _answer(
        self,
        index: Index,
        queries: tf.Tensor,
        k: tf.Tensor,
        exclude: tf.Tensor,
        effort: Effort = AS_BUILT,
    ) -> dict[str, tf.Tensor]:
        """Searches an index for embedded queries; see the module for what holds."""
        size = self.catalogue.size

        def as_it_is() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            scores, rows = index.search(queries, k, effort)
            return scores, rows, tf.reduce_all(rows >= 0) & (tf.shape(rows)[1] == k)

        def nothing() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return tf.zeros([0, 0]), tf.zeros([0, 0], tf.int32), tf.constant(False)

        # Most requests leave nothing out, and then most of what follows is idle; an
        # operation is soon as slow as the search.
        is_plain = (k >= 1) & (k <= size) & tf.reduce_all(tf.shape(exclude) == [1, 0])
        scores, rows, is_whole = tf.cond(is_plain, as_it_is, nothing)
        scores, rows = tf.cond(
            is_whole,
            lambda: (scores, rows),
            lambda: self._nearest(index, queries, k, exclude, effort),
        )
        return {**self.catalogue.describe(rows), SCORE: scores}

    def _nearest(
        self,
        index: Index,
        queries: tf.Tensor,
        k: tf.Tensor,
        exclude: tf.Tensor,
        effort: Effort,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns scores and rows, [batch, k], whatever is excluded and found."""
        checked = tf.debugging.assert_greater_equal(
            k, 1, message="k must be at least 1"
        )
        # Else an operation further down may fail first, with a message of its own.
        with tf.control_dependencies([checked]):
            k = tf.identity(k)
        excluded = self._excluded_rows(exclude, tf.shape(queries)[0])
        # Over-fetch, so that k are left whatever is excluded.
        size = self.catalogue.size
        wanted = tf.minimum(tf.minimum(k, size) + tf.shape(excluded)[1], size)
        scores, rows = keep_best(*index.search(queries, wanted, effort), excluded, k)
        if index is self.exact:
            return scores, rows
        left = size - _count_distinct_known(excluded)
        found = tf.reduce_sum(tf.cast(rows >= 0, tf.int32), axis=1)
        short = found < tf.minimum(k, left)

        def complete() -> tuple[tf.Tensor, tf.Tensor]:
            # Only these: an answer must not depend on its neighbours in a batch.
            at = tf.where(short)
            ours = tf.gather(excluded, at[:, 0])
            nearest = self.exact.search(tf.gather(queries, at[:, 0]), wanted)
            better, instead = keep_best(*nearest, ours, k)
            return (
                tf.tensor_scatter_nd_update(scores, at, better),
                tf.tensor_scatter_nd_update(rows, at, instead),
            )

        return tf.cond(tf.reduce_any(short), complete, lambda: (scores, rows))

    def _excluded_rows(self, exclude: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        """Turns ids to leave out, [batch or 1, s], into rows [batch, s]."""
        rows = self.catalogue.rows_of(exclude)
        checked = tf.debugging.assert_equal(
            (tf.shape(rows)[0] == batch) | (tf.shape(rows)[0] == 1),
            True,
            message="exclude must have one row, or one row for each query",
        )
        with tf.control_dependencies([checked]):
            return tf.broadcast_to(rows, [batch, tf.shape(rows)[1]])

    def save(self, path: str) -> None:
        """Writes the SavedModel with its signatures into a folder.

        Signatures: `serving_default` (query features, k, exclude, leaves_to_search,
        reorder), `exact` (query features, k, exclude), `nearest` (as serving_default,
        but of embeddings), `serving_examples` (serialized tf.Examples), `embed_query`,
        `embed_candidate`, and `query_segment` (serialized tf.Examples), by which
        Evaluator slices.
        """
        functions = _trace(self)
        # Kept as attributes too: called by name, k and exclude may be left out.
        self.recommend = functions["serving_default"]
        self.recommend_exact = functions["exact"]
        self.nearest = functions["nearest"]
        tf.saved_model.save(self, path, signatures=functions)


def _trace(servable: Servable) -> dict[str, Callable]:
    """Traces the signatures of a servable over its towers' own features."""
    towers = servable.towers
    query_specs = dict(towers.query_features)

    def examples(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        features = parse_examples(serialized, query_specs)
        return servable._answer(
            servable.index, towers.embed_query(features), default_k, no_exclusion
        )

    default_k, no_exclusion = _defaults(servable)
    serialized = tf.TensorSpec([None], tf.string, "examples")
    return {
        "serving_default": _searching(servable, towers.embed_query, query_specs),
        "exact": _searching_exactly(servable),
        "nearest": _searching(
            servable,
            lambda query: query[EMBEDDING],
            {EMBEDDING: tf.TensorSpec([None, servable.dimensions], name=EMBEDDING)},
        ),
        "serving_examples": _traced(examples, [serialized]),
        "query_segment": _segmenting(towers),
        "embed_query": _embedding(towers.embed_query, query_specs),
        "embed_candidate": _embedding(
            towers.embed_candidate, dict(towers.candidate_features)
        ),
    }


def _defaults(servable: Servable) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns k, int32 [], and exclude, string [1, 0], of a request without them."""
    return (
        tf.constant(servable.default_k, tf.int32),
        tf.constant([], tf.string, shape=(1, 0)),
    )


def _searching(
    servable: Servable, embed: Callable, query_specs: dict[str, tf.TensorSpec]
) -> Callable:
    """Makes a signature of a query and all options over the index."""
    default_k, no_exclusion = _defaults(servable)
    as_built = tf.constant(0, tf.int32)

    # Tensors as defaults are written into the SavedModel: options are optional to
    # TensorFlow Serving and to whoever calls the restored function by name.
    def search(
        query: dict[str, tf.Tensor],
        k: tf.Tensor = default_k,
        exclude: tf.Tensor = no_exclusion,
        leaves_to_search: tf.Tensor = as_built,
        reorder: tf.Tensor = as_built,
    ) -> dict[str, tf.Tensor]:
        effort = Effort(leaves_to_search, reorder)
        return servable._answer(servable.index, embed(query), k, exclude, effort)

    options = [
        tf.TensorSpec([], tf.int32, K),
        tf.TensorSpec([None, None], tf.string, EXCLUDE),
        tf.TensorSpec([], tf.int32, LEAVES_TO_SEARCH),
        tf.TensorSpec([], tf.int32, REORDER),
    ]
    return _traced(search, [query_specs, *options])


def _searching_exactly(servable: Servable) -> Callable:
    """Makes a signature of query features, k and exclude by exhaustive search."""
    default_k, no_exclusion = _defaults(servable)

    def search(
        features: dict[str, tf.Tensor],
        k: tf.Tensor = default_k,
        exclude: tf.Tensor = no_exclusion,
    ) -> dict[str, tf.Tensor]:
        queries = servable.towers.embed_query(features)
        return servable._answer(servable.exact, queries, k, exclude)

    options = [
        tf.TensorSpec([], tf.int32, K),
        tf.TensorSpec([None, None], tf.string, EXCLUDE),
    ]
    return _traced(search, [dict(servable.towers.query_features), *options])


def _traced(function: Callable, input_signature: list[Any]) -> Callable:
    """Makes a function of TensorFlow as it is: to rewrite Python takes seconds."""
    return tf.function(function, input_signature=input_signature, autograph=False)


def _segmenting(towers: tf.Module) -> Callable:
    """Makes a function of tf.Examples that names each query's segment, to slice by."""
    specs = dict(towers.query_features)

    def segment(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        known = towers.is_known_query(parse_examples(serialized, specs))
        return {QUERY_SEGMENT: tf.where(known, WARM, COLD)}

    return _traced(segment, [tf.TensorSpec([None], tf.string, "examples")])


def _embedding(tower: Callable, specs: dict[str, tf.TensorSpec]) -> Callable:
    """Makes a signature of raw features that returns their embedding."""
    return _traced(lambda features: {EMBEDDING: tower(features)}, [specs])


def parse_examples(
    serialized: tf.Tensor, specs: dict[str, tf.TensorSpec]
) -> dict[str, tf.Tensor]:
    """Parses serialized tf.Examples, [batch], into features as `specs` has them.

    A feature that an example lacks is read as what stands for a missing value: "",
    NaN for a number, 0 for a whole number, zeros for a vector. Where a feature has any
    number of values, rows are padded with "" to the longest.
    """
    parsed = tf.io.parse_example(
        serialized, {name: _parser(spec) for name, spec in specs.items()}
    )
    return {
        name: values.to_tensor("") if isinstance(values, tf.RaggedTensor) else values
        for name, values in parsed.items()
    }


def missing_value(spec: tf.TensorSpec) -> Any:
    """Returns what stands for a missing value of a feature, "" for several values."""
    if spec.dtype == tf.string:
        return ""
    if spec.shape.rank == 2:
        return [0.0] * spec.shape[1]
    return math.nan if spec.dtype.is_floating else 0


def missing_feature(spec: tf.TensorSpec) -> Any:
    """Returns what stands for a missing feature of one query, none of a list."""
    several = spec.shape.rank == 2 and spec.dtype == tf.string
    return [""] if several else missing_value(spec)


def _parser(spec: tf.TensorSpec) -> Any:
    """Returns how tf.Examples hold a feature."""
    if spec.shape.rank == 2 and spec.dtype == tf.string:
        return tf.io.RaggedFeature(tf.string)
    shape = spec.shape[1:] if spec.shape.rank == 2 else []
    return tf.io.FixedLenFeature(shape, spec.dtype, missing_value(spec))
