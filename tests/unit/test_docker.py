# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The images of docker/: how they are written and, if asked for, that they work.

    pytest tests/unit/test_docker.py --image-bases=DIR

builds them without an engine, as root, in minutes. DIR has a folder for each image that
they are built FROM, of its name, with its files (`docker export`).
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli.main import make_parser
from pipeline.runners import container
from requirements import install
from serving import stacks
from serving.server.options import ServerOptions
from tests import dockerfile
from tests.unit.test_architecture import ROOMS
from tests.unit.test_server_start import handles

ROOT = dockerfile.ROOT
SERVER, PIPELINE = (
    ROOT / "docker" / f"{name}.Dockerfile" for name in ("server", "pipeline")
)
ARGS = {
    "stable": {},
    "current": {"STACK": "current", "PYTHON": "3.13", "DEBIAN": "trixie"},
}
"""Of --build-arg, as the Dockerfiles' first lines say."""
OF_BOTH_STACKS = pytest.mark.parametrize("stack", ARGS)
BOTH = pytest.mark.parametrize("path", [SERVER, PIPELINE], ids=lambda path: path.stem)
ASK = """
import json, sys, urllib.request
import grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

body = json.dumps({"instances": [{"user_id": "7"}]}).encode()
url = "http://127.0.0.1:8501/v1/models/small:predict"
(answer,) = json.load(urllib.request.urlopen(url, body))["predictions"]
channel = grpc.insecure_channel("127.0.0.1:8500")
request = predict_pb2.PredictRequest()
request.model_spec.name = "small"
request.inputs["user_id"].dtype = 7
request.inputs["user_id"].string_val.append(b"7")
request.inputs["user_id"].tensor_shape.dim.add(size=1)
stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
found = stub.Predict(request, timeout=60).outputs["candidate_id"].string_val
assert [one.decode() for one in found] == answer["candidate_id"], (found, answer)
assert urllib.request.urlopen("http://127.0.0.1:8501/docs").status == 200
assert json.load(urllib.request.urlopen("http://127.0.0.1:8501/openapi.json"))
print(len(found))
"""


def last(path: Path) -> dict[str, list[dockerfile.Instruction]]:
    """Returns the instructions of the last stage by keyword."""
    found: dict[str, list[dockerfile.Instruction]] = {}
    for one in dockerfile.stages(path)[-1]:
        found.setdefault(one.keyword, []).append(one)
    return found


def runs(path: Path, stack: str) -> list[str]:
    """Returns the commands of all RUN instructions."""
    every = dockerfile.read(path, ARGS[stack])
    values = [one.value for one in every if one.keyword == "RUN"]
    return [command.strip() for value in values for command in value.split("&&")]


