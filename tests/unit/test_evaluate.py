# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The evaluation process on a small world, against counting in plain Python."""

import collections
import json
import math
import pathlib
import re
from typing import Any, NamedTuple

import numpy as np
import pydantic
import pytest
import tensorflow as tf
from scipy.sparse import csr_matrix

from serving.errors import UserError
from serving.evaluation import baselines, evaluate, intervals
from serving.evaluation.config import EvaluationConfig, GatesConfig
from serving.evaluation.gates import Gate, index_gates
from serving.evaluation.interactions import (
    Table,
    distinct_queries,
    positions,
    read_table,
)
from serving.model import Recommender
from tests.unit.conftest import CANDIDATES, World
from tests.unit.test_metrics import naive_list_metrics, naive_query_metrics

KS = (1, 5, 10, 50, 100)
COLD = "cold"
UNKNOWN = "not in the catalogue"

Rows = list[tuple[str, str]]


def write_rows(pattern: pathlib.Path, rows: list[dict[str, Any]], shards: int) -> str:
    """Writes gzipped TFRecord shards of tf.Examples; returns a pattern of them."""
    pattern.mkdir(parents=True)
    for shard in range(shards):
        path = str(pattern / f"data_tfrecord-{shard:05}-of-{shards:05}.gz")
        with tf.io.TFRecordWriter(path, "GZIP") as writer:
            for row in rows[shard::shards]:
                example = tf.train.Example()
                for name, value in row.items():
                    feature = example.features.feature[name]
                    if isinstance(value, str):
                        feature.bytes_list.value.append(value.encode())
                    elif isinstance(value, int):
                        feature.int64_list.value.append(value)
                    else:
                        feature.float_list.value.append(value)
                writer.write(example.SerializeToString())
    return str(pattern / "*")


def write_interactions(folder: pathlib.Path, rows: Rows, shards: int = 2) -> str:
    return write_rows(
        folder,
        [{"user_id": user, "movie_id": movie, "stars": 4.0} for user, movie in rows],
        shards,
    )


def make_interactions(world: World) -> tuple[Rows, Rows, Rows]:
    """Train, valid and eval interactions: some liked, some popular, some neither."""
    generator = np.random.default_rng(5)
    weights = 1 / np.arange(1, CANDIDATES + 1)
    popular = generator.permutation(world.ids)
    train, valid, held_out = [], [], []
    for user in world.users[:30]:
        liked = world.ranking(user)[:60]
        chosen = {
            *generator.choice(liked, 14, replace=False),
            *generator.choice(popular, 14, replace=False, p=weights / weights.sum()),
        }
        # Not the order of a set: that of strings changes from process to process.
        movies = list(generator.permutation(sorted(chosen)))
        train += [(user, movie) for movie in movies[:10]]
        valid += [(user, movie) for movie in movies[10:12]]
        held_out += [(user, movie) for movie in movies[12:]]
    train += [train[0], train[0], ("someone else", world.ids[3]), ("1", UNKNOWN)]
    held_out += [held_out[0], (COLD, world.ranking(None)[4]), ("2", UNKNOWN)]
    held_out += [("2", train[0][1]), ("39", world.ranking("39")[0])]  # 39: no history
    return train, valid, held_out


class Case(NamedTuple):
    """What the evaluation is asked, and the interactions behind it."""

    request: dict[str, Any]
    train: Rows
    valid: Rows
    held_out: Rows

    @property
    def seen(self) -> Rows:
        return self.train + self.valid

    @property
    def users(self) -> list[str]:
        return sorted({user for user, _ in self.held_out})

    def seen_by(self, user: str) -> set[str]:
        return {movie for who, movie in self.seen if who == user}

    def accuracy(self, lists: dict[str, list[str]]) -> dict[str, float]:
        """Top-k accuracy of a list of ids for each user, by counting."""
        return {
            str(k): sum(movie in lists[user][:k] for user, movie in self.held_out)
            / len(self.held_out)
            for k in KS
        }


