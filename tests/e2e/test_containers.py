# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline as Kubeflow runs it: node by node through TFX's entry point."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import yaml
from google.protobuf import json_format
from kfp import components as kfp_components
from kfp.pipeline_spec import pipeline_spec_pb2

from components.evaluator import results
from serving import checksums, manifest
from serving.native import NativeEngine
from tests.containers import ENTRY_POINT, Cluster
from tests.e2e.conftest import BRIEF
from tests.serving.asking import HOST, PATIENCE_S, free_ports

IMAGE = "registry.example.com/shortlist-pipeline:0.1.0"
NAMES = {
    "ExampleGen-interactions", "ExampleGen-candidates", "StatisticsGen-interactions",
    "StatisticsGen-candidates", "SchemaGen-interactions", "SchemaGen-candidates",
    "ExampleValidator-interactions", "ExampleValidator-candidates", "ExampleCleaner",
    "FeatureValidator", "Transform-interactions", "Transform-candidates", "Trainer",
    "CandidateEmbedder", "ScannIndexer", "LatestBlessedModel", "IndexEvaluator",
    "Evaluator", "Pusher",
}  # fmt: skip


@pytest.fixture(scope="module")
def compiled(home, new_home, tmp_path_factory):
    """Compiles the home's config for a cluster whose files are in a root of its own."""
    root = tmp_path_factory.mktemp("cluster")

    def run(runner: str, name: str, *more: str) -> dict:
        path = root / name
        overrides = (*home.overrides, *BRIEF, f"containers.image={IMAGE}", *more)
        sets = [part for one in overrides for part in ("--set", one)]
        said = home.shortlist(
            "compile", str(home.config), "--runner", runner, "--root", str(root),
            "-o", str(path), *sets,
        )  # fmt: skip
        assert said.code == 0, said.stderr
        content = yaml.safe_load(path.read_text())
        return {"content": content, "path": path, "said": said.stdout, "root": root}

    return run


@pytest.fixture(scope="module")
def pipeline(compiled):
    return compiled("kubeflow", "pipeline.yaml")


@pytest.fixture(scope="module")
def serving(pipeline) -> pathlib.Path:
    return pipeline["root"] / "movielens-100k" / "serving"


@pytest.fixture(scope="module")
def cluster(pipeline) -> Cluster:
    """A cluster that has run the pipeline once."""
    cluster = Cluster(str(pipeline["root"] / "movielens-100k" / "artifacts"))
    cluster.run(pipeline["content"], "first")
    return cluster


def pushed(cluster: Cluster) -> dict:
    return cluster.outputs["Pusher"]["pushed_model"]["metadata"]


def test_kfps_own_sdk_takes_the_pipeline(pipeline):
    spec = json_format.ParseDict(pipeline["content"], pipeline_spec_pb2.PipelineSpec())
    assert spec.schema_version == "2.1.0"
    assert set(spec.root.dag.tasks) == NAMES
    loaded = kfp_components.load_component_from_file(str(pipeline["path"]))
    assert set(loaded.component_spec.inputs) == {
        "max_p99_ms", "min_recall_at_10", "min_top_k_accuracy", "serving_directory",
    }  # fmt: skip
    assert all(one.optional for one in loaded.component_spec.inputs.values())


def test_vertex_gets_a_job_with_resources(compiled):
    resources = (
        "containers.resources={default: {cpu: 2, memory: 8G}, Trainer: {cpu: 8, memory:"
        " 1.5T, gpu: 2, gpu_type: NVIDIA_TESLA_T4}}"
    )
    made = compiled("vertex", "job.json", resources, "containers.retries=2")
    job = json_format.ParseDict(made["content"], pipeline_spec_pb2.PipelineJob())
    assert job.display_name == "movielens-100k"
    assert job.runtime_config.gcs_output_directory == str(
        made["root"] / "movielens-100k" / "artifacts"
    )
    executors = made["content"]["pipelineSpec"]["deploymentSpec"]["executors"]
    assert executors["Trainer_executor"]["container"]["resources"] == {
        "cpuLimit": 8.0, "memoryLimit": 1500.0,
        "accelerator": {"type": "NVIDIA_TESLA_T4", "count": "2"},
    }  # fmt: skip
    others = [
        one["container"] for name, one in executors.items() if "Trainer" not in name
    ]
    assert all(
        one["resources"] == {"cpuLimit": 2.0, "memoryLimit": 8.0} for one in others
    )
    assert all(one["image"] == IMAGE for one in others)
    tasks = made["content"]["pipelineSpec"]["root"]["dag"]["tasks"].values()
    assert all(one["retryPolicy"] == {"maxRetryCount": 2} for one in tasks)


def test_all_nodes_in_containers_push_the_model_of_the_local_run(
    cluster, serving, first_run, home
):
    assert set(cluster.seconds) == NAMES
    (version,) = (one.name for one in serving.iterdir())
    assert pushed(cluster)["pushed_version"] == version
    ours, local = str(serving / version), str(home.serving / first_run.versions[0])
    checksums.verify(ours)
    in_containers, here = manifest.read(ours), manifest.read(local)
    for key in ("config", "recipe", "candidates", "dimensions", "format", "versions"):
        assert in_containers[key] == here[key], key
    engines = [NativeEngine(one) for one in (ours, local)]
    users = ("42", "7", "nobody")
    found = [
        [one.recommend({"user_id": user}, 10) for user in users] for one in engines
    ]
    names = [
        [[hit["candidate_id"] for hit in hits] for hits in answers] for answers in found
    ]
    assert names[0] == names[1]


