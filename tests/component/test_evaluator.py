# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluator's metrics, bounds and results, beside figures computed another way."""

import math
import pathlib
import shutil

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_util
from tensorflow_model_analysis.proto import validation_result_pb2
from tfx.utils import path_utils

from components.evaluator import results
from components.evaluator.eval_config import make_eval_config
from components.evaluator.metrics import RetrievalMetrics
from serving.evaluation.config import EvaluationConfig, GatesConfig
from serving.model import Recommender

KS = (1, 5, 10, 50, 100)

# The metrics, each row a label and the ids found.


def plainly(rows, ks, ranking_k) -> dict[str, float]:
    """The metrics by their definitions, row by row."""
    result = {}
    for k in ks:
        hits = [label in list(ids)[:k] for label, ids in rows]
        result[f"top_{k}_accuracy"] = sum(hits) / len(rows)
    gains, reciprocal = [], []
    for label, ids in rows:
        first = list(ids)[:ranking_k]
        rank = first.index(label) + 1 if label in first else math.inf
        gains.append(1 / math.log2(1 + rank))
        reciprocal.append(1 / rank)
    result[f"ndcg_{ranking_k}"] = sum(gains) / len(rows)
    result[f"mrr_{ranking_k}"] = sum(reciprocal) / len(rows)
    return result


def computations(ks, ranking_k, model_names=("",)):
    return RetrievalMetrics(list(ks), ranking_k).computations(
        model_names=list(model_names)
    )


def element(label, ids) -> tfma.metrics.StandardMetricInputs:
    """A row as TFMA hands it on: with several models, both are dicts by model."""

    def found(ids) -> dict[str, np.ndarray]:
        return {"candidate_id": np.array(ids, dtype=object)}

    several = isinstance(ids, dict)
    return metric_util.to_standard_metric_inputs(
        {
            "labels": {name: np.array([label]) for name in ids}
            if several
            else np.array([label]),
            "predictions": {name: found(one) for name, one in ids.items()}
            if several
            else found(ids),
        }
    )


IDS = [b"1", b"2", b"3", b"4", b"5", b"6"]


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(IDS), st.lists(st.sampled_from(IDS), unique=True)),
        min_size=1,
        max_size=12,
    ),
    ranking_k=st.integers(1, 7),
    cut=st.integers(0, 12),
)
def test_metrics_are_their_definitions_however_rows_are_parted(rows, ranking_k, cut):
    ks = (1, 3, 5)
    ((computation,), (combiner,)) = zip(
        *((one, one.combiner) for one in computations(ks, ranking_k)), strict=True
    )
    parts = []
    for part in (rows[:cut], rows[cut:]):
        accumulator = combiner.create_accumulator()
        for label, ids in part:
            accumulator = combiner.add_input(accumulator, element(label, ids))
        parts.append(accumulator)
    merged = combiner.merge_accumulators(parts)
    found = combiner.extract_output(merged)
    assert set(found) == set(computation.keys)
    values = {key.name: value for key, value in found.items()}
    assert values == pytest.approx(plainly(rows, ks, ranking_k))


def test_padding_and_a_short_list_count_as_misses():
    rows = [(b"1", [b"2", b"", b""]), (b"3", []), (b"5", [b"4", b"5", b""])]
    (computation,) = computations((2,), 3)
    accumulator = computation.combiner.create_accumulator()
    for row in rows:
        accumulator = computation.combiner.add_input(accumulator, element(*row))
    found = computation.combiner.extract_output(accumulator)
    assert {key.name: value for key, value in found.items()} == pytest.approx(
        {"top_2_accuracy": 1 / 3, "ndcg_3": 1 / math.log2(3) / 3, "mrr_3": 1 / 6}
    )


def test_an_empty_slice_has_no_value():
    (computation,) = computations((1,), 1)
    combiner = computation.combiner
    found = combiner.extract_output(combiner.create_accumulator())
    assert all(math.isnan(value) for value in found.values())