@pytest.fixture(scope="module")
def case(world: World, build, tmp_path_factory) -> Case:
    """A ScaNN model and its interactions."""
    folder = tmp_path_factory.mktemp("interactions")
    train, valid, held_out = make_interactions(world)
    request = {
        "model": build("scann").path,
        "previous_model": build("exact").path,
        "train_files": [write_interactions(folder / "train", train, 3)],
        "valid_files": [write_interactions(folder / "valid", valid, 1)],
        "eval_files": [write_interactions(folder / "eval", held_out)],
        "query_id": "user_id",
        "candidate_id": "movie_id",
        "histories": [],
        "config": {"latency_queries": 30, "gates": {"max_p99_ms": 10_000}},
    }
    return Case(request, train, valid, held_out)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def read_strictly(text: str) -> dict[str, Any]:
    return json.loads(text, parse_constant=refuse)


class Ran(NamedTuple):
    """The report of the real process, and what it imported."""

    report: dict[str, Any]
    imported: set[str]


@pytest.fixture(scope="module")
def ran(case: Case, run_python, tmp_path_factory) -> Ran:
    """The report of the real process."""
    folder = tmp_path_factory.mktemp("run")
    paths = [folder / "request.json", folder / "report.json"]
    paths[0].write_text(json.dumps(case.request), encoding="utf-8")
    module = "serving.evaluation.evaluate"
    done = run_python("-X", "importtime", "-m", module, *map(str, paths), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    imported = re.findall(r"^import time:.*\| +(\w+)", done.stderr, re.MULTILINE)
    return Ran(read_strictly(paths[1].read_text(encoding="utf-8")), set(imported))


@pytest.fixture(scope="module")
def report(ran: Ran) -> dict[str, Any]:
    return ran.report


@pytest.fixture(scope="module")
def exact_lists(case: Case, world: World) -> dict[bool, dict[str, list[str]]]:
    """Each user's hundred best by NumPy, with seen items kept and left out."""

    def best(user: str, without: set[str]) -> list[str]:
        known = user if user in world.users else None
        return world.ranking(known, tuple(without))[:100]

    return {
        masked: {u: best(u, case.seen_by(u) if masked else set()) for u in case.users}
        for masked in (False, True)
    }


@pytest.fixture(scope="module")
def index_lists(case: Case, load) -> dict[bool, dict[str, list[str]]]:
    """Each user's hundred best by the index itself."""
    lists = {}
    for masked in (False, True):
        # As many ids as the evaluation excludes: that is how many more are fetched.
        exclude = [sorted(case.seen_by(u) - {UNKNOWN}) for u in case.users]
        answer = load("scann").search(
            {"user_id": case.users}, 100, exclude if masked else None
        )
        found = answer["candidate_id"].numpy().tolist()
        lists[masked] = {
            user: [i.decode() for i in row if i]
            for user, row in zip(case.users, found, strict=True)
        }
    return lists


def popularity_lists(case: Case, world: World, masked: bool) -> dict[str, list[str]]:
    counts = collections.Counter(movie for _, movie in set(case.train))
    in_order = sorted(world.ids, key=str.encode)
    by_count = sorted(in_order, key=lambda movie: -counts[movie])
    return {
        user: [i for i in by_count if not (masked and i in case.seen_by(user))][:100]
        for user in case.users
    }


def naive_ranking(
    case: Case, catalogue: list[str], lists: dict[str, list[str]]
) -> dict[str, float]:
    """Ranking metrics of a list of ids for each user, by the textbook."""
    place = {movie: number for number, movie in enumerate(catalogue)}
    pairs = {(user, place.get(movie, -1)) for user, movie in case.held_out}
    rows = [[place[movie] for movie in lists[user]] for user in case.users]
    scored = [
        naive_query_metrics(
            row, {c if c >= 0 else UNKNOWN for u, c in pairs if u == user}, 10
        )
        for user, row in zip(case.users, rows, strict=True)
    ]
    means = {name: np.mean([one[name] for one in scored]) for name in scored[0]}
    seen = collections.Counter(movie for _, movie in set(case.train))
    held_out = [
        (case.users.index(user), place.get(movie, -1)) for user, movie in case.held_out
    ]
    of_lists = naive_list_metrics(
        rows,
        held_out,
        [seen[movie] for movie in catalogue],
        len({user for user, _ in case.train}),
        10,
    )
    return {f"{name}@10": value for name, value in {**means, **of_lists}.items()}


# The report


def test_the_report_has_what_shortlist_metrics_prints(report):
    for name in ("exact", "scann"):
        assert set(report["top_k_accuracy"][name]) == set(map(str, KS))
        assert {"p50", "p95", "p99"} == set(report["latency_ms"][name])
    assert set(report["recall"]) == {"10", "100"}
    assert {"popularity", "item_knn", "ease", "ials"} == set(report["baselines"])
    assert report["gates"] and report["index"]["kind"] == "scann"


def test_the_process_holds_nothing_of_tfx(ran: Ran):
    tfx_family = {"tfx", "tfx_bsl", "apache_beam", "ml_metadata", "kfp"}
    tfx_family |= {"tensorflow_transform", "tensorflow_data_validation"}
    tfx_family |= {"tensorflow_model_analysis"}
    assert {"tensorflow", "scann", "serving"} <= ran.imported
    assert not tfx_family & ran.imported


def test_the_protocol_is_counted_right(report, case: Case):
    cold = {user for user in case.users if not case.seen_by(user)}
    assert cold == {COLD, "39"}
    assert report["candidates"] == CANDIDATES
    assert report["protocol"] == {
        "definition": "top-k accuracy by candidate id, mean over interactions",
        "masking": "seen kept; in top_k_accuracy_masked seen left out",
        "interactions": len(case.held_out),
        "train_interactions": len(case.train),
        "seen_interactions": len(case.seen),
        "queries": len(case.users),
        "distinct_queries": len(case.users),
        "cold_interactions_share": 2 / len(case.held_out),
        "unknown_candidates": 1,
        "seed": 42,
    }


@pytest.mark.parametrize("masked", [False, True])
def test_exact_accuracy_equals_counting(masked, report, case: Case, exact_lists):
    name = "top_k_accuracy_masked" if masked else "top_k_accuracy"
    expected = case.accuracy(exact_lists[masked])
    assert report[name]["exact"] == pytest.approx(expected, abs=1e-12)
    assert 0 < expected["1"] < expected["100"] < 1


@pytest.mark.parametrize("masked", [False, True])
def test_index_accuracy_equals_counting(masked, report, case: Case, index_lists):
    name = "top_k_accuracy_masked" if masked else "top_k_accuracy"
    assert report[name]["scann"] == pytest.approx(case.accuracy(index_lists[masked]))


@pytest.mark.parametrize("masked", [False, True])
def test_recall_equals_counting(masked, report, case, exact_lists, index_lists):
    for k in (10, 100):
        shares = [
            len(set(exact_lists[masked][u][:k]) & set(index_lists[masked][u][:k])) / k
            for u in case.users
        ]
        name = "recall_masked" if masked else "recall"
        assert report[name][str(k)] == pytest.approx(np.mean(shares))
    assert report["exact_signature_recall"] == 1


@pytest.mark.parametrize("masked", [False, True])
def test_popularity_equals_counting(masked, report, case: Case, world: World):
    name = "top_k_accuracy_masked" if masked else "top_k_accuracy"
    expected = case.accuracy(popularity_lists(case, world, masked))
    assert report["baselines"]["popularity"][name] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "fit", "options"),
    [
        ("item_knn", baselines.item_knn, {}),
        ("ease", baselines.ease, {"regularization": 500.0}),
    ],
)
def test_learned_baselines_are_asked_for_the_same_queries(
    name, fit, options, report, case: Case, world: World
):
    # Their own arithmetic is tested in test_baselines.py.
    catalogue = sorted(world.ids, key=str.encode)
    users = sorted({user for user, _ in case.train}, key=str.encode)

    def matrix_of(rows: Rows) -> csr_matrix:
        known = [(u, m) for u, m in rows if m != UNKNOWN]
        return baselines.interaction_matrix(
            [users.index(user) for user, _ in known],
            [catalogue.index(movie) for _, movie in known],
            (len(users), len(catalogue)),
        )

    # What validates is no more trained on than by the model, but seen all the same.
    matrix, validated = matrix_of(case.train), matrix_of(case.valid)
    for masked, key in ((False, "top_k_accuracy"), (True, "top_k_accuracy_masked")):
        score = fit(matrix, **options)
        hidden = validated if masked else None
        found = baselines.rank(score, matrix, 100, mask_seen=masked, hidden=hidden)
        lists: dict[str, list[str]] = collections.defaultdict(list)
        for user, row in zip(users, found, strict=True):
            lists[user] = [catalogue[i] for i in row if i >= 0]
        assert report["baselines"][name][key] == pytest.approx(case.accuracy(lists))


