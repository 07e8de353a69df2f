# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The whole pipeline on a cut of MovieLens: what it runs, refuses and answers."""

import collections
import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import re
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from pipeline import held_out
from pipeline.layout import of_version
from serving import checksums, manifest
from serving.model import Recommender
from serving.native import NativeEngine
from serving.process import child_environment
from trainer.features import vocabulary_name

NODES = [
    "ExampleGen.candidates",
    "ExampleGen.interactions",
    "StatisticsGen.candidates",
    "StatisticsGen.interactions",
    "SchemaGen.candidates",
    "SchemaGen.interactions",
    "ExampleValidator.candidates",
    "ExampleValidator.interactions",
    "ExampleCleaner",
    "FeatureValidator",
    "Transform.candidates",
    "Transform.interactions",
    "Trainer",
    "CandidateEmbedder",
    "ScannIndexer",
    "LatestBlessedModel",
    "Evaluator",
    "IndexEvaluator",
    "Pusher",
]
RESOLVER = "LatestBlessedModel"
KS = ["1", "5", "10", "50", "100"]


def expected_states(*executed: str) -> dict[str, str]:
    """These nodes ran, the others came from the cache; a resolver always looks."""
    ran = {RESOLVER, *executed}
    return {node: "COMPLETE" if node in ran else "CACHED" for node in NODES}


