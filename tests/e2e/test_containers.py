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
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import yaml
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow import dataflow_runner
from google.protobuf import json_format
from kfp import components as kfp_components
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.utils import io_utils

from components.evaluator import results
from pipeline.runners import container
from serving import checksums, folders, manifest
from serving.native import NativeEngine
from serving.registry.base import CHAMPION, PUSHED_VERSION, open_registry
from serving.registry.config import RegistryConfig
from tests import google_storage, mlflow_server
from tests.containers import Cluster
from tests.e2e.conftest import BRIEF
from tests.serving import asking
from tests.serving.asking import HOST, PATIENCE_S, free_ports

BUCKET, READ_ONLY = "gs://shop", f"gs://{google_storage.READ_ONLY}"
REPOSITORY = pathlib.Path(__file__).parents[2]
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
def bucket(movielens_data_dir, tmp_path_factory) -> Iterator[str]:
    """A bucket of Google's storage, with the data set in it."""
    folder = tmp_path_factory.mktemp("storage")
    with (
        google_storage.served(folder, "shop", google_storage.READ_ONLY) as values,
        google_storage.environment(values),
    ):
        io_utils.copy_dir(movielens_data_dir, f"{BUCKET}/data")
        yield BUCKET


@pytest.fixture(scope="module")
def compiled(home, bucket, tmp_path_factory):
    """Compiles the home's config for a cluster whose files are all in the bucket."""
    folder, root = tmp_path_factory.mktemp("cluster"), f"{bucket}/runs"

    def run(runner: str, name: str, *more: str, update: bool = False) -> dict:
        path = folder / name
        overrides = (
            *home.overrides, f"data_dir={bucket}/data", *BRIEF,
            f"containers.image={IMAGE}", *more,
        )  # fmt: skip
        sets = [part for one in overrides for part in ("--set", one)]
        said = home.shortlist(
            "compile", str(home.config), "--runner", runner, "--root", root,
            "-o", str(path), *sets, *(["--update"] if update else []),
        )  # fmt: skip
        assert said.code == 0, said.stderr
        content = yaml.safe_load(path.read_text())
        return {"content": content, "path": path, "said": said.stdout, "root": root}

    return run


@pytest.fixture(scope="module")
def pipeline(compiled):
    return compiled("kubeflow", "pipeline.yaml")


@pytest.fixture(scope="module")
def serving(pipeline) -> str:
    return f"{pipeline['root']}/movielens-100k/serving"


@pytest.fixture(scope="module")
def cluster(pipeline) -> Cluster:
    """A cluster that has run the pipeline once."""
    cluster = Cluster(f"{pipeline['root']}/movielens-100k/artifacts")
    cluster.run(pipeline["content"], "first")
    return cluster


@pytest.fixture(scope="module")
def first_outputs(cluster) -> dict:
    """What the first run has made; asked for before there is another."""
    return cluster.outputs


def pushed(cluster: Cluster) -> dict:
    return cluster.outputs["Pusher"]["pushed_model"]["metadata"]


def pushed_versions(serving: str) -> list[str]:
    return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(serving))


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
    artifacts = f"{made['root']}/movielens-100k/artifacts"
    assert job.runtime_config.gcs_output_directory == artifacts
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
    cluster, first_outputs, serving, first_run, home
):
    assert set(first_outputs) == set(cluster.seconds) == NAMES
    (version,) = pushed_versions(serving)
    assert pushed(cluster)["pushed_version"] == version
    ours, local = f"{serving}/{version}", str(home.serving / first_run.versions[0])
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
    before = pushed_versions(serving)
    cluster.run(pipeline["content"], "second")
    assert pushed_versions(serving) == before
    assert pushed(cluster)["pushed_version"] == before[0]
    # What looks for the last push has to look anew; all before it is known.
    assert NAMES - cluster.cached == {
        "LatestBlessedModel", "Evaluator", "IndexEvaluator", "Pusher",
    }  # fmt: skip


