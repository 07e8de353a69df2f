# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The TFRS model: two towers joined by a Retrieval task."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from trainer.batches import QUERY, WEIGHT
from trainer.config import ModelConfig
from trainer.distribution import own_first
from trainer.feature_config import Features
from trainer.features import CANDIDATE_INDEX, Values
from trainer.towers import CandidateTower, QueryTower, SharedHistory
from trainer.train_step import SummedLossModel

_EMBED_BATCH = 65_536


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

    def gather(self, positions: tf.Tensor) -> dict[str, tf.Tensor | tf.RaggedTensor]:
        """Returns the features of candidates by position, int64 [batch]."""
        return {
            name: positions
            if name == self.candidate_id
            else tf.gather(self.values[name], positions)
            for name in self.features
        }


class TwoTowerModel(SummedLossModel):
    """Two towers trained with a sampled softmax over the batch's candidates."""

    def __init__(
        self,
        config: ModelConfig,
        query_features: Features,
        query_sizes: Mapping[str, int],
        catalogue: Catalogue,
        candidate_sizes: Mapping[str, int],
        precision: str = "float32",
    ):
        """Builds the towers.

        Args:
          config: The recipe.
          query_features: What the query tower reads.
          query_sizes: Of its vocabularies, by feature.
          catalogue: The candidates.
          candidate_sizes: Of their vocabularies, by feature.
          precision: Keras's dtype policy of the hidden layers, e.g. mixed_bfloat16.
        """
        super().__init__()
        self.candidate_tower = CandidateTower(
            catalogue.features, candidate_sizes, config, "candidate_tower", precision
        )
        own = self.candidate_tower.encoders.get(catalogue.candidate_id)
        self.query_tower = QueryTower(
            query_features,
            query_sizes,
            config,
            "query_tower",
            # A candidate is the same in a history and in an answer.
            SharedHistory(own) if own is not None else None,
            precision,
        )
        self.task = tfrs.tasks.Retrieval(
            temperature=config.temperature,
            remove_accidental_hits=config.remove_accidental_hits,
        )
        self._config = config
        # A list would be wrapped by Keras, and a mapping's tensors be tracked.
        self._catalogue = lambda: catalogue
        share = catalogue.counts / max(int(catalogue.counts.sum()), 1)
        self._sampling_probability = tf.constant(share, tf.float32)

    def build_towers(self, queries: Values) -> None:
        """Makes all weights.

        Args:
          queries: Preprocessed features of some queries, by name.
        """
        self.query_tower({name: values[:1] for name, values in queries.items()})
        self.candidate_tower(self._catalogue().gather(tf.constant([0], tf.int64)))

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

    def compute_loss(
        self, features: dict[str, Any], training: bool = False
    ) -> tf.Tensor:
        """Returns the batch's summed loss.

        Sampled softmax with logQ correction (Yi et al., 2019, "Sampling-bias-corrected
        neural modeling for large corpus item recommendations"): a popular candidate
        is a negative more often, in proportion to its frequency q, so log q is taken
        off its score.

        Args:
          features: `query`, preprocessed features by name, `candidate_index`, int64
            [batch], and maybe `weight`, float32 [batch].
          training: Unused; the towers behave the same.

        Returns:
          float32 scalar.
        """
        own = features[CANDIDATE_INDEX]
        candidates = own_first(own)
        probability = None
        if self._config.logq_correction:
            probability = tf.gather(self._sampling_probability, candidates)
        return self.task(
            self.query_tower(features[QUERY]),
            own_first(self.candidate_tower(self._catalogue().gather(own))),
            sample_weight=features.get(WEIGHT),
            candidate_sampling_probability=probability,
            candidate_ids=candidates,
            compute_metrics=False,
            compute_batch_metrics=False,
        )