def folder_hash(folder: pathlib.Path) -> dict[str, str]:
    """Every file below a folder and a hash of what is in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def figures(summary: dict) -> dict:
    """A summary without what a clock says of the run."""
    return {key: value for key, value in summary.items() if key != "run"}


def read_ids(artifact, split: str, feature: str) -> list[str]:
    """The ids in a feature of raw or transformed examples.

    TensorFlow refuses to parse a feature that is not one string in each example.
    """
    pattern = os.path.join(artifact.uri, f"Split-{split}", "*")
    files = sorted(tf.io.gfile.glob(pattern))
    (rows,) = tf.data.TFRecordDataset(files, "GZIP").batch(100_000)
    spec = {feature: tf.io.FixedLenFeature([], tf.string)}
    ids = tf.io.parse_example(rows, spec)[feature].numpy()
    return [id_.decode() for id_ in ids]


@pytest.fixture(scope="session")
def catalogue(movielens_data_dir) -> dict[str, str]:
    """Titles by id, straight from the prepared dataset."""
    (path,) = pathlib.Path(movielens_data_dir).glob("movielens/100k-movies/*/*.tfrec*")
    titles = {}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        (id_,) = feature["movie_id"].bytes_list.value
        (title,) = feature["movie_title"].bytes_list.value
        titles[id_.decode()] = title.decode().strip()  # one ends with a blank
    assert len(titles) == 1682
    return titles


# The first run.


def test_each_node_runs_once(first_run):
    assert list(first_run.executions) == NODES
    assert first_run.states() == expected_states(*NODES)
    lines = first_run.stderr.splitlines()
    told = [line.split()[2] for line in lines if line.endswith(" s")]
    assert told == NODES
    assert [n["node"] for n in first_run.summary["run"]["nodes"]] == NODES
    absl = re.compile("[IWEF][0-9]{4} |WARNING: All log messages before absl")
    assert not [line for line in lines if absl.match(line)]


def test_each_artifact_is_live_and_there(first_run):
    artifacts = [
        artifact
        for outputs in first_run.outputs.values()
        for artifact in outputs.values()
    ]
    assert len(artifacts) >= 24
    for artifact in artifacts:
        assert artifact.mlmd_artifact.state == 2, artifact  # LIVE
        assert any(pathlib.Path(artifact.uri).rglob("*")), artifact.uri


def test_both_blessings_are_given(first_run):
    model = first_run.outputs["Evaluator"]["blessing"]
    infra = first_run.outputs["IndexEvaluator"]["blessing"]
    assert model.get_int_custom_property("blessed") == 1
    assert infra.get_int_custom_property("blessed") == 1
    assert os.listdir(model.uri) == ["BLESSED"]
    assert os.listdir(infra.uri) == ["INFRA_BLESSED"]


def test_the_summary_holds_what_is_promised(first_run):
    summary = first_run.summary
    for kind in ("exact", "scann"):
        for name in ("top_k_accuracy", "top_k_accuracy_masked"):
            accuracy = summary[name][kind]
            assert sorted(accuracy, key=int) == KS
            ordered = [accuracy[k] for k in KS]
            assert ordered == sorted(ordered)
            assert 0 < ordered[-1] < 1
        latency = summary["latency_ms"][kind]
        assert 0 < latency["p50"] <= latency["p99"]
    assert set(summary["recall"]) == {"10", "100"}
    assert all(0.9 < value <= 1 for value in summary["recall"].values())
    popularity = summary["baselines"]["popularity"]
    assert sorted(popularity["top_k_accuracy_masked"], key=int) == KS
    assert summary["pushed_version"] == first_run.versions[-1]
    protocol = summary["protocol"]
    assert (protocol["interactions"], protocol["seen_interactions"]) == (3000, 12000)
    assert all(gate["passed"] for gate in summary["gates"])
    assert {"recall@10", "latency_p99_ms"} < {gate["name"] for gate in summary["gates"]}
    masked = summary["top_k_accuracy_masked"]["scann"]["100"]
    assert masked > popularity["top_k_accuracy_masked"]["100"]


def test_metrics_prints_the_summary_and_nothing_else(home, second_run):
    said = home.shortlist("metrics", "--root", str(home.root), "--format", "json")
    assert said.code == 0
    assert json.loads(said.stdout)["pushed_version"] == second_run.versions[-1]
    table = home.shortlist("metrics", "--root", str(home.root)).stdout
    assert f"pushed version {second_run.versions[-1]}" in table
    assert "with 95% intervals" in table and "cold queries" in table


def test_the_pushed_version_is_the_models_and_tells_what_was_measured(home, first_run):
    (version,) = first_run.versions
    pushed = home.serving / version
    model = pathlib.Path(first_run.outputs["ScannIndexer"]["model"].uri)
    built = folder_hash(model / "Format-Serving")
    found = folder_hash(pushed)
    manifest_name = "assets.extra/manifest.json"
    assert found.pop(manifest_name) != built.pop(manifest_name)
    assert found.pop(checksums.FILE)
    assert found == built
    checksums.verify(str(pushed))
    assert "saved_model.pb" in found
    manifest = json.loads((pushed / manifest_name).read_text())
    summary = first_run.summary
    for name in ("recall", "latency_ms", "top_k_accuracy"):
        assert manifest["measured"][name] == summary[name]
    assert manifest["config"]["training"]["epochs"] == 60
    assert manifest["config"]["model"]["embedding_dim"] == 64
    assert manifest["config"]["interactions"]["split"]["counts"]["train"] == 12000
    assert manifest["candidates"] == 1682
    assert manifest["index"]["kind"] == "scann"
    for package in ("tensorflow", "scann", "tfx"):
        assert manifest["versions"][package] == importlib.metadata.version(package)


def test_each_candidate_is_embedded_once(first_run, catalogue):
    folder = first_run.outputs["CandidateEmbedder"]["embeddings"].uri
    rows = pq.read_table(folder).to_pylist()
    titles = collections.Counter((row["candidate_id"], row["title"]) for row in rows)
    assert titles == collections.Counter(catalogue.items())
    assert {len(row["embedding"]) for row in rows} == {65}
    assert all(math.isfinite(value) for row in rows for value in row["embedding"])


def test_vocabularies_come_from_where_they_should(first_run, catalogue):
    cleaned = first_run.outputs["ExampleCleaner"]["cleaned_interactions"]
    train = read_ids(cleaned, "train", "user_id")
    held_out = read_ids(cleaned, "eval", "user_id")
    assert (len(train), len(held_out)) == (12000, 3000)
    graphs = {
        name: tft.TFTransformOutput(
            first_run.outputs[f"Transform.{name}"]["transform_graph"].uri
        )
        for name in ("interactions", "candidates")
    }
    users = graphs["interactions"].vocabulary_by_name(vocabulary_name("user_id"))
    assert sorted(user.decode() for user in users) == sorted(set(train))
    assert set(held_out) - set(train)
    movies = graphs["candidates"].vocabulary_by_name("candidate_ids")
    assert sorted(m.decode() for m in movies) == sorted(catalogue)
    assert set(read_ids(cleaned, "train", "movie_id")) < set(catalogue)


def test_a_version_tells_what_training_has_seen_a_user_choose(home, first_run):
    cleaned = first_run.outputs["ExampleCleaner"]["cleaned_interactions"]
    users, movies = (
        read_ids(cleaned, "train", name) for name in ("user_id", "movie_id")
    )
    engine = NativeEngine(str(home.serving / first_run.versions[0]))
    for user in users[:5]:
        chosen = {
            movie for one, movie in zip(users, movies, strict=True) if one == user
        }
        found, total = engine.history(user, 1000)
        assert total == len(chosen)
        ids = {one["candidate_id"] for one in found}
        assert len(ids) == min(total, 100) and ids <= chosen


def test_ids_are_strings_from_end_to_end(home, first_run):
    outputs = first_run.outputs
    for node, key, split, feature in (
        ("ExampleGen.interactions", "examples", "eval", "movie_id"),
        ("ExampleGen.interactions", "examples", "eval", "user_id"),
        ("ExampleGen.candidates", "examples", "train", "movie_id"),
        ("ExampleCleaner", "cleaned_candidates", "train", "movie_id"),
        ("Transform.interactions", "transformed_examples", "train", "movie_id"),
    ):
        assert all(read_ids(outputs[node][key], split, feature))
    (shard, *_) = pathlib.Path(outputs["CandidateEmbedder"]["embeddings"].uri).iterdir()
    assert str(pq.read_schema(shard).field("candidate_id").type) == "string"
    model = Recommender(str(home.serving / first_run.versions[0]))
    assert model.query_features["user_id"].dtype == tf.string
    assert model.signature("embed_candidate").inputs["movie_id"].dtype == tf.string


# Asking the pushed model.


def recommend(home, *arguments: str):
    root = ("--root", str(home.root))
    said = home.shortlist("recommend", *root, *arguments, "--format", "json")
    assert said.code == 0, said.stderr
    return json.loads(said.stdout)


def test_recommend_has_the_promised_shape(home, first_run, catalogue):
    answer = recommend(home, "--query", "user_id=42", "-k", "3")
    assert set(answer) == {"query", "recommendations"}
    assert answer["query"] == {"user_id": "42"}
    found = answer["recommendations"]
    assert len(found) == 3
    for one in found:
        assert set(one) == {"candidate_id", "title", "score"}
        assert one["title"] == catalogue[one["candidate_id"]]
    scores = [one["score"] for one in found]
    assert scores == sorted(scores, reverse=True)
    best = found[0]["candidate_id"]
    rest = recommend(home, "--query", "user_id=42", "-k", "2", "--exclude", best)
    assert rest["recommendations"] == found[1:]


def test_a_user_never_seen_is_answered_too(home, first_run, catalogue):
    answer = recommend(home, "--query", "user_id=nobody", "-k", "5")
    assert len({one["candidate_id"] for one in answer["recommendations"]}) == 5


ASK = """
import json, sys
from serving.model import Recommender
users = json.loads(sys.argv[2])
model = Recommender(sys.argv[1])
answers = [model.recommend({"user_id": user}, 20) for user in users]
assert not [name for name in sys.modules if name.split(".")[0] == "tfx"]
print(json.dumps(answers))
"""


def test_a_clean_process_gives_the_very_same_answers(home, first_run):
    path = str(home.serving / first_run.versions[0])
    users = [str(number) for number in range(1, 60)] + ["nobody", ""]
    done = subprocess.run(
        [sys.executable, "-c", ASK, path, json.dumps(users)],
        env=child_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    model = Recommender(path)
    here = [model.recommend({"user_id": user}, 20) for user in users]
    assert json.loads(done.stdout) == here


# Running again.


def test_what_a_version_was_evaluated_on_is_found(home, first_run, tmp_path):
    version = str(home.serving / first_run.summary["pushed_version"])
    found = held_out.find(of_version(version), first_run.summary["pushed_version"])
    held_out.write_pairs(found, str(tmp_path / "pairs.parquet"))
    pairs = pq.read_table(tmp_path / "pairs.parquet")
    interactions = first_run.outputs["ExampleCleaner"]["cleaned_interactions"]
    for column, feature in (("query_id", "user_id"), ("candidate_id", "movie_id")):
        expected = read_ids(interactions, "eval", feature)
        assert pairs[column].to_pylist() == expected


def test_a_second_run_is_all_from_the_cache(first_run, second_run):
    assert second_run.code == 0
    assert second_run.states() == expected_states()
    assert second_run.versions == first_run.versions
    assert figures(second_run.summary) == figures(first_run.summary)
    run = {node["node"]: node["cached"] for node in second_run.summary["run"]["nodes"]}
    assert run == {node: node != RESOLVER for node in NODES}


def test_json_is_the_only_thing_on_stdout(second_run):
    assert json.loads(second_run.stdout) == second_run.summary


def test_a_change_runs_what_lies_downstream_of_it(first_run, changed_run):
    assert changed_run.code == 0, changed_run.stderr
    downstream = ("ScannIndexer", "IndexEvaluator", "Evaluator", "Pusher")
    assert changed_run.states() == expected_states(*downstream)
    old, new = changed_run.versions
    assert [old] == first_run.versions
    assert int(new) > int(old)
    assert changed_run.summary["pushed_version"] == new
    assert changed_run.summary["index"]["leaves_to_search"] == 30


def test_a_new_model_is_compared_with_the_last_blessed_one(first_run, changed_run):
    baseline = first_run.outputs["ScannIndexer"]["model"]
    candidate = changed_run.outputs["ScannIndexer"]["model"]
    assert changed_run.inputs["Evaluator"]["model"] == [candidate.id]
    assert changed_run.inputs["Evaluator"]["baseline_model"] == [baseline.id]
    assert changed_run.inputs["IndexEvaluator"]["previous_model"] == [baseline.id]
    chance, gate = (
        gate for gate in changed_run.summary["gates"] if "blessed" in gate["name"]
    )
    old, new = (
        run.summary["top_k_accuracy"]["scann"]["100"]
        for run in (first_run, changed_run)
    )
    assert gate["value"] == pytest.approx(new - old, abs=1e-6)
    assert (gate["bound"], gate["side"]) == (-0.01, "at least")
    assert (chance["bound"], chance["side"]) == (0, "at least")
    previous = changed_run.summary["previous"]
    assert previous["ranking"] == first_run.summary["ranking"]["scann"]
    assert previous["top_k_accuracy"] == first_run.summary["top_k_accuracy"]["scann"]
    assert first_run.summary["previous"] is None


def test_slices_are_the_new_models_own_beside_a_baseline(first_run, changed_run):
    metrics = {one["slice"]: one["metrics"] for one in changed_run.summary["slices"]}
    old = {one["slice"]: one["metrics"] for one in first_run.summary["slices"]}
    assert set(metrics) == set(old)
    for name in KS:
        measured = changed_run.summary["top_k_accuracy"]["scann"][name]
        value = metrics[""][f"top_{name}_accuracy"]["value"]
        assert value == pytest.approx(measured, abs=1e-6)
    for where, figures_ in metrics.items():
        for name, figure in old[where].items():
            change = figures_[f"{name}_diff"]["value"]
            new = figures_[name]["value"]
            assert change == pytest.approx(new - figure["value"], abs=1e-6), where


def test_a_changed_run_repeated_is_all_from_the_cache(changed_run, repeated_run):
    assert repeated_run.code == 0
    assert repeated_run.states() == expected_states()
    assert repeated_run.versions == changed_run.versions
    assert figures(repeated_run.summary) == figures(changed_run.summary)


# Refusals.


def test_a_bound_that_is_missed_refuses_a_good_model(changed_run, refused_run):
    assert refused_run.code == 1
    evaluated = ("IndexEvaluator", "Evaluator", "Pusher")
    assert refused_run.states() == expected_states(*evaluated)
    reached = changed_run.summary["top_k_accuracy"]["scann"]["100"]
    sentence = (
        f"shortlist run: not pushed: top_100_accuracy: {reached:.4g}, must be at least "
        f"0.99, missed by {0.99 - reached:.4g}"
    )
    assert refused_run.stderr.splitlines()[-1] == sentence
    assert refused_run.stderr.count("not pushed") == 1
    assert refused_run.summary["pushed_version"] is None
    assert refused_run.versions == changed_run.versions
    outputs = refused_run.outputs
    assert outputs["Evaluator"]["blessing"].get_int_custom_property("blessed") == 0
    assert outputs["IndexEvaluator"]["blessing"].get_int_custom_property("blessed") == 1
    assert outputs["Pusher"]["pushed_model"].get_int_custom_property("pushed") == 0


def test_a_bad_model_is_refused(home, refused_run, bad_run):
    assert bad_run.code == 1
    assert bad_run.states()["Trainer"] == "COMPLETE"
    report = bad_run.summary
    masked = report["top_k_accuracy_masked"]["scann"]["100"]
    popular = report["baselines"]["popularity"]["top_k_accuracy_masked"]["100"]
    assert masked < 0.12  # 100 of 1,682 at random: 0.06
    assert (
        "shortlist run: not pushed: masked top-100 accuracy against popularity: "
        f"{masked:.4g}, must be above {popular:.4g}, missed by {popular - masked:.4g}"
    ) in bad_run.stderr.splitlines()
    assert "not pushed: top_100_accuracy minus that of the last" in bad_run.stderr
    for node in ("IndexEvaluator", "Evaluator"):
        blessing = bad_run.outputs[node]["blessing"]
        assert blessing.get_int_custom_property("blessed") == 0
    assert report["pushed_version"] is None
    assert "REFUSED" in bad_run.stdout and "nothing was pushed" in bad_run.stdout


def test_a_refusal_leaves_what_is_served_as_it_was(home, changed_run, bad_run):
    assert bad_run.versions == changed_run.versions
    model = pathlib.Path(changed_run.outputs["ScannIndexer"]["model"].uri)
    built = folder_hash(model / "Format-Serving")
    found = folder_hash(home.serving / bad_run.versions[-1])
    assert found.pop(checksums.FILE)
    assert set(found) == set(built)
    assert {name for name in found if found[name] != built[name]} == {
        "assets.extra/manifest.json"
    }
    assert recommend(home, "--query", "user_id=42")["recommendations"]


def test_an_anomaly_stops_the_run_before_training(bad_run, unfit_run):
    assert unfit_run.code == 1
    assert "ExampleValidator.interactions" in unfit_run.executions
    assert unfit_run.states()["ExampleValidator.interactions"] == "FAILED"
    stopped = set(NODES[NODES.index("ExampleCleaner") :])
    assert not stopped & set(unfit_run.executions)
    last = unfit_run.stderr.splitlines()[-1]
    assert last.startswith(
        "shortlist run: ExampleValidator.interactions: the interactions do not fit "
        "their schema: feature 'user_rating' in train, eval: Out-of-range values"
    )
    assert unfit_run.summary == bad_run.summary
    assert unfit_run.versions == bad_run.versions


def test_a_deleted_version_is_pushed_anew(restored_run):
    assert restored_run.code == 0, restored_run.stderr
    assert restored_run.executions["Pusher"] == ["CACHED", "COMPLETE"]
    assert set(restored_run.executions["ScannIndexer"]) == {"CACHED"}
    assert restored_run.versions == [restored_run.summary["pushed_version"]]


# Updates.


def test_an_update_without_a_change_pushes_nothing(restored_run, idle_update):
    assert idle_update.code == 0, idle_update.stderr
    (version,) = restored_run.versions
    assert idle_update.versions == [version]
    assert idle_update.stdout == (
        "movielens-100k: nothing was pushed: no candidate was added, changed or "
        f"removed since version {version}\n"
    )
    # What embeds finds out, and is the last one that is asked.
    assert list(idle_update.executions)[-1] == "CandidateEmbedder"
    assert idle_update.summary == restored_run.summary


def test_an_update_of_the_knobs_is_pushed_once(
    home, idle_update, updated_run, repeated_update
):
    assert updated_run.code == 0, updated_run.stderr
    assert updated_run.states()["CandidateEmbedder"] == "CACHED"
    assert updated_run.states()["Pusher"] == "COMPLETE"
    assert updated_run.versions[:-1] == idle_update.versions
    version = updated_run.versions[-1]
    about = manifest.read(str(home.serving / version))
    assert about["index"]["leaves_to_search"] == 29
    counts = {name: about["update"][name] for name in ("added", "changed", "removed")}
    assert counts == {"added": 0, "changed": 0, "removed": 0}
    assert repeated_update.code == 0, repeated_update.stderr
    assert repeated_update.versions == updated_run.versions
    assert json.loads(repeated_update.stdout) == {
        "pipeline": "movielens-100k",
        "pushed_version": None,
        "up_to_date": version,
    }


# A catalogue in shards.


def test_shards_are_built_judged_and_pushed(updated_run, repeated_update, sharded_run):
    assert sharded_run.code == 0, sharded_run.stderr
    ran = ("CandidateEmbedder", "ScannIndexer", "IndexEvaluator", "Pusher")
    expected = expected_states(*ran)
    del expected["Evaluator"]
    assert sharded_run.states() == expected
    assert sharded_run.versions[:-1] == repeated_update.versions
    summary = sharded_run.summary
    assert sharded_run.versions[-1] == summary["pushed_version"]
    assert (summary["shards"], summary["slices"]) == (2, [])
    assert summary["recall"] == summary["native_recall"] == {"10": 1, "100": 1}
    assert "index exact in 2 shards" in sharded_run.stdout
    # What was blessed before, by IndexEvaluator, is what it is compared with.
    previous = updated_run.outputs["ScannIndexer"]["model"]
    assert sharded_run.inputs["IndexEvaluator"]["previous_model"] == [previous.id]


def test_shards_answer_as_exact_search_over_one_index(home, sharded_run):
    whole = Recommender(str(home.serving / sharded_run.versions[0]))
    for user in ("42", "7", "nobody"):
        found = recommend(home, "--query", f"user_id={user}")["recommendations"]
        expected = whole.search({"user_id": [user]}, 10, exact=True)
        ids, scores = (expected[name].numpy()[0] for name in ("candidate_id", "score"))
        assert [one["candidate_id"].encode() for one in found] == ids.tolist()
        assert [one["score"] for one in found] == pytest.approx(scores.tolist())
