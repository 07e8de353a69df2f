# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Fits the towers: optimizer, seeds, checkpoints, early stopping, TensorBoard."""

import logging
import os
import time

import numpy as np
import tensorflow as tf

import serving.process
from serving.errors import UserError
from serving.evaluation import metrics
from trainer.batches import Interactions, training_batches
from trainer.config import TrainingConfig
from trainer.model import TwoTowerModel

VALID_ACCURACY = "valid_top_10_accuracy"
_K = 10

_log = logging.getLogger(__name__)


def make_optimizer(config: TrainingConfig) -> tf.keras.optimizers.Optimizer:
    """Returns the Keras optimizer that a recipe names."""
    optimizers = {
        "adam": tf.keras.optimizers.Adam,
        "adagrad": tf.keras.optimizers.Adagrad,
    }
    return optimizers[config.optimizer](config.learning_rate)


class ValidAccuracy(tf.keras.callbacks.Callback):
    """Adds the exact top-10 accuracy on the valid split to each epoch's logs.

    By candidate id, over the whole catalogue, seen items kept.
    """

    def __init__(self, valid: Interactions):
        """Remembers the split; each distinct query is asked once."""
        super().__init__()
        self._queries, self._query = valid.distinct_queries()
        self._candidate = valid.candidate

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Scores the valid split with the weights of this epoch."""
        model = self.model
        candidates = model.embed_catalogue()
        queries = model.query_tower(self._queries).numpy()
        _, found = metrics.exact_top_k(queries, candidates, _K)
        ranks = metrics.ranks(found, self._query, self._candidate)
        if logs is not None:
            logs[VALID_ACCURACY] = metrics.top_k_accuracy(ranks, [_K])[_K]


class Progress(tf.keras.callbacks.Callback):
    """Redraws one line with epoch, loss and speed on a terminal."""

    def __init__(self, epochs: int, interactions: int):
        """Remembers the size of the work."""
        super().__init__()
        self._epochs, self._interactions = epochs, interactions

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Starts the clock and the bar."""
        from rich import console, progress

        self._bar = progress.Progress(
            progress.TextColumn("  training"),
            progress.BarColumn(),
            progress.TextColumn("epoch {task.completed}/{task.total}"),
            progress.TextColumn("{task.fields[note]}"),
            progress.TimeRemainingColumn(),
            console=console.Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("training", total=self._epochs, note="")
        self._started = time.perf_counter()
        self._bar.start()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Shows the epoch that ended."""
        elapsed = time.perf_counter() - self._started
        speed = self._interactions * (epoch + 1) / elapsed
        note = f"loss {logs['loss']:.1f}, {speed:,.0f} interactions/s" if logs else ""
        self._bar.update(self._task, completed=epoch + 1, note=note)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Takes the bar away."""
        self._bar.stop()


def _callbacks(
    config: TrainingConfig, train: Interactions, valid: Interactions | None, folder: str
) -> list[tf.keras.callbacks.Callback]:
    """Returns the callbacks of a training, in the order in which they must run."""
    callbacks: list[tf.keras.callbacks.Callback] = []
    if valid is not None:
        callbacks.append(ValidAccuracy(valid))  # before those that read its figure
    callbacks.append(tf.keras.callbacks.TensorBoard(folder, write_graph=False))
    if config.checkpoint:
        callbacks.append(
            tf.keras.callbacks.ModelCheckpoint(
                os.path.join(folder, "checkpoints", "weights"), save_weights_only=True
            )
        )
    if config.early_stopping_patience:
        callbacks.append(
            tf.keras.callbacks.EarlyStopping(
                VALID_ACCURACY,
                patience=config.early_stopping_patience,
                mode="max",
                restore_best_weights=True,
            )
        )
    if serving.process.is_terminal():
        callbacks.append(Progress(config.epochs, len(train)))
    return callbacks


def fit(
    model: TwoTowerModel,
    config: TrainingConfig,
    train: Interactions,
    valid: Interactions | None,
    folder: str,
) -> dict[str, list[float]]:
    """Trains a model in place.

    Args:
      model: The model, not yet built.
      config: How to train it.
      train: The training split.
      valid: The split that early stopping watches, or None.
      folder: Where TensorBoard logs and checkpoints go.

    Returns:
      The history: a list with one value an epoch for each logged figure.

    Raises:
      UserError: Early stopping is asked for but there is no valid split, or the loss
        is not a number.
    """
    if config.early_stopping_patience and valid is None:
        raise UserError(
            "training.early_stopping_patience needs a split to watch; give "
            "interactions.split.fractions a share for 'valid' or set it to 0"
        )
    steps = -(-len(train) // config.batch_size)
    model.compile(
        optimizer=make_optimizer(config),
        steps_per_execution=min(config.steps_per_execution, steps),
    )
    started = time.perf_counter()
    history = model.fit(
        training_batches(train, config.batch_size, config.seed),
        epochs=config.epochs,
        callbacks=_callbacks(config, train, valid, folder),
        verbose=0,
    ).history
    if not np.isfinite(history["loss"]).all():
        raise UserError(
            "the training loss is not a number; lower training.learning_rate "
            f"({config.learning_rate})"
        )
    elapsed = time.perf_counter() - started
    epochs = len(history["loss"])
    _log.info(
        "%d epochs in %.1f s, %.0f interactions/s",
        epochs, elapsed, epochs * len(train) / elapsed,
    )  # fmt: skip
    return history
