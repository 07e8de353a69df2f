# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Another config, stopped, killed and finished: nothing half-written is ever taken.

Everything differs from the default config: split by time with a share to stop early by,
inferred schemas, no titles, an index that the size of the catalogue chooses, and a
catalogue in which some of the rated movies are missing.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from serving.process import child_environment

CONFIG = """
name: variant
data_dir: {data_dir}
interactions:
  source: {{tfds: movielens/100k-ratings}}
  query_id: user_id
  candidate_id: movie_id
  timestamp: timestamp
  split: {{method: time, fractions: {{train: 0.6, valid: 0.2, eval: 0.2}}}}
candidates:
  source: {{tfds: movielens/100k-movies}}
  candidate_id: movie_id
model: {{temperature: 0.3, embedding_dim: 64}}
training: {{epochs: 60, early_stopping_patience: 1, learning_rate: 0.05}}
index: {{kind: auto, k: 20}}
evaluation:
  latency_queries: 20
  confidence_intervals: false
  ease_up_to: 0
  gates: {{max_p99_ms: null, better_than_popularity: false}}
"""
CANDIDATES = 1200


def cut(source: pathlib.Path, target: pathlib.Path, rows: int) -> None:
    """Copies a prepared dataset with its first rows only."""
    shutil.copytree(source, target)
    (path,) = target.glob("*.tfrecord-*")
    records = list(tf.data.TFRecordDataset(str(path)).take(rows).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    about = json.loads((target / "dataset_info.json").read_text())
    about["splits"][0]["shardLengths"] = [str(rows)]
    (target / "dataset_info.json").write_text(json.dumps(about))


@pytest.fixture(scope="module")
def variant(new_home, movielens_data_dir, tmp_path_factory):
    """The home of the other config, on 6,000 ratings and 1,200 movies."""
    folder = tmp_path_factory.mktemp("variant")
    prepared, data = pathlib.Path(movielens_data_dir), folder / "data"
    for name, rows in (("100k-ratings", 6000), ("100k-movies", CANDIDATES)):
        relative = pathlib.Path("movielens", name, "0.1.1")
        cut(prepared / relative, data / relative, rows)
    config = folder / "variant.yaml"
    config.write_text(CONFIG.format(data_dir=data))
    return new_home(root=folder / "runs", config=config, name="variant")


@pytest.fixture(scope="module")
def orphan_run(variant):
    """Interactions whose movie is not in the catalogue, and none may go."""
    return variant.run("interactions.orphans=stop")


def test_orphans_stop_the_run(variant, orphan_run):
    assert orphan_run.code == 1
    last = orphan_run.stderr.splitlines()[-1]
    assert last.startswith("shortlist run: ExampleCleaner: ")
    assert " of 6000 rows (" in last and "interactions.orphans to drop" in last
    assert orphan_run.states()["ExampleCleaner"] == "FAILED"
    assert "Trainer" not in orphan_run.executions
    assert orphan_run.summary is None and orphan_run.versions == []


def run_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """What a Trainer has written so far."""
    return [
        path
        for path in folder.glob("artifacts/Trainer/model_run/*/**/*")
        if path.is_file()
    ]


@pytest.fixture(scope="module")
def killed(variant, orphan_run, tmp_path_factory):
    """A run killed while it trains; returns what a second run said meanwhile."""
    log = tmp_path_factory.mktemp("killed") / "stderr"
    arguments = variant.arguments(
        "interactions.orphans=drop",
        "training.epochs=100000",
        "training.early_stopping_patience=0",
    )
    program = "import sys; from pipeline.cli import main; sys.exit(main(sys.argv[1:]))"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env=child_environment(),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        deadline = time.monotonic() + 300
        while not run_files(variant.folder):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        meanwhile = variant.shortlist(*variant.arguments())
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return meanwhile


def test_two_runs_at_once_are_refused(variant, killed):
    assert killed.code == 1
    assert killed.stderr == (
        f"shortlist run: another run is going on in {variant.folder}; wait for it or "
        "choose another --root\n"
    )


@pytest.fixture(scope="module")
def left_behind(variant, killed):
    """What a killed run left: the executions, its Trainer's files, its result."""
    return {
        "executions": variant.executions(),
        "files": run_files(variant.folder),
        "summary": (variant.folder / "summary.json").exists(),
        "versions": variant.versions(),
    }


@pytest.fixture(scope="module")
def recovered_run(variant, left_behind):
    """The next run in the same home."""
    return variant.run("interactions.orphans=drop")


def test_a_killed_run_leaves_no_version_and_no_summary(left_behind):
    last = left_behind["executions"][-1]
    assert (last.node, last.state) == ("Trainer", "RUNNING")
    assert left_behind["files"]
    assert not left_behind["summary"]
    assert left_behind["versions"] == []


def test_the_next_run_completes_from_what_was_finished(recovered_run):
    assert recovered_run.code == 0, recovered_run.stderr
    states = recovered_run.states()
    executed = [node for node, state in states.items() if state == "COMPLETE"]
    assert executed == [
        "Trainer",
        "CandidateEmbedder",
        "ScannIndexer",
        "LatestBlessedModel",
        "Evaluator",
        "IndexEvaluator",
        "Pusher",
    ]
    assert len(states) == 19
    assert recovered_run.versions == [recovered_run.summary["pushed_version"]]


def test_nothing_half_written_is_taken_for_whole(variant, left_behind, recovered_run):
    states = {one.id: one.state for one in variant.executions()}
    killed = left_behind["executions"][-1]
    assert states[killed.id] == "FAILED"
    assert "RUNNING" not in states.values()
    assert not [path for path in left_behind["files"] if path.exists()]
    trainer = variant.folder / "artifacts" / "Trainer"
    assert not list(trainer.glob(f"*/{killed.id}"))
    assert not list(trainer.glob(f".system/*/{killed.id}"))
    assert not list(trainer.glob("**/ckpt*")), "checkpoints are deleted at the end"
    finished = {
        os.path.normpath(artifact.uri)
        for one in variant.executions()
        for artifact in one.outputs.values()
        if one.state in ("COMPLETE", "CACHED")
    }
    with variant.store() as store:
        live = [one for one in store.get_artifacts() if one.state == 2]
    assert {os.path.normpath(one.uri) for one in live} == finished
    assert all(os.path.isdir(one.uri) for one in live)


def test_the_variant_did_what_its_config_says(variant, recovered_run):
    summary = recovered_run.summary
    assert summary["candidates"] == CANDIDATES
    assert summary["index"]["kind"] == "exact"
    assert "1,200 candidates are fewer than 20,000" in recovered_run.stderr
    # By time, most of those who come last were never seen before.
    assert summary["protocol"]["cold_interactions_share"] > 0.5
    assert summary["intervals"] == {}
    said = [line for line in recovered_run.stderr.splitlines() if " epochs in " in line]
    epochs = int(said[0].split()[0])
    assert 2 <= epochs < 60
    answer = variant.shortlist(
        "recommend", "--root", str(variant.root), "--query", "user_id=1",
        "--format", "json",
    )  # fmt: skip
    found = json.loads(answer.stdout)["recommendations"]
    assert len(found) == 10
    assert all(one["title"] == one["candidate_id"] for one in found)


# Folders that cannot hold a run.


@pytest.mark.parametrize("place", ["root", "home", "lock"])
def test_a_root_that_cannot_be_written_is_one_sentence(new_home, home, tmp_path, place):
    root = tmp_path / "runs"
    if place == "root":
        root.write_text("")
    if place == "home":
        root.mkdir()
        (root / home.name).write_text("")
    if place == "lock":
        (root / home.name / "run.lock").mkdir(parents=True)
    said = new_home(root=root, config=home.config, name=home.name).shortlist(
        "run", str(home.config), "--root", str(root)
    )
    assert said.code == 1
    (line,) = said.stderr.splitlines()
    assert line.startswith(f"shortlist run: can't write to {root / home.name}: ")
    assert line.endswith("; choose another --root")