def test_bounds_are_parameters_of_a_run(cluster, pipeline, serving):
    bounds = {"max_p99_ms": 0.001, "min_top_k_accuracy": 0.99}
    cluster.run(pipeline["content"], "too-high", **bounds)
    assert pushed(cluster)["pushed"] == 0
    assert len(pushed_versions(serving)) == 1
    # Each of the two is enough.
    for node in ("Evaluator", "IndexEvaluator"):
        assert not cluster.outputs[node]["blessing"]["metadata"].get("blessed")


def test_an_update_is_pushed_and_registered(
    cluster, compiled, serving, tmp_path_factory
):
    before = pushed_versions(serving)
    with mlflow_server.served(tmp_path_factory.mktemp("mlflow")) as address:
        knobs = ("index.leaves_to_search=29", f"registry.mlflow={address}")
        spec = compiled("kubeflow", "update.json", *knobs, update=True)["content"]
        assert "Trainer" not in " ".join(spec["root"]["dag"]["tasks"])
        cluster.run(spec, "update")
        (version,) = set(pushed_versions(serving)) - set(before)
        assert manifest.read(f"{serving}/{version}")["index"]["leaves_to_search"] == 29
        registry = open_registry(RegistryConfig(mlflow=address))
        found = registry.find("movielens-100k", CHAMPION)
        fetched = registry.fetch(
            "movielens-100k", CHAMPION, str(tmp_path_factory.mktemp("fetched"))
        )
    assert found.tags[PUSHED_VERSION] == version
    assert checksums.digest(fetched) == checksums.digest(f"{serving}/{version}")


def test_a_server_follows_the_bucket(cluster, serving, pipeline, tmp_path):
    """A version that is pushed while it serves is taken; both answer as here."""
    first = pushed_versions(serving)[-1]
    folder = serving.rpartition("/")[0] + "/shop"
    folders.copy(f"{serving}/{first}", f"{folder}/1")
    query, path = {"user_id": "42"}, "/v1/models/shop:recommend?user_id=42&k=10"
    arguments = ("--model-base-path", folder, "--name", "shop", "--poll-s", "1")
    with asking.serving(tmp_path / "log", *arguments) as server:
        server.wait_until_ready()
        assert server.answering("shop", query) == 1
        found = server.get(path).json()["recommendations"]
        folders.copy(f"{serving}/{first}", f"{folder}/2")
        asking.until("version 2 answers", lambda: server.answering("shop", query) == 2)
        assert server.get(path).json()["recommendations"] == found
    here = NativeEngine(f"{serving}/{first}").recommend(query, 10)
    assert [one["candidate_id"] for one in found] == [
        one["candidate_id"] for one in here
    ]


def test_a_bucket_that_may_only_be_read_is_told(pipeline, cluster):
    kept = Cluster(f"{READ_ONLY}/runs")
    with pytest.raises(RuntimeError, match="response code 403") as refused:
        kept.run(pipeline["content"], "refused")
    told = container.refusal(refused.value)
    assert told and told.startswith(f"{READ_ONLY}/runs")
    assert "may not be read or written by this node" in told
    assert not kept.outputs


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


