# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The recipe: what the two towers look like and how they are fitted."""

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

CATALOGUE_SOFTMAX = 10_000
"""Candidates up to which `softmax: auto` takes all of them in each step."""

_OF_ROWS = {
    "query": ("history_share", "id_dropout", "cold_share", "query_weight", "softmax"),
    "interaction": (
        "queued_negatives", "hard_negatives", "remove_accidental_hits"
    ),
}  # fmt: skip
"""Options that only rows of one kind have."""


class ModelConfig(BaseModel):
    """The two towers and their score."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    embedding_dim: PositiveInt = 256
    """Width of both towers' embeddings (without the candidate bias)."""
    hidden_layers: list[PositiveInt] = []
    """Widths of ReLU layers between the sum of a tower's features and its embedding;
    none: the sum is the embedding."""
    normalize: bool = True
    """Scale both embeddings to length 1, so that the score is a cosine."""
    temperature: PositiveFloat | None = None
    """Scores are divided by this before the softmax; 1 leaves them as they are; null:
    the best of 0.05 to 0.6 on a tenth of the training split, by trainings without it;
    0.3 where rows are interactions, 1 without `normalize`."""
    candidate_bias: bool = True
    """Learn a bias a candidate, carried as one more dimension of the embeddings."""
    initializer: Literal["normal", "uniform"] = "normal"
    """Initial embeddings: normal with standard deviation 1 / sqrt(embedding_dim), or
    uniform in [-0.05, 0.05], Keras's own default."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0
    """Share of what goes into each hidden layer that training sets to 0."""
    embedding_regularization: Annotated[float, Field(ge=0)] = 0
    """Times the sum of squares of all embedding tables, added to the loss of the batch,
    which is a sum over its rows. It touches every row of a table in each step."""


class TrainingConfig(BaseModel):
    """How the towers are fitted."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    optimizer: Literal[
        "auto",
        "adam",
        "lazy_adam",
        "adamw",
        "adagrad",
        "adafactor",
        "ftrl",
        "lion",
        "rmsprop",
        "sgd",
    ] = "auto"
    """Keras optimizer; auto: adam for small tables, lazy_adam for large ones. Only
    adagrad, lazy_adam and sgd leave alone the rows of a table that a step does not
    touch; the others cost time in proportion to the size of the tables."""
    learning_rate: PositiveFloat = 0.005
    """Its learning rate, the highest one where a schedule changes it."""
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0
    """Share of each weight, times the learning rate, that a step takes off, apart from
    the gradient (decoupled: adam with it is adamw). It touches every row of a table."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Of the learning rate after the warm-up: as it is, or down to 0 along half a
    cosine at the end of the last of `epochs`."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0
    """Share of all steps in which the learning rate rises from 0."""
    gradient_clip_norm: PositiveFloat | None = None
    """Longest gradient of all weights together, longer ones are scaled down to it;
    null: as they come. The loss is a sum over the batch, and so is the gradient; a row
    of a table counts as often as it was looked up."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0
    """Momentum of an exponential moving average of the weights, which is what is
    validated and exported, e.g. 0.999 for about the last 1,000 steps; 0: the weights
    themselves. It touches every row of a table in each step."""
    rows: Literal["query", "interaction"] = "query"
    """What a row of a batch is: a query with all that it interacted with, whose tower
    pools a random part of it; or one interaction, whose history, if one is declared,
    is what came before it."""
    history_share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of a query's interactions that its tower pools in a step, drawn anew each
    time; 0: none. An id then stands for all its training interactions when the model
    is exported. Rows that are queries only."""
    id_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of rows whose id is left out in a step, so that a history says all that it
    can. Rows that are queries only."""
    cold_share: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Share of rows that have neither id nor history in a step, so that their other
    features, if there are any, learn to answer who was never seen. Rows that are
    queries only."""
    query_weight: Literal["sum", "root", "mean"] = "root"
    """What a query with n interactions counts in the loss: n, the root of n, or 1. Rows
    that are queries only."""
    softmax: Literal["auto", "catalogue", "sampled"] = "auto"
    """The candidates among which a row's own has to win: all, or those of the batch and
    `uniform_negatives`; auto: all up to 10,000. Rows that are interactions: sampled."""
    uniform_negatives: NonNegativeInt = 512
    """Candidates drawn from the whole catalogue in each step, negatives for all its
    rows (mixed negatives), where the softmax is sampled."""
    queued_negatives: NonNegativeInt = 0
    """Candidates of the batches before that are negatives too. Rows that are
    interactions only."""
    hard_negatives: PositiveInt | None = None
    """Negatives that a row keeps, those with the highest scores; null: all. Rows that
    are interactions only."""
    logq: Literal["exact", "streaming", "none"] = "exact"
    """Takes log of a candidate's probability to be sampled off its score: from the
    counts of the training split, from how many steps lie between its appearances, or
    not at all. Streaming for rows that are interactions only."""
    remove_accidental_hits: bool = False
    """Leave out negatives that are the row's own candidate. Rows that are interactions
    only; where rows are queries, no candidate is there twice."""
    batch_size: int = Field(default=256, ge=2)
    """Rows a step, of all workers together."""
    epochs: PositiveInt | None = None
    """Passes over the rows, at most; null: 120 for rows that are queries, fewer where
    there are more than 3,000: 120 * sqrt(3000 / rows), at least 3; 16 for rows that are
    interactions."""
    early_stopping_patience: NonNegativeInt = 0
    """Epochs without a better top-10 accuracy on the valid split before stopping and
    going back to the best; 0: never stop early. Needs a valid split."""
    steps_per_execution: PositiveInt = 50
    """Steps run in one call into TensorFlow; more is faster, less shows more. One step
    where training is distributed."""
    checkpoint: bool = True
    """Write after each epoch, or twenty times in all, what a run with the same data and
    config needs to go on after a kill; deleted when the training is done."""
    warm_start: bool = False
    """Begin with the weights of the last blessed model of this source and split:
    embeddings by id or value, other layers where name and shape agree. Each run then
    builds on the one before, so that even an unchanged run trains anew."""
    distribution: Literal["none", "mirrored", "multi_worker"] = "none"
    """tf.distribute's strategy: one device, all GPUs of a machine, or several machines
    on each of which TF_CONFIG names all. The loss is that of the whole batch on one
    device: every worker's candidates are negatives for all."""
    mixed_precision: Literal["none", "bfloat16", "float16"] = "none"
    """What the hidden layers compute in; weights, embeddings, scores and loss are
    float32 all the same. For GPUs with wide `model.hidden_layers`: on a CPU it is
    slower, and without hidden layers it changes nothing."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Seeds initial weights and shuffling."""

    def epochs_of(self, rows: int) -> int:
        """Returns the number of passes over so many rows."""
        if self.epochs is not None:
            return self.epochs
        if self.rows == "interaction":
            return 16
        return max(round(120 * min((3000 / max(rows, 1)) ** 0.5, 1)), 3)

    def is_sampled(self, candidates: int) -> bool:
        """Tells whether the softmax of so many candidates is a sampled one."""
        if self.rows == "interaction":
            return True
        if self.softmax == "auto":
            return candidates > CATALOGUE_SOFTMAX
        return self.softmax == "sampled"

    @model_validator(mode="after")
    def _options_have_their_rows(self) -> "TrainingConfig":
        other = "query" if self.rows == "interaction" else "interaction"
        wrong = [
            name
            for name in _OF_ROWS[other]
            if getattr(self, name) != type(self).model_fields[name].default
        ]
        if other == "interaction" and self.logq == "streaming":
            wrong.append("logq")
        if wrong:
            raise ValueError(
                f"{wrong[0]}: {getattr(self, wrong[0])} is for rows: {other}, and this "
                f"is rows: {self.rows}"
            )
        return self

    @model_validator(mode="after")
    def _adamw_decays(self) -> "TrainingConfig":
        if self.optimizer == "adamw" and not self.weight_decay:
            raise ValueError(
                "optimizer: adamw needs a weight_decay, e.g. 0.004; without one it is "
                "adam"
            )
        return self
