# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Continuous training in containers: span after span, all of it in an S3 bucket."""

import json
import subprocess
import sys
from collections.abc import Iterator
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import yaml
from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.options.pipeline_options import PipelineOptions
from botocore import loaders

from pipeline.runners import container
from serving import checksums, folders, s3, stacks
from serving.model import version_paths
from tests import s3_storage
from tests.containers import Cluster
from tests.google_storage import environment
from tests.serving import asking

pytestmark = pytest.mark.skipif(
    stacks.RUNNING is not stacks.STABLE,
    reason="tensorflow-io has no release for this TensorFlow",
)
BUCKET, NAME = "s3://shop", "spans"
ROOT = f"{BUCKET}/runs"
USERS = 300
CONFIG = {
    "name": NAME,
    "interactions": {
        "source": {"parquet": f"{BUCKET}/log/{{SPAN}}.parquet", "last_spans": 2},
        "query_id": "user_id",
        "candidate_id": "movie_id",
        "timestamp": "timestamp",
        "features": {"user_occupation_text": "category"},
        "split": {
            "method": "random", "seed": 42, "fractions": {"train": 0.8, "eval": 0.2},
        },
    },
    "candidates": {
        "source": {"parquet": f"{BUCKET}/movies.parquet"},
        "candidate_id": "movie_id",
        "title": "movie_title",
    },
    "model": {"embedding_dim": 32, "temperature": 0.4},
    "training": {"epochs": 8, "warm_start": True},
    "evaluation": {
        "confidence_intervals": False,
        "ease_up_to": 0,
        "ials_up_to": 0,
        "latency_queries": 20,
        # What is looked at is that a run goes on where the one before ended.
        "gates": {"max_p99_ms": 5000, "better_than_popularity": False},
    },
    "containers": {"image": "registry.example.com/shortlist-pipeline:0.1.0"},
}  # fmt: skip


def movielens(data_dir: str, name: str) -> dict[str, np.ndarray]:
    """All rows of one of MovieLens 100K's tables."""
    builder = tfds.builder(f"movielens/100k-{name}", data_dir=data_dir)
    rows = builder.as_dataset(split="train", batch_size=-1)
    return {key: np.asarray(value) for key, value in rows.items()}


def write(table: dict[str, np.ndarray], path: str) -> None:
    """Writes a Parquet file into the bucket."""
    columns = {
        name: [one.decode() for one in column] if column.dtype == object else column
        for name, column in table.items()
    }
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer)
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(buffer.getvalue().to_pybytes())


