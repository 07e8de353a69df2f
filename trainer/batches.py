# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Interactions in memory, and the batches that training gathers from them.

With ids alone a training row is two integers (16 bytes), so that 100 million
interactions fit into 1.6 GB; gathering a batch from arrays is two orders of magnitude
cheaper than parsing its rows again in every epoch.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.config import TrainingConfig
from trainer.distribution import Share
from trainer.features import CANDIDATE_INDEX, Values

QUERY = "query"
WEIGHT = "weight"
NEGATIVES = "negatives"
TARGETS = "targets"
WEIGHTS = "weights"
CANDIDATES = "candidates"
LOG_SAMPLED = "log_sampled"
SHARED = (NEGATIVES, CANDIDATES, LOG_SAMPLED)
"""What all parts of a batch have in common; the rest has a value for each row."""

_SHUFFLED_IN_MEMORY = 1_000_000
"""Rows up to which their order is drawn at once, 16 bytes for each."""
WHOLE = Share()
_NEGATIVES = 100
"""Number of the seeds that negatives are drawn by."""


@dataclasses.dataclass(frozen=True)
class Interactions:
    """Interactions with preprocessed query features and candidates' positions."""

    query: Values
    """Features by name, each [interactions, …], some ragged."""
    candidate: np.ndarray
    """int64 [interactions]: positions in the catalogue."""
    key: np.ndarray
    """int64 [interactions]: a hash of the query's id."""
    weight: np.ndarray | None = None
    """float32 [interactions]: what each counts in the loss; None: 1."""

    def __len__(self) -> int:
        """Returns the number of interactions."""
        return len(self.candidate)


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of training, as the input pipeline begins it."""

    rows: tf.Tensor
    """int64 [batch]: positions of its rows."""
    seed: tf.Tensor
    """int64 [2]: of what is drawn in it."""

    def seeds(self, number: int) -> tf.Tensor:
        """Returns seeds for one thing that is drawn, int64 [2]."""
        return tf.random.experimental.stateless_fold_in(self.seed, number)

    def draw(self, count: int, among: np.ndarray) -> tf.Tensor:
        """Draws negatives evenly, with replacement, int64 [count]."""
        at = tf.random.stateless_uniform(
            [count], self.seeds(_NEGATIVES), 0, len(among), tf.int64
        )
        return tf.gather(tf.constant(among), at)


def steps(
    count: int,
    config: TrainingConfig,
    first_epoch: int,
    make: Callable[[Step], Any],
    queue: int = 0,
) -> tf.data.Dataset:
    """Makes what each step needs, epoch after epoch without end.

    Each epoch has an order of its own, and keeps its last, smaller batch. All that is
    random depends on nothing but the seed, the epoch and the step.

    Args:
      count: Rows of an epoch.
      config: How to train.
      first_epoch: Number of the epoch to begin with.
      make: Makes the element of a step.
      queue: Candidates of earlier steps of the epoch that a step has as negatives.
    """

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        seeds = tf.stack([tf.constant(config.seed, tf.int64), number])

        def of_step(at: tf.Tensor, rows: tf.Tensor) -> Any:
            # Seed 0 is the order's.
            own = tf.random.experimental.stateless_fold_in(seeds, at + 1)
            return make(Step(rows, own))

        batches = _positions(count, config.batch_size, seeds).enumerate()
        batches = batches.map(of_step, num_parallel_calls=tf.data.AUTOTUNE)
        return _with_queue(batches, queue) if queue else batches

    return tf.data.Dataset.counter(first_epoch).flat_map(epoch)


def finished(batches: tf.data.Dataset, share: Share) -> tf.data.Dataset:
    """Takes our parts of each batch, and makes them ahead of their use.

    Args:
      batches: Batches without end: a value for each row, but for `SHARED`.
      share: The parts that are wanted.
    """
    if share.parts > 1:
        batches = batches.flat_map(lambda batch: _parts(batch, share))
    options = tf.data.Options()
    # What tunes buffers as it goes holds up the end of a training for some 4 s.
    options.autotune.enabled = False
    return (
        batches.prefetch(tf.data.AUTOTUNE)
        .with_options(options)
        # Else replicas would ask each other in every step whether there is more.
        .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    )


def gather(columns: Any, rows: Any) -> Any:
    """Returns rows of tensors in any structure, in a copy of it."""
    return tf.nest.map_structure(lambda column: tf.gather(column, rows), columns)


def interaction_batches(
    interactions: Interactions,
    config: TrainingConfig,
    seen: np.ndarray,
    first_epoch: int = 0,
    share: Share = WHOLE,
) -> tf.data.Dataset:
    """Makes batches whose rows are interactions.

    Args:
      interactions: The training split.
      config: How to train.
      seen: Positions of the candidates that negatives are, int64 [seen], ascending.
      first_epoch: Number of the epoch to begin with.
      share: The parts of each batch that are wanted; an element is then a part.

    Returns:
      A dataset of `query`, features by name, `candidate_index`, int64 [batch],
      `weight`, float32 [batch], if interactions have one, and `negatives`, int64
      [negatives], candidates beside those of the batch, the same for all its parts.
    """
    columns: dict[str, Any] = {
        QUERY: dict(interactions.query),
        CANDIDATE_INDEX: tf.constant(interactions.candidate),
    }
    if interactions.weight is not None:
        columns[WEIGHT] = tf.constant(interactions.weight)

    def batch(step: Step) -> dict[str, Any]:
        uniform = step.draw(config.uniform_negatives, seen)
        return {**gather(columns, step.rows), NEGATIVES: uniform}

    count, queue = len(interactions), config.queued_negatives
    return finished(steps(count, config, first_epoch, batch, queue), share)


def _with_queue(batches: tf.data.Dataset, length: int) -> tf.data.Dataset:
    """Adds the candidates of the last batches to the negatives of each.

    They are embedded anew, so that they are never out of date as those in a queue of
    embeddings are.
    """

    def step(queue: tf.Tensor, batch: dict[str, Any]) -> tuple[tf.Tensor, Any]:
        negatives = tf.concat([batch[NEGATIVES], queue], axis=0)
        longer = tf.concat([queue, batch[CANDIDATE_INDEX]], axis=0)
        return longer[-length:], {**batch, NEGATIVES: negatives}

    return batches.scan(tf.zeros([0], tf.int64), step)


def _positions(count: int, batch_size: int, seeds: tf.Tensor) -> tf.data.Dataset:
    """Yields the positions 0 to count - 1 in batches, in the order of two seeds."""
    if count <= _SHUFFLED_IN_MEMORY:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count, dtype=tf.int64), seeds
        )
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
    last = tf.constant(count - 1, tf.int64)
    # A permutation that computes where each position goes, and so needs no memory.
    return (
        tf.data.Dataset.range(count)
        .batch(batch_size)
        .map(lambda rows: tf.random.experimental.index_shuffle(rows, seeds, last))
    )


def _parts(batch: Mapping[str, Any], share: Share) -> tf.data.Dataset:
    """Yields our parts of a batch, which differ by one row at most."""
    shared = {name: batch[name] for name in SHARED if name in batch}
    rowwise = {name: value for name, value in batch.items() if name not in shared}
    size = count_rows(batch[QUERY])

    def part(number: tf.Tensor) -> dict[str, Any]:
        ends = number * size // share.parts, (number + 1) * size // share.parts
        cut = tf.nest.map_structure(lambda column: column[ends[0] : ends[1]], rowwise)
        return {**cut, **shared}

    return tf.data.Dataset.range(share.first, share.first + share.count).map(part)


def count_rows(query: Values) -> tf.Tensor:
    """Returns the number of rows of a batch's query features, int64."""
    values = next(iter(query.values()))
    if isinstance(values, tf.RaggedTensor):
        return values.nrows()
    return tf.shape(values, tf.int64)[0]