@pytest.mark.parametrize("masked", [False, True])
def test_ranking_equals_the_textbook(
    masked, report, case: Case, world: World, index_lists, exact_lists
):
    name = "ranking_masked" if masked else "ranking"
    for found, lists in (
        (report[name]["scann"], index_lists[masked]),
        (report[name]["exact"], exact_lists[masked]),
        (
            report["baselines"]["popularity"][name],
            popularity_lists(case, world, masked),
        ),
    ):
        expected = naive_ranking(case, world.ids, lists)
        assert found == pytest.approx(expected)
        assert 0 < expected["map@10"] < expected["hit_rate@10"] < 1


def test_the_previous_model_is_asked_the_same(report, case: Case, exact_lists):
    for masked, name in ((False, "top_k_accuracy"), (True, "top_k_accuracy_masked")):
        expected = case.accuracy(exact_lists[masked])
        assert report["previous"][name] == pytest.approx(expected, abs=1e-12)
        assert report["previous"][name] == report[name]["exact"]
    assert report["previous"]["ranking"] == report["ranking"]["exact"]


def test_warm_and_cold_are_told_apart(report, case: Case, index_lists, world: World):
    users, movies = ({row[i] for row in case.train} for i in (0, 1))
    rows = {
        "warm": [r for r in case.held_out if r[0] in users and r[1] in movies],
        "cold_queries": [r for r in case.held_out if r[0] not in users],
        "cold_candidates": [
            r for r in case.held_out if r[1] not in movies or r[1] == UNKNOWN
        ],
    }
    # Training has seen it, the catalogue has not.
    rows["warm"] = [row for row in rows["warm"] if row[1] != UNKNOWN]
    assert all(rows.values())
    popular = popularity_lists(case, world, masked=True)
    for part, own in rows.items():
        found = report["parts"][part]
        assert found["interactions"] == len(own)
        assert found["share"] == pytest.approx(len(own) / len(case.held_out))
        accuracy = found["top_k_accuracy_masked"]
        assert set(accuracy) == {"scann", "previous", *report["baselines"]}
        for name, lists in (("scann", index_lists[True]), ("popularity", popular)):
            only = case._replace(held_out=own)
            assert accuracy[name] == pytest.approx(only.accuracy(lists))


