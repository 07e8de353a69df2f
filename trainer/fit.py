# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Fits the towers: batches, early stopping, checkpoints, TensorBoard, progress."""

import logging
import time

import numpy as np
import tensorflow as tf

import serving.process
from serving.errors import UserError
from serving.evaluation import metrics
from trainer.batches import Interactions, interaction_batches
from trainer.checkpoints import Checkpoints, Stopping, TrainingState
from trainer.config import TrainingConfig
from trainer.distribution import Share, distributed, is_chief
from trainer.features import Values
from trainer.model import TwoTowerModel
from trainer.optimizers import make_optimizer
from trainer.rows import Rows, group, questions, row_batches

VALID_ACCURACY = "valid_top_10_accuracy"
_K = 10
_CHECKPOINTS = 20
"""Most checkpoints of a training: an epoch may take no longer than writing one."""

_log = logging.getLogger(__name__)


class DivergedError(UserError):
    """A training whose loss, or a weight, is not a number."""


class ValidAccuracy(tf.keras.callbacks.Callback):
    """Adds the exact top-10 accuracy on the valid split to each epoch's logs.

    By candidate id, over the whole catalogue, seen items kept.
    """

    def __init__(self, queries: Values, of_row: np.ndarray, candidate: np.ndarray):
        """Remembers the split.

        Args:
          queries: Each distinct query, features by name.
          of_row: int64 [interactions]: which of them each one is.
          candidate: int64 [interactions]: positions in the catalogue.
        """
        super().__init__()
        self._queries, self._query, self._candidate = queries, of_row, candidate

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Scores the valid split with the weights of this epoch."""
        model = self.model
        candidates = model.embed_catalogue()
        queries = model.query_tower(self._queries).numpy()
        if not (np.isfinite(candidates).all() and np.isfinite(queries).all()):
            model.stop_training = True  # `fit` says why
            return
        _, found = metrics.exact_top_k(queries, candidates, _K)
        ranks = metrics.ranks(found, self._query, self._candidate)
        if logs is not None:
            logs[VALID_ACCURACY] = metrics.top_k_accuracy(ranks, [_K])[_K]


class Averages(tf.keras.callbacks.Callback):
    """Puts the moving averages in the place of the weights while an epoch is judged.

    `begin` comes before the callbacks that read the weights, `end` after them.
    """

    def __init__(self) -> None:
        """Makes the callback that ends it."""
        super().__init__()
        self._weights: list[np.ndarray] = []
        self.end = tf.keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self.model.set_weights(self._weights)
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Swaps them in."""
        self._weights = self.model.get_weights()
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)


class Progress(tf.keras.callbacks.Callback):
    """Redraws one line with epoch, loss and speed on a terminal."""

    def __init__(self, epochs: int, interactions: int):
        """Remembers the size of the work."""
        super().__init__()
        self._epochs, self._interactions = epochs, interactions
        self._seen = 0

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
        # The first epochs may be those of a killed run.
        self._seen += self._interactions
        speed = self._seen / elapsed
        note = f"loss {logs['loss']:.3f}, {speed:,.0f} interactions/s" if logs else ""
        self._bar.update(self._task, completed=epoch + 1, note=note)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Takes the bar away."""
        self._bar.stop()


def _callbacks(
    config: TrainingConfig,
    accuracy: ValidAccuracy | None,
    stopping: Stopping | None,
    folder: str | None,
) -> list[tf.keras.callbacks.Callback]:
    """Returns what reads an epoch's weights, in the order in which it must run."""
    callbacks: list[tf.keras.callbacks.Callback] = []
    if accuracy:
        callbacks.append(accuracy)  # before those that read its figure
    if folder:
        callbacks.append(tf.keras.callbacks.TensorBoard(folder, write_graph=False))
    if stopping:
        callbacks.append(stopping)
    if config.ema and callbacks:
        averages = Averages()
        callbacks = [averages, *callbacks, averages.end]
    return callbacks


