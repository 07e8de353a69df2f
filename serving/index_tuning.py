# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the cheapest index that reaches a recall: knobs without a human.

Two searches, one in the other. Optuna draws what an index is built with, to lower two
things: the time of a query at the target, and memory. For each index that is built,
the least effort that reaches the target is found by bisection (serving.efforts).

A third of the queries searches. The best of many indexes is one that these queries
flatter: others find some .001 less in it. So the others set its effort anew, near the
one that was found and in steps of single hits, and recall is reported of them, each
part at the effort that the other parts choose.
"""

import dataclasses
import functools
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from serving import index_cost, scann_files
from serving.efforts import (
    cross_validated,
    efforts,
    efforts_near,
    mean_and_error,
    mean_of,
)
from serving.errors import UserError
from serving.evaluation import metrics
from serving.exact import best
from serving.index_config import (
    HASHABLE_FROM,
    MOST_REORDERED,
    PARTITION_FROM,
    IndexConfig,
    TuningConfig,
    plan_index,
)

if TYPE_CHECKING:
    import optuna

_AS_BUILT = -1
"""What ScaNN takes for the number of leaves that it was built with."""
_TIMED_QUERIES = 500
_TIMED_ROUNDS = 5
_LEAST_QUERIES = 3
"""One that searches, two to cross-validate."""
_EXACT_UP_TO = 1_000_000
"""Candidates up to which exact search may be the cheapest."""
_NO_PARTITION_UP_TO = 2 * PARTITION_FROM
_MOST_ETA, _MOST_THRESHOLD = 6.0, 0.5
"""Of `avq_eta` and `anisotropic_threshold`, where the config gives no more."""
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

    @property
    def effort(self) -> tuple[int, int]:
        """Leaves to search, 0 where there are none, and hits to rescore."""
        return self.knobs.get("leaves_to_search", 0), self.knobs["reorder"]

    def reaches(self, target: float) -> bool:
        """Tells whether the queries that were asked reach a recall."""
        return self.recall >= target


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What a search has found."""

    chosen: Point
    """As measured on the queries that set its effort, which did not search for it."""
    held_out_recall: float
    """Of these queries, each part of them at the effort that the others choose."""
    frontier: list[Point]
    """What nothing else beats in recall, time and memory, and `chosen`; fastest
    first. Efforts that were not set anew are as the queries that searched say."""
    builds: int
    seconds: float

    def as_values(self) -> dict[str, Any]:
        """Returns it as JSON has it; `index` are the knobs for a config."""
        return {"index": self.chosen.knobs, **dataclasses.asdict(self)}


class Questions:
    """Queries and what exact search finds of them."""

    def __init__(self, queries: np.ndarray, truth: np.ndarray, k: int):
        self.queries, self.truth, self.k = np.ascontiguousarray(queries), truth, k

    def recalls(self, searcher: Any, leaves: int, reorder: int) -> np.ndarray:
        """Returns of each query the share of the truth that is found, [queries]."""
        rows, scores = searcher.search_batched_parallel(
            self.queries, self.k, max(reorder, self.k), leaves or _AS_BUILT
        )
        found = np.where(np.isfinite(scores), rows, -1).astype(np.int64)
        return metrics.recall_against_exact(found, self.truth, self.k)

    def ms(self, searcher: Any, leaves: int, reorder: int) -> float:
        """Returns the median milliseconds of single queries."""
        return self.median(
            _TIMED_QUERIES,
            lambda query: searcher.search(
                query, self.k, max(reorder, self.k), leaves or _AS_BUILT
            ),
        )

    def ms_in_turns(
        self, searcher: Any, efforts: Sequence[tuple[int, int]]
    ) -> list[float]:
        """Returns the median milliseconds of each effort, however busy it gets.

        They take turns, so that what else the machine does slows all of them.
        """
        rounds = [
            [self.ms(searcher, *effort) for effort in efforts]
            for _ in range(_TIMED_ROUNDS)
        ]
        return np.median(rounds, axis=0).tolist()

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
        third = len(queries) // 3
        self.searching = Questions(queries[:third], truth[:third], k)
        self.setting = Questions(queries[third:], truth[third:], k)
        self.points: list[Point] = []
        """As the queries that search say, but of what the others do not confirm."""
        self.confirmed: list[Point] = []
        """What these say of the best indexes."""
        self.kept: tuple[Point, float] | None = None
        """The best point so far, its effort set anew, and its held-out recall."""
        self.builds = 0
        most = min(MOST_REORDERED, self.size)
        self._bounds = k, most, self.tuning.target_recall

    def try_exact(self) -> None:
        """Measures exact search, whose recall is 1."""
        plan = plan_index(IndexConfig(kind="exact"), self.size, self.dimensions)
        memory = index_cost.searched_bytes(plan, self.size, self.dimensions)
        ms = self.searching.exact_ms(self.vectors)
        self.points.append(Point({"kind": "exact"}, 1.0, 0.0, ms, memory))
        if choose(self.points, self.tuning):
            self.kept = self.points[-1], 1.0

    def build(self, knobs: dict[str, Any]) -> Point:
        """Builds an index and finds its least effort.

        Returns:
          What reaches the target the fastest, or comes nearest to it.
        """
        built = _Built(self.vectors, {**_fixed(self.config), **knobs}, knobs)
        self.builds += 1
        recalls = built.recalls(self.searching)
        tried = [
            built.point(one, recalls(*one), self.searching.ms(built.searcher, *one))
            for one in efforts(mean_of(recalls), built.plan.leaves, *self._bounds)
        ]
        self.points += tried
        cheapest = choose(self.points, self.tuning)
        if cheapest is not None and cheapest in tried:
            if not self._confirm(built, cheapest):
                del self.points[-len(tried) :]  # others are not held against them
        found = fastest(tried, self.tuning.target_recall)
        _log.info(
            "index %d: %s: recall %.4f in %.3f ms, %.0f MB",
            self.builds,
            ", ".join(f"{name} {value}" for name, value in found.knobs.items()),
            found.recall, found.ms, found.memory_bytes / 1e6,
        )  # fmt: skip
        return found

    def _confirm(self, built: "_Built", cheapest: Point) -> bool:
        """Keeps what is the cheapest so far, if other queries say so, too."""
        recalls, leaves = built.recalls(self.setting), built.plan.leaves
        recall = mean_of(recalls)
        # Of few queries those that search may say little of the others.
        near = list(efforts_near(recall, cheapest.effort, leaves, *self._bounds))
        near = near or list(efforts(recall, leaves, *self._bounds))
        ms = self.setting.ms_in_turns(built.searcher, near)
        points = [
            built.point(effort, recalls(*effort), one)
            for effort, one in zip(near, ms, strict=True)
        ]
        self.confirmed += points
        kept = [self.kept[0]] if self.kept else []
        chosen = choose([*kept, *points], self.tuning)
        if chosen is None or chosen in kept:
            return False
        self.kept = chosen, cross_validated(recalls, chosen.effort, *self._bounds)
        return True