def test_each_of_two_models_is_judged_by_its_own_answers():
    rows = [
        (b"1", {"candidate": [b"1", b"2"], "baseline": [b"2", b"1"]}),
        (b"2", {"candidate": [b"1", b"2"], "baseline": [b"1", b"3"]}),
        (b"3", {"candidate": [b"3", b"2"], "baseline": [b"1", b"2"]}),
    ]

    def check(found):  # typed, Beam would take its hint for that of each element
        metrics = dict(item for _, one in found for item in one.items())
        for model in ("candidate", "baseline"):
            own = [(label, ids[model]) for label, ids in rows]
            values = {k.name: v for k, v in metrics.items() if k.model_name == model}
            assert values == pytest.approx(plainly(own, (1, 2), 2)), model

    with beam.Pipeline() as pipeline:
        inputs = pipeline | beam.Create([((), element(*row)) for row in rows])
        found = [
            inputs | f"Combine{number}" >> beam.CombinePerKey(computation.combiner)
            for number, computation in enumerate(
                computations((1, 2), 2, ("candidate", "baseline"))
            )
        ]
        assert_that(found | beam.Flatten(), check)


# The bounds, held to figures as TFMA holds them.


def verdict(
    gates: GatesConfig, accuracy: float, difference: float = 0.0, where: tuple = ()
) -> bool:
    """Whether TFMA validates a slice of a model that stands beside a baseline."""
    config = tfma.utils.update_eval_config_with_defaults(
        make_eval_config("movie_id", EvaluationConfig(gates=gates), "f"),
        has_baseline=True,
    )
    (computation,) = computations(KS, 10, ("candidate",))
    (key,) = (k for k in computation.keys if k.name == f"top_{gates.gate_k}_accuracy")
    metrics = {key: accuracy, key.make_diff_key(): difference}
    return metrics_validator.validate_metrics((where, metrics), config).validation_ok


WOMEN = (("user_gender", 0),)


@pytest.mark.parametrize("gate_k", [10, 100])
def test_a_bound_holds_the_overall_slice_and_no_other(gate_k):
    gates = GatesConfig(min_top_k_accuracy=0.3, gate_k=gate_k)
    assert verdict(gates, 0.31)
    assert verdict(gates, 0.3)
    assert not verdict(gates, 0.29)
    assert verdict(gates, 0.29, where=WOMEN)


def test_a_drop_from_the_baseline_is_bounded_on_the_overall_slice():
    gates = GatesConfig(max_drop_from_baseline=0.05)
    assert verdict(gates, 0.3, 0.1)
    assert verdict(gates, 0.3, -0.04)
    assert not verdict(gates, 0.3, -0.06)
    assert verdict(gates, 0.3, -0.06, where=WOMEN)


def test_without_bounds_any_figure_will_do():
    gates = GatesConfig(min_top_k_accuracy=None, max_drop_from_baseline=None)
    assert verdict(gates, 0.0, -1.0)


def test_a_figure_that_is_not_a_number_is_refused():
    assert not verdict(GatesConfig(), math.nan)


def test_another_label_bound_slice_or_code_is_another_config():
    def config(label="movie_id", code="f", **options):
        return make_eval_config(label, EvaluationConfig(**options), code)

    assert config() == config()
    for changed in (
        config(label="title"),
        config(code="g"),
        config(slices=["user_gender"]),
        config(confidence_intervals=False),
        config(gates=GatesConfig(min_top_k_accuracy=0.1)),
        config(gates=GatesConfig(max_drop_from_baseline=0.1)),
        config(gates=GatesConfig(gate_k=10)),
    ):
        assert changed != config()


# The evaluation of the session's run.


