# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist submit` against stand-ins that look at what the official clients send."""

import json
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from google.cloud import aiplatform_v1
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from serving.process import child_environment
from tests.serving.asking import HOST, free_ports
from tests.serving.certificates import make_certificate, make_service_account

REPOSITORY = pathlib.Path(__file__).parents[2]
CONFIG = str(REPOSITORY / "configs" / "movielens-100k.yaml")
IMAGE = "registry.example.com/shortlist-pipeline:0.1.0"
PROGRAM = "import sys; from pipeline.cli.main import main; sys.exit(main())"


def submit(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Submits the default config in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *submission(*arguments)],
        env={**child_environment(), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def submission(*arguments: str) -> list[str]:
    """The command line that submits the default config."""
    return [
        "submit", CONFIG, "--root", "gs://bucket/runs", "--set",
        f"containers.image={IMAGE}", *arguments,
    ]  # fmt: skip


def submit_here(
    capsys: pytest.CaptureFixture, *arguments: str
) -> subprocess.CompletedProcess:
    """The same in this process, which has imported everything already."""
    from pipeline.cli.main import main

    code = main(submission(*arguments))
    said = capsys.readouterr()
    return subprocess.CompletedProcess([], code, said.out, said.err)


# Kubeflow Pipelines


class Kubeflow(ThreadingHTTPServer):
    """Answers as Kubeflow Pipelines' API does, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self.asked: list[tuple[str, str, Any, str | None]] = []
        self.refusal = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}"

    def answer(self, method: str, path: str, body: Any) -> Any:
        if path.startswith("/apis/v2beta1/healthz"):
            return {"multi_user": False}
        if path.startswith("/apis/v2beta1/experiments") and method == "GET":
            return {"experiments": []}
        if path.startswith("/apis/v2beta1/experiments"):
            return {"experiment_id": "e1", "display_name": body["display_name"]}
        assert (method, path) == ("POST", "/apis/v2beta1/runs")
        return {"run_id": "r1", "experiment_id": "e1"}


class _Handler(BaseHTTPRequestHandler):
    server: Kubeflow

    def _handle(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        token = self.headers.get("authorization")
        self.server.asked.append((self.command, self.path, body, token))
        is_run = self.path.endswith("/runs") and self.server.refusal
        answer = (
            {"error": "not today"}
            if is_run
            else self.server.answer(self.command, self.path, body)
        )
        content = json.dumps(answer).encode()
        self.send_response(self.server.refusal if is_run else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _handle  # noqa: N815  (the library's names)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def kubeflow() -> Iterator[Kubeflow]:
    server = Kubeflow()
    yield server
    server.shutdown()
    server.server_close()


def test_kubeflow_gets_the_pipeline_its_root_and_its_parameters(kubeflow, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    done = submit(
        "--runner", "kubeflow", "--set", f"kubeflow.host={kubeflow.url}",
        "--set", "kubeflow.experiment=shop", "--set", f"kubeflow.token_file={token}",
        "--param", "min_recall_at_10=0.9", "--format", "json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "run_id": "r1", "url": f"{kubeflow.url}/#/runs/details/r1",
    }  # fmt: skip
    *_, (method, path, run, sent_token) = kubeflow.asked
    assert (method, path, sent_token) == (
        "POST", "/apis/v2beta1/runs", "Bearer secret",
    )  # fmt: skip
    assert run["display_name"] == "movielens-100k"
    assert run["runtime_config"] == {
        "parameters": {"min_recall_at_10": 0.9},
        "pipeline_root": "gs://bucket/runs/movielens-100k/artifacts",
    }
    spec = json_format.ParseDict(run["pipeline_spec"], pipeline_spec_pb2.PipelineSpec())
    assert len(spec.root.dag.tasks) == 19
    made = [
        body for _, path, body, _ in kubeflow.asked if "experiments" in path and body
    ]
    assert [one["display_name"] for one in made] == ["shop"]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "refuses the credentials (HTTP 401): check kubeflow.token_file and"),
        (400, 'refuses the pipeline (HTTP 400): {"error": "not today"}'),
    ],
)
def test_what_kubeflow_refuses_is_told_in_a_sentence(
    kubeflow, capsys, status, sentence
):
    kubeflow.refusal = status
    done = submit_here(
        capsys, "--runner", "kubeflow", "--set", f"kubeflow.host={kubeflow.url}"
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"shortlist submit: {kubeflow.url} {sentence}")


def test_a_host_that_does_not_answer_is_told_in_a_sentence(capsys):
    (port,) = free_ports(1)
    host = f"http://{HOST}:{port}"
    done = submit_here(capsys, "--runner", "kubeflow", "--set", f"kubeflow.host={host}")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"can't reach Kubeflow Pipelines at {host}" in done.stderr
    assert done.stderr.count("\n") == 1


# Vertex AI


class Vertex(grpc.GenericRpcHandler):
    """Answers as Vertex AI's PipelineService does, over TLS."""

    def __init__(self, folder: pathlib.Path):
        self.asked: list[tuple[aiplatform_v1.CreatePipelineJobRequest, str]] = []
        self.refusal: grpc.StatusCode | None = None
        certificate, key = make_certificate(folder)
        self.certificate = str(certificate)
        self._server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[self])
        pair = (key.read_bytes(), certificate.read_bytes())
        self.port = self._server.add_secure_port(
            f"{HOST}:0", grpc.ssl_server_credentials([pair])
        )
        self._server.start()

    def service(self, details: Any) -> Any:
        if not details.method.endswith("PipelineService/CreatePipelineJob"):
            return None
        token = dict(details.invocation_metadata).get("authorization", "")

        def create(request: Any, context: Any) -> Any:
            self.asked.append((request, token))
            if self.refusal:
                context.abort(self.refusal, "no such project")
            job = aiplatform_v1.PipelineJob(request.pipeline_job)
            job.name = f"{request.parent}/pipelineJobs/{request.pipeline_job_id}"
            return job

        return grpc.unary_unary_rpc_method_handler(
            create,
            aiplatform_v1.CreatePipelineJobRequest.deserialize,
            aiplatform_v1.PipelineJob.serialize,
        )

    def close(self) -> None:
        self._server.stop(None)