def test_a_run_over_again_pushes_nothing_twice(cluster, pipeline, serving):
    before = [one.name for one in serving.iterdir()]
    cluster.run(pipeline["content"], "second")
    assert [one.name for one in serving.iterdir()] == before
    assert pushed(cluster)["pushed_version"] == before[0]
    # What looks for the last push has to look anew; all before it is known.
    assert NAMES - cluster.cached == {
        "LatestBlessedModel", "Evaluator", "IndexEvaluator", "Pusher",
    }  # fmt: skip


def test_bounds_are_parameters_of_a_run(cluster, pipeline, serving):
    bounds = {"max_p99_ms": 0.001, "min_top_k_accuracy": 0.99}
    cluster.run(pipeline["content"], "too-high", **bounds)
    assert pushed(cluster)["pushed"] == 0
    assert len(list(serving.iterdir())) == 1
    # Each of the two is enough.
    for node in ("Evaluator", "IndexEvaluator"):
        assert not cluster.outputs[node]["blessing"]["metadata"].get("blessed")


def test_the_next_model_is_compared_with_the_last_pushed_one(
    cluster, compiled, serving
):
    first = pushed_versions(serving)
    other = compiled("kubeflow", "other.json", "index.leaves_to_search=30")["content"]
    cluster.run(other, "other", serving_directory=str(serving))
    found = cluster.outputs["LatestBlessedModel"]["model"]
    assert found["metadata"]["found"] == 1
    folder = pathlib.Path(cluster.outputs["IndexEvaluator"]["evaluation"]["uri"])
    report = json.loads((folder / "report.json").read_text())
    assert report["previous"]
    # Whatever came of it, the last one is still there.
    assert set(first) <= set(pushed_versions(serving))


def pushed_versions(serving: pathlib.Path) -> list[str]:
    return sorted(one.name for one in serving.iterdir())


# Beam's portable API, which Flink, Spark and Dataflow speak too


@pytest.fixture
def job_service(tmp_path) -> Iterator[str]:
    """The address of Beam's own job service, in a process of its own."""
    (port,) = free_ports(1)
    program = "apache_beam.runners.portability.local_job_service_main"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", program, "--port", str(port)],
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    channel = grpc.insecure_channel(f"{HOST}:{port}")
    try:
        grpc.channel_ready_future(channel).result(PATIENCE_S)
        yield f"{HOST}:{port}"
    finally:
        channel.close()
        process.kill()
        process.wait()


PORTABLE = (
    "ExampleGen.candidates", "Transform.candidates", "CandidateEmbedder", "Evaluator",
)  # fmt: skip


def test_nodes_on_beams_portable_runner_make_the_same(cluster, compiled, job_service):
    cluster.run(compiled("kubeflow", "plain.json")["content"], "plain")
    plain = dict(cluster.outputs)
    runner = {
        "runner": "PortableRunner",
        "args": [f"--job_endpoint={job_service}", "--environment_type=LOOPBACK"],
    }
    nodes = json.dumps(dict.fromkeys(PORTABLE, runner))
    spec = compiled("kubeflow", "portable.json", f"beam.nodes={nodes}")["content"]
    only = {name.replace(".", "-") for name in PORTABLE}
    cluster.run(spec, "portable", only)
    assert set(cluster.seconds) == only

    def both(task: str, key: str) -> list[pathlib.Path]:
        return [
            pathlib.Path(outputs[task][key]["uri"])
            for outputs in (plain, cluster.outputs)
        ]

    for task, key in (
        ("ExampleGen-candidates", "examples"),
        ("Transform-candidates", "transformed_examples"),
    ):
        here, there = (records(folder) for folder in both(task, key))
        assert here == there and len(here) == 1682
    here, there = (
        pq.read_table(folder).sort_by("candidate_id").to_pydict()
        for folder in both("CandidateEmbedder", "embeddings")
    )
    # Batches differ, and the last bit of a product with them.
    np.testing.assert_allclose(here.pop("embedding"), there.pop("embedding"), atol=1e-6)
    assert here == there
    here, there = (
        results.read_slices(str(folder)) for folder in both("Evaluator", "evaluation")
    )
    assert here == there


def records(folder: pathlib.Path) -> list[str]:
    """All records of an Examples artifact's split train, sorted."""
    files = sorted(str(path) for path in (folder / "Split-train").iterdir())
    found = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    # Their features are in no order.
    return sorted(
        json.dumps(
            json_format.MessageToDict(tf.train.Example.FromString(one)), sort_keys=True
        )
        for one in found
    )


# The image


def test_the_images_command_runs_a_node(pipeline, tmp_path):
    """As the image does: in a process of its own, outside the repository."""

    def in_a_process(arguments: list[str]) -> None:
        subprocess.run(
            [sys.executable, "-m", ENTRY_POINT, *arguments], cwd=tmp_path, check=True
        )

    spec = pipeline["content"]
    tasks = spec["root"]["dag"]["tasks"]
    only = {"ExampleGen-candidates": tasks["ExampleGen-candidates"]}
    spec = {**spec, "root": {**spec["root"], "dag": {"tasks": only}}}
    container = spec["deploymentSpec"]["executors"]["ExampleGen-candidates_executor"]
    assert container["container"]["command"] == ["python", "-m", ENTRY_POINT]
    cluster = Cluster(str(tmp_path / "root"), in_a_process)
    cluster.run(spec, "alone")
    folder = pathlib.Path(cluster.outputs["ExampleGen-candidates"]["examples"]["uri"])
    assert list((folder / "Split-train").iterdir())