def fit(
    model: TwoTowerModel,
    config: TrainingConfig,
    train: Interactions,
    valid: Interactions | None,
    folder: str | None,
    checkpoints: str | None = None,
) -> dict[str, list[float]]:
    """Trains a model in place, from where a killed training has left it.

    Args:
      model: The model, made in the scope of a strategy that is still entered.
      config: How to train it.
      train: The training split.
      valid: The split that early stopping watches, or None.
      folder: Where TensorBoard logs go; None: nowhere.
      checkpoints: Where checkpoints of this very training are and go to; None: none.

    Returns:
      The history: a list with one value an epoch for each logged figure.

    Raises:
      UserError: Early stopping is asked for but there is no valid split.
      DivergedError: The loss or a weight is not a number.
    """
    if config.early_stopping_patience and valid is None:
        raise UserError(
            "training.early_stopping_patience needs a split to watch; give "
            "interactions.split.fractions a share for 'valid' or set it to 0"
        )
    rows = group(train, model.history_name) if config.rows == "query" else None
    size = len(train if rows is None else rows)
    steps, epochs = -(-size // config.batch_size), config.epochs_of(size)
    stopping = _stopping(config)
    _compile(model, config, train, steps, epochs)
    state = TrainingState(stopping)
    chief = is_chief(tf.distribute.get_strategy())
    keeper = Checkpoints(
        model,
        state,
        checkpoints if config.checkpoint else None,
        kept=chief,
        every=-(-epochs // _CHECKPOINTS),
    )
    begun = len(state.epochs)
    if begun:
        _log.info("training goes on after epoch %d of %d", begun, epochs)
    accuracy = _valid_accuracy(model, valid, rows)
    callbacks = _callbacks(config, accuracy, stopping, folder if chief else None)
    if serving.process.is_terminal():
        callbacks.append(Progress(epochs, len(train)))
    started = time.perf_counter()
    model.fit(
        _batches(model, config, train if rows is None else rows, begun),
        initial_epoch=epochs if state.is_stopped else begun,
        epochs=epochs,
        steps_per_epoch=steps,
        callbacks=[*callbacks, keeper],
        verbose=0,
    )
    history = state.history
    if not np.isfinite(history["loss"]).all() or not all(
        tf.reduce_all(tf.math.is_finite(weight)) for weight in model.trainable_variables
    ):
        raise DivergedError(
            "the training diverged, to a loss or weights that are no numbers; lower "
            f"training.learning_rate ({config.learning_rate})"
        )
    _finish(model, rows)
    elapsed = time.perf_counter() - started
    trained = len(history["loss"]) - begun
    _log.info(
        "%d epochs in %.1f s, %.0f interactions/s",
        trained, elapsed, trained * len(train) / elapsed,
    )  # fmt: skip
    return history


def _valid_accuracy(
    model: TwoTowerModel, valid: Interactions | None, rows: Rows | None
) -> ValidAccuracy | None:
    """Returns what watches the valid split, if there is one."""
    if valid is None:
        return None
    # In training ids do not stand for histories yet.
    known = rows.histories if rows and model.query_id else None
    asked = questions(valid, known, model.history_name)
    return ValidAccuracy(*asked, valid.candidate)


def _finish(model: TwoTowerModel, rows: Rows | None) -> None:
    """Brings trained weights into the form in which they answer requests."""
    if rows is None:
        model.settle_unseen()
        return
    model.settle_unseen(rows.choices(model.catalogue_size))
    if model.query_id:
        owned = np.zeros(len(rows.histories.keys), np.int64)
        owned[rows.owner] = rows.query[model.query_id].numpy()
        model.fold_histories(owned, rows.histories.candidates)


def _stopping(config: TrainingConfig) -> Stopping | None:
    """Returns the early stopping of a config, if it asks for any."""
    patience = config.early_stopping_patience
    if not patience:
        return None
    return Stopping(
        VALID_ACCURACY, patience=patience, mode="max", restore_best_weights=True
    )


def _compile(
    model: TwoTowerModel,
    config: TrainingConfig,
    train: Interactions,
    steps: int,
    epochs: int,
) -> None:
    """Gives a model its weights and an optimizer with its own."""
    model.build_towers(train.query)
    weights = model.trainable_variables
    optimizer = make_optimizer(config, steps * epochs, weights)
    optimizer.build(weights)
    together = min(config.steps_per_execution, steps)
    if tf.distribute.has_strategy():
        # In a loop, TensorFlow gathers batches of one size only, and several workers
        # can't gather at all.
        together = 1
    model.compile(optimizer, steps_per_execution=together)


def _batches(
    model: TwoTowerModel,
    config: TrainingConfig,
    train: Interactions | Rows,
    first_epoch: int,
) -> tf.data.Dataset:
    """Returns the batches of this process from an epoch on."""

    def of_share(share: Share) -> tf.data.Dataset:
        if isinstance(train, Rows):
            return row_batches(
                train, config, model.history_name, model.query_id, model.seen,
                first_epoch, share,
            )  # fmt: skip
        return interaction_batches(train, config, model.seen, first_epoch, share)

    return distributed(of_share, tf.distribute.get_strategy())
