# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Training rows that are queries, each with all its interactions as targets.

A query is embedded once for all that it interacted with, and its tower pools a random
part of these interactions, another one in each step. So the towers learn what EASE and
autoencoders learn, which candidates go together (Liang et al., 2018, "Variational
Autoencoders for Collaborative Filtering"), and still answer by one dot product.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from trainer.batches import (
    CANDIDATES,
    LOG_SAMPLED,
    QUERY,
    TARGETS,
    WEIGHTS,
    WHOLE,
    Interactions,
    Step,
    finished,
    gather,
    steps,
)
from trainer.config import TrainingConfig
from trainer.distribution import Share
from trainer.features import Values
from trainer.towers import united

_MOST = 1000
"""Targets, and candidates of a history, that a row has in a step, on average at most.
One query with a million interactions must not fill the memory."""
_POWERS = {"sum": 0.0, "root": 0.5, "mean": 1.0}
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclasses.dataclass(frozen=True)
class Histories:
    """What each query of the training split interacted with."""

    keys: np.ndarray
    """int64 [queries], ascending: hashes of query ids."""
    candidates: tf.RaggedTensor
    """int64 [queries, None]: positions in the catalogue."""

    def of(self, keys: np.ndarray) -> tf.RaggedTensor:
        """Returns the histories of queries, int64 [len(keys), None]; unknown: empty."""
        at = np.searchsorted(self.keys, keys)
        at = np.minimum(at, max(len(self.keys) - 1, 0))
        known = self.keys[at] == keys
        found = tf.gather(self.candidates, at)
        return tf.ragged.boolean_mask(
            found, found.with_flat_values(tf.gather(known, found.value_rowids()))
        )


@dataclasses.dataclass(frozen=True)
class Rows:
    """Queries with what they interacted with, each distinct one once."""

    query: Values
    """Features by name, each [rows, …], some ragged, without histories."""
    targets: tf.RaggedTensor
    """int64 [rows, None]: positions in the catalogue."""
    weights: tf.RaggedTensor
    """float32 [rows, None]: what each target counts."""
    owner: np.ndarray
    """int64 [rows]: the position of each row's query in `histories`."""
    histories: Histories

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.owner)

    def choices(self, candidates: int) -> np.ndarray:
        """Returns how much each candidate is chosen, float64 [candidates].

        An interaction of a query with n counts n^-1/4: who does very much says less of
        what a newcomer does.
        """
        lengths = self.targets.row_lengths().numpy()
        weights = np.repeat(np.maximum(lengths, 1) ** -0.25, lengths)
        return np.bincount(self.targets.flat_values, weights, minlength=candidates)


