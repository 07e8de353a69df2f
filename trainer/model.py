# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The TFRS model: two towers joined by a Retrieval task."""

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from trainer.config import ModelConfig
from trainer.features import CANDIDATE_INDEX, QUERY_INDEX
from trainer.towers import CandidateTower, QueryTower


class TwoTowerModel(tfrs.Model):
    """Two towers trained with a sampled softmax over the batch's candidates."""

    def __init__(
        self, config: ModelConfig, query_count: int, candidate_counts: np.ndarray
    ):
        """Builds the towers.

        Args:
          config: The recipe.
          query_count: Number of query ids in the vocabulary.
          candidate_counts: int64 [candidates], how often each candidate is the
            positive in the training split; its sum is the split's size.
        """
        super().__init__()
        self.query_tower = QueryTower(query_count, config, "query_tower")
        self.candidate_tower = CandidateTower(
            len(candidate_counts), config, "candidate_tower"
        )
        self.task = tfrs.tasks.Retrieval(
            temperature=config.temperature,
            remove_accidental_hits=config.remove_accidental_hits,
        )
        self._config = config
        share = candidate_counts / max(int(candidate_counts.sum()), 1)
        self._sampling_probability = tf.constant(share, tf.float32)

    def compute_loss(
        self, features: dict[str, tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        """Returns the batch's summed loss.

        Sampled softmax with logQ correction (Yi et al., 2019, "Sampling-bias-corrected
        neural modeling for large corpus item recommendations"): a popular candidate
        is a negative more often, in proportion to its frequency q, so log q is taken
        off its score.

        Args:
          features: `query_index` and `candidate_index`, int64 [batch].
          training: Unused; the towers behave the same.

        Returns:
          float32 scalar.
        """
        candidates = features[CANDIDATE_INDEX]
        probability = None
        if self._config.logq_correction:
            probability = tf.gather(self._sampling_probability, candidates)
        return self.task(
            self.query_tower(features[QUERY_INDEX]),
            self.candidate_tower(candidates),
            candidate_sampling_probability=probability,
            candidate_ids=candidates,
            compute_metrics=False,
            compute_batch_metrics=False,
        )
