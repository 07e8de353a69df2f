# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the cheapest index that reaches a recall: knobs without a human.

Two searches, one in the other. Optuna draws what an index is built with, to lower two
things: the time of a query at the target, and memory. For each index that is built,
the least effort that reaches the target is found by bisection: more leaves never find
less, nor do more rescored hits. Half of the queries choose, the others report. A few
hundred queries tell a recall within some thousandths only, so that one standard error
has to be left above the target: other queries then reach it too, five times of six.
"""

import dataclasses
import functools
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from serving import index_cost, scann_files
from serving.errors import UserError
from serving.evaluation import metrics
from serving.exact import best
from serving.index_config import (
    HASHABLE_FROM,
    MOST_REORDERED,
    PARTITION_FROM,
    IndexConfig,
    IndexPlan,
    TuningConfig,
    plan_index,
)

if TYPE_CHECKING:
    import optuna

_TIMED_QUERIES = 200
_EXACT_UP_TO = 1_000_000
"""Candidates up to which exact search may be the cheapest."""
_NO_PARTITION_UP_TO = 2 * PARTITION_FROM
_SATURATED = 0.0005
"""Recall that twice the leaves must bring, lest more are tried."""
_REORDER_FACTORS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Hits rescored, in multiples of k."""
_STARTUP_BUILDS = 6
"""Drawn at random before Optuna learns from what was built."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Point:
    """An index and an effort, as they were measured."""

    knobs: dict[str, Any]
    """Of an IndexConfig."""
    recall: float
    recall_error: float
    """Standard error of the recall, over queries."""
    ms: float
    """Median of single queries on one core."""
    memory_bytes: int
    """Of what is searched."""

    def reaches(self, target: float) -> bool:
        """Tells whether queries that were not asked will reach a recall, too."""
        return self.recall - self.recall_error >= target


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What a search has found."""

    chosen: Point
    held_out_recall: float
    """On queries that chose nothing."""
    frontier: list[Point]
    """What nothing else beats in recall, time and memory; fastest first."""
    builds: int
    seconds: float

    def as_values(self) -> dict[str, Any]:
        """Returns it as JSON has it; `index` are the knobs for a config."""
        return {"index": self.chosen.knobs, **dataclasses.asdict(self)}


class _Questions:
    """Queries and what exact search finds of them."""

    def __init__(self, queries: np.ndarray, truth: np.ndarray, k: int):
        self.queries, self.truth, self.k = np.ascontiguousarray(queries), truth, k

    def recall(self, searcher: Any, leaves: int, reorder: int) -> tuple[float, float]:
        """Returns the mean share of the truth that is found, and its standard error."""
        rows, scores = searcher.search_batched_parallel(
            self.queries, self.k, max(reorder, self.k), leaves or None
        )
        found = np.where(np.isfinite(scores), rows, -1).astype(np.int64)
        return mean_and_error(metrics.recall_against_exact(found, self.truth, self.k))

    def ms(self, searcher: Any, leaves: int, reorder: int, count: int) -> float:
        """Returns the median milliseconds of single queries."""
        return self.median(
            count,
            lambda query: searcher.search(
                query, self.k, max(reorder, self.k), leaves or None
            ),
        )

    def exact_ms(self, vectors: np.ndarray) -> float:
        """Returns the median milliseconds of exact search on one core."""
        with threadpool_limits(1, "blas"):
            return self.median(20, lambda query: best(vectors @ query, self.k))

    def median(self, count: int, search: Any) -> float:
        """Times a search of as many single queries."""
        taken = []
        for query in np.resize(self.queries, (count, self.queries.shape[1])):
            started = time.perf_counter()
            search(query)
            taken.append(time.perf_counter() - started)
        return float(np.median(taken) * 1e3)


