# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The recipe: what the two towers look like and how they are fitted."""

from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)


class ModelConfig(BaseModel):
    """The two towers and their score."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    embedding_dim: PositiveInt = 64
    """Width of both towers' embeddings (without the candidate bias)."""
    hidden_layers: list[PositiveInt] = []
    """Widths of ReLU layers between the sum of a tower's features and its embedding;
    none: the sum is the embedding."""
    normalize: bool = True
    """Scale both embeddings to length 1, so that the score is a cosine."""
    temperature: PositiveFloat = 0.3
    """Scores are divided by this before the softmax; 1 leaves them as they are."""
    candidate_bias: bool = True
    """Learn a bias a candidate, carried as one more dimension of the embeddings."""
    initializer: Literal["normal", "uniform"] = "normal"
    """Initial embeddings: normal with standard deviation 1 / sqrt(embedding_dim), or
    uniform in [-0.05, 0.05], Keras's own default."""
    logq_correction: bool = True
    """Subtract log of a candidate's sampling probability from in-batch scores."""
    remove_accidental_hits: bool = False
    """Mask in-batch negatives that are the row's own positive."""


class TrainingConfig(BaseModel):
    """How the towers are fitted."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    optimizer: Literal["adam", "adagrad"] = "adam"
    """Keras optimizer."""
    learning_rate: PositiveFloat = 0.005
    """Its learning rate."""
    batch_size: int = Field(default=512, ge=2)
    """Interactions a step; the others in it are the softmax's negatives."""
    epochs: PositiveInt = 16
    """Passes over the training split, at most."""
    early_stopping_patience: NonNegativeInt = 0
    """Epochs without a better top-10 accuracy on the valid split before stopping and
    going back to the best; 0: never stop early. Needs a valid split."""
    steps_per_execution: PositiveInt = 50
    """Steps run in one call into TensorFlow; more is faster, less shows more."""
    checkpoint: bool = True
    """Keep each epoch's weights beside the TensorBoard logs."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Seeds initial weights and shuffling."""