def test_intervals_are_of_the_masked_hits_by_query(report, case, index_lists, world):
    popular = popularity_lists(case, world, masked=True)
    hits, popular_hits = (
        np.array([movie in lists[user][:100] for user, movie in case.held_out], float)
        for lists in (index_lists[True], popular)
    )
    users = [case.users.index(user) for user, _ in case.held_out]
    found = report["intervals"]
    assert found["k"] == 100
    systems = {"scann", "previous", *report["baselines"]}
    assert set(found["figures"]) == systems == {"scann", *found["differences"]}

    def holds(figure: dict[str, float], values: np.ndarray) -> None:
        # The draws depend on the order of rows, the interval hardly.
        expected = intervals.bootstrap_mean(values, clusters=users, seed=1)
        assert (figure["low"], figure["high"]) == pytest.approx(expected, abs=0.02)
        assert figure["value"] == pytest.approx(values.mean())
        assert figure["low"] < figure["value"] < figure["high"]

    holds(found["figures"]["scann"]["top_100_accuracy"], hits)
    holds(found["figures"]["popularity"]["top_100_accuracy"], popular_hits)
    holds(found["differences"]["popularity"]["top_100_accuracy"], hits - popular_hits)


def test_intervals_of_ranking_are_about_their_figures(report):
    found = report["intervals"]
    model = report["ranking_masked"]["scann"]
    others = {"previous": report["previous"], **report["baselines"]}
    for metric in ("ndcg@10", "recall@10"):
        value = found["figures"]["scann"][metric]["value"]
        assert value == pytest.approx(model[metric])
        for name, figures in others.items():
            other = figures["ranking_masked"][metric]
            value = found["figures"][name][metric]["value"]
            assert value == pytest.approx(other)
            difference = found["differences"][name][metric]
            assert difference["value"] == pytest.approx(model[metric] - other)
            assert difference["low"] <= difference["value"] <= difference["high"]