class _Search:
    """One search over a catalogue."""

    def __init__(self, vectors: np.ndarray, queries: np.ndarray, config: IndexConfig):
        self.vectors, self.config = vectors, config
        self.tuning = config.tuning
        self.size, self.dimensions = vectors.shape
        k = min(self.tuning.k or config.k, self.size)
        truth = metrics.exact_top_k(queries, vectors, k)[1]
        half = len(queries) // 2
        self.choosing = _Questions(queries[:half], truth[:half], k)
        self.reporting = _Questions(queries[half:], truth[half:], k)
        self.points: list[Point] = []
        self.kept: tuple[Point, Any] | None = None
        """The best point so far and its searcher, None for exact search."""
        self.builds = 0

    def try_exact(self) -> None:
        """Measures exact search, whose recall is 1."""
        plan = plan_index(IndexConfig(kind="exact"), self.size, self.dimensions)
        memory = index_cost.searched_bytes(plan, self.size, self.dimensions)
        ms = self.choosing.exact_ms(self.vectors)
        self._add(Point({"kind": "exact"}, 1.0, 0.0, ms, memory), None)

    def build(self, knobs: dict[str, Any]) -> Point:
        """Builds an index and finds its least effort.

        Returns:
          What reaches the target the fastest, or comes nearest to it.
        """
        config = IndexConfig(**{**_fixed(self.config), **knobs})
        plan = plan_index(config, self.size, self.dimensions)
        searcher = scann_files.train(self.vectors, plan)
        self.builds += 1
        first = len(self.points)

        @functools.cache
        def measured(leaves: int, reorder: int) -> tuple[float, float]:
            return self.choosing.recall(searcher, leaves, reorder)

        def sure(leaves: int, reorder: int) -> float:
            mean, error = measured(leaves, reorder)
            return mean - error

        found_efforts = efforts(
            sure,
            plan.leaves,
            self.choosing.k,
            min(MOST_REORDERED, self.size),
            self.tuning.target_recall,
        )
        for leaves, reorder in found_efforts:
            found_recall = measured(leaves, reorder)
            self._measure(searcher, plan, knobs, leaves, reorder, found_recall)
        tried = self.points[first:]
        found = fastest(tried, self.tuning.target_recall)
        _log.info(
            "index %d: %s: recall %.4f in %.3f ms, %.0f MB",
            self.builds,
            ", ".join(f"{name} {value}" for name, value in found.knobs.items()),
            found.recall, found.ms, found.memory_bytes / 1e6,
        )  # fmt: skip
        return found

    def _measure(
        self,
        searcher: Any,
        plan: IndexPlan,
        knobs: dict[str, Any],
        leaves: int,
        reorder: int,
        recall: tuple[float, float],
    ) -> None:
        """Times one effort and adds its point."""
        effort = {"leaves_to_search": leaves} if leaves else {}
        self._add(
            Point(
                {"kind": "scann", **knobs, **effort, "reorder": reorder},
                *recall,
                self.choosing.ms(searcher, leaves, reorder, _TIMED_QUERIES),
                index_cost.searched_bytes(plan, self.size, self.dimensions),
            ),
            searcher,
        )

    def _add(self, point: Point, searcher: Any) -> None:
        self.points.append(point)
        if choose(self.points, self.tuning) is point:
            self.kept = point, searcher


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Returns the mean of values, [n], and its standard error."""
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


def efforts(
    recall: Callable[[int, int], float], leaves: int, k: int, most: int, target: float
) -> Iterator[tuple[int, int]]:
    """Yields leaves to search and hits to rescore that reach a recall with the least.

    For each number of hits rescored the least leaves; then, with these leaves, the
    least hits. Where nothing reaches the target, the most that was tried.

    Args:
      recall: Of an effort, less what it may be wrong by; neither more leaves nor more
        hits find less.
      leaves: Partitions of the index; 0: none, which is what is yielded then.
      k: Results of a query.
      most: Hits that may be rescored.
      target: The recall to reach.
    """

    def is_enough(leaves: int, reorder: int) -> bool:
        return recall(leaves, reorder) >= target

    if not leaves:
        yield 0, _least(k, most, functools.partial(is_enough, 0))
        return
    enough, before = leaves, k
    for reorder in sorted({min(factor * k, most) for factor in _REORDER_FACTORS}):
        found = _least_leaves(recall, reorder, enough, target)
        yield found, reorder
        if is_enough(found, reorder):
            yield found, _least(before, reorder, functools.partial(is_enough, found))
            if found == enough and enough < leaves:
                return  # to rescore more saves no leaf any longer
            enough = found
        before = reorder


def _least_leaves(
    recall: Callable[[int, int], float], reorder: int, most: int, target: float
) -> int:
    """Returns the least leaves that reach the target, or where more bring little.

    Args:
      recall: Of an effort.
      reorder: Hits rescored.
      most: Leaves that are known to be enough, or all.
      target: The recall to reach.
    """
    before, leaves = -1.0, 1
    while leaves < most:
        now = recall(leaves, reorder)
        if now >= target:
            break
        if leaves > most // 100 and now - before < _SATURATED:
            return leaves
        before, leaves = now, 2 * leaves
    return _least(
        leaves // 2 + 1, min(leaves, most), lambda n: recall(n, reorder) >= target
    )


def tune(vectors: np.ndarray, queries: np.ndarray, config: IndexConfig) -> Tuned:
    """Searches for the cheapest knobs that reach `config.tuning.target_recall`.

    Args:
      vectors: float32 [candidates, dimensions], of candidates.
      queries: float32 [queries, dimensions], at least 2; of more than
        `config.tuning.queries` a sample is taken.
      config: Where the search begins, its `tuning`, and knobs that are not searched.

    Returns:
      What was found.

    Raises:
      UserError: Nothing that was tried reaches the target within the budgets, or
        there are fewer than two queries.
    """
    if len(queries) < 2:
        raise UserError(
            f"tuning takes at least 2 queries and there are {len(queries)}; give more"
        )
    tuning = config.tuning
    started = time.perf_counter()
    drawn = np.random.default_rng(tuning.seed).permutation(len(queries))
    search = _Search(vectors, np.asarray(queries)[drawn[: tuning.queries]], config)
    if search.size <= _EXACT_UP_TO:
        search.try_exact()
    if search.size >= HASHABLE_FROM:
        if search.size <= _NO_PARTITION_UP_TO:
            search.build({"leaves": 0})
        _draw_builds(search, started + 60 * tuning.minutes)
    if search.kept is None:
        raise UserError(_unreached(search.points, tuning, search.choosing.k))
    chosen, searcher = search.kept
    return Tuned(
        chosen,
        _held_out(search.reporting, chosen, searcher),
        frontier(search.points),
        search.builds,
        time.perf_counter() - started,
    )


def _held_out(questions: _Questions, point: Point, searcher: Any) -> float:
    if searcher is None:
        return 1.0
    knobs = point.knobs
    return questions.recall(
        searcher, knobs.get("leaves_to_search", 0), knobs["reorder"]
    )[0]


def _draw_builds(search: _Search, until: float) -> None:
    """Lets Optuna draw what to build, beginning with ScaNN's own rules."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tuning = search.tuning
    sampler = optuna.samplers.TPESampler(
        seed=tuning.seed,
        n_startup_trials=_STARTUP_BUILDS,
        constraints_func=lambda trial: [trial.user_attrs["missing_recall"]],
    )
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    for knobs in _first_builds(search):
        study.enqueue_trial(knobs)
    while search.builds < tuning.builds and time.perf_counter() < until:
        trial = study.ask()
        point = search.build(_suggest(trial, search))
        missing = tuning.target_recall - (point.recall - point.recall_error)
        trial.set_user_attr("missing_recall", missing)
        study.tell(trial, [point.ms, point.memory_bytes])


