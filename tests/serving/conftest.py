# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
r"""`shortlist serve` as its clients meet it: real processes over real versions.

The tests of the contract (test_contract_rest.py, test_contract_grpc.py) can be held
against any other server that speaks TensorFlow Serving's protocols:

    pytest tests/serving/test_contract_rest.py --serving-folder DIR
    # … start the other server with DIR/models.config, then:
    pytest tests/serving/test_contract_rest.py tests/serving/test_contract_grpc.py \
        --serving-folder DIR --serving-url http://HOST:8501 --serving-grpc HOST:8500 \
        --serving-model main

The first command writes the versions into DIR, where they stay, and holds Shortlist's
own server against the contract. What only Shortlist promises is then skipped.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.serving.asking import Endpoint, Server, serving
from tests.serving.versions import build_rich, push
from tests.unit.conftest import (
    DEFAULT_K,
    World,
    build,
    build_version,
    load,
    world,
)

__all__ = ["build", "load", "world"]

MODELS = ("main", "saved", "sharded", "rich")
"""What the shared server serves; `main` has two versions, of which 2 is the newest."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options that name another server."""
    group = parser.getgroup("serving")
    group.addoption("--serving-url", metavar="URL", help="another server's REST")
    group.addoption("--serving-grpc", metavar="HOST:PORT", help="its gRPC")
    group.addoption("--serving-model", metavar="NAME", help="what it serves")
    group.addoption("--serving-folder", metavar="DIR", help="where versions are kept")


def _option(config: pytest.Config, name: str) -> Any:
    # Unknown where this file was found only after the command line was read.
    return config.getoption(f"--serving-{name}", default=None)


@pytest.fixture(scope="session")
def sharded_version(world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small world in three exact shards."""
    from serving.index_config import IndexConfig

    return build_version(
        tmp_path_factory.mktemp("shards") / "exact", world.towers, world.ids,
        world.titles, world.candidate_vectors,
        IndexConfig(kind="exact", k=DEFAULT_K, shards=3),
    )  # fmt: skip


@pytest.fixture(scope="session")
def rich_version(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A version whose queries tell more than an id."""
    return build_rich(tmp_path_factory.mktemp("rich"))


@pytest.fixture(scope="session")
def folder(
    request: pytest.FixtureRequest,
    build: Callable[[str], Any],
    sharded_version: str,
    rich_version: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> pathlib.Path:
    """A base path for each of `MODELS`, and a model config file of them all."""
    kept = _option(request.config, "folder")
    path = pathlib.Path(kept).absolute() if kept else tmp_path_factory.mktemp("served")
    if (path / "models.config").exists():
        return path
    for name in MODELS:
        (path / name).mkdir(parents=True)
    push(build("exact").path, path / "main", 1)
    push(build("scann").path, path / "main", 2)
    push(build("tfrs-scann").path, path / "saved", 1)
    push(sharded_version, path / "sharded", 1)
    push(rich_version, path / "rich", 1)
    labels = "".join(
        f'version_labels {{ key: "{label}" value: {number} }}'
        for label, number in (("stable", 1), ("canary", 2))
    )
    models = "".join(
        f'config {{ name: "{name}" base_path: "{path / name}" '
        f'model_platform: "tensorflow" model_version_policy {{ all {{}} }} '
        f"{labels if name == 'main' else ''} }}\n"
        for name in MODELS
    )
    (path / "models.config").write_text(f"model_config_list {{ {models} }}")
    return path


@pytest.fixture(scope="session")
def shared(
    folder: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of all `MODELS`, for every test that leaves it as it is."""
    log = tmp_path_factory.mktemp("shared") / "log"
    config = str(folder / "models.config")
    # A machine that is busy with other tests takes its time.
    patient = ("--deadline-ms", "60000", "--max-wait-ms", "60000")
    arguments = ("--model-config-file", config, *patient)
    with serving(log, *arguments) as server:
        yield server.wait_until_ready()


@pytest.fixture(scope="session")
def loaded(folder: pathlib.Path) -> Callable[[str, int], Any]:
    """Loads a version with serving.model, once a session."""
    from serving.shards import open_model

    return functools.cache(
        lambda model, number: open_model(str(folder / model / str(number)))
    )


@dataclasses.dataclass(frozen=True)
class Contract:
    """A server that has to keep the contract, and a model of it."""

    server: Endpoint
    model: str
    is_ours: bool


@pytest.fixture(scope="session")
def contract(request: pytest.FixtureRequest) -> Iterator[Contract]:
    """The server of the command line, or else the shared one."""
    url = _option(request.config, "url")
    model = _option(request.config, "model") or "main"
    if url is None:
        yield Contract(request.getfixturevalue("shared"), model, True)
        return
    server = Endpoint(url, _option(request.config, "grpc"))
    yield Contract(server, model, False)
    server.close()


@pytest.fixture
def ours(contract: Contract) -> Contract:
    """The contract's server, for what only Shortlist promises."""
    if not contract.is_ours:
        pytest.skip("Shortlist alone promises it; --serving-url asks another server")
    return contract
