# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Measures a servable against exact search and baselines, in a process of its own.

`python -m serving.evaluation.evaluate REQUEST.json REPORT.json` loads the model as a
server would, with nothing of TFX in the process, so that a missing operation or asset
shows here and not in production.
"""

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import serving.process

serving.process.set_up()

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from scipy import sparse  # noqa: E402

from serving.errors import UserError  # noqa: E402
from serving.evaluation import baselines, intervals, metrics  # noqa: E402
from serving.evaluation.config import EvaluationConfig  # noqa: E402
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
from serving.servable import CANDIDATE_ID, EXCLUDE, K  # noqa: E402

KS = (1, 5, 10, 50, 100)
RECALL_KS = (10, 100)
_BATCH = 128
_WARMUP_QUERIES = 50
_LATENCY_K = 10


def evaluate(request: dict[str, Any]) -> dict[str, Any]:
    """Measures a servable.

    Args:
      request: `model` (a folder), `seen_files` and `eval_files` (patterns of raw
        interactions), `query_id`, `candidate_id` and `histories` (features of these),
        `config` (an EvaluationConfig as values).

    Returns:
      The report, JSON-able; see docs/metrics.md for what each figure means.
    """
    config = EvaluationConfig(**request["config"])
    started = time.perf_counter()
    model = Recommender(request["model"])
    load_seconds = time.perf_counter() - started
    data = _Data(model, request, config)
    lists = _retrieve(model, data)
    report: dict[str, Any] = {
        "protocol": data.describe(config),
        "candidates": data.candidates,
        "index": model.manifest["index"],
        "load_seconds": round(load_seconds, 3),
        "recall": {
            str(k): _mean_recall(lists[f"scann@{k}"], lists["exact"], k)
            for k in RECALL_KS
        },
        "recall_masked": {
            str(k): _mean_recall(lists[f"scann_masked@{k}"], lists["exact_masked"], k)
            for k in RECALL_KS
        },
        "exact_signature_recall": _mean_recall(
            lists["exact_signature"], lists["exact"], 100
        ),
        "top_k_accuracy": {
            name: data.accuracy(lists[name]) for name in ("exact", "scann")
        },
        "top_k_accuracy_masked": {
            name: data.accuracy(lists[f"{name}_masked"]) for name in ("exact", "scann")
        },
        "latency_ms": _latency(model, data.queries, config),
    }
    baseline_lists = data.baseline_lists(config)
    report["intervals"] = data.intervals(
        lists["scann_masked"], baseline_lists["popularity"][True], config
    )
    report["baselines"] = {
        name: {
            "top_k_accuracy": data.accuracy(found[False]),
            "top_k_accuracy_masked": data.accuracy(found[True]),
        }
        for name, found in baseline_lists.items()
    }
    gates = index_gates(config.gates, report)
    report["gates"] = [gate.as_dict() for gate in gates]
    report["passed"] = all(gate.passed for gate in gates)
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
        seen = read_table(request["seen_files"], {query_id: text, candidate_id: text})
        catalogue = model.candidate_ids()
        self.candidates = len(catalogue)
        every = distinct_queries(held_out, sorted(model.query_features))
        self.distinct = len(every)
        self.queries, rows = sample(every, config.max_queries, config.seed)
        self.query = self.queries.of_row
        self.candidate = positions(held_out.columns[candidate_id][rows], catalogue)
        self._align_seen(held_out.columns[query_id][rows], seen, catalogue, request)

    def _align_seen(
        self,
        asking: np.ndarray,
        seen: Table,
        catalogue: np.ndarray,
        request: dict[str, Any],
    ) -> None:
        """Builds the matrices of training interactions and of what is known to a query.

        Known are the training interactions of its id and the histories that it carries.
        """
        user_of_seen, users = number(seen.columns[request["query_id"]])
        shape = (len(users), self.candidates)
        seen_candidates = seen.columns[request["candidate_id"]]
        self.train = baselines.interaction_matrix(
            user_of_seen, positions(seen_candidates, catalogue), shape
        )
        first_row = np.unique(self.query, return_index=True)[1]
        self.user = positions(asking[first_row], users)
        nothing = sparse.csr_matrix((1, self.candidates), dtype=self.train.dtype)
        known = sparse.vstack([self.train, nothing]).tocsr()
        # A user without history is row -1: the empty one at the end.
        self.known = known[np.where(self.user < 0, len(users), self.user)]
        for name in request["histories"]:
            self.known += self._history(name, catalogue)
        # Interactions of one user are not independent, whatever else they ask with.
        self.cluster = number(asking)[0]
        self.seen_rows = len(seen)

    def _history(self, name: str, catalogue: np.ndarray) -> sparse.csr_matrix:
        """Returns the candidates in a history feature, [queries, candidates]."""
        ids = self.queries.features[name]
        rows, columns = np.nonzero(ids != b"")
        return baselines.interaction_matrix(
            rows,
            positions(ids[rows, columns], catalogue),
            (len(self.queries), self.candidates),
        )

    def describe(self, config: EvaluationConfig) -> dict[str, Any]:
        """States the protocol that the figures were measured under."""
        cold = (self.user < 0) & (np.diff(self.known.indptr) == 0)
        return {
            "definition": "top-k accuracy by candidate id, mean over interactions",
            "masking": "seen kept; in top_k_accuracy_masked seen left out",
            "interactions": len(self.query),
            "seen_interactions": self.seen_rows,
            "queries": len(self.queries),
            "distinct_queries": self.distinct,
            "cold_interactions_share": float(cold[self.query].mean()),
            "unknown_candidates": int((self.candidate < 0).sum()),
            "seed": config.seed,
        }

    def accuracy(self, retrieved: np.ndarray) -> dict[str, float]:
        """Returns top-k accuracy of one list a query, [queries, K]."""
        ranks = metrics.ranks(retrieved, self.query, self.candidate)
        return {str(k): v for k, v in metrics.top_k_accuracy(ranks, KS).items()}

    def intervals(
        self, model: np.ndarray, popular: np.ndarray, config: EvaluationConfig
    ) -> dict[str, Any]:
        """Returns 95% bootstrap intervals over queries at the gate's k."""
        if not config.confidence_intervals:
            return {}
        k = config.gates.gate_k
        hits = [self._hits(lists, k).astype(float) for lists in (model, popular)]
        accuracy = intervals.bootstrap_mean(
            hits[0], clusters=self.cluster, seed=config.seed
        )
        difference = intervals.paired_bootstrap_difference(
            hits[0], hits[1], clusters=self.cluster, seed=config.seed
        )
        return {
            "k": k,
            "top_k_accuracy_masked": list(accuracy),
            "above_popularity": list(difference),
        }

    def _hits(self, retrieved: np.ndarray, k: int) -> np.ndarray:
        """Tells for each interaction whether its candidate is in the first k."""
        ranks = metrics.ranks(retrieved, self.query, self.candidate)
        return (ranks >= 0) & (ranks < k)

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
                    masked: baselines.rank(score, self.known, max(KS), mask_seen=masked)
                    for masked in (False, True)
                }
        return lists