def _fixed(config: IndexConfig) -> dict[str, Any]:
    """Returns the knobs that are not searched."""
    kept = {"k", "training_sample", "training_iterations", "spherical"}
    return {"kind": "scann", **config.model_dump(include=kept)}


def _first_builds(search: _Search) -> Iterator[dict[str, Any]]:
    """Yields what to build first: by the config and ScaNN's rules, and near these."""
    given = search.config
    root = round(math.sqrt(search.size))
    low, high = _leaves_range(search.size)
    for leaves in (given.leaves or root, 2 * root, root // 2):
        yield {
            "leaves": min(max(leaves, low), high),
            "dimensions_per_block": given.dimensions_per_block,
            "anisotropic_threshold": given.anisotropic_threshold,
            "reorder_type": given.reorder_type,
        }


def _leaves_range(size: int) -> tuple[int, int]:
    """Returns the least and the most partitions to try, around the square root."""
    root = math.sqrt(size)
    return max(2, round(root / 4)), max(2, min(round(4 * root), size // 4))


def _suggest(trial: "optuna.Trial", search: _Search) -> dict[str, Any]:
    """Draws what an index is built with."""
    blocks = sorted({min(one, search.dimensions) for one in (1, 2, 4)})
    given = search.config.dimensions_per_block
    return {
        "leaves": trial.suggest_int("leaves", *_leaves_range(search.size), log=True),
        "dimensions_per_block": trial.suggest_categorical(
            "dimensions_per_block", sorted({*blocks, given})
        ),
        "anisotropic_threshold": trial.suggest_float(
            "anisotropic_threshold", 0, 0.5, step=0.01
        ),
        "reorder_type": trial.suggest_categorical(
            "reorder_type", ["float32", "bfloat16", "int8"]
        ),
    }


def _least(low: int, high: int, is_enough: Callable[[int], bool]) -> int:
    """Returns the least number that is enough, `high` where none below it is."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return high


def fastest(points: Iterable[Point], target: float) -> Point:
    """Returns the fastest point that reaches a recall, or else the nearest to it."""
    points = list(points)
    enough = [one for one in points if one.reaches(target)]
    if enough:
        return min(enough, key=lambda one: one.ms)
    return max(points, key=lambda one: one.recall)


def choose(points: Iterable[Point], tuning: TuningConfig) -> Point | None:
    """Returns the cheapest point that reaches the target within the budgets, if any."""
    kept = [
        one
        for one in points
        if one.reaches(tuning.target_recall)
        and (tuning.max_ms is None or one.ms <= tuning.max_ms)
        and (
            tuning.max_memory_mb is None
            or one.memory_bytes <= 1e6 * tuning.max_memory_mb
        )
    ]
    if not kept:
        return None
    if tuning.max_ms is None:
        return min(kept, key=lambda one: (one.ms, one.memory_bytes))
    return min(kept, key=lambda one: (one.memory_bytes, one.ms))


def frontier(points: Iterable[Point]) -> list[Point]:
    """Returns the points that no other beats: the Pareto frontier, fastest first.

    A point is beaten by one that is nowhere worse, and somewhere better, in recall,
    milliseconds and memory; memory within a twentieth counts as the same.
    """
    points = list(points)
    values = np.array(
        [
            (-one.recall, one.ms, round(math.log(one.memory_bytes, 1.05)))
            for one in points
        ]
    ).reshape(-1, 3)
    free = [
        not ((values <= one).all(axis=1) & (values < one).any(axis=1)).any()
        for one in values
    ]
    kept = [point for point, is_free in zip(points, free, strict=True) if is_free]
    return sorted(kept, key=lambda one: (one.ms, -one.recall))


def _unreached(points: list[Point], tuning: TuningConfig, k: int) -> str:
    """Says that the target was missed, and what comes nearest."""
    reached = [one for one in points if one.reaches(tuning.target_recall)]
    budgets = [
        f"{most} {unit}"
        for most, unit in ((tuning.max_ms, "ms"), (tuning.max_memory_mb, "MB"))
        if most is not None
    ]
    nearest = (
        min(reached, key=lambda one: one.ms)
        if reached
        else max(points, key=lambda one: (one.recall, -one.ms))
    )
    within = f" within {' and '.join(budgets)}" if budgets else ""
    knobs = ", ".join(f"{name}={value}" for name, value in nearest.knobs.items())
    return (
        f"no index that was tried reaches recall@{k} of "
        f"{tuning.target_recall}{within}; the best found is {nearest.recall:.4f} "
        f"(standard error {nearest.recall_error:.4f}) in {nearest.ms:.3f} ms with "
        f"{nearest.memory_bytes / 1e6:,.0f} MB ({knobs}): "
        f"lower the target{', raise the budget' if budgets else ''} or give more time"
    )
