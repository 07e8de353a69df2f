# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a training needs to go on after a kill as if nothing had happened.

After each epoch: the weights, the optimizer's state, each epoch's figures, and what
early stopping has found. Batches depend on the seed and the epoch's number alone, so
that nothing else has to be kept; the epoch in which a training was killed begins anew.
"""

import hashlib
import io
import json
import math
import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def digest(inputs: Any) -> str:
    """Names the checkpoints of a training by all that it depends on.

    Args:
      inputs: JSON-able: paths of data that never change, and the config.

    Returns:
      16 hex digits.
    """
    content = json.dumps(inputs, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def kept_figure(file: str, find: Callable[[], float], is_kept: bool) -> float:
    """Returns a figure that was found before, by the file that keeps it, or finds it.

    A search by training ends a little elsewhere each time, and weights that were
    trained with one figure must not go on with another.

    Args:
      file: Where it is kept.
      find: Finds it.
      is_kept: Whether this process is the one to write it.
    """
    if tf.io.gfile.exists(file):
        with tf.io.gfile.GFile(file) as content:
            return float(content.read())
    found = find()
    if is_kept:
        tf.io.gfile.makedirs(os.path.dirname(file))
        with tf.io.gfile.GFile(f"{file}.unfinished", "w") as content:
            content.write(repr(found))
        tf.io.gfile.rename(f"{file}.unfinished", file, overwrite=True)
    return found


class Stopping(tf.keras.callbacks.EarlyStopping):
    """Keras's early stopping with a state that can be kept."""

    def state(self) -> tuple[dict[str, float], list[np.ndarray]]:
        """Returns what has been found so far, and the best weights if there are any."""
        found = {"best": self.best, "best_epoch": self.best_epoch, "wait": self.wait}
        return found, self.best_weights or []

    def restore(self, found: dict[str, float], best_weights: list[np.ndarray]) -> None:
        """Takes up a state; Keras has just reset it."""
        self.best, self.best_epoch = found["best"], found["best_epoch"]
        self.wait = found["wait"]
        self.best_weights = best_weights or None


class TrainingState(tf.train.experimental.PythonState):
    """Each epoch's figures, and what early stopping has found."""

    def __init__(self, stopping: Stopping | None = None):
        """Begins with nothing."""
        self.epochs: list[dict[str, float]] = []
        self.found: dict[str, float] = {}
        self.best_weights: list[np.ndarray] = []
        self._stopping = stopping

    def serialize(self) -> bytes:
        """Returns it as a NumPy archive."""
        if self._stopping:
            self.found, self.best_weights = self._stopping.state()
        about = json.dumps({"epochs": self.epochs, "found": self.found})
        file = io.BytesIO()
        np.savez(file, *self.best_weights, about=about)
        return file.getvalue()

    def deserialize(self, string_value: bytes) -> None:
        """Takes it up from a NumPy archive."""
        with np.load(io.BytesIO(string_value), allow_pickle=False) as archive:
            about = json.loads(archive["about"].item())
            weights = [archive[f"arr_{at}"] for at in range(len(archive.files) - 1)]
        self.epochs, self.found = about["epochs"], about["found"]
        self.best_weights = weights

    def resume_stopping(self) -> None:
        """Hands early stopping what it had found."""
        if self._stopping and self.found:
            self._stopping.restore(self.found, self.best_weights)

    @property
    def is_stopped(self) -> bool:
        """Tells whether early stopping had ended the training."""
        stopping = self._stopping
        return bool(stopping and self.found and self.found["wait"] >= stopping.patience)

    @property
    def history(self) -> dict[str, list[float]]:
        """Returns each figure's values, one an epoch."""
        names = self.epochs[0] if self.epochs else {}
        return {name: [epoch[name] for epoch in self.epochs] for name in names}


class Checkpoints(tf.keras.callbacks.Callback):
    """Keeps the state of a training after some epochs, and takes it up again.

    It must run after early stopping and see the weights that training goes on with.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        state: TrainingState,
        folder: str | None,
        kept: bool = True,
        every: int = 1,
    ):
        """Takes up what a killed training has left in the folder.

        Args:
          model: Compiled, with all its weights and those of its optimizer.
          state: To be kept with it.
          folder: Of the checkpoints; None: there are none.
          kept: Write there; False: to nowhere, but write, for saving takes all workers.
          every: Epochs between checkpoints.
        """
        super().__init__()
        self.state = state
        self._every = every
        self._manager = None
        if folder is None:
            return
        checkpoint = tf.train.Checkpoint(model=model, state=state)
        latest = tf.train.latest_checkpoint(folder)
        if latest:
            checkpoint.restore(latest).assert_existing_objects_matched()
        if not kept:
            self._nowhere = tempfile.TemporaryDirectory(prefix="shortlist-")
            folder = self._nowhere.name
        self._manager = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=1)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Hands early stopping its state."""
        self.state.resume_stopping()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the state, or ends a training that has failed."""
        figures = {name: float(value) for name, value in (logs or {}).items()}
        self.state.epochs.append(figures)
        if not math.isfinite(figures["loss"]):
            self.model.stop_training = True
        elif self._manager and (epoch + 1) % self._every == 0:
            self._manager.save()
