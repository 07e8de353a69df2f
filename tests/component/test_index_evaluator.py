# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""IndexEvaluator: its report of the session's run computed anew, and its verdicts."""

import json
import os
import pathlib
import shutil
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import channel_utils, standard_artifacts
from tfx.utils import path_utils

from components.artifacts import IndexEvaluation
from components.index_evaluator import component, executor
from serving.errors import UserError
from serving.evaluation.config import EvaluationConfig, GatesConfig
from serving.model import Recommender

KS = (1, 5, 10, 50, 100)
FAST = EvaluationConfig(
    latency_queries=5,
    confidence_intervals=False,
    ease_up_to=0,
    ials_up_to=0,
    item_knn_up_to=0,
).model_dump()


def properties(config: EvaluationConfig, fingerprint: str = "") -> dict[str, Any]:
    """The execution's properties, as the component makes them."""
    node = component.IndexEvaluator(
        channel_utils.as_channel([standard_artifacts.Model()]),
        channel_utils.as_channel([standard_artifacts.Examples()]),
        query_id="user_id",
        candidate_id="movie_id",
        config=config,
        fingerprint=fingerprint,
    )
    assert node.outputs["evaluation"].type is IndexEvaluation
    assert node.outputs["blessing"].type is standard_artifacts.InfraBlessing
    return dict(node.exec_properties)


# The report of the session's run.


@pytest.fixture(scope="module")
def world(first_run) -> dict[str, Any]:
    """The splits as rows of the catalogue, and the model's embeddings and answers."""
    model = Recommender(
        path_utils.serving_model_path(first_run.outputs["ScannIndexer"]["model"].uri)
    )
    ids = [id_.decode() for id_ in model.candidate_ids()]
    row_of = {id_: row for row, id_ in enumerate(ids)}
    examples = first_run.outputs["ExampleCleaner"]["cleaned_interactions"]

    def read(split: str) -> list[tuple[str, int]]:
        files = sorted(pathlib.Path(examples.uri, f"Split-{split}").iterdir())
        spec = {
            n: tf.io.FixedLenFeature([], tf.string) for n in ("user_id", "movie_id")
        }
        (batch,) = tf.data.TFRecordDataset(list(map(str, files)), "GZIP").batch(10**6)
        parsed = {n: v.numpy() for n, v in tf.io.parse_example(batch, spec).items()}
        pairs = zip(parsed["user_id"], parsed["movie_id"], strict=True)
        return [(user.decode(), row_of[movie.decode()]) for user, movie in pairs]

    train, held_out = read("train"), read("eval")
    users = sorted({user for user, _ in held_out})
    seen: dict[str, set[int]] = {user: set() for user in users}
    for user, row in train:
        seen.setdefault(user, set()).add(row)
    answers = model.search({"user_id": users}, 100)["candidate_id"].numpy()
    queries = model.embed_query({"user_id": users}).astype(np.float64)
    return {
        "held_out": held_out,
        "users": users,
        "seen": seen,
        "popularity": np.bincount([row for _, row in train], minlength=len(ids)),
        "scores": queries @ model.embeddings().astype(np.float64).T,
        "scann": [[row_of[id_.decode()] for id_ in row] for row in answers],
    }


def accuracy(world: dict[str, Any], lists: dict[str, list[int]]) -> dict[str, float]:
    """Share of held-out interactions whose candidate is in the user's first k."""
    rows = world["held_out"]
    return {
        str(k): sum(row in lists[user][:k] for user, row in rows) / len(rows)
        for k in KS
    }


def best(scores: np.ndarray, without: set[int]) -> list[int]:
    """The hundred best rows that may be returned, ties to the lower row."""
    order = np.argsort(-scores, kind="stable")
    return [int(row) for row in order if int(row) not in without][:100]


def test_exact_accuracy_is_what_numpy_finds(world, first_run):
    for name, masked in (("top_k_accuracy", False), ("top_k_accuracy_masked", True)):
        lists = {
            user: best(scores, world["seen"][user] if masked else set())
            for user, scores in zip(world["users"], world["scores"], strict=True)
        }
        found = first_run.summary[name]["exact"]
        # float32 and float64 may order near ties apart: one interaction in 3,000.
        assert found == pytest.approx(accuracy(world, lists), abs=1.5 / 3000)


def test_popularity_is_what_numpy_finds(world, first_run):
    popular = world["popularity"]
    for name, masked in (("top_k_accuracy", False), ("top_k_accuracy_masked", True)):
        lists = {
            user: best(popular, world["seen"][user] if masked else set())
            for user in world["users"]
        }
        found = first_run.summary["baselines"]["popularity"][name]
        # Ties in counts at the end of a list may be cut either way.
        assert found == pytest.approx(accuracy(world, lists), abs=0.003)


