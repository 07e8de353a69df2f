# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The TFRS model: two towers and the task that they are trained for."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special
import tensorflow as tf
import tensorflow_recommenders as tfrs

from trainer.batches import (
    CANDIDATES,
    LOG_SAMPLED,
    NEGATIVES,
    QUERY,
    TARGETS,
    WEIGHT,
    WEIGHTS,
)
from trainer.config import ModelConfig, TrainingConfig
from trainer.distribution import own_first
from trainer.feature_config import Features
from trainer.features import CANDIDATE_INDEX, Values
from trainer.frequencies import StreamingFrequency
from trainer.task import SharedSoftmax
from trainer.towers import OWN_HISTORY, CandidateTower, KnownHistories, QueryTower
from trainer.train_step import SummedLossModel

_EMBED_BATCH = 65_536
_FOLD_BATCH = 8192
_DECAY = 1e-7
"""Of the stranger's embedding: next to nothing, but for what the data leave open."""
_PRECISIONS = {
    "none": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """What training knows of the candidates, by their position."""

    candidate_id: str
    """Name of the id feature."""
    features: Features
    """Of the candidate tower."""
    values: Values
    """Preprocessed features but the id, each [candidates, …]."""
    counts: np.ndarray
    """int64 [candidates]: interactions of the training split with each."""

    def __len__(self) -> int:
        """Returns the number of candidates."""
        return len(self.counts)

    @property
    def seen(self) -> np.ndarray:
        """Returns the candidates that training sees, ascending, int64 [seen].

        The others are nobody's negatives: what nobody could choose yet is not disliked.
        """
        return np.flatnonzero(self.counts)

    def gather(self, positions: tf.Tensor) -> dict[str, tf.Tensor | tf.RaggedTensor]:
        """Returns the features of candidates by position, int64 [batch]."""
        return {
            name: positions
            if name == self.candidate_id
            else tf.gather(self.values[name], positions)
            for name in self.features
        }


class TwoTowerModel(SummedLossModel):
    """Two towers, trained with a softmax over the catalogue or over sampled candidates.

    Sampled ones have log of their sampling probability taken off their scores: a
    popular candidate is a negative more often (Yi et al., 2019,
    "Sampling-bias-corrected neural modeling for large corpus item recommendations").
    """

    def __init__(
        self,
        config: ModelConfig,
        training: TrainingConfig,
        query_features: Features,
        query_sizes: Mapping[str, int],
        catalogue: Catalogue,
        candidate_sizes: Mapping[str, int],
        query_id: str | None = None,
    ):
        """Builds the towers.

        Args:
          config: The recipe, its temperature a number (`find_temperature`).
          training: How the towers will be fitted.
          query_features: What the query tower reads.
          query_sizes: Of its vocabularies, by feature.
          catalogue: The candidates.
          candidate_sizes: Of their vocabularies, by feature.
          query_id: The feature that is the query's own id; None: there is none.
        """
        super().__init__()
        precision = _PRECISIONS[training.mixed_precision]
        self.candidate_tower = CandidateTower(
            catalogue.features, candidate_sizes, config, "candidate_tower", precision
        )
        self.query_id = query_id
        self.history_name = _history(query_features, query_id, training)
        self.query_tower = QueryTower(
            query_features,
            query_sizes,
            config,
            "query_tower",
            # A candidate is the same in a history and in an answer.
            self.candidate_tower.encoders.get(catalogue.candidate_id),
            len(catalogue) if self.history_name == OWN_HISTORY else None,
            precision,
        )
        self._config, self._training = config, training
        # A list would be wrapped by Keras, and a mapping's tensors be tracked.
        self._catalogue = lambda: catalogue
        if training.rows == "query":
            self.task = SharedSoftmax(config.temperature)
            return
        self.task = tfrs.tasks.Retrieval(
            temperature=config.temperature,
            num_hard_negatives=training.hard_negatives,
            remove_accidental_hits=training.remove_accidental_hits,
        )
        # Its code takes the length of a tensor, which AutoGraph alone can.
        self._retrieve = tf.function(self.task)
        if training.logq == "streaming":
            first = len(catalogue) / training.batch_size
            self.frequency = StreamingFrequency(len(catalogue), first)
        share = catalogue.counts / max(int(catalogue.counts.sum()), 1)
        self._share = tf.constant(share, tf.float32)

    @property
    def catalogue_size(self) -> int:
        """Returns the number of candidates."""
        return len(self._catalogue())

    @property
    def seen(self) -> np.ndarray:
        """Returns the positions of the candidates that training sees, int64 [seen]."""
        return self._catalogue().seen

    def build_towers(self, queries: Values) -> None:
        """Makes all weights, once.

        Args:
          queries: Preprocessed features of some queries, by name.
        """
        if self.candidate_tower.built:
            return  # what a warm start has brought is not forgotten
        some = {name: values[:1] for name, values in queries.items()}
        if self.history_name == OWN_HISTORY:
            some[OWN_HISTORY] = tf.ragged.constant([[0]], tf.int64)
        self.query_tower(some)
        catalogue = self._catalogue()
        self.candidate_tower(catalogue.gather(tf.constant([0], tf.int64)))
        self.candidate_tower.forget(catalogue.candidate_id, catalogue.counts == 0)

    def embed_catalogue(self) -> np.ndarray:
        """Embeds every candidate, float32 [candidates, dimensions]."""
        catalogue = self._catalogue()
        return np.concatenate(
            [
                self.candidate_tower(
                    catalogue.gather(
                        tf.range(
                            at, min(at + _EMBED_BATCH, len(catalogue)), 1, tf.int64
                        )
                    )
                ).numpy()
                for at in range(0, len(catalogue), _EMBED_BATCH)
            ]
        )

    def settle_unseen(self, choices: np.ndarray | None = None) -> None:
        """Finds answers for those that training has not seen.

        A candidate gets the bias of the rarest that it has seen. A query of which
        nothing is known gets the embedding that makes what was chosen likeliest, and so
        is answered about as by popularity.

        Args:
          choices: How much each candidate was chosen, [candidates]; None: its number of
            interactions.
        """
        catalogue = self._catalogue()
        self.candidate_tower.settle(catalogue.candidate_id, catalogue.counts)
        weights = (catalogue.counts if choices is None else choices)[catalogue.seen]
        embedded = self.embed_catalogue()[catalogue.seen].astype(np.float64)
        self.query_tower.stranger.assign(
            likeliest_query(embedded, weights / weights.sum(), self._config)
        )

    def fold_histories(self, ids: np.ndarray, histories: tf.RaggedTensor) -> None:
        """Adds to each id's embedding what its history gives, once training is done.

        So an id alone, which is all that a request needs to tell, is answered as if
        its history came with it. Where it can tell more, histories are kept for that.

        Args:
          ids: int64 [queries]: positions in the vocabulary of the id, -1: unknown.
          histories: int64 [queries, None], positions in the catalogue.
        """
        if self.history_name is None or self.query_id is None:
            return
        table = self.query_tower.encoders[self.query_id].embedding.embeddings
        if self.history_name != OWN_HISTORY:
            self.query_tower.remember(
                self.query_id,
                self.history_name,
                KnownHistories(ids, histories, table.shape[0]),
            )
        encode = self.query_tower.encoder(self.history_name)
        folded = table.numpy()
        for at in range(0, len(ids), _FOLD_BATCH):
            part = slice(at, at + _FOLD_BATCH)
            known = ids[part] >= 0
            folded[ids[part][known]] += encode(histories[part]).numpy()[known]
        table.assign(folded)

    def compute_loss(
        self, features: dict[str, Any], training: bool = False
    ) -> tf.Tensor:
        """Returns the batch's summed loss.

        Args:
          features: A batch of `interaction_batches` or `row_batches`.
          training: Whether there is dropout, and frequencies are to be learned.

        Returns:
          float32 scalar.
        """
        queries = self.query_tower(features[QUERY], training=training)
        if self._training.rows == "query":
            return self._loss_of_rows(queries, features, training)
        return self._loss_of_interactions(queries, features, training)

    def _loss_of_rows(
        self, queries: tf.Tensor, features: dict[str, Any], training: bool
    ) -> tf.Tensor:
        """Returns the softmax over all that is seen, or over what was sampled of it."""
        targets, candidates = features[TARGETS], features.get(CANDIDATES)
        if candidates is None:
            candidates = tf.constant(self.seen)
            targets = targets.with_flat_values(
                tf.searchsorted(candidates, targets.flat_values, out_type=tf.int64)
            )
        drawn = self._catalogue().gather(candidates)
        return self.task(
            queries,
            self.candidate_tower(drawn, training=training),
            targets,
            features[WEIGHTS],
            features.get(LOG_SAMPLED),
        )

    def _loss_of_interactions(
        self, queries: tf.Tensor, features: dict[str, Any], training: bool
    ) -> tf.Tensor:
        """Returns TFRS's sampled softmax."""
        own, more = features[CANDIDATE_INDEX], features[NEGATIVES]
        drawn = self._catalogue().gather(tf.concat([own, more], axis=0))
        embedded = self.candidate_tower(drawn, training=training)
        embedded, others = tf.split(embedded, [tf.size(own), tf.size(more)])
        embedded = tf.concat([own_first(embedded), others], axis=0)
        of_batch = own_first(own)
        if training and self._training.logq == "streaming":
            self.frequency.observe(of_batch)
        candidates = tf.concat([of_batch, more], axis=0)
        return self._retrieve(
            queries,
            embedded,
            sample_weight=features.get(WEIGHT),
            candidate_sampling_probability=self._probability(candidates),
            candidate_ids=candidates,
            compute_metrics=False,
            compute_batch_metrics=False,
        )

    def _probability(self, candidates: tf.Tensor) -> tf.Tensor | None:
        """Returns how likely one of the batch's candidates is to be each of them.

        With uniform negatives among them it is a mixture (Yang et al., 2020, "Mixed
        negative sampling for learning two-tower neural networks in recommendations").
        """
        if self._training.logq == "none":
            return None
        batch = self._training.batch_size
        if self._training.logq == "exact":
            drawn = tf.gather(self._share, candidates)
        else:
            drawn = self.frequency(candidates) / batch
        uniform = self._training.uniform_negatives
        total = tf.cast(tf.size(candidates), tf.float32)
        return drawn + uniform / total * (1 / len(self.seen) - drawn)


def _history(
    features: Features, query_id: str | None, training: TrainingConfig
) -> str | None:
    """Returns the name of the value that holds a part of a query's interactions.

    Without an id or a declared history, nothing could stand for it in a request.
    """
    if training.rows != "query" or not training.history_share:
        return None
    for name, feature in features.items():
        if feature.type == "history":
            return name
    return OWN_HISTORY if query_id else None


def likeliest_query(
    candidates: np.ndarray, share: np.ndarray, config: ModelConfig
) -> np.ndarray:
    """Returns the query embedding under which a softmax is nearest to shares.

    Args:
      candidates: float64 [candidates, dimensions], with their biases if they have one.
      share: float64 [candidates]: of all that was chosen, adding up to 1.
      config: Of the towers.

    Returns:
      float64 [embedding_dim], of any length: that of the maximum likelihood, with a
      little weight decay to make it one.
    """
    dimensions, temperature = config.embedding_dim, config.temperature or 1.0
    vectors = candidates[:, :dimensions] / temperature
    biases = candidates[:, dimensions:].sum(axis=1)

    def loss(query: np.ndarray) -> tuple[float, np.ndarray]:
        scores = vectors @ query + biases
        total = scipy.special.logsumexp(scores)
        gradient = vectors.T @ (np.exp(scores - total) - share) + 2 * _DECAY * query
        return total - share @ scores + _DECAY * query @ query, gradient

    start = np.zeros(dimensions)
    return scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B").x
