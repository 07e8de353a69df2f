# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist bench` on small catalogues, in real processes, and its parts."""

import json
import pathlib
import xml.etree.ElementTree as ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipeline.cli import main
from pipeline.layout import Layout, of_version
from serving.bench import accuracy, measure, report, workload
from serving.bench import pairs as pairs_of
from serving.bench.systems import STREAMING, SYSTEMS, WITH_ACCURACY, System
from serving.errors import UserError
from serving.evaluation import metrics
from serving.native import read_catalogue

COMMAND = ["bench", "--queries", "40"]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> workload.Workload:
    folder = str(tmp_path_factory.mktemp("workload"))
    workload.synthetic(3000, 16, 40, 1, folder)
    return workload.read(folder)


def brute_force(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-(queries.astype(float) @ vectors.T), axis=1)[:, :k]


def catalogue_of(path: str) -> list[str]:
    """The ids of a version in the order of its index."""
    return read_catalogue(path)["candidate_id"].to_pylist()


# The vectors


def test_synthetic_vectors_lie_in_clusters(synthetic):
    vectors = np.asarray(synthetic.vectors)
    assert vectors.shape == (3000, 16) and synthetic.queries.shape == (40, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    nearest = np.sort(vectors @ vectors.T, axis=1)
    # Somebody is near, most are not: that is what an index lives by.
    assert np.median(nearest[:, -10]) > 0.6 > 0.3 > np.median(nearest)


def test_the_truth_is_that_of_an_exact_search(synthetic):
    found = brute_force(synthetic.vectors, synthetic.queries, 100)
    assert (found == synthetic.truth).mean() > 0.999


def test_a_seed_gives_the_same_vectors_again(synthetic, tmp_path):
    workload.synthetic(3000, 16, 40, 1, str(tmp_path))
    assert (workload.read(str(tmp_path)).vectors == synthetic.vectors).all()


def test_copies_are_the_catalogue_times_numbers_below_one(build, world, tmp_path):
    workload.from_model(build("scann").path, 3, 25, 7, str(tmp_path))
    made = workload.read(str(tmp_path))
    order = [world.ids.index(one) for one in catalogue_of(build("scann").path)]
    original = world.candidate_vectors[order].astype(np.float32)
    size = len(original)
    np.testing.assert_allclose(made.vectors[:size], original, rtol=1e-6)
    for copy in range(1, 4):
        ratio = made.vectors[copy * size : (copy + 1) * size] / original
        assert (ratio >= 0).all() and (ratio < 1).all()
        assert ratio.mean() == pytest.approx(0.5, abs=0.02)
    assert len(made.queries) == 25
    known = {row.tobytes() for row in world.query_vectors.astype(np.float32)}
    near = [
        min(np.abs(query - np.frombuffer(one, np.float32)).max() for one in known)
        for query in made.queries
    ]
    assert max(near) < 1e-6


# The figures


class Known(System):
    """Finds what it is told to, as long as it is told to try hard."""

    has_effort = True

    def one(self, row: int) -> None:
        """Takes no time."""

    def many(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The truth of queries, of which some is lost without effort."""
        rows = list(map(int, self.workload.ids_of(queries)))
        found = self.workload.truth[rows, :k]
        if self.effort[1] < 160:
            found[:, k // 2 :] = -1
        return found, np.zeros(found.shape, np.float32)


def test_recall_is_of_the_queries_that_are_named(synthetic):
    system = Known(synthetic, "")
    assert measure.recall(system, slice(20, None), 10) == 0.5
    system.effort = (1, 160)
    assert measure.recall(system, slice(20, None), 100) == 1


@pytest.fixture
def hits_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of a hundred leaves, in which each hit rescored costs as much."""
    monkeypatch.setattr(measure, "_leaves_of", lambda system: 100)
    monkeypatch.setattr(measure, "_median_ms", lambda one, count: float(one.effort[1]))


@pytest.mark.usefixtures("hits_cost")
def test_the_effort_reaches_the_target_or_says_so(synthetic, monkeypatch):
    system = Known(synthetic, "")
    chosen = measure.choose_effort(system, 20, 0.99)
    assert chosen["effort"]["reorder"] == 160 and chosen["reaches_target"]
    assert [one["recall"] for one in chosen["frontier"]] == sorted(
        one["recall"] for one in chosen["frontier"]
    )
    assert system.effort[1] == 160
    easy = measure.choose_effort(system, 20, 0.5)
    assert easy["effort"]["reorder"] == 10
    monkeypatch.setattr(measure, "MOST_REORDERED", 100)
    missed = measure.choose_effort(system, 20, 0.99)
    assert not missed["reaches_target"]


class Graded(Known):
    """Finds the whole truth of a query from as many hits on as its row asks for."""

    def many(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The truth, half of it for queries that ask for more."""
        rows = np.array(list(map(int, self.workload.ids_of(queries))))
        found = self.workload.truth[rows, :k]
        found[self.effort[1] < 100 + 10 * rows, k // 2 :] = -1
        return found, np.zeros(found.shape, np.float32)


@pytest.mark.usefixtures("hits_cost")
def test_no_hit_more_is_rescored_than_the_first_queries_need(synthetic):
    system = Graded(synthetic, "")
    # A half of two of twenty queries may be missed: those of the rows 18 and 19.
    chosen = measure.choose_effort(system, 20, 0.95)
    assert chosen["effort"]["reorder"] == 270 and chosen["reaches_target"]


def test_an_exhaustive_search_is_not_asked_for_more_than_fits(synthetic, monkeypatch):
    system = Known(synthetic, "")
    assert measure.most_at_once(system) == max(measure.BATCHES)
    system.is_exhaustive = True
    monkeypatch.setattr(measure, "_MOST_SCORES", 3000 * 33)
    monkeypatch.setattr(measure, "_LEAST_SECONDS", 0.0)
    assert measure.throughput(system, 1000) is None
    assert measure.recall(system, slice(None), 10) == 0.5


# The pairs


def test_drawn_pairs_are_a_query_and_one_of_its_best(synthetic):
    drawn = pairs_of.drawn(synthetic, 5000, 3)
    again = pairs_of.drawn(synthetic, 5000, 3)
    assert (drawn.query == again.query).all()
    assert (drawn.candidate == again.candidate).all()
    best = brute_force(synthetic.vectors, synthetic.queries, pairs_of.DEPTH)
    ranks = metrics.ranks(best, drawn.query, drawn.candidate)
    # Evenly: no rank is preferred, a thousand are 3 times as wide as the best 333.
    assert (ranks >= 0).all() and len(np.unique(drawn.query)) == 40
    assert np.mean(ranks < 333) == pytest.approx(0.333, abs=0.03)
    assert drawn.about["origin"] == "drawn"


def write_ids(path, ids) -> str:
    columns = zip(*ids, strict=True)
    names = ("query_id", "candidate_id")
    pq.write_table(pa.table(dict(zip(names, map(list, columns), strict=True))), path)
    return str(path)


def test_pairs_that_were_held_out_are_found_by_their_ids(build, world, tmp_path):
    path = build("scann").path
    known = [
        (user, world.ids[at]) for user in world.users[:3] for at in range(5, 30, 5)
    ]
    file = write_ids(tmp_path / "a", [*known, ("nobody", world.ids[4]), ("1", "gone")])
    pairs = pairs_of.held_out(file, path, 100, 1)
    pairs_of.write(pairs, str(tmp_path))
    read = pairs_of.read(str(tmp_path))
    assert read.about == pairs.about and read.about["left_out"] == 1
    catalogue = catalogue_of(path)
    vectors = np.concatenate([world.query_vectors[:3], np.zeros((1, 9))])
    named = {tuple(np.round(vector, 4)): at for at, vector in enumerate(vectors[:3])}
    found = {
        (named.get(tuple(np.round(read.queries[query].astype(float), 4))), candidate)
        for query, candidate in zip(read.query, read.candidate.tolist(), strict=True)
    }
    expected = {(world.users.index(user), catalogue.index(one)) for user, one in known}
    assert found == expected | {(None, catalogue.index(world.ids[4]))}
    assert len(read) == 16 and len(read.queries) == 4
    few = pairs_of.held_out(file, path, 6, 1)
    assert len(few) == 6 and few.about["how"].startswith("6 of 17 interactions")


def test_pairs_of_another_catalogue_are_refused(build, tmp_path):
    file = write_ids(tmp_path / "a", [("1", "gone")])
    with pytest.raises(UserError, match="none of the candidates that were held out is"):
        pairs_of.held_out(file, build("scann").path, 100, 1)


def test_a_version_of_a_run_is_known_by_where_it_lies(tmp_path):
    layout = Layout(str(tmp_path), "shop")
    version = pathlib.Path(layout.serving, "17")
    version.mkdir(parents=True)
    assert of_version(str(version)) is None  # no run left metadata
    pathlib.Path(layout.metadata).touch()
    assert of_version(f"{version}/") == layout
    assert of_version(str(tmp_path / "shop")) is None


# Their accuracy


class Sloppy(System):
    """Exact search that misses every candidate of an odd row."""

    is_slow = True

    def one(self, row: int) -> None:
        """Nobody asks."""

    def many(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Remembers how many it was asked."""
        self.asked = [*getattr(self, "asked", []), len(queries)]
        scores, rows = metrics.exact_top_k(queries, self.workload.vectors[::2], k)
        return rows * 2, scores


def test_what_an_index_misses_helps_it_by_score_alone(synthetic):
    pairs = pairs_of.drawn(synthetic, 3000, 3)
    found = accuracy.measure(Sloppy(synthetic, ""), pairs, 0)
    best = metrics.exact_top_k(synthetic.queries, synthetic.vectors, 100)[1]
    ranks = metrics.ranks(best, pairs.query, pairs.candidate)
    exactly = metrics.top_k_accuracy(ranks, accuracy.KS)
    for k in accuracy.KS[2:]:
        by_id, by_score = found["by_id"][str(k)], found["by_score"][str(k)]
        assert by_id < 1.2 * exactly[k] < by_score
    even = pairs.candidate % 2 == 0
    assert found["by_id"]["100"] <= even.mean() * 0.25 and found["pairs"] == 3000


def test_a_slow_system_is_asked_a_sample(synthetic):
    pairs = pairs_of.drawn(synthetic, 3000, 3)
    system = Sloppy(synthetic, "")
    found = accuracy.measure(system, pairs, 1e-9)
    assert found["pairs"] == 256 and system.asked == [8, 256, 256]
    assert accuracy.measure(system, pairs, 0)["pairs"] == 3000
    assert accuracy.measure(system, pairs, 1e9)["pairs"] == 3000


def test_accuracy_by_score_is_tensorflows_in_top_k():
    rng = np.random.default_rng(1)
    scores = -np.sort(-rng.integers(0, 30, (500, 20)).astype(np.float32), axis=1)
    scores[::7, 15:] = np.nan
    scores[::11, 18:] = -np.inf
    own = rng.integers(0, 40, 500).astype(np.float32)
    found = metrics.top_k_accuracy_by_score(scores, own, [1, 3, 10, 20, 50])
    predictions = np.concatenate([own[:, None], scores], axis=1)
    for k, value in found.items():
        hits = tf.math.in_top_k(np.zeros(500, np.int32), predictions, k)
        assert value == np.mean(hits)


# The command


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> pathlib.Path:
    """A whole run with every system."""
    out = tmp_path_factory.mktemp("bench")
    arguments = ["--synthetic", "2000", "--dim", "8", "--index", "kind=scann"]
    assert main([*COMMAND, *arguments, "-o", str(out)]) == 0
    return out


def test_every_system_is_measured(ran):
    results = json.loads((ran / "bench.json").read_text())
    assert list(results["systems"]) == list(SYSTEMS)
    assert (results["candidates"], results["dimensions"]) == (2000, 8)
    for name, one in results["systems"].items():
        exhaustive = "exact" in name or "BruteForce" in name
        assert one["recall"]["10"] == 1 if exhaustive else one["recall"]["10"] > 0.2
        assert (one["recall_error"]["10"] == 0) is (one["recall"]["10"] == 1)
        assert 0 < one["ms"]["p50"] <= one["ms"]["p99"]
        assert all(value > 0 for value in one["qps"].values())
        assert one["memory_bytes"] > 1e8
    native, model = (
        results["systems"][name]["recall"]
        for name in ("native, embedding to rows", "SavedModel, embedding to ids")
    )
    assert native == model
    assert results["build"]["disk_bytes"] > 2000 * 8 * 4


def test_the_table_has_a_line_for_each_system(ran):
    results = json.loads((ran / "bench.json").read_text())
    table = report.as_table(results)
    assert all(f"\n{name} " in table for name in SYSTEMS)
    assert table.startswith("2,000 x 8 (synthetic clusters), 40 queries, 1 thread\n")
    assert "DOES NOT REACH" not in table


def test_accuracy_is_measured_on_pairs(ran):
    found = json.loads((ran / "bench.json").read_text())["accuracy"]
    assert list(found["systems"]) == list(WITH_ACCURACY)
    assert (found["pairs"], found["origin"]) == (20_000, "drawn")
    exact = found["systems"]["exact, NumPy"]
    for name, one in found["systems"].items():
        assert one["pairs"] == 20_000 and one["seconds"] > 0
        assert ("seconds_by_query" in one) == (name != STREAMING)
        assert (
            list(one["by_id"]) == list(one["by_score"]) == list(map(str, (accuracy.KS)))
        )
        for k, value in one["by_id"].items():
            assert value <= one["by_score"][k]
            assert value == pytest.approx(exact["by_id"][k], abs=0.05)
    streaming = found["systems"][STREAMING]
    assert streaming["by_id"] == exact["by_id"] == exact["by_score"]
    assert exact["by_id"]["100"] == pytest.approx(0.1, abs=0.01)


def test_an_extrapolation_is_never_told_as_measured(ran):
    results = json.loads((ran / "bench.json").read_text())
    table = report.as_table(results)
    second = table[table.index("20,000 pairs of a query") :]
    assert all(f"\n{name} " in second for name in WITH_ACCURACY)
    assert "evenly one of its exact best 1,000" in second
    assert "an approximate index looks better" in second
    assert "extrapolated" not in second
    results["accuracy"]["systems"][STREAMING] |= {"pairs": 400, "seconds": 3.0}
    assert (
        "TFRS Streaming was asked a sample of 400 pairs; if its time grows as their "
        "number, all 20,000 take about 150 s: extrapolated, not measured."
    ) in report.as_table(results)
    results["accuracy"] = None
    assert "pairs" not in report.as_table(results)


def test_the_plot_names_every_system(ran):
    plot = ElementTree.parse(ran / "bench.svg").getroot()
    assert plot.tag.endswith("svg")
    text = (ran / "bench.svg").read_text()
    assert all(f"<!-- {name} -->" in text for name in SYSTEMS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--system", "Lucene"],
            "unknown system 'Lucene'; there are 'TFRS Streaming'",
        ),
        (["--target-recall", "1.5"], "--target-recall must be above 0 and at most 1"),
        (
            ["--streaming-seconds", "-1"],
            "--streaming-seconds must be 0 or more, got -1",
        ),
        (["--index", "leafs=3"], "--index leafs: Extra inputs are not permitted"),
        (["--index", "leaves"], "--index must be of the form KEY=VALUE, got leaves"),
        (["--model", "{tmp}"], "{tmp} has no native engine"),
        (["--root", "{tmp}"], "no pushed version in {tmp}"),
    ],
)
def test_mistakes_are_told_in_one_sentence(arguments, message, tmp_path, capsys):
    filled = [one.replace("{tmp}", str(tmp_path)) for one in arguments]
    if not {"--model", "--root"} & set(arguments):
        filled += ["--synthetic", "100"]
    assert main([*COMMAND, *filled]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("shortlist bench: ")
    assert message.replace("{tmp}", str(tmp_path)) in said
