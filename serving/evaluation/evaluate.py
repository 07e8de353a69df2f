# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Measures a servable against exact search and baselines, in a process of its own.

`python -m serving.evaluation.evaluate REQUEST.json REPORT.json` loads the model as a
server would, with nothing of TFX in the process, so that a missing operation or asset
shows here and not in production.
"""

import functools
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import serving.process

serving.process.set_up()

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from scipy import sparse  # noqa: E402

from serving import s3  # noqa: E402
from serving.errors import UserError  # noqa: E402
from serving.evaluation import baselines, intervals, metrics  # noqa: E402
from serving.evaluation.config import EvaluationConfig  # noqa: E402
from serving.evaluation.filtered import filtered_recall  # noqa: E402
from serving.evaluation.gates import index_gates  # noqa: E402
from serving.evaluation.interactions import (  # noqa: E402
    Queries,
    Table,
    distinct_queries,
    number,
    positions,
    read_table,
    sample,
)
from serving.model import Recommender  # noqa: E402
from serving.native import NativeEngine  # noqa: E402
from serving.servable import (  # noqa: E402
    CANDIDATE_ID,
    EXCLUDE,
    LEAVES_TO_SEARCH,
    REORDER,
    K,
)
from serving.shards import ShardedEngine, open_engine, open_model  # noqa: E402

KS = (1, 5, 10, 50, 100)
RECALL_KS = (10, 100)
RANKING_K = 10
MODEL = "scann"
"""What the report calls the served index, whatever its kind."""
PREVIOUS = "previous"
"""What it calls the last blessed model."""

_BATCH = 128
_WARMUP_QUERIES = 50
_LATENCY_K = 10


def evaluate(request: dict[str, Any]) -> dict[str, Any]:
    """Measures a servable.

    Args:
      request: `model` (a folder), `previous_model` (that of the last blessed one, if
        any), `train_files`, `valid_files` and `eval_files` (patterns of raw
        interactions; the second may be empty), `query_id`, `candidate_id` and
        `histories` (features of these), `config` (an EvaluationConfig as values).

    Returns:
      The report, JSON-able; see docs/metrics.md for what each figure means.
    """
    config = EvaluationConfig(**request["config"])
    started = time.perf_counter()
    model = open_model(request["model"])
    load_seconds = time.perf_counter() - started
    data = _Data(model, request, config)
    embedded = model.embed_query(data.queries.features)
    lists = _retrieve(model, data, embedded)
    engine = open_engine(request["model"])
    # Before anything else is loaded or fitted.
    latency = _latency(model, engine, data.queries, config)
    found = {
        name: {False: lists[name], True: lists[f"{name}_masked"]}
        for name in ("exact", MODEL)
    }
    others = data.baseline_lists(config)
    if request.get("previous_model"):
        others[PREVIOUS] = _previous_lists(request["previous_model"], data)
    figures = {name: data.figures(one) for name, one in {**found, **others}.items()}
    compared = {MODEL: found[MODEL], **others}
    report: dict[str, Any] = {
        "protocol": data.describe(config),
        "candidates": data.candidates,
        "index": model.manifest["index"],
        "load_seconds": round(load_seconds, 3),
        "recall": {
            str(k): _mean_recall(lists[f"{MODEL}@{k}"], lists["exact"], k)
            for k in RECALL_KS
        },
        "recall_masked": {
            str(k): _mean_recall(lists[f"{MODEL}_masked@{k}"], lists["exact_masked"], k)
            for k in RECALL_KS
        },
        "exact_signature_recall": _mean_recall(
            lists["exact_signature"], lists["exact"], 100
        ),
        "native_recall": engine
        and _native_recall(engine, data, embedded, lists["exact"]),
        "filtered": (
            filtered_recall(engine, embedded, _LATENCY_K)
            if isinstance(engine, NativeEngine)
            else []
        ),
        "latency_ms": latency,
        "baselines": {name: figures[name] for name in others if name != PREVIOUS},
        PREVIOUS: figures.get(PREVIOUS),
        "parts": data.parts(compared),
        "intervals": data.intervals(compared, config),
    }
    for key in figures[MODEL]:
        report[key] = {name: figures[name][key] for name in found}
    gates = index_gates(config.gates, report)
    report["gates"] = [gate.as_dict() for gate in gates]
    report["passed"] = all(gate.passed for gate in gates)
    if not config.confidence_intervals:
        report["intervals"] = {}
    return report


class _Data:
    """The splits in positions: what is known of each query, what is to be found."""

    def __init__(
        self, model: Recommender, request: dict[str, Any], config: EvaluationConfig
    ):
        """Reads the splits and aligns them with the model's catalogue."""
        query_id, candidate_id = request["query_id"], request["candidate_id"]
        text = tf.TensorSpec([None], tf.string)
        specs = {**model.query_features, query_id: text, candidate_id: text}
        held_out = read_table(request["eval_files"], specs)
        ids = {query_id: text, candidate_id: text}
        train = read_table(request["train_files"], ids)
        beside = (
            read_table(request["valid_files"], ids) if request["valid_files"] else None
        )
        self.catalogue = model.candidate_ids()
        self.candidates = len(self.catalogue)
        every = distinct_queries(held_out, sorted(model.query_features))
        self.distinct = len(every)
        self.queries, rows = sample(every, config.max_queries, config.seed)
        self.query = self.queries.of_row
        self.candidate = positions(held_out.columns[candidate_id][rows], self.catalogue)
        asking = held_out.columns[query_id][rows]
        # Interactions of one user are not independent, whatever else they ask with.
        self.cluster = number(asking)[0]
        self._align_seen(asking, train, beside, request)

    def _align_seen(
        self,
        asking: np.ndarray,
        train: Table,
        beside: Table | None,
        request: dict[str, Any],
    ) -> None:
        """Builds the matrices of what was trained on and what each query has seen.

        Told to baselines are the training interactions of a query's id and the
        histories that it carries; seen are these and what validated.
        """
        query_id, candidate_id = request["query_id"], request["candidate_id"]
        user, users = number(train.columns[query_id])
        self.train = baselines.interaction_matrix(
            user,
            positions(train.columns[candidate_id], self.catalogue),
            (len(users), self.candidates),
        )
        self.seen_by = np.bincount(self.train.indices, minlength=self.candidates)
        self.train_rows = self.seen_rows = len(train)
        first_row = np.unique(self.query, return_index=True)[1]
        self.user = positions(asking[first_row], users)
        nothing = sparse.csr_matrix((1, self.candidates), dtype=self.train.dtype)
        told = sparse.vstack([self.train, nothing]).tocsr()
        # A user without history is row -1: the empty one at the end.
        self.told = told[np.where(self.user < 0, len(users), self.user)]
        for name in request["histories"]:
            self.told += self._history(name)
        self.known = self.told
        if beside:
            self.seen_rows += len(beside)
            self.known = self.told + self._of_ids(asking[first_row], beside, request)

    def _of_ids(
        self, asking: np.ndarray, table: Table, request: dict[str, Any]
    ) -> sparse.csr_matrix:
        """Returns the interactions of the queries' ids, [queries, candidates]."""
        numbers, ids = number(asking)
        owner = positions(table.columns[request["query_id"]], ids)
        candidate = positions(table.columns[request["candidate_id"]], self.catalogue)
        matrix = baselines.interaction_matrix(
            owner[owner >= 0], candidate[owner >= 0], (len(ids), self.candidates)
        )
        return matrix[numbers]

    def _history(self, name: str) -> sparse.csr_matrix:
        """Returns the candidates in a history feature, [queries, candidates]."""
        ids = self.queries.features[name]
        rows, columns = np.nonzero(ids != b"")
        return baselines.interaction_matrix(
            rows,
            positions(ids[rows, columns], self.catalogue),
            (len(self.queries), self.candidates),
        )

    def describe(self, config: EvaluationConfig) -> dict[str, Any]:
        """States the protocol that the figures were measured under."""
        cold = (self.user < 0) & (np.diff(self.told.indptr) == 0)
        return {
            "definition": "top-k accuracy by candidate id, mean over interactions",
            "masking": "seen kept; in top_k_accuracy_masked seen left out",
            "interactions": len(self.query),
            "train_interactions": self.train_rows,
            "seen_interactions": self.seen_rows,
            "queries": len(self.queries),
            "distinct_queries": self.distinct,
            "cold_interactions_share": float(cold[self.query].mean()),
            "unknown_candidates": int((self.candidate < 0).sum()),
            "seed": config.seed,
        }

    def exclusions(self) -> list[list[str]]:
        """Returns the ids of what is known to each query."""
        return [
            [self.catalogue[i].decode() for i in self.known[row].indices]
            for row in range(len(self.queries))
        ]

    def figures(self, found: dict[bool, np.ndarray]) -> dict[str, Any]:
        """Returns the quality of one system.

        Args:
          found: Its lists, [queries, max(KS)], by whether what is known is left out.
        """
        return {
            "top_k_accuracy": self.accuracy(found[False]),
            "top_k_accuracy_masked": self.accuracy(found[True]),
            "ranking": self.ranking(found[False]),
            "ranking_masked": self.ranking(found[True]),
        }

    def accuracy(self, retrieved: np.ndarray) -> dict[str, float]:
        """Returns top-k accuracy of one list a query, [queries, K]."""
        return _accuracy(metrics.ranks(retrieved, self.query, self.candidate))

    def ranking(self, retrieved: np.ndarray) -> dict[str, float | None]:
        """Returns metrics of the lists, mean over queries, and of all lists together.

        What is not defined, such as the popularity of nothing, is None.
        """
        of_query = self._per_query(retrieved)
        of_lists = metrics.list_metrics(
            retrieved,
            self.query,
            self.candidate,
            self.seen_by,
            self.train.shape[0],
            RANKING_K,
        )
        means = {name: float(values.mean()) for name, values in of_query.items()}
        return {
            f"{name}@{RANKING_K}": None if math.isnan(value) else value
            for name, value in {**means, **of_lists}.items()
        }

    def _per_query(self, retrieved: np.ndarray) -> dict[str, np.ndarray]:
        return metrics.per_query_metrics(
            retrieved, self.query, self.candidate, RANKING_K
        )

    def parts(self, compared: dict[str, dict[bool, np.ndarray]]) -> dict[str, Any]:
        """Returns accuracy, known left out, apart by what training has seen.

        Args:
          compared: Lists by system and by whether what is known is left out.

        Returns:
          By part the number and share of its interactions and, unless there are none,
          top-k accuracy by system. An interaction may be in both cold parts.
        """
        new_query = (self.user < 0)[self.query]
        new_candidate = (self.candidate < 0) | (self.seen_by[self.candidate] == 0)
        parts = {
            "warm": ~new_query & ~new_candidate,
            "cold_queries": new_query,
            "cold_candidates": new_candidate,
        }
        ranks = {
            name: metrics.ranks(found[True], self.query, self.candidate)
            for name, found in compared.items()
        }
        return {
            part: {
                "interactions": int(chosen.sum()),
                "share": float(chosen.mean()),
                "top_k_accuracy_masked": {
                    name: _accuracy(one[chosen])
                    for name, one in ranks.items()
                    if chosen.any()
                },
            }
            for part, chosen in parts.items()
        }

    def intervals(
        self, compared: dict[str, dict[bool, np.ndarray]], config: EvaluationConfig
    ) -> dict[str, Any]:
        """Returns 95% bootstrap intervals over query ids, known left out.

        Args:
          compared: Lists by system, the model's first, and by whether what is known is
            left out.
          config: The gate's k and the seed.

        Returns:
          `figures` of each system and `differences`, the model minus each other one,
          by metric: `value`, `low` and `high`.
        """
        k = config.gates.gate_k
        figures: dict[str, dict[str, Any]] = {name: {} for name in compared}
        differences: dict[str, dict[str, Any]] = {
            name: {} for name in compared if name != MODEL
        }
        for metric, (columns, clusters) in self._samples(compared, k).items():
            drawn = intervals.resampled_means(columns, clusters, seed=config.seed)
            means = columns.mean(axis=0)
            for at, name in enumerate(compared):
                figures[name][metric] = _bounded(means[at], drawn[:, at])
                if name != MODEL:
                    differences[name][metric] = _bounded(
                        means[0] - means[at], drawn[:, 0] - drawn[:, at]
                    )
        return {"k": k, "figures": figures, "differences": differences}

    def _samples(
        self, compared: dict[str, dict[bool, np.ndarray]], k: int
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Returns by metric the values of cases, [cases, systems], and their query ids.

        A case is a query, or, of accuracy, an interaction.
        """
        of_query = [self._per_query(found[True]) for found in compared.values()]
        hits = [self._hits(found[True], k) for found in compared.values()]
        asking = self.cluster[np.unique(self.query, return_index=True)[1]]
        return {
            **{
                f"{name}@{RANKING_K}": (
                    np.stack([values[name] for values in of_query], axis=1),
                    asking,
                )
                for name in ("ndcg", "recall")
            },
            f"top_{k}_accuracy": (np.stack(hits, axis=1).astype(float), self.cluster),
        }

    def _hits(self, retrieved: np.ndarray, k: int) -> np.ndarray:
        """Tells for each interaction whether its candidate is in the first k."""
        ranks = metrics.ranks(retrieved[:, :k], self.query, self.candidate)
        return ranks >= 0

    def baseline_lists(
        self, config: EvaluationConfig
    ) -> dict[str, dict[bool, np.ndarray]]:
        """Ranks by every baseline that takes so large a catalogue.

        Each knows of a query what the model is told of it and what it was trained on.

        Returns:
          For each baseline its lists, [queries, max(KS)], by whether what is known is
          left out.
        """
        ease = functools.partial(
            baselines.ease,
            regularization=config.ease_regularization,
            max_candidates=config.ease_up_to,
        )
        fits: dict[str, tuple[Callable[..., baselines.Scorer], float]] = {
            "popularity": (baselines.popularity, np.inf),
            "item_knn": (baselines.item_knn, config.item_knn_up_to),
            "ease": (ease, config.ease_up_to),
            "ials": (
                functools.partial(baselines.ials, seed=config.seed),
                config.ials_up_to,
            ),
        }
        lists = {}
        for name, (fit, up_to) in fits.items():
            if self.candidates <= up_to:
                score = fit(self.train)
                lists[name] = {
                    masked: baselines.rank(
                        score,
                        self.told,
                        max(KS),
                        mask_seen=masked,
                        hidden=self.known if masked else None,
                    )
                    for masked in (False, True)
                }
        return lists


def _accuracy(ranks: np.ndarray) -> dict[str, float]:
    """Returns top-k accuracy of ranks, [interactions]."""
    return {str(k): v for k, v in metrics.top_k_accuracy(ranks, KS).items()}


def _bounded(value: float, drawn: np.ndarray) -> dict[str, float]:
    """Returns a figure and the 95% interval of its bootstrap samples."""
    low, high = intervals.percentile_interval(drawn)
    return {"value": float(value), "low": low, "high": high}


def _mean_recall(approximate: np.ndarray, exact: np.ndarray, k: int) -> float:
    """Returns the mean over queries of the share of exact results found."""
    return float(metrics.recall_against_exact(approximate, exact, k).mean())


def _retrieve(
    model: Recommender, data: _Data, queries: np.ndarray
) -> dict[str, np.ndarray]:
    """Asks each query once: by the index, by the exact signature, and in NumPy.

    Args:
      model: The servable.
      data: What to ask.
      queries: The same embedded, [queries, dimensions].

    Returns:
      Rows of the catalogue, [queries, max(KS)]; `scann@k` and `scann_masked@k`, for
      each k of RECALL_KS, are [queries, k].
    """
    longest = max(KS)
    embeddings = model.embeddings()
    lists = {
        "exact": metrics.exact_top_k(queries, embeddings, longest)[1],
        "exact_masked": metrics.exact_top_k(queries, embeddings, longest, data.known)[
            1
        ],
        "exact_signature": _ask(model, data, None, longest, exact=True),
    }
    known = data.exclusions()
    for name, exclude in ((MODEL, None), (f"{MODEL}_masked", known)):
        # A request for fewer rescores fewer: each recall is that of its own k.
        lists |= {f"{name}@{k}": _ask(model, data, exclude, k) for k in RECALL_KS}
        lists[name] = lists[f"{name}@{longest}"]
    return lists


def _native_recall(
    engine: NativeEngine | ShardedEngine,
    data: _Data,
    queries: np.ndarray,
    exact: np.ndarray,
) -> dict[str, float]:
    """Returns the native engine's recall at each k of RECALL_KS."""
    ids = np.array([one.encode() for one in engine.candidate_ids()], object)
    place = positions(ids, data.catalogue)
    return {
        str(k): _mean_recall(
            place[engine.nearest_batch(queries, min(k, engine.size))[0]], exact, k
        )
        for k in RECALL_KS
    }


def _previous_lists(path: str, data: _Data) -> dict[bool, np.ndarray]:
    """Asks another servable the same; what the catalogue has no longer is a miss."""
    model = open_model(path)
    return {
        masked: _ask(model, data, data.exclusions() if masked else None, max(KS))
        for masked in (False, True)
    }


def _ask(
    model: Recommender,
    data: _Data,
    exclude: list[list[str]] | None,
    k: int,
    exact: bool = False,
) -> np.ndarray:
    """Asks a servable every query, in batches; returns rows of the catalogue."""
    found = []
    for at in range(0, len(data.queries), _BATCH):
        part = slice(at, at + _BATCH)
        features = {n: v[part] for n, v in data.queries.features.items()}
        answer = model.search(features, k, exclude and exclude[part], exact)
        found.append(answer[CANDIDATE_ID].numpy())
    ids = np.concatenate(found)
    return positions(ids.reshape(-1), data.catalogue).reshape(ids.shape)


def _latency(
    model: Recommender,
    engine: NativeEngine | ShardedEngine | None,
    queries: Queries,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """Times single queries, by each way in turn, so that noise falls on all of them."""
    options = {
        K: tf.constant(_LATENCY_K, tf.int32),
        EXCLUDE: tf.constant([], tf.string, shape=(1, 0)),
    }
    as_built = {name: tf.constant(0, tf.int32) for name in (LEAVES_TO_SEARCH, REORDER)}
    calls = {
        "exact": functools.partial(model.signature("exact"), **options),
        "scann": functools.partial(
            model.signature("serving_default"), **options, **as_built
        ),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    if engine:
        taken["native"] = []
    for turn in range(_WARMUP_QUERIES + config.latency_queries):
        row = turn % len(queries)
        features = {
            name: tf.constant(values[row : row + 1])
            for name, values in queries.features.items()
        }
        for name, call in calls.items():
            started = time.perf_counter()
            call(**features)[CANDIDATE_ID].numpy()
            taken[name].append((time.perf_counter() - started) * 1e3)
        if engine:
            query = _native_query(engine, queries, row)
            started = time.perf_counter()
            engine.recommend(query, _LATENCY_K)
            taken["native"].append((time.perf_counter() - started) * 1e3)
    result: dict[str, Any] = {
        name: {
            f"p{p}": float(np.percentile(values[_WARMUP_QUERIES:], p))
            for p in (50, 95, 99)
        }
        for name, values in taken.items()
    }
    result["k"] = _LATENCY_K
    result["queries"] = config.latency_queries
    return result


def _native_query(
    engine: NativeEngine | ShardedEngine, queries: Queries, row: int
) -> dict[str, Any]:
    """Returns a query as the native engine is asked, an id alone as text."""
    query = {name: values[row] for name, values in queries.features.items()}
    if set(query) == {engine.query_id}:
        return {name: value.decode() for name, value in query.items()}
    return query


def main(request_path: str, report_path: str) -> int:
    """Reads the request, evaluates, writes the report; 1 where the user must mend."""
    with tf.io.gfile.GFile(request_path) as file:
        asked = file.read()
    try:
        s3.register_where_named(asked)
        report = evaluate(json.loads(asked))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    with tf.io.gfile.GFile(report_path, "w") as file:
        file.write(json.dumps(report, indent=2, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
