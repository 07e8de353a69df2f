# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""One step of training, on one device or on several."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

from trainer.batches import QUERY, count_rows


class SummedLossModel(tfrs.Model):
    """A TFRS model whose loss is a sum over the rows of a batch.

    TFRS's own step shows the loss of the last batch and, on several devices, adds
    regularisation once for each of them.
    """

    def __init__(self) -> None:
        """Makes the metric; `loss` is an epoch's mean over its rows."""
        super().__init__()
        self.mean_loss = tf.keras.metrics.Mean("loss")

    # Rewriting Keras's code for a step takes AutoGraph some 5 s, and changes nothing.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, inputs: dict[str, Any]) -> dict[str, tf.Tensor]:
        """Moves the weights once.

        Args:
          inputs: What `compute_loss` reads: the rows of this replica.

        Returns:
          `loss`: the mean loss of a row in this epoch so far, over all
          replicas, without regularisation.
        """
        with tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, training=True)
            # The gradients of all replicas are added up.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            total = loss + tf.add_n([0.0, *self.losses]) / replicas
            scaled = self._scaled(total)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply_gradients(
            zip(self._unscaled(gradients), self.trainable_variables, strict=True)
        )
        rows = tf.cast(count_rows(inputs[QUERY]), tf.float32)
        self.mean_loss.update_state(tf.math.divide_no_nan(loss, rows), rows)
        return {metric.name: metric.result() for metric in self.metrics}

    def _scaled(self, loss: tf.Tensor) -> tf.Tensor:
        if isinstance(self.optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
            return self.optimizer.get_scaled_loss(loss)
        return loss

    def _unscaled(self, gradients: Sequence[Any]) -> Sequence[Any]:
        if isinstance(self.optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
            return self.optimizer.get_unscaled_gradients(gradients)
        return gradients