def test_latency_is_positive_and_in_order(report):
    assert report["latency_ms"]["k"] == 10
    assert report["latency_ms"]["queries"] == 30
    for name in ("exact", "scann"):
        p50, p95, p99 = (report["latency_ms"][name][p] for p in ("p50", "p95", "p99"))
        assert 0 < p50 <= p95 <= p99 < 10_000


def test_the_gates_of_the_config_are_held(report):
    gates = {gate["name"]: gate for gate in report["gates"]}
    assert list(gates) == [
        "exact_signature_recall",
        "recall@10",
        "native recall@10",
        "latency_p99_ms",
        "masked top-100 accuracy against popularity",
        "masked top-100 accuracy minus that of the last blessed model, upper end of "
        "its 95% interval",
    ]
    against = gates["masked top-100 accuracy against popularity"]
    assert against["value"] == report["top_k_accuracy_masked"]["scann"]["100"]
    popular = report["baselines"]["popularity"]["top_k_accuracy_masked"]["100"]
    assert against["bound"] == popular
    upper = report["intervals"]["differences"]["previous"]["top_100_accuracy"]["high"]
    assert list(gates.values())[-1]["value"] == upper
    assert report["passed"] == all(gate["passed"] for gate in report["gates"])


# The same in this process, on other requests


def test_each_distinct_query_is_asked_once(case: Case, monkeypatch):
    asked: dict[str, list[int]] = collections.defaultdict(list)
    for name in ("search", "embed_query"):
        real = getattr(Recommender, name)

        def counted(self, queries, *args, _real=real, _name=name, **kwargs):
            asked[_name].append(len(queries["user_id"]))
            return _real(self, queries, *args, **kwargs)

        monkeypatch.setattr(Recommender, name, counted)
    evaluate.evaluate({**case.request, "config": {"latency_queries": 1}})
    assert len(case.users) < len(case.held_out) / 4
    # By the exact signature; by the index for each k of recall, and by the previous
    # model, seen items kept and left out.
    lists = 1 + 2 * len(evaluate.RECALL_KS) + 2
    assert sum(asked["search"]) == lists * len(case.users)
    assert sum(asked["embed_query"]) == len(case.users)


def test_batches_do_not_change_the_report(case: Case, report, monkeypatch):
    monkeypatch.setattr(evaluate, "_BATCH", 7)
    found = evaluate.evaluate({**case.request, "config": {"latency_queries": 1}})
    for name in ("exact_signature_recall", "baselines", "protocol"):
        assert found[name] == report[name]
    assert found["top_k_accuracy"]["exact"] == report["top_k_accuracy"]["exact"]
    assert found["recall"]["100"] == pytest.approx(report["recall"]["100"], abs=0.02)


def evaluated(
    case: Case, tmp_path: pathlib.Path, held_out: Rows, seen: Rows, **config: Any
) -> dict[str, Any]:
    request = {
        **case.request,
        "previous_model": None,
        "train_files": [write_interactions(tmp_path / "seen", seen)],
        "valid_files": [],
        "eval_files": [write_interactions(tmp_path / "eval", held_out)],
        "config": {"latency_queries": 2, **config},
    }
    return read_strictly(json.dumps(evaluate.evaluate(request)))


def test_one_cold_interaction_with_an_unknown_candidate_is_a_number(case, tmp_path):
    report = evaluated(case, tmp_path, [(COLD, UNKNOWN)], [("1", "007")])
    assert report["protocol"]["cold_interactions_share"] == 1
    assert report["protocol"]["unknown_candidates"] == 1
    for name in ("exact", "scann"):
        assert set(report["top_k_accuracy"][name].values()) == {0}
    for one in report["baselines"].values():
        assert set(one["top_k_accuracy"].values()) == {0}
    difference = report["intervals"]["differences"]["popularity"]["top_100_accuracy"]
    assert difference == {"value": 0, "low": 0, "high": 0}
    assert not report["passed"], "no better than popularity"
    assert report["parts"]["warm"] == {
        "interactions": 0,
        "share": 0,
        "top_k_accuracy_masked": {},
    }
    assert report["previous"] is None
    # What was held out is in no catalogue and so has no popularity.
    assert report["ranking"]["scann"]["popularity_bias@10"] is None