@pytest.fixture(scope="module")
def bucket(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The environment of a process whose s3:// leads to an empty bucket."""
    with (
        s3_storage.served(tmp_path_factory.mktemp("storage"), "shop") as values,
        environment(values),
    ):
        s3.register()
        yield values


@pytest.fixture(scope="module")
def spans(bucket, movielens_data_dir) -> list[dict[str, np.ndarray]]:
    """The log of some users in two spans, by time; the first is in the bucket."""
    ratings = movielens(movielens_data_dir, "ratings")
    names = ("user_id", "movie_id", "timestamp", "user_occupation_text")
    columns = {name: ratings[name] for name in names}
    kept = ratings["user_id"].astype(int) <= USERS
    order = np.argsort(columns["timestamp"][kept], kind="stable")
    halves = np.array_split(order, 2)
    tables = [
        {name: column[kept][half] for name, column in columns.items()}
        for half in halves
    ]
    movies = movielens(movielens_data_dir, "movies")
    write(
        {name: movies[name] for name in ("movie_id", "movie_title")},
        f"{BUCKET}/movies.parquet",
    )
    write(tables[0], f"{BUCKET}/log/1.parquet")
    return tables


@pytest.fixture(scope="module")
def spec(bucket, tmp_path_factory) -> dict:
    """The compiled pipeline."""
    from pipeline.cli.main import main

    folder = tmp_path_factory.mktemp("compiled")
    config, compiled = folder / "config.yaml", folder / "pipeline.json"
    config.write_text(yaml.safe_dump(CONFIG))
    arguments = ["--runner", "kubeflow", "--root", ROOT, "-o", str(compiled)]
    assert main(["compile", str(config), *arguments]) == 0
    return json.loads(compiled.read_text())


@pytest.fixture(scope="module")
def cluster(spec, spans) -> Cluster:
    """A cluster that has run the pipeline on the first span."""
    cluster = Cluster(f"{ROOT}/{NAME}/artifacts")
    cluster.run(spec, "first")
    return cluster


@pytest.fixture(scope="module")
def second(cluster, spec, spans) -> tuple[dict, dict]:
    """What the runs before and after the second span came made."""
    before = cluster.outputs
    write(spans[1], f"{BUCKET}/log/2.parquet")
    cluster.run(spec, "second")
    return before, cluster.outputs


def served() -> dict[int, str]:
    return version_paths(f"{ROOT}/{NAME}/serving")


def rows_read(outputs: dict) -> int:
    """How many interactions a run's ExampleGen found."""
    folder = outputs["ExampleGen-interactions"]["examples"]["uri"]
    files = tf.io.gfile.glob(f"{folder}/Split-*/*")
    return sum(1 for _ in tf.data.TFRecordDataset(files, "GZIP"))


def test_a_new_span_makes_a_new_version_from_the_one_before(second, spans):
    before, after = second
    assert rows_read(before) == len(spans[0]["user_id"])
    assert rows_read(after) == sum(len(one["user_id"]) for one in spans)
    first, newest = sorted(served())
    for version in (first, newest):
        checksums.verify(served()[version])
    found = {
        node: after[node][key]
        for node, key in (
            ("WarmStart", "model"),
            ("LatestBlessedModel", "model"),
            ("EarlierSpan-interactions", "earlier"),
        )
    }
    assert all(one["metadata"]["found"] for one in found.values())
    assert found["WarmStart"]["uri"] == before["Trainer"]["model"]["uri"]
    statistics = before["StatisticsGen-interactions"]["statistics"]["uri"]
    assert found["EarlierSpan-interactions"]["uri"] == statistics
    with tf.io.gfile.GFile(
        f"{after['IndexEvaluator']['evaluation']['uri']}/report.json"
    ) as file:
        assert json.load(file)["previous"]


def test_a_server_follows_the_bucket(second, tmp_path):
    query = {"user_id": "42"}
    newest = max(served())
    with asking.serving(tmp_path / "log", "--root", ROOT) as server:
        server.wait_until_ready()
        assert server.answering(NAME, query) == newest
        assert server.stop() == 0


def test_a_command_of_its_own_reads_the_bucket_and_ends_well(second):
    """Its process would abort at the end, did it not leave before its libraries."""
    command = [sys.executable, "-c", asking.PROGRAM, "recommend", "--root", ROOT]
    done = subprocess.run(
        [*command, "--query", "user_id=42", "-k", "3", "--format", "json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["recommendations"]) == 3
    refused = subprocess.run(
        [*command, "--pipeline", "none", "--query", "user_id=42"],
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 1
    assert f"no pushed version in {ROOT}" in refused.stderr


def test_beam_reads_what_describes_s3_once(bucket):
    """It makes a client for each look at a file."""
    assert not S3FileSystem(PipelineOptions([])).exists(f"{BUCKET}/none")
    unread = mock.Mock(side_effect=AssertionError("read again"))
    with mock.patch.object(loaders.JSONFileLoader, "load_file", unread):
        assert not S3FileSystem(PipelineOptions([])).exists(f"{BUCKET}/none")


# The image


def test_the_images_command_runs_a_node_and_ends_well(second, spec, tmp_path):
    """As the image does: in a process of its own, outside the repository."""
    executors = spec["deploymentSpec"]["executors"].values()
    assert all(one["container"]["command"] == container.COMMAND for one in executors)

    def in_a_process(arguments: list[str]) -> None:
        command = [sys.executable, *container.COMMAND[1:], *arguments]
        subprocess.run(command, cwd=tmp_path, check=True)

    alone = Cluster(f"{ROOT}/alone", in_a_process)
    alone.outputs = second[1]
    alone.run(spec, "alone", {"ExampleGen-candidates"})
    folder = alone.outputs["ExampleGen-candidates"]["examples"]["uri"]
    assert folders.names_in(f"{folder}/Split-train")


def test_an_image_without_shortlist_is_told(tmp_path):
    """By a Python that has nothing installed."""
    command = [sys.executable, "-I", "-S", *container.COMMAND[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("this image has no Shortlist in it: build docker/")
    assert len(done.stderr.splitlines()) == 1