def group(interactions: Interactions, history: str | None) -> Rows:
    """Groups interactions into rows.

    A query whose features differ from one interaction to the next, by the hour or the
    device, has a row for each of their values.

    Args:
      interactions: The training split.
      history: A feature that rows do without, for they have histories of their own.
    """
    query = {n: v for n, v in interactions.query.items() if n != history}
    row_of, firsts = distinct(query, interactions.key)
    query_of, owners = distinct({}, interactions.key)
    keys = interactions.key[owners]
    order = np.argsort(keys, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    by_query = place[query_of]
    histories = Histories(keys[order], _grouped(interactions.candidate, by_query))
    weight = interactions.weight
    return Rows(
        gather(query, firsts),
        _grouped(interactions.candidate, row_of),
        _grouped(
            np.ones(len(row_of), np.float32) if weight is None else weight, row_of
        ),
        by_query[firsts],
        histories,
    )


def distinct(query: Values, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns which distinct row each row is, and where each of these is first.

    Args:
      query: Features by name, each [rows, …].
      key: int64 [rows]: a hash of each query's id.
    """
    total = pd.util.hash_array(key.astype(np.uint64))
    for values in query.values():
        total = pd.util.hash_array(total * _MIX + _hashes(values))
    _, firsts, inverse = np.unique(total, return_index=True, return_inverse=True)
    return inverse, firsts


def _hashes(values: tf.Tensor | tf.RaggedTensor) -> np.ndarray:
    """Returns a hash of each row, uint64 [rows]; of several values, in any order."""
    if isinstance(values, tf.RaggedTensor):
        flat = pd.util.hash_array(values.flat_values.numpy()) + _MIX  # none is 0
        # Sums of a row by differences: both wrap around.
        sums = np.concatenate([[np.uint64(0)], np.cumsum(flat, dtype=np.uint64)])
        splits = values.row_splits.numpy()
        return sums[splits[1:]] - sums[splits[:-1]]
    columns = values.numpy().reshape(len(values), -1)
    total = np.zeros(len(columns), np.uint64)
    for column in columns.T:
        total = total * _MIX + pd.util.hash_array(np.ascontiguousarray(column))
    return total


def _grouped(values: np.ndarray, group_of: np.ndarray) -> tf.RaggedTensor:
    """Returns the values of each group, in their order, as [groups, None]."""
    order = np.argsort(group_of, kind="stable")
    return tf.RaggedTensor.from_row_lengths(values[order], np.bincount(group_of))


def questions(
    asked: Interactions, known: Histories | None, history: str | None
) -> tuple[Values, np.ndarray]:
    """Returns each distinct query of a split, as it would ask, and whose each row is.

    Args:
      asked: The split.
      known: What training knows of queries and their ids do not stand for yet; None:
        nothing.
      history: Name of the value that holds it, if there is one.
    """
    of_row, firsts = distinct(asked.query, asked.key)
    values = gather(dict(asked.query), firsts)
    if history and known:
        whole = known.of(asked.key[firsts])
        values[history] = united(whole, values[history]) if history in values else whole
    return values, of_row


def row_batches(
    rows: Rows,
    config: TrainingConfig,
    history: str | None,
    query_id: str | None,
    seen: np.ndarray,
    first_epoch: int = 0,
    share: Share = WHOLE,
) -> tf.data.Dataset:
    """Makes batches whose rows are queries.

    Args:
      rows: The training split.
      config: How to train.
      history: Name of the value that holds a part of each query's history; None: none.
      query_id: Name of the feature that is left out at times where a history is there.
      seen: Positions of the candidates that negatives are, int64 [seen], ascending.
      first_epoch: Number of the epoch to begin with.
      share: The parts of each batch that are wanted; an element is then a part.

    Returns:
      A dataset of `query`, features by name, and `targets`, ragged int64 [batch, None]:
      positions in the catalogue or, where candidates are sampled, in `candidates`,
      int64 [sampled], which has `log_sampled`, float32 [sampled], beside it. `weights`,
      ragged float32 [batch, None], of the targets.
    """
    histories, owner = rows.histories.candidates, tf.constant(rows.owner)
    columns = {QUERY: dict(rows.query), TARGETS: rows.targets, WEIGHTS: rows.weights}
    is_sampled = config.is_sampled(len(seen))
    # Without other features, such a row would say nothing of any query.
    has_others = any(name != query_id for name in rows.query)
    cold_share = config.cold_share if has_others else 0.0
    absent = _log_absent(rows, int(seen[-1]) + 1) if is_sampled else None

    def batch(step: Step) -> dict[str, Any]:
        made = gather(columns, step.rows)
        made[TARGETS], made[WEIGHTS] = _some(
            [made[TARGETS], made[WEIGHTS]], 1.0, step.seeds(0)
        )
        cold = tf.random.stateless_uniform(tf.shape(step.rows), step.seeds(1))
        cold = cold < cold_share
        made[WEIGHTS] = _scaled(made[WEIGHTS], _POWERS[config.query_weight], cold)
        if history:
            whole = tf.gather(histories, tf.gather(owner, step.rows))
            (part,) = _some([whole], config.history_share, step.seeds(2))
            made[QUERY][history] = _emptied(part, cold)
        if query_id:
            unknown = cold
            if history:
                drawn = tf.random.stateless_uniform(tf.shape(cold), step.seeds(3))
                unknown |= (drawn < config.id_dropout) & (part.row_lengths() > 0)
            ids = made[QUERY][query_id]
            made[QUERY][query_id] = tf.where(unknown, tf.cast(-1, ids.dtype), ids)
        if is_sampled:
            made = {**made, **_sampled(made[TARGETS], config, seen, absent, step)}
        return made

    return finished(steps(len(rows), config, first_epoch, batch), share)


def _some(
    ragged: Sequence[tf.RaggedTensor], share: float, seeds: tf.Tensor
) -> list[tf.RaggedTensor]:
    """Keeps each value with a probability, a lower one in rows of very many."""
    of_row = ragged[0].value_rowids()
    lengths = tf.cast(tf.gather(ragged[0].row_lengths(), of_row), tf.float32)
    chance = tf.minimum(share, _MOST / lengths)
    drawn = tf.random.stateless_uniform(tf.shape(chance), seeds)
    kept = ragged[0].with_flat_values(drawn < chance)
    return [tf.ragged.boolean_mask(one, kept) for one in ragged]


def _scaled(weights: tf.RaggedTensor, power: float, cold: tf.Tensor) -> tf.RaggedTensor:
    """Divides a row's weights by a power of their number, but for rows without a query.

    Those are to learn what is chosen most, and every choice counts the same in that.
    """
    number = tf.cast(tf.maximum(weights.row_lengths(), 1), tf.float32)
    scale = tf.where(cold, 1.0, tf.pow(number, -power))
    return weights.with_flat_values(
        weights.flat_values * tf.gather(scale, weights.value_rowids())
    )


def _emptied(ragged: tf.RaggedTensor, rows: tf.Tensor) -> tf.RaggedTensor:
    """Leaves out all values of some rows, bool [rows]."""
    kept = tf.gather(~rows, ragged.value_rowids())
    return tf.ragged.boolean_mask(ragged, ragged.with_flat_values(kept))


def _log_absent(rows: Rows, catalogue_size: int) -> tf.Tensor:
    """Returns log of the share of rows without each candidate, [candidates]."""
    targets = rows.targets.flat_values.numpy()
    pairs = rows.targets.value_rowids().numpy() * catalogue_size + targets
    of_candidate = np.unique(pairs) % catalogue_size
    holding = np.bincount(of_candidate, minlength=catalogue_size)
    with np.errstate(divide="ignore"):  # -inf: it is in every row
        return tf.constant(np.log1p(-holding / len(rows)), tf.float32)


def _sampled(
    targets: tf.RaggedTensor,
    config: TrainingConfig,
    seen: np.ndarray,
    absent: tf.Tensor,
    step: Step,
) -> dict[str, Any]:
    """Draws the candidates of a step: all its targets, and some of the catalogue."""
    uniform = step.draw(config.uniform_negatives, seen)
    drawn = tf.concat([targets.flat_values, uniform], axis=0)
    # Distinct, so that a target is never a negative of its own row.
    candidates, places = tf.unique(drawn, tf.int64)
    made = {
        TARGETS: targets.with_flat_values(places[: tf.size(targets.flat_values)]),
        CANDIDATES: candidates,
        LOG_SAMPLED: tf.zeros(tf.shape(candidates)),
    }
    if config.logq == "exact":
        # It is absent if none of the rows has it and it is not drawn either.
        rows = tf.cast(targets.nrows(), tf.float32)
        not_drawn = config.uniform_negatives * math.log1p(-1 / max(len(seen), 2))
        missing = rows * tf.gather(absent, candidates) + not_drawn
        made[LOG_SAMPLED] = tf.math.log(-tf.math.expm1(missing))
    return made