@pytest.fixture
def vertex(tmp_path) -> Iterator[Vertex]:
    server = Vertex(tmp_path)
    yield server
    server.close()


def to_vertex(
    vertex: Vertex, folder: pathlib.Path, *more: str
) -> subprocess.CompletedProcess:
    return submit(
        "--runner", "vertex", "--set", "vertex.project=shop",
        "--set", "vertex.region=europe-west4",
        "--set", f"vertex.endpoint=localhost:{vertex.port}",
        "--set", "vertex.service_account=runs@shop.iam.gserviceaccount.com", *more,
        GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=vertex.certificate,
        GOOGLE_APPLICATION_CREDENTIALS=str(make_service_account(folder)),
    )  # fmt: skip


def test_vertex_gets_the_job_in_the_name_of_its_service_account(vertex, tmp_path):
    done = to_vertex(vertex, tmp_path, "--param", "min_recall_at_10=0.9")
    assert done.returncode == 0, done.stderr
    ((request, token),) = vertex.asked
    assert request.parent == "projects/shop/locations/europe-west4"
    assert token.startswith("Bearer ")
    job = request.pipeline_job
    assert job.display_name == "movielens-100k"
    assert job.service_account == "runs@shop.iam.gserviceaccount.com"
    config = job.runtime_config
    assert config.gcs_output_directory == "gs://bucket/runs/movielens-100k/artifacts"
    assert dict(config.parameter_values) == {"min_recall_at_10": 0.9}
    content = aiplatform_v1.PipelineJob.to_dict(job)["pipeline_spec"]
    spec = json_format.ParseDict(content, pipeline_spec_pb2.PipelineSpec())
    assert len(spec.root.dag.tasks) == 19
    assert f"pipelineJobs/{request.pipeline_job_id}" in done.stdout


def test_a_wrong_project_is_told_in_a_sentence(vertex, tmp_path):
    vertex.refusal = grpc.StatusCode.PERMISSION_DENIED
    done = to_vertex(vertex, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "shortlist submit: Vertex AI refuses the pipeline in project shop, region "
        "europe-west4: no such project\n"
    )


def test_without_credentials_there_is_a_sentence(tmp_path):
    done = submit(
        "--runner", "vertex", "--set", "vertex.project=shop",
        "--set", "vertex.region=europe-west4",
        GOOGLE_APPLICATION_CREDENTIALS="", HOME=str(tmp_path), NO_GCE_CHECK="true",
        CLOUDSDK_CONFIG=str(tmp_path),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "shortlist submit: no credentials for Google Cloud: run 'gcloud auth"
    )


# What is wrong before anything is sent


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--runner", "kubeflow"),
            "kubeflow.host is not set: give the address of Kubeflow Pipelines",
        ),
        (
            ("--runner", "vertex"),
            "vertex.project is not set: say where the pipeline is to run",
        ),
        (
            ("--runner", "vertex", "--set", "containers.image=null"),
            "containers.image is not set: build docker/pipeline.Dockerfile",
        ),
        (
            ("--runner", "vertex", "--param", "until=1"),
            "--param until=1: give NAME=VALUE, where NAME is one of max_p99_ms, min_",
        ),
        (
            ("--runner", "vertex", "--param", "max_p99_ms=fast"),
            "--param max_p99_ms=fast: max_p99_ms is a number",
        ),
        (
            ("--runner", "vertex", "--set", "containers.resources={Trainr: {cpu: 2}}"),
            "containers.resources.Trainr: the pipeline has no such node; give one of",
        ),
    ],
)
def test_what_can_not_be_submitted_is_told_in_a_sentence(arguments, sentence, capsys):
    done = submit_here(capsys, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"shortlist submit: {sentence}")
    assert done.stderr.count("\n") == 1


def test_files_of_this_machine_are_told_of_where_nodes_run_elsewhere(tmp_path, capsys):
    config = tmp_path / "shop.yaml"
    (tmp_path / "orders.csv").write_text("user,item\n1,2\n")
    config.write_text(
        "name: shop\ninteractions: {source: {csv: orders.csv}, query_id: user, "
        "candidate_id: item}\n"
    )
    from pipeline.cli.main import main

    code = main(
        [
            "compile", str(config), "--runner", "kubeflow", "--root",
            "gs://bucket/runs", "--set", f"containers.image={IMAGE}", "-o",
            str(tmp_path / "pipeline.json"),
        ]
    )  # fmt: skip
    assert code == 1
    assert capsys.readouterr().err == (
        f"shortlist compile: interactions.source: {tmp_path}/orders.csv is a file of "
        "this machine, and the nodes run elsewhere; copy it to a bucket, as the root "
        "gs://bucket/runs is\n"
    )
    assert not os.path.exists(tmp_path / "pipeline.json")