def test_a_user_who_has_seen_everything_is_a_number(case: Case, world, tmp_path):
    seen = [("1", movie) for movie in world.ids]
    held_out = [("1", "007"), ("2", world.ranking("2")[0])]
    report = evaluated(case, tmp_path, held_out, seen)
    assert report["top_k_accuracy"]["exact"]["100"] > 0
    assert report["top_k_accuracy_masked"]["exact"]["100"] == 0.5
    # Whoever has nothing left misses nothing.
    assert report["recall_masked"]["10"] >= 0.5


def test_an_empty_history_is_a_number(case: Case, tmp_path, world: World):
    held_out = [(user, world.ranking(user)[0]) for user in world.users[:3]]
    report = evaluated(case, tmp_path, held_out, [("1", UNKNOWN)])
    assert report["top_k_accuracy"]["exact"]["1"] == 1
    assert report["protocol"]["cold_interactions_share"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", ["item_knn", "ease", "ials"])
def test_a_baseline_is_left_out_above_its_size(name, case: Case, tmp_path):
    bounds = dict.fromkeys(("item_knn_up_to", "ease_up_to", "ials_up_to"), 0)
    for up_to, expected in ((CANDIDATES - 1, set()), (CANDIDATES, {name})):
        bounds[f"{name}_up_to"] = up_to
        folder = tmp_path / str(up_to)
        report = evaluated(case, folder, [("1", "007")], [("1", "7")], **bounds)
        assert set(report["baselines"]) == {"popularity", *expected}


def test_intervals_can_be_left_out(case: Case, tmp_path):
    report = evaluated(
        case, tmp_path, [("1", "007")], [("1", "7")], confidence_intervals=False
    )
    assert report["intervals"] == {}


def test_of_many_queries_a_sample_is_asked(case: Case, tmp_path, world: World):
    held_out = [
        (user, movie)
        for place, user in enumerate(world.users[:30])
        for movie in world.ranking(user)[10 * place : 10 * place + 2]
    ]
    reports = [
        evaluated(case, tmp_path / name, held_out, [("1", "7")], max_queries=10, **more)
        for name, more in (("a", {}), ("b", {}), ("c", {"seed": 7}))
    ]
    for report in reports:
        protocol = report["protocol"]
        assert (protocol["queries"], protocol["distinct_queries"]) == (10, 30)
        assert protocol["interactions"] == 20
    accuracy = [report["top_k_accuracy"]["exact"] for report in reports]
    assert accuracy[0] == accuracy[1] != accuracy[2]


def test_a_gate_that_fails_says_by_how_much(case: Case, tmp_path):
    gates = {
        "min_recall_at_10": None,
        "max_p99_ms": 1e-4,
        "better_than_popularity": False,
    }
    report = evaluated(case, tmp_path, [("1", "007")], [("1", "7")], gates=gates)
    assert not report["passed"]
    recall, latency = report["gates"]
    assert (recall["name"], recall["passed"]) == ("exact_signature_recall", True)
    assert (latency["name"], latency["passed"]) == ("latency_p99_ms", False)
    p99 = report["latency_ms"]["scann"]["p99"]
    assert latency["sentence"] == (
        f"latency_p99_ms: {p99:.4g}, must be at most 0.0001, missed by {p99 - 1e-4:.4g}"
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("model", "{missing} holds no SavedModel; name the folder of a version"),
        ("eval_files", "no interactions in {missing}; the split is empty"),
        ("train_files", "no interactions in {missing}; the split is empty"),
        ("valid_files", "no interactions in {missing}; the split is empty"),
    ],
)
def test_what_the_user_must_mend_is_one_sentence(
    change, sentence, case: Case, tmp_path, capsys
):
    missing = str(tmp_path / "missing")
    value = missing if change == "model" else [missing]
    request, report = tmp_path / "request.json", tmp_path / "report.json"
    request.write_text(json.dumps({**case.request, change: value}), encoding="utf-8")
    assert evaluate.main(str(request), str(report)) == 1
    printed = capsys.readouterr()
    assert printed.err == sentence.format(missing=missing) + "\n"
    assert printed.out == ""
    assert not report.exists()


