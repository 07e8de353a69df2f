# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The law of a synthetic log: who chooses what, and how often.

Candidates belong to clusters of taste. Cluster c (1, 2, …) is chosen with a weight of
c^-CLUSTER_EXPONENT, and in it the candidate of rank r (1, 2, …) with a weight of
r^-EXPONENT (Zipf's law), so that popularity falls with about the same exponent over the
whole catalogue. A query has three clusters of its own, drawn by their weights (one may
come twice); an interaction is with a candidate of the first, second or third with the
probabilities SHARES, and else of any cluster, again by weight. No query has a candidate
twice: a pick that it has had, is drawn anew, and after a few times from the whole
catalogue evenly. How often the query of rank k acts is in proportion to
(k + 10)^-QUERY_EXPONENT.

What a query chose tells its clusters, which popularity does not know.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from serving.errors import UserError

EXPONENT = 1.0
CLUSTER_EXPONENT = 0.5
QUERY_EXPONENT = 0.5
SHARES = (0.5, 0.2, 0.1)
CATEGORIES = 20
"""Most categories; a cluster lies within one."""

_FIRST_SECOND = 1_704_067_200  # 2024-01-01
_SECONDS = 366 * 86_400
# Random numbers are drawn a block at a time, so that no number of shards matters.
_QUERIES_PER_BLOCK = 8192
_CANDIDATES_PER_BLOCK = 131_072
_REDRAWS_BY_TASTE = 8
# Streams of random numbers that must not depend on each other.
_NUMBERS, _TASTES, _ACTIVITY, _LOG, _CATALOGUE = range(5)


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is made."""

    interactions: int
    candidates: int
    queries: int
    clusters: int


@dataclasses.dataclass(frozen=True)
class Interactions:
    """A block of the log, each array [rows]."""

    query: np.ndarray
    candidate: np.ndarray
    timestamp: np.ndarray


@dataclasses.dataclass(frozen=True)
class Candidates:
    """A block of the catalogue, each array [rows]."""

    candidate: np.ndarray
    cluster: np.ndarray
    category: np.ndarray
    price: np.ndarray


class World:
    """Draws interactions and candidates, block by block.

    It holds some 12 bytes a candidate and 20 bytes a query, and one block.
    """

    def __init__(self, size: Size, seed: int):
        """Settles who likes what.

        Args:
          size: How much there is to be.
          seed: Another seed is another world.

        Raises:
          UserError: The interactions are too many for so few candidates or queries.
        """
        self.size = size
        self._seed = seed
        ranks = np.arange(1, -(-size.candidates // size.clusters) + 1)
        self._rank_shares = _cumulative(ranks**-EXPONENT)
        weights = np.arange(1, size.clusters + 1) ** -CLUSTER_EXPONENT
        self._cluster_shares = _cumulative(weights)
        # Neither ids nor the order of the files may tell ranks or clusters.
        numbers = self._random(_NUMBERS).permutation(size.candidates)
        self._number_of = numbers.astype(np.int32)
        self._tastes = self._clusters(
            self._random(_TASTES), (size.queries, len(SHARES))
        )
        self._counts = self._activity()

    def _random(self, stream: int, block: int = 0) -> np.random.Generator:
        return np.random.default_rng((self._seed, stream, block))

    def _clusters(self, random: np.random.Generator, shape: tuple) -> np.ndarray:
        """Draws clusters by weight, int32 of a shape."""
        drawn = np.searchsorted(self._cluster_shares, random.random(shape), "right")
        return drawn.astype(np.int32)

    def _activity(self) -> np.ndarray:
        """Returns the interactions of each query, int64 [queries]; they add up."""
        size = self.size
        weights = (np.arange(size.queries) + 11.0) ** -QUERY_EXPONENT
        exact = weights / weights.sum() * size.interactions
        counts = np.floor(exact).astype(np.int64)
        missing = size.interactions - counts.sum()
        counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
        if counts.max() > size.candidates / 2:
            raise UserError(
                f"{size.interactions:,} interactions of {size.queries:,} queries are "
                f"{counts.max():,} of the busiest one, more than half of the "
                f"{size.candidates:,} candidates; raise --queries or --candidates"
            )
        return self._random(_ACTIVITY).permutation(counts)

    def interactions(self) -> Iterator[Interactions]:
        """Yields the log, ordered by query, block by block."""
        for block, first in enumerate(range(0, self.size.queries, _QUERIES_PER_BLOCK)):
            random = self._random(_LOG, block)
            counts = self._counts[first : first + _QUERIES_PER_BLOCK]
            query = np.repeat(np.arange(first, first + len(counts)), counts)
            position = self._choose(random, query)
            yield Interactions(
                query,
                self._number_of[position],
                _FIRST_SECOND + random.integers(_SECONDS, size=len(query)),
            )

    def _choose(self, random: np.random.Generator, query: np.ndarray) -> np.ndarray:
        """Returns positions of candidates, [rows], no query with one twice."""
        size = self.size
        position = self._draw(random, query)
        draws = 1
        while True:
            pairs = query * size.candidates + position
            again = np.ones(len(query), bool)
            again[np.unique(pairs, return_index=True)[1]] = False
            # The last rank is not in every cluster.
            again |= position >= size.candidates
            if not again.any():
                return position
            if draws < _REDRAWS_BY_TASTE:
                position[again] = self._draw(random, query[again])
            else:
                position[again] = random.integers(size.candidates, size=again.sum())
            draws += 1

    def _draw(self, random: np.random.Generator, query: np.ndarray) -> np.ndarray:
        """Draws a candidate for each row by its query's taste, int64 [rows]."""
        rows = len(query)
        which = np.searchsorted(np.cumsum(SHARES), random.random(rows), "right")
        cluster = self._clusters(random, (rows,))
        own = which < len(SHARES)
        cluster[own] = self._tastes[query[own], which[own]]
        rank = np.searchsorted(self._rank_shares, random.random(rows), "right")
        return rank * self.size.clusters + cluster

    def candidates(self) -> Iterator[Candidates]:
        """Yields the catalogue, ordered by number, block by block."""
        size = self.size
        position_of = np.argsort(self._number_of)
        for block, first in enumerate(range(0, size.candidates, _CANDIDATES_PER_BLOCK)):
            position = position_of[first : first + _CANDIDATES_PER_BLOCK]
            random = self._random(_CATALOGUE, block)
            cluster = position % size.clusters
            category = cluster % CATEGORIES
            price = np.exp(random.normal(2 + category / CATEGORIES, 0.5, len(position)))
            yield Candidates(
                np.arange(first, first + len(position)),
                cluster,
                category,
                np.round(price, 2),
            )


def _cumulative(weights: np.ndarray) -> np.ndarray:
    """Returns cumulative shares, the last one exactly 1."""
    shares = np.cumsum(weights) / weights.sum()
    shares[-1] = 1.0
    return shares