def test_a_dockerfile_is_read(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(
        "# c\nARG V=a\nFROM ${V} AS b\nARG V\nRUN x \\\n    && y\n\nFROM b\n"
        'COPY --from=b /p q /r\nCOPY s .\nCMD ["a b", "c"]\n'
    )
    first, second = dockerfile.stages(path)
    assert [tuple(one) for one in first] == [("FROM", "a AS b"), ("RUN", "x && y")]
    assert list(dockerfile.copied(second)) == [
        ("b", ["/p", "q"], "/r"),
        ("", ["s"], "."),
    ]
    assert second[-1].words == ["a b", "c"]
    assert dockerfile.stages(path, {"V": "z"})[0][0].value == "z AS b"


@BOTH
def test_what_is_copied_is_there(path: Path) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    names: set[str] = set()
    for stage in dockerfile.stages(path):
        for other, sources, _ in dockerfile.copied(stage):
            assert not other or other in names
            for source in sources if not other else []:
                assert (ROOT / source).exists()
                assert Path(source).parts[0] in sent
        names.add(stage[0].words[-1])


@pytest.mark.parametrize(
    ("path", "rooms"), [(SERVER, {"pipeline", "serving"}), (PIPELINE, set(ROOMS))]
)
def test_an_image_holds_the_rooms_that_it_needs(path: Path, rooms: set[str]) -> None:
    sources = [
        source
        for stage in dockerfile.stages(path)
        for other, sources, _ in dockerfile.copied(stage)
        for source in sources
        if not other
    ]
    assert {source for source in sources if (ROOT / source).is_dir()} == rooms


@OF_BOTH_STACKS
@BOTH
def test_every_package_comes_from_a_hashed_lock(path: Path, stack: str) -> None:
    lock = f"{stack}-serving" if path == SERVER else stack
    assert (ROOT / "requirements" / f"{lock}.lock").exists()
    installs = [
        one for one in runs(path, stack) if re.search(r"pip (install|sync) ", one)
    ]
    assert len(installs) == 3
    uv, packages, project = installs
    assert "--require-hashes -r requirements/bootstrap.lock" in uv
    assert "--require-hashes" in packages
    assert packages.endswith(f" requirements/{lock}.lock")
    # The project itself, which brings nothing with it.
    assert {"--no-deps", "--no-build-isolation", "."} <= set(project.split())


@pytest.mark.parametrize("stack", install.STACKS, ids=lambda stack: stack.name)
@BOTH
def test_the_image_that_runs_is_slim_and_of_our_python(
    path: Path, stack: install.Stack
) -> None:
    args = ARGS[stack.name]
    bases = [one[0].words[0] for one in dockerfile.stages(path, args)]
    assert bases[-1] == (
        f"python:{stack.pythons[0]}-slim-{args.get('DEBIAN', 'bookworm')}"
    )
    assert all(base.startswith(f"python:{stack.pythons[0]}-") for base in bases)
    said = " ".join(f"--build-arg {name}={value}" for name, value in args.items())
    assert said in path.read_text()
    assert not any("apt" in one.value for one in last(path).get("RUN", []))
    labels = {word.partition("=")[0] for word in last(path)["LABEL"][0].words}
    prefix = "org.opencontainers.image."
    assert labels == {prefix + name for name in ("title", "description", "licenses")}


def test_server_image_starts_the_server_as_nobody_special() -> None:
    stage = last(SERVER)
    user, group = stage["USER"][0].value.split(":")
    assert int(user) > 0 < int(group)
    options = ServerOptions()
    assert stage["EXPOSE"][0].words == [str(options.grpc_port), str(options.rest_port)]
    assert stage["STOPSIGNAL"][0].value == "SIGTERM"
    command = stage["ENTRYPOINT"][0].words + stage["CMD"][0].words
    assert command[0] == "shortlist"
    parsed = make_parser().parse_args(command[1:])
    assert (parsed.verb, parsed.host, parsed.root) == ("serve", "0.0.0.0", "/models")
    check = stage["HEALTHCHECK"][0].value
    assert f"http://127.0.0.1:{options.rest_port}/readyz" in check
    assert "curl" not in check


def test_pipeline_image_leaves_the_command_to_the_orchestrator() -> None:
    stage = last(PIPELINE)
    assert not {"ENTRYPOINT", "CMD", "USER"} & stage.keys()
    assert "TF_USE_LEGACY_KERAS=1" in stage["ENV"][0].words


@pytest.mark.skipif(not shutil.which("hadolint"), reason="hadolint is not installed")
@BOTH
def test_hadolint_finds_nothing(path: Path) -> None:
    done = subprocess.run(["hadolint", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture(scope="session")
def bases(request: pytest.FixtureRequest) -> Path:
    folder = request.config.getoption("--image-bases")
    if not folder:
        pytest.skip("it takes minutes; --image-bases asks for it")
    assert os.geteuid() == 0, "only root can build images without an engine"
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def server(bases: Path, tmp_path_factory: pytest.TempPathFactory) -> dockerfile.Image:
    made = tmp_path_factory.mktemp("server")
    return dockerfile.build(SERVER, bases, made, ARGS[stacks.RUNNING.name])


@contextlib.contextmanager
def started(
    image: dockerfile.Image, models: Path
) -> Iterator[tuple[subprocess.Popen, int]]:
    """Starts an image's own command; gives also the id of its process 1."""
    models.chmod(0o755)
    (image.root / "models").mkdir(exist_ok=True)
    command = image.entrypoint + image.cmd
    process = subprocess.Popen(image.command(command, f"{models}:/models", sealed=True))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + 60
    try:
        while not (found := children.read_text().split()) or not handles(
            int(found[0]), signal.SIGTERM
        ):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        yield process, int(found[0])
    finally:
        # As another user it does not end with the one that started it.
        for child in children.read_text().split() if process.poll() is None else []:
            os.kill(int(child), signal.SIGKILL)
        process.wait()


def within(
    image: dockerfile.Image, process: subprocess.Popen, command: list[str]
) -> subprocess.CompletedProcess:
    """Runs a command in a started image, as `docker exec` does."""
    into = ["nsenter", "--target", str(process.pid), "--net"]
    command = [*into, *image.command(command)]
    return subprocess.run(command, capture_output=True, text=True)


def test_server_image_serves(server, build, tmp_path) -> None:
    shutil.copytree(build("scann").path, tmp_path / "small" / "serving" / "1")
    with started(server, tmp_path) as (process, number_1):
        assert Path(f"/proc/{number_1}").stat().st_uid == 10001
        until = time.monotonic() + 120
        while within(server, process, server.healthcheck).returncode:
            assert process.poll() is None
            assert time.monotonic() < until
        asked = within(server, process, ["python", "-c", ASK])
        assert (asked.returncode, asked.stdout) == (0, "10\n"), asked.stderr
        os.kill(number_1, signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_server_image_stops_before_it_is_ready(server, tmp_path) -> None:
    (tmp_path / "small" / "serving").mkdir(parents=True)
    with started(server, tmp_path) as (process, number_1):
        os.kill(number_1, signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM


def test_server_image_says_what_it_may_not_read(server, tmp_path) -> None:
    (server.root / "models").mkdir(exist_ok=True)
    tmp_path.chmod(0o700)
    command = server.command(server.entrypoint + server.cmd, f"{tmp_path}:/models")
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "/models can't be read; let the user with the id 10001" in done.stderr


def test_server_image_has_what_its_doctor_looks_for_and_nothing_to_build_with(
    server,
) -> None:
    image = server.command(["shortlist", "doctor", "--serving"])
    done = subprocess.run(image, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tools = server.command(["sh", "-c", "command -v cc gcc c++ ld make uv"])
    assert subprocess.run(tools, capture_output=True).stdout == b""


def test_pipeline_image_has_all_that_nodes_need(bases, tmp_path_factory) -> None:
    made = tmp_path_factory.mktemp("pipeline")
    image = dockerfile.build(PIPELINE, bases, made, ARGS[stacks.RUNNING.name])
    help_ = [*container.COMMAND, "--help"]
    for command in (help_, ["shortlist", "doctor"]):
        done = subprocess.run(image.command(command), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