# Interactions


def test_a_table_is_read_from_all_shards_in_order(tmp_path):
    rows = [{"user": f"u{i}", "age": i, "score": i / 2} for i in range(7)]
    first = write_rows(tmp_path / "a", rows[:4], 2)
    second = write_rows(tmp_path / "b", rows[4:], 1)
    specs = {
        "user": tf.TensorSpec([None], tf.string),
        "age": tf.TensorSpec([None], tf.int64),
        "score": tf.TensorSpec([None], tf.float32),
    }
    table = read_table([second, first], specs)
    assert len(table) == 7
    order = [0, 2, 1, 3, 4, 5, 6]  # shards take rows in turn
    assert [v.decode() for v in table.columns["user"]] == [f"u{i}" for i in order]
    assert table.columns["age"].tolist() == order
    assert table.columns["score"].tolist() == [i / 2 for i in order]


def test_a_feature_that_a_row_lacks_is_empty(tmp_path):
    pattern = write_rows(tmp_path / "a", [{"user": "u"}, {"movie": "m"}], 1)
    spec = tf.TensorSpec([None], tf.string)
    table = read_table([pattern], {"user": spec, "movie": spec})
    assert table.columns["user"].tolist() == [b"u", b""]
    assert table.columns["movie"].tolist() == [b"", b"m"]


def test_shards_without_a_row_are_an_empty_split(tmp_path):
    patterns = [write_rows(tmp_path / name, [], 2) for name in ("a", "b")]
    with pytest.raises(UserError) as caught:
        read_table(patterns, {"user": tf.TensorSpec([None], tf.string)})
    assert str(caught.value) == (
        f"no interactions in {patterns[0]}, {patterns[1]}; the split is empty"
    )


def test_queries_are_distinct_by_all_of_their_features():
    user = np.array([b"b", b"a", b"b", b"a", b"b"])
    hour = np.array([1, 1, 2, 1, 1])
    rating = np.array([1, 2, 3, 4, 5])
    table = Table({"user": user, "hour": hour, "rating": rating})
    queries = distinct_queries(table, ["hour", "user"])
    assert len(queries) == 3
    pairs = list(zip(queries.features["user"], queries.features["hour"], strict=True))
    assert sorted(pairs) == [(b"a", 1), (b"b", 1), (b"b", 2)]
    assert [pairs[i] for i in queries.of_row] == list(zip(user, hour, strict=True))
    assert len(distinct_queries(table, ["user"])) == 2


def test_positions_of_values_in_a_vocabulary():
    vocabulary = np.array([b"b", b"", b"a"], object)
    found = positions(np.array([b"a", b"zz", b"b", b"a"], object), vocabulary)
    assert found.tolist() == [2, -1, 0, 2]
    assert positions([], vocabulary).shape == (0,)


# Gates


@pytest.mark.parametrize(
    ("gate", "passed", "sentence"),
    [
        (
            Gate("recall@10", 0.96, 0.95, "at least"),
            True,
            "recall@10: 0.96, must be at least 0.95",
        ),
        (
            Gate("recall@10", 0.95, 0.95, "at least"),
            True,
            "recall@10: 0.95, must be at least 0.95",
        ),
        (
            Gate("recall@10", 0.9, 0.95, "at least"),
            False,
            "recall@10: 0.9, must be at least 0.95, missed by 0.05",
        ),
        (
            Gate("latency_p99_ms", 50.0, 50.0, "at most"),
            True,
            "latency_p99_ms: 50, must be at most 50",
        ),
        (
            Gate("latency_p99_ms", 72.25, 50.0, "at most"),
            False,
            "latency_p99_ms: 72.25, must be at most 50, missed by 22.25",
        ),
        (
            Gate("accuracy", 0.41, 0.4, "above"),
            True,
            "accuracy: 0.41, must be above 0.4",
        ),
        (
            Gate("accuracy", 0.4, 0.4, "above"),
            False,
            "accuracy: 0.4, must be above 0.4, missed by 0",
        ),
    ],
)
def test_a_gate_says_what_was_measured_and_what_is_wanted(gate, passed, sentence):
    assert gate.passed is passed
    assert gate.sentence() == sentence
    assert gate.as_dict() == {
        "name": gate.name,
        "value": gate.value,
        "bound": gate.bound,
        "side": gate.side,
        "passed": passed,
        "sentence": sentence,
    }


