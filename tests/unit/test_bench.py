# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist bench` on small catalogues, in real processes, and its parts."""

import json
import pathlib
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from pipeline.cli import main
from serving.bench import measure, report, workload
from serving.bench.systems import SYSTEMS, System

COMMAND = ["bench", "--queries", "40"]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> workload.Workload:
    folder = str(tmp_path_factory.mktemp("workload"))
    workload.synthetic(3000, 16, 40, 1, folder)
    return workload.read(folder)


def brute_force(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-(queries.astype(float) @ vectors.T), axis=1)[:, :k]


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
    order = np.argsort(np.array(world.ids, object))
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

    def many(self, queries: np.ndarray, k: int) -> np.ndarray:
        """The truth of queries, of which some is lost without effort."""
        rows = list(map(int, self.workload.ids_of(queries)))
        found = self.workload.truth[rows, :k]
        if self.effort[1] < 160:
            found[:, k // 2 :] = -1
        return found


def test_recall_is_of_the_queries_that_are_named(synthetic):
    system = Known(synthetic, "")
    assert measure.recall(system, slice(20, None), 10) == 0.5
    system.effort = (1, 160)
    assert measure.recall(system, slice(20, None), 100) == 1


def test_the_effort_reaches_the_target_or_says_so(synthetic, monkeypatch):
    system = Known(synthetic, "")
    monkeypatch.setattr(measure, "_leaves_of", lambda system: 100)
    monkeypatch.setattr(measure, "_median_ms", lambda one, count: float(one.effort[1]))
    chosen = measure.choose_effort(system, 20, 0.99)
    assert chosen["effort"]["reorder"] == 160 and chosen["reaches_target"]
    assert [one["recall"] for one in chosen["frontier"]] == sorted(
        one["recall"] for one in chosen["frontier"]
    )
    assert system.effort[1] == 160
    easy = measure.choose_effort(system, 20, 0.5)
    assert easy["effort"]["reorder"] == 20
    monkeypatch.setattr(measure, "_REORDER", (20, 40))
    missed = measure.choose_effort(system, 20, 0.99)
    assert not missed["reaches_target"]


def test_an_exhaustive_search_is_not_asked_for_more_than_fits(synthetic, monkeypatch):
    system = Known(synthetic, "")
    assert measure.most_at_once(system) == max(measure.BATCHES)
    system.is_exhaustive = True
    monkeypatch.setattr(measure, "_MOST_SCORES", 3000 * 33)
    monkeypatch.setattr(measure, "_LEAST_SECONDS", 0.0)
    assert measure.throughput(system, 1000) is None
    assert measure.recall(system, slice(None), 10) == 0.5


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
            "unknown system 'Lucene'; there are 'TFRS BruteForce'",
        ),
        (["--target-recall", "1.5"], "--target-recall must be above 0 and at most 1"),
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