def _mean_recall(approximate: np.ndarray, exact: np.ndarray, k: int) -> float:
    """Returns the mean over queries of the share of exact results found."""
    return float(metrics.recall_against_exact(approximate, exact, k).mean())


def _retrieve(model: Recommender, data: _Data) -> dict[str, np.ndarray]:
    """Asks each query once: by the index, by the exact signature, and in NumPy.

    Returns:
      Rows of the catalogue, [queries, max(KS)]; `scann@k` and `scann_masked@k`, for
      each k of RECALL_KS, are [queries, k].
    """
    longest = max(KS)
    catalogue = model.candidate_ids()
    queries = model.embed_query(data.queries.features)
    embeddings = model.embeddings()
    seen = [
        [catalogue[i].decode() for i in data.known[row].indices]
        for row in range(len(data.queries))
    ]

    def ask(exact: bool, exclude: list[list[str]] | None, k: int) -> np.ndarray:
        found = []
        for at in range(0, len(data.queries), _BATCH):
            part = slice(at, at + _BATCH)
            features = {n: v[part] for n, v in data.queries.features.items()}
            answer = model.search(features, k, exclude and exclude[part], exact)
            found.append(answer[CANDIDATE_ID].numpy())
        ids = np.concatenate(found)
        return positions(ids.reshape(-1), catalogue).reshape(ids.shape)

    lists = {
        "exact": metrics.exact_top_k(queries, embeddings, longest)[1],
        "exact_masked": metrics.exact_top_k(queries, embeddings, longest, data.known)[
            1
        ],
        "exact_signature": ask(True, None, longest),
    }
    for name, exclude in (("scann", None), ("scann_masked", seen)):
        # A request for fewer rescores fewer: each recall is that of its own k.
        lists |= {f"{name}@{k}": ask(False, exclude, k) for k in RECALL_KS}
        lists[name] = lists[f"{name}@{longest}"]
    return lists


def _latency(
    model: Recommender, queries: Queries, config: EvaluationConfig
) -> dict[str, Any]:
    """Times single queries, exact and index in turn, so that noise falls on both."""
    calls = {
        "exact": model.signature_function("exact"),
        "scann": model.signature_function("serving_default"),
    }
    options = {
        K: tf.constant(_LATENCY_K, tf.int32),
        EXCLUDE: tf.constant([], tf.string, shape=(1, 0)),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(_WARMUP_QUERIES + config.latency_queries):
        row = turn % len(queries)
        features = {
            name: tf.constant(values[row : row + 1])
            for name, values in queries.features.items()
        }
        for name, call in calls.items():
            started = time.perf_counter()
            call(**features, **options)[CANDIDATE_ID].numpy()
            taken[name].append((time.perf_counter() - started) * 1e3)
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


def main(request_path: str, report_path: str) -> int:
    """Reads the request, evaluates, writes the report; 1 where the user must mend."""
    with tf.io.gfile.GFile(request_path) as file:
        request = json.loads(file.read())
    try:
        report = evaluate(request)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    with tf.io.gfile.GFile(report_path, "w") as file:
        file.write(json.dumps(report, indent=2, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