class _Built:
    """An index that was built."""

    def __init__(self, vectors: np.ndarray, config: dict[str, Any], knobs: Any):
        """Builds it of vectors, [candidates, dimensions].

        Args:
          vectors: What is searched.
          config: An IndexConfig as values.
          knobs: Those of them that are searched for.
        """
        self.plan = plan_index(IndexConfig(**config), *vectors.shape)
        self.searcher = scann_files.train(vectors, self.plan)
        self._knobs = knobs
        self._memory_bytes = index_cost.searched_bytes(self.plan, *vectors.shape)

    def recalls(self, questions: Questions) -> Callable[[int, int], np.ndarray]:
        """Returns what tells the recall of each query by effort, and remembers it."""
        return functools.cache(functools.partial(questions.recalls, self.searcher))

    def point(self, effort: tuple[int, int], recalls: np.ndarray, ms: float) -> Point:
        """Returns an effort as it was measured."""
        leaves, reorder = effort
        searched = {"leaves_to_search": leaves} if leaves else {}
        return Point(
            {"kind": "scann", **self._knobs, **searched, "reorder": reorder},
            *mean_and_error(recalls),
            ms,
            self._memory_bytes,
        )


def tune(vectors: np.ndarray, queries: np.ndarray, config: IndexConfig) -> Tuned:
    """Searches for the cheapest knobs that reach `config.tuning.target_recall`.

    Args:
      vectors: float32 [candidates, dimensions], of candidates.
      queries: float32 [queries, dimensions], at least 3; of more than
        `config.tuning.queries` a sample is taken.
      config: Where the search begins, its `tuning`, and knobs that are not searched.

    Returns:
      What was found.

    Raises:
      UserError: Nothing that was tried reaches the target within the budgets, or
        there are fewer than three queries.
    """
    if len(queries) < _LEAST_QUERIES:
        raise UserError(
            f"tuning takes at least {_LEAST_QUERIES} queries and there are "
            f"{len(queries)}; give more"
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
    points = search.points + search.confirmed
    if search.kept is None:
        raise UserError(_unreached(points, tuning, search.searching.k))
    chosen, held_out_recall = search.kept
    unbeaten = frontier(points)
    return Tuned(
        chosen,
        held_out_recall,
        unbeaten if chosen in unbeaten else _by_time([*unbeaten, chosen]),
        search.builds,
        time.perf_counter() - started,
    )


def _draw_builds(search: _Search, until: float) -> None:
    """Lets Optuna draw what to build, beginning with ScaNN's own rules."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tuning = search.tuning
    sampler = optuna.samplers.TPESampler(
        seed=tuning.seed,
        n_startup_trials=_STARTUP_BUILDS,
    )
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    for knobs in _first_builds(search):
        study.enqueue_trial(knobs)
    while search.builds < tuning.builds and time.perf_counter() < until:
        trial = study.ask()
        point = search.build(_suggest(trial, search))
        trial.set_constraint("missing recall", tuning.target_recall - point.recall)
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
            "avq_eta": given.avq_eta,
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
    given = search.config

    def suggest(name: str, low: float, high: float) -> float:
        # What the config gives may lie beyond, and is tried first.
        high = max(high, getattr(given, name))
        return round(trial.suggest_float(name, low, high), 3)

    return {
        "leaves": trial.suggest_int("leaves", *_leaves_range(search.size), log=True),
        "avq_eta": suggest("avq_eta", 1, _MOST_ETA),
        "dimensions_per_block": trial.suggest_categorical(
            "dimensions_per_block", sorted({*blocks, given.dimensions_per_block})
        ),
        "anisotropic_threshold": suggest("anisotropic_threshold", 0, _MOST_THRESHOLD),
        "reorder_type": trial.suggest_categorical(
            "reorder_type", ["float32", "bfloat16", "int8"]
        ),
    }


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
    return _by_time(kept)


def _by_time(points: Iterable[Point]) -> list[Point]:
    return sorted(points, key=lambda one: (one.ms, -one.recall))


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