@pytest.fixture(scope="module")
def rows(first_run) -> list[dict]:
    """The held-out interactions, each with the servable's answer to its user."""
    outputs = first_run.outputs
    model = Recommender(
        path_utils.serving_model_path(outputs["ScannIndexer"]["model"].uri)
    )
    examples = outputs["ExampleCleaner"]["cleaned_interactions"].uri
    text, number = (tf.io.FixedLenFeature([], one) for one in (tf.string, tf.int64))
    spec = {
        "user_id": text,
        "movie_id": text,
        "user_gender": number,
        "bucketized_user_age": tf.io.FixedLenFeature([], tf.float32),
    }

    def read(split: str) -> dict[str, np.ndarray]:
        files = sorted(map(str, pathlib.Path(examples, f"Split-{split}").iterdir()))
        (batch,) = tf.data.TFRecordDataset(files, "GZIP").batch(10**6)
        parsed = tf.io.parse_example(batch, spec)
        return {name: column.numpy() for name, column in parsed.items()}

    known = set(read("train")["user_id"])
    held_out = read("eval")
    users = sorted(set(held_out["user_id"]))
    found = model.search({"user_id": users})["candidate_id"].numpy()
    answers = dict(zip(users, found, strict=True))
    return [
        {
            "row": (movie, list(answers[user])),
            "": "",
            "user_gender": str(gender),
            "bucketized_user_age": str(float(age)),
            "query_segment": "warm" if user in known else "cold",
        }
        for user, movie, gender, age in zip(
            *(held_out[name] for name in spec), strict=True
        )
    ]


def test_figures_of_each_slice_are_those_of_the_servables_answers(rows, first_run):
    evaluation = first_run.outputs["Evaluator"]["evaluation"]
    slices = {
        one["slice"]: one["metrics"] for one in results.read_slices(evaluation.uri)
    }
    expected = {
        name and f"{name}:{value}"
        for name in ("", "user_gender", "bucketized_user_age", "query_segment")
        for value in {row[name] for row in rows}
    }
    assert set(slices) == expected
    for where, metrics in slices.items():
        name, _, value = where.partition(":")
        own = [row["row"] for row in rows if row[name] == value]
        values = {name: figure["value"] for name, figure in metrics.items()}
        assert values.pop("example_count") == len(own)
        assert values == pytest.approx(plainly(own, KS, 10), abs=1e-6), where


def test_accuracy_is_index_evaluators(first_run):
    evaluation = first_run.outputs["Evaluator"]["evaluation"]
    overall, *_ = results.read_slices(evaluation.uri)
    assert overall["slice"] == ""
    for k, value in first_run.summary["top_k_accuracy"]["scann"].items():
        figure = overall["metrics"][f"top_{k}_accuracy"]
        assert figure["value"] == pytest.approx(value, abs=1e-6)


def test_intervals_are_about_their_figures(first_run):
    overall = first_run.summary["slices"][0]["metrics"]
    for name in ("top_10_accuracy", "top_100_accuracy", "ndcg_10", "mrr_10"):
        figure = overall[name]
        assert figure["low"] < figure["value"] < figure["high"]
    accuracy = overall["top_100_accuracy"]
    # Rows of one user are alike, so that it is no narrower than a binomial one by much.
    binomial = math.sqrt(accuracy["value"] * (1 - accuracy["value"]) / 3000)
    assert 0.5 < (accuracy["high"] - accuracy["low"]) / (2 * 1.96 * binomial) < 2


def test_gates_are_read_from_the_overall_slice(first_run):
    folder = first_run.outputs["Evaluator"]["evaluation"].uri
    slices = results.read_slices(folder)
    reached = slices[0]["metrics"]["top_10_accuracy"]["value"]
    assert results.read_gates(folder, GatesConfig(), slices) == []
    for bound, passed in ((reached, True), (reached + 0.01, False)):
        config = GatesConfig(min_top_k_accuracy=bound, gate_k=10)
        (gate,) = results.read_gates(folder, config, slices)
        assert (gate.name, gate.value, gate.bound) == (
            "top_10_accuracy",
            reached,
            bound,
        )
        assert gate.passed == passed


def test_a_refusal_for_any_other_reason_is_not_lost(first_run, tmp_path):
    folder = tmp_path / "evaluation"
    shutil.copytree(first_run.outputs["Evaluator"]["evaluation"].uri, folder)
    (path,) = folder.glob("validations*")
    with tf.io.TFRecordWriter(str(path)) as writer:
        refused = validation_result_pb2.ValidationResult(validation_ok=False)
        writer.write(refused.SerializeToString())
    slices = results.read_slices(str(folder))
    (gate,) = results.read_gates(str(folder), GatesConfig(), slices)
    assert not gate.passed
    assert gate.name == "Evaluator's own verdict"