@pytest.mark.parametrize("side", ["at least", "at most", "above"])
def test_a_value_that_is_not_a_number_never_passes(side):
    assert not Gate("accuracy", math.nan, 0.1, side).passed


def measured(**changes: Any) -> dict[str, Any]:
    """A report as far as the gates read it."""
    accuracy = {str(k): 0.1 for k in KS}
    return {
        "exact_signature_recall": 1.0,
        "recall": {"10": 0.97, "100": 0.99},
        "native_recall": {"10": 0.98, "100": 0.99},
        "latency_ms": {"scann": {"p99": 3.0}, "exact": {"p99": 9.0}},
        "top_k_accuracy_masked": {"scann": {**accuracy, "10": 0.3, "100": 0.6}},
        "baselines": {
            "popularity": {"top_k_accuracy_masked": {**accuracy, "10": 0.2, "100": 0.4}}
        },
        "intervals": {"k": 100, "figures": {}, "differences": {"popularity": {}}},
        **changes,
    }


def test_each_bound_of_the_config_is_a_gate():
    gates = index_gates(GatesConfig(), measured())
    assert [(gate.value, gate.bound, gate.side) for gate in gates] == [
        (1.0, 0.999, "at least"),
        (0.97, 0.95, "at least"),
        (0.98, 0.95, "at least"),
        (3.0, 50.0, "at most"),
        (0.6, 0.4, "above"),
    ]
    assert all(gate.passed for gate in gates)


@pytest.mark.parametrize(
    ("low", "high", "passed"),
    [(-0.02, -0.01, False), (-0.02, 0.01, True), (0.01, 0.02, True), (0, 0, True)],
)
def test_a_model_worse_than_the_last_blessed_one_by_more_than_chance_is_refused(
    low, high, passed
):
    before = {"value": (low + high) / 2, "low": low, "high": high}
    differences = {"previous": {"top_100_accuracy": before}}
    report = measured(intervals={"k": 100, "differences": differences})
    gate = index_gates(GatesConfig(), report)[-1]
    assert "last blessed model" in gate.name
    assert (gate.value, gate.bound, gate.passed) == (high, 0, passed)
    without = index_gates(GatesConfig(not_worse_than_blessed=False), report)
    assert len(without) == 5


def test_gate_k_chooses_the_accuracy():
    gate = index_gates(GatesConfig(gate_k=10), measured())[-1]
    assert gate.name == "masked top-10 accuracy against popularity"
    assert (gate.value, gate.bound) == (0.3, 0.2)


def test_a_bound_of_null_is_no_gate_but_exact_search_always_is():
    config = GatesConfig(
        min_recall_at_10=None, max_p99_ms=None, better_than_popularity=False
    )
    (gate,) = index_gates(config, measured(exact_signature_recall=0.9))
    assert gate.name == "exact_signature_recall"
    assert not gate.passed


# Config


def test_the_defaults_ask_for_all_there_is():
    config = EvaluationConfig()
    assert config.gates.min_recall_at_10 == 0.95
    assert config.gates.better_than_popularity
    assert config.confidence_intervals
    assert EvaluationConfig(**config.model_dump()) == config


@pytest.mark.parametrize(
    "wrong",
    [
        {"gate": {}},
        {"gates": {"min_recall": 0.9}},
        {"gates": {"min_recall_at_10": 1.1}},
        {"gates": {"max_p99_ms": 0}},
        {"gates": {"gate_k": 7}},
        {"latency_queries": 0},
        {"ease_up_to": -1},
        {"slices": "user_gender"},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(pydantic.ValidationError):
        EvaluationConfig(**wrong)
