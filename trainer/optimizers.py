# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Optimizers and learning rate schedules by their names in a config."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from trainer.config import TrainingConfig

LAZY_ABOVE = 2_000_000
"""Weights up to which `auto` takes Adam. It updates all of them in every step: two
million (30,000 ids of 64 dimensions) take about as long as the rest of a step of 512
interactions on a CPU, and from there on most of the time would go into rows that the
step has not touched."""


class LazyAdam(tf.keras.optimizers.Adam):
    """Adam that updates only the rows of a table which the batch looked up.

    Keras's Adam decays both moments of every row and moves it by what is left of its
    momentum, at a cost in proportion to the table. Here a row that is not looked up
    stays as it is, and so do its moments. Weights with dense gradients are updated as
    by Adam. (The rule is that of TensorFlow Addons' LazyAdam.)
    """

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Updates a variable by its gradient, whose rows Keras has made distinct."""
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        at = self._index_dict[self._var_key(variable)]
        moments = self._momentums[at], self._velocities[at]
        values, rows = gradient.values, gradient.indices
        first = self._decayed(moments[0], values, rows, self.beta_1)
        second = self._decayed(moments[1], tf.square(values), rows, self.beta_2)
        step = tf.cast(self.iterations + 1, variable.dtype)
        rate = tf.cast(self.learning_rate, variable.dtype) * (
            tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))
        )
        change = rate * first / (tf.sqrt(second) + self.epsilon)
        variable.scatter_sub(tf.IndexedSlices(change, rows))

    def _decayed(
        self, moment: tf.Variable, values: tf.Tensor, rows: tf.Tensor, beta: float
    ) -> tf.Tensor:
        """Moves rows of a moment towards values and returns them, [rows, width]."""
        moved = beta * tf.gather(moment, rows) + (1 - beta) * values
        moment.scatter_update(tf.IndexedSlices(moved, rows))
        return moved


_OPTIMIZERS = {
    "adam": tf.keras.optimizers.Adam,
    "lazy_adam": LazyAdam,
    "adamw": tf.keras.optimizers.AdamW,
    "adagrad": tf.keras.optimizers.Adagrad,
    "adafactor": tf.keras.optimizers.Adafactor,
    "ftrl": tf.keras.optimizers.Ftrl,
    "lion": tf.keras.optimizers.Lion,
    "rmsprop": tf.keras.optimizers.RMSprop,
    "sgd": tf.keras.optimizers.SGD,
}


def make_optimizer(
    config: TrainingConfig, steps: int, weights: Sequence[tf.Variable]
) -> tf.keras.optimizers.Optimizer:
    """Returns the Keras optimizer that a config asks for.

    Args:
      config: How to train.
      steps: Of the whole training, over which the learning rate is scheduled.
      weights: What will be trained; their number decides what `auto` is.
    """
    name = config.optimizer
    if name == "auto":
        size = sum(weight.shape.num_elements() for weight in weights)
        name = "lazy_adam" if size > LAZY_ABOVE else "adam"
    optimizer = _OPTIMIZERS[name](
        learning_rate_of(config, steps),
        weight_decay=config.weight_decay or None,
        global_clipnorm=config.gradient_clip_norm,
        use_ema=config.ema > 0,
        ema_momentum=config.ema,
    )
    if config.mixed_precision == "float16":
        # Small gradients would be 0 in it.
        return tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def learning_rate_of(
    config: TrainingConfig, steps: int
) -> float | tf.keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate, or its schedule over all steps of a training."""
    rate, warmup_steps = config.learning_rate, round(config.warmup * steps)
    if config.schedule == "constant" and not warmup_steps:
        return rate
    return tf.keras.optimizers.schedules.CosineDecay(
        0.0 if warmup_steps else rate,
        max(steps - warmup_steps, 1),
        alpha=0.0 if config.schedule == "cosine" else 1.0,  # decays to this share
        warmup_target=rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
