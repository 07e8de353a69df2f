# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What this stack pushes, served by the other one's server, in a process of its own.

Both directions are tested where the suite runs on both stacks. The other's server is
installed where a Python for it is found or can be fetched.
"""

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from requirements import install
from serving import stacks
from serving.index_config import IndexConfig
from tests.serving.asking import Server, serving
from tests.serving.versions import push
from tests.unit.conftest import DEFAULT_K, World, build_version

OTHER = next(one for one in install.STACKS if one.name != stacks.RUNNING.name)
SCANN = {"kind": "scann", "leaves": 12, "leaves_to_search": 8, "reorder": 60}
INDEXES: dict[str, dict[str, Any]] = {
    "exact": {"kind": "exact"},
    "scann": SCANN,
    "flat": {"kind": "scann", "leaves": 0, "reorder": 60},
    "int8": {**SCANN, "reorder_type": "int8", "quantize_centroids": True},
    "bfloat16": {**SCANN, "reorder_type": "bfloat16", "spherical": True},
    "soar": {**SCANN, "soar_lambda": 1.5, "avq_eta": 4},
    "plain": {**SCANN, "anisotropic_threshold": 0, "reorder": 300},
    "tfrs": {"kind": "tfrs-scann", "leaves": 12, "leaves_to_search": 8},
    "sharded": {"kind": "exact", "shards": 2},
}
"""Every form that an index's files take."""


@pytest.fixture(scope="module")
def python() -> str:
    """The Python of the other stack's server."""
    try:
        install.install("serving", os.environ, sys.executable, OTHER.name)
    except install.CannotRunError as error:
        pytest.skip(f"the other stack's server can't be installed: {error}")
    folder = install.FOLDERS["serving"].format(OTHER.name)
    return os.path.join(install.ROOT, folder, "bin", "python")


@pytest.fixture(scope="module")
def root(world: World, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A root of pipelines, one for each of `INDEXES`, each with a version."""
    folder = tmp_path_factory.mktemp("root")
    for name, knobs in INDEXES.items():
        path = build_version(
            tmp_path_factory.mktemp("built") / name, world.towers, world.ids,
            world.titles, world.candidate_vectors, IndexConfig(k=DEFAULT_K, **knobs),
        )  # fmt: skip
        (folder / name / "serving").mkdir(parents=True)
        push(path, folder / name / "serving", 1)
    return folder


@pytest.fixture(scope="module", params=["auto", "saved_model"])
def servers(
    request: pytest.FixtureRequest,
    python: str,
    root: pathlib.Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[Server]]:
    """This stack's server and the other's, by the native engines or TensorFlow."""
    log = tmp_path_factory.mktemp("logs")
    arguments = ("--root", str(root), "--engine", request.param)
    patient = ("--deadline-ms", "60000", "--max-wait-ms", "60000")
    with (
        serving(log / "own", *arguments, *patient) as own,
        serving(log / "other", *arguments, *patient, python=python) as other,
    ):
        yield [own.wait_until_ready(), other.wait_until_ready()]


def test_the_other_server_is_of_the_other_stack(python: str) -> None:
    probe = "import importlib.metadata as m; print(m.version('scann'))"
    (pins,) = (one.pins for one in stacks.STACKS if one.name == OTHER.name)
    said = subprocess.check_output([python, "-c", probe], text=True)
    assert said.strip() == pins["scann"]


@pytest.mark.parametrize("name", INDEXES)
def test_versions_answer_the_same_on_the_other_stack(
    servers: list[Server], world: World, name: str
) -> None:
    users = [*world.users, "nobody"]
    excluded = [[one] for one in world.ids[: len(users)]]
    body = {"inputs": {"user_id": users, "exclude": excluded}}
    replies = [one.post(f"/v1/models/{name}:predict", body) for one in servers]
    assert [reply.status_code for reply in replies] == [200, 200], replies[1].text
    own, other = (reply.json()["outputs"] for reply in replies)
    assert len(own["candidate_id"]) == len(users)
    assert other["candidate_id"] == own["candidate_id"]
    assert other["title"] == own["title"]
    np.testing.assert_allclose(other["score"], own["score"], rtol=1e-5)