def test_nodes_on_beams_portable_runner_make_the_same(
    cluster, first_outputs, compiled, job_service
):
    cluster.outputs = plain = first_outputs
    runner = {
        "runner": "PortableRunner",
        "args": [f"--job_endpoint={job_service}", "--environment_type=LOOPBACK"],
    }
    nodes = json.dumps(dict.fromkeys(PORTABLE, runner))
    spec = compiled("kubeflow", "portable.json", f"beam.nodes={nodes}")["content"]
    only = {name.replace(".", "-") for name in PORTABLE}
    cluster.run(spec, "portable", only)
    assert set(cluster.seconds) == only

    def both(task: str, key: str) -> list[str]:
        return [outputs[task][key]["uri"] for outputs in (plain, cluster.outputs)]

    for task, key in (
        ("ExampleGen-candidates", "examples"),
        ("Transform-candidates", "transformed_examples"),
    ):
        here, there = (records(folder) for folder in both(task, key))
        assert here == there and len(here) == 1682
    here, there = (
        embedded(folder).sort_by("candidate_id").to_pydict()
        for folder in both("CandidateEmbedder", "embeddings")
    )
    # Batches differ, and the last bit of a product with them.
    np.testing.assert_allclose(here.pop("embedding"), there.pop("embedding"), atol=1e-6)
    assert here == there
    here, there = (
        results.read_slices(folder) for folder in both("Evaluator", "evaluation")
    )
    assert here == there


def test_dataflow_gets_each_nodes_graph_and_options(
    cluster, first_outputs, compiled, monkeypatch
):
    """As far as Beam goes without sending a job: a dry run."""
    sent = []
    run = dataflow_runner.DataflowRunner.run_pipeline

    class Sent(Exception):
        """Here a job would be sent."""

    def keep(runner, pipeline, options, *more):
        run(runner, pipeline, options, *more)
        sent.append((runner.proto_pipeline.components, options.get_all_options()))
        raise Sent

    monkeypatch.setattr(dataflow_runner.DataflowRunner, "run_pipeline", keep)
    args = [
        "--project=shop", "--region=europe-west4", f"--temp_location={BUCKET}/temp",
        "--machine_type=n2-highmem-4", "--dry_run=True",
    ]  # fmt: skip
    setup = [*args, f"--setup_file={REPOSITORY / 'setup.py'}"]
    nodes = {
        name: {"runner": "DataflowRunner", "args": given}
        for name, given in zip(PORTABLE, (args, setup, args, setup), strict=True)
    }
    overrides = f"beam.nodes={json.dumps(nodes)}"
    spec = compiled("kubeflow", "dataflow.json", overrides)["content"]
    for name in PORTABLE:
        cluster.outputs = first_outputs
        with pytest.raises(Sent):
            cluster.run(spec, "dataflow", {name.replace(".", "-")})
    steps = (
        "Split", "Analyze/CreateSavedModel[tf_v2_only]/Count", "ParDo(_Embed)",
        "ExtractEvaluateAndWriteResults/WriteResults",
    )  # fmt: skip
    for (graph, options), name, step in zip(sent, PORTABLE, steps, strict=True):
        assert step in {one.unique_name for one in graph.transforms.values()}
        assert (options["project"], options["region"]) == ("shop", "europe-west4")
        assert options["machine_type"] == "n2-highmem-4"
        assert options["temp_location"].startswith(f"{BUCKET}/temp/")
        (environment,) = graph.environments.values()
        image = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
        packages = [
            beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(
                one.role_payload
            ).staged_name
            for one in environment.dependencies
        ]
        # What the workers run is in the image, or is sent to them.
        has_setup = nodes[name]["args"] is setup
        assert (image.container_image == IMAGE) is not has_setup
        assert ("workflow.tar.gz" in packages) is has_setup


def embedded(folder: str) -> pa.Table:
    """All rows of CandidateEmbedder's shards."""
    tables = []
    for path in tf.io.gfile.glob(f"{folder}/*.parquet"):
        with tf.io.gfile.GFile(path, "rb") as file:
            tables.append(pq.read_table(pa.BufferReader(file.read())))
    return pa.concat_tables(tables)


def records(folder: str) -> list[str]:
    """All records of an Examples artifact's split train, sorted."""
    files = sorted(tf.io.gfile.glob(f"{folder}/Split-train/*"))
    found = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    # Their features are in no order.
    return sorted(
        json.dumps(
            json_format.MessageToDict(tf.train.Example.FromString(one)), sort_keys=True
        )
        for one in found
    )
