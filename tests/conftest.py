# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""One pipeline on a cut of the real data, run once a session and in this process.

Importing TFX takes half a minute, so it is imported by whoever asks for a fixture that
needs it, and never for unit tests.
"""

import contextlib
import dataclasses
import io
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

import serving.process  # noqa: F401  (must come before TensorFlow)

# How long an example takes on a busy machine proves nothing.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

REPOSITORY = pathlib.Path(__file__).parents[1]

# Small enough for seconds, large enough that the default recipe beats popularity.
CUT = (
    "interactions.split={method: shuffle, seed: 1, counts: {train: 12000, eval: 3000}}",
    "training.epochs=60",
    "model.embedding_dim=64",
    "model.temperature=0.4",
    "evaluation.latency_queries=50",
    # Nothing is proved by the speed of a machine that runs tests.
    "evaluation.gates.max_p99_ms=5000",
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a command of `shortlist` said."""

    code: int
    stdout: str
    stderr: str


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds what asks for tests that take minutes."""
    parser.addoption(
        "--image-bases",
        metavar="DIR",
        help="build the images of docker/, see tests/unit/test_docker.py",
    )


@dataclasses.dataclass(frozen=True)
class Run(Outcome):
    """What a run said and left behind."""

    executions: dict[str, list[str]]
    """States of the executions that it added, by node."""
    outputs: dict[str, dict[str, Any]]
    """Artifacts that its nodes made or took from the cache, by node and key."""
    inputs: dict[str, dict[str, list[int]]]
    """Ids of the artifacts that its nodes read, by node and key."""
    summary: dict[str, Any] | None
    """The pipeline's summary after it."""
    versions: list[str]
    """The pipeline's pushed versions after it, oldest first."""

    def states(self) -> dict[str, str]:
        """The state of each node; no node may have two executions."""
        assert all(len(states) == 1 for states in self.executions.values())
        return {node: states[0] for node, states in self.executions.items()}


@dataclasses.dataclass(frozen=True)
class Home:
    """One config and one root; its pipeline runs in this very process."""

    root: pathlib.Path
    config: pathlib.Path
    name: str
    overrides: tuple[str, ...] = ()

    @property
    def folder(self) -> pathlib.Path:
        return self.root / self.name

    @property
    def serving(self) -> pathlib.Path:
        return self.folder / "serving"

    def shortlist(self, *arguments: str) -> Outcome:
        """Calls the command line as a shell would, but for the process."""
        from pipeline.cli.main import main

        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(arguments))
        return Outcome(code, out.getvalue(), err.getvalue())

    def arguments(self, *overrides: str, verb: str = "run") -> list[str]:
        """The command line of a run; later overrides win."""
        every = (*self.overrides, *overrides)
        sets = [part for override in every for part in ("--set", override)]
        return [verb, str(self.config), "--root", str(self.root), *sets]

    def run(
        self, *overrides: str, output_format: str = "text", verb: str = "run"
    ) -> Run:
        """Runs the pipeline and reads what it left behind."""
        before = {one.id for one in self.executions()}
        arguments = self.arguments(*overrides, verb=verb)
        said = self.shortlist(*arguments, "--format", output_format)
        states: dict[str, list[str]] = {}
        outputs: dict[str, dict[str, Any]] = {}
        inputs: dict[str, dict[str, list[int]]] = {}
        for one in self.executions():
            if one.id not in before:
                states.setdefault(one.node, []).append(one.state)
                outputs[one.node], inputs[one.node] = one.outputs, one.inputs
        path = self.folder / "summary.json"
        summary = json.loads(path.read_text()) if path.exists() else None
        return Run(
            *dataclasses.astuple(said),
            executions=states,
            outputs=outputs,
            inputs=inputs,
            summary=summary,
            versions=self.versions(),
        )

    def versions(self) -> list[str]:
        """Names in the serving folder, all of which must be numbers."""
        if not self.serving.exists():
            return []
        return sorted((path.name for path in self.serving.iterdir()), key=int)

    @contextlib.contextmanager
    def store(self) -> Iterator[Any]:
        """Opens the pipeline's ML Metadata."""
        from tfx.orchestration import metadata

        path = str(self.folder / "metadata.db")
        with metadata.Metadata(
            metadata.sqlite_metadata_connection_config(path)
        ) as handle:
            yield handle.store

    def executions(self) -> list["Execution"]:
        """Every execution in ML Metadata, oldest first."""
        if not (self.folder / "metadata.db").exists():
            return []
        with self.store() as store:
            found = sorted(store.get_executions(), key=lambda one: one.id)
            return [_execution(store, one) for one in found]


@dataclasses.dataclass(frozen=True)
class Execution:
    """One execution of one node, as ML Metadata tells of it."""

    id: int
    node: str
    state: str
    outputs: dict[str, Any]
    inputs: dict[str, list[int]]


def _execution(store: Any, found: Any) -> Execution:
    """Reads an execution's node, state and artifacts."""
    from ml_metadata.proto import metadata_store_pb2 as pb
    from tfx.types import artifact_utils

    (node,) = (
        context.name.partition(".")[2]
        for context in store.get_contexts_by_execution(found.id)
        if context.type == "node"
    )
    outputs: dict[str, Any] = {}
    inputs: dict[str, list[int]] = {}
    for event in store.get_events_by_execution_ids([found.id]):
        key = event.path.steps[0].key
        if event.type == pb.Event.INPUT:
            inputs.setdefault(key, []).append(event.artifact_id)
            continue
        (artifact,) = store.get_artifacts_by_id([event.artifact_id])
        (kind,) = store.get_artifact_types_by_id([artifact.type_id])
        outputs[key] = artifact_utils.deserialize_artifact(kind, artifact)
    state = pb.Execution.State.Name(found.last_known_state)
    return Execution(found.id, node, state, outputs, inputs)


@pytest.fixture(scope="session")
def movielens_data_dir() -> str:
    """The repository's data folder, with both MovieLens 100K datasets in it."""
    from components.tfds_example_gen import tfds_data

    folder = str(REPOSITORY / "data")
    for dataset in ("movielens/100k-movies", "movielens/100k-ratings"):
        tfds_data.prepare(dataset, folder)
    return folder


@pytest.fixture(scope="session")
def new_home() -> type[Home]:
    """Makes a home: its root, its config file and its pipeline's name."""
    return Home


@pytest.fixture(scope="session")
def home(movielens_data_dir: str, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The default config on a cut of the data; nothing has run in it yet."""
    return Home(
        root=tmp_path_factory.mktemp("runs"),
        config=REPOSITORY / "configs" / "movielens-100k.yaml",
        name="movielens-100k",
        overrides=(*CUT, f"data_dir={movielens_data_dir}"),
    )


@pytest.fixture(scope="session")
def first_run(home: Home) -> Run:
    """The first run in its home."""
    run = home.run()
    assert run.code == 0, run.stderr
    return run