def test_the_index_is_measured_by_its_own_answers(world, first_run):
    lists = dict(zip(world["users"], world["scann"], strict=True))
    summary = first_run.summary
    assert summary["top_k_accuracy"]["scann"] == pytest.approx(accuracy(world, lists))
    for k in (10, 100):
        shares = [
            len(set(mine[:k]) & set(best(scores, set())[:k])) / k
            for mine, scores in zip(world["scann"], world["scores"], strict=True)
        ]
        assert summary["recall"][str(k)] == pytest.approx(np.mean(shares), abs=1e-3)


def test_the_protocol_is_stated(world, first_run):
    protocol = first_run.summary["protocol"]
    assert protocol["queries"] == len(world["users"])
    known = {user for user in world["seen"] if world["seen"][user]}
    cold = sum(user not in known for user, _ in world["held_out"]) / 3000
    assert cold > 0
    assert protocol["cold_interactions_share"] == pytest.approx(cold)
    assert protocol["unknown_candidates"] == 0


# Verdicts.


@pytest.fixture
def evaluate(made, new_artifact):
    """Runs the executor; returns its two artifacts."""

    def run(gates: GatesConfig, model=None, previous=None) -> tuple[Any, Any]:
        evaluation = new_artifact(IndexEvaluation)
        blessing = new_artifact(standard_artifacts.InfraBlessing)
        executor.Executor().Do(
            {
                "model": [model or made("ScannIndexer", "model")],
                "previous_model": [previous] if previous else [],
                "interactions": [made("ExampleCleaner", "cleaned_interactions")],
            },
            {"evaluation": [evaluation], "blessing": [blessing]},
            properties(EvaluationConfig(**{**FAST, "gates": gates})),
        )
        return evaluation, blessing

    return run


def test_a_bound_that_is_missed_withholds_the_blessing(evaluate, first_run):
    bounds = GatesConfig(min_recall_at_10=1, max_p99_ms=1e-6)
    evaluation, blessing = evaluate(bounds)
    assert blessing.get_int_custom_property("blessed") == 0
    assert os.listdir(blessing.uri) == ["INFRA_NOT_BLESSED"]
    report = json.loads(pathlib.Path(evaluation.uri, "report.json").read_text())
    assert not report["passed"]
    failed = {gate["name"] for gate in report["gates"] if not gate["passed"]}
    assert failed == {"recall@10", "native recall@10", "latency_p99_ms"}
    # What was measured does not depend on the bounds or the process.
    for name in ("top_k_accuracy", "top_k_accuracy_masked", "recall"):
        assert report[name] == first_run.summary[name]
    assert report["load_seconds"] > 0
    assert report["latency_ms"]["queries"] == 5
    assert set(report["baselines"]) == {"popularity"}
    assert report["intervals"] == {}


def test_a_previous_model_is_measured_beside(evaluate, made):
    model = made("ScannIndexer", "model")
    bounds = GatesConfig(max_p99_ms=None)
    evaluation, blessing = evaluate(bounds, model, previous=model)
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property("current_model_id") == model.id
    report = json.loads(pathlib.Path(evaluation.uri, "report.json").read_text())
    for name in ("top_k_accuracy", "top_k_accuracy_masked", "ranking_masked"):
        assert report["previous"][name] == report[name]["scann"]
    (gate,) = (gate for gate in report["gates"] if "blessed" in gate["name"])
    assert (gate["value"], gate["passed"]) == (0, True)


def test_a_damaged_servable_is_one_sentence(evaluate, made, new_artifact):
    model = new_artifact(standard_artifacts.Model)
    shutil.copytree(made("ScannIndexer", "model").uri, model.uri, dirs_exist_ok=True)
    path = pathlib.Path(path_utils.serving_model_path(model.uri))
    (path / "saved_model.pb").write_bytes(b"not a model")
    with pytest.raises(UserError) as caught:
        evaluate(GatesConfig(), model)
    message = str(caught.value)
    assert message.startswith(f"evaluating {path} failed (exit code 1): ")
    assert "is damaged" in message and "\n" not in message


def test_another_bound_or_code_is_another_execution():
    plain = properties(EvaluationConfig())
    assert plain == properties(EvaluationConfig())
    other = EvaluationConfig(gates=GatesConfig(min_recall_at_10=0.5))
    assert properties(other) != plain
    assert properties(EvaluationConfig(), "f") != plain
