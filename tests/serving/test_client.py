# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The client and the command line against servers that really serve."""

import asyncio
import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

import serving.process
from pipeline.cli import main
from pipeline.layout import Layout
from serving.client import AsyncClient, Client, ServerError, Unreachable, VersionStatus
from serving.errors import UserError

# Fixtures that stand with the tests of the servables themselves.
from tests.unit.conftest import build, world  # noqa: F401

TOKEN = "secret"
START_S = 120
"""Within which a server has to be ready, on the busiest of machines."""


class Running(NamedTuple):
    """A server, and the models that it serves."""

    url: str
    paths: dict[str, str]
    """Folder of the version of each model."""
    root: pathlib.Path
    token_file: pathlib.Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(root: pathlib.Path, *options: str) -> tuple[str, subprocess.Popen]:
    """Starts `shortlist serve` over a root, as a process of its own."""
    port = str(free_port())
    program = "import sys; from pipeline.cli import main; sys.exit(main())"
    where = ["--root", str(root), "--rest-port", port, "--grpc-port", "0"]
    process = subprocess.Popen(
        # A busy machine is no reason for a test to see a request refused.
        [
            sys.executable,
            "-c",
            program,
            "serve",
            *where,
            "--deadline-ms=60000",
            "--max-wait-ms=60000",
            *options,
        ],
        env=serving.process.child_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    return f"http://127.0.0.1:{port}", process


def wait_until_ready(url: str, process: subprocess.Popen) -> None:
    until = time.monotonic() + START_S
    with Client(url, retries=0) as client:
        while not client.is_ready():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until, "the server is not ready"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def servers(build, tmp_path_factory) -> Iterator[list[Running]]:  # noqa: F811
    """One server of one model, and one that serves two to who bears a token."""
    folder = tmp_path_factory.mktemp("served")
    token_file = folder / "token"
    token_file.write_text(TOKEN + "\n")
    running, processes = [], []
    for kinds, options in (
        (["scann"], []),
        (["scann", "exact"], ["--token-file", str(token_file)]),
    ):
        root = folder / str(len(kinds))
        paths = {}
        for kind in kinds:
            base = pathlib.Path(Layout(str(root), f"by-{kind}").serving)
            base.mkdir(parents=True)
            paths[f"by-{kind}"] = str(base / "7")
            os.symlink(build(kind).path, paths[f"by-{kind}"])
        url, process = start(root, *options)
        processes.append(process)
        running.append(Running(url, paths, root, token_file))
    try:
        for one, process in zip(running, processes, strict=True):
            wait_until_ready(one.url, process)
        yield running
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.communicate()
    assert [process.returncode for process in processes] == [0, 0]


@pytest.fixture
def server(servers) -> Running:
    """Serves one model, to everybody."""
    return servers[0]


@pytest.fixture
def guarded(servers) -> Running:
    """Serves two models, to who bears the token."""
    return servers[1]


@pytest.fixture(scope="module")
def engine(build):  # noqa: F811
    """Answers as the model of `server` does, in this process."""
    from serving.native import NativeEngine

    return NativeEngine(build("scann").path)


def assert_same(results, wanted) -> None:
    """Holds answers to an engine's, but for the last digit of scores."""
    found = [dataclasses.asdict(one) for one in results]
    for one in (*found, *wanted):
        one["score"] = pytest.approx(one["score"], rel=1e-6)
    assert found == wanted


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 3},
        {"k": 1000},
        {"k": 5, "exclude": ["m1", "東京", "nobody"]},
        {"filter": "kind = film and year >= 1950"},
        {"k": 4, "filter": "tags in (new, rare)", "exclude": ["m3"]},
        {"leaves_to_search": 12, "reorder": 300},
    ],
)
def test_answers_are_the_engines(server, engine, options):
    with Client(server.url) as client:
        for user in ("7", "40", "nobody", "東京"):
            found = client.recommend({"user_id": user}, **options)
            wanted = engine.recommend({"user_id": user}, **{"k": 10, **options})
            assert_same(found.results, wanted)
            assert (found.model, found.version) == ("by-scann", 7)


def test_exact_answers_are_the_ranking(server, world):  # noqa: F811
    with Client(server.url) as client:
        found = client.recommend({"user_id": "7"}, 20, ["m1"], exact=True, version=7)
    ids = [one.candidate_id for one in found.results]
    assert ids == world.ranking("7", ("m1",))[:20]


def test_tasks_are_answered_as_threads_are(server, engine, world):  # noqa: F811
    async def ask_all():
        async with AsyncClient(server.url) as client:
            asked = (client.recommend({"user_id": one}, 3) for one in world.users)
            return await client.is_ready(), await asyncio.gather(*asked)

    is_ready, answers = asyncio.run(ask_all())
    assert is_ready
    for user, found in zip(world.users, answers, strict=True):
        assert_same(found.results, engine.recommend({"user_id": user}, 3))


def test_signatures_are_called_with_rows_and_columns(server, engine):
    (wanted,) = [one["candidate_id"] for one in engine.recommend({"user_id": "7"}, 1)]
    with Client(server.url) as client:
        columns = client.predict(inputs={"user_id": ["7", b"7"], "k": 1})
        rows = client.predict(instances=["7"], signature_name="embed_query")
    assert columns["candidate_id"] == [[wanted], [wanted]]
    np.testing.assert_allclose(rows[0], engine.embed({"user_id": ["7"]})[0], rtol=1e-6)


def test_what_a_server_knows_is_told(server, world):  # noqa: F811
    with Client(server.url) as client:
        assert client.models() == {"by-scann": {7: "AVAILABLE"}}
        assert client.status() == (VersionStatus(7, "AVAILABLE", ""),)
        known = client.queries("3", 4)
        assert known.feature == "user_id"
        assert known.ids == tuple(u for u in world.users if u.startswith("3"))[:4]
        metadata = client.metadata(version=7)
        assert (metadata.model, metadata.version) == ("by-scann", 7)
        outputs = metadata.signatures["serving_default"]["outputs"]
        assert set(outputs) == {"candidate_id", "title", "score"}


@pytest.mark.parametrize(
    ("call", "status", "sentence"),
    [
        (
            lambda c: c.recommend({"user": "7"}),
            400,
            "unknown query feature 'user'; the model takes user_id",
        ),
        (
            lambda c: c.recommend({"user_id": "7"}, k=0),
            400,
            "k must be from 1 to 10000, got 0",
        ),
        (
            lambda c: c.recommend({"user_id": None}),
            400,
            "the feature 'user_id' must be texts or numbers, got None",
        ),
        (
            lambda c: c.status(version=8),
            404,
            "Could not find version 8 of model by-scann",
        ),
        (
            lambda c: c.recommend({"user_id": "7"}, label="canary"),
            400,
            "Unrecognized servable version label: canary",
        ),
        (
            lambda c: c.recommend({"user_id": "7"}, exclude=["x" * 1000] * 5000),
            413,
            "a request's body may have 4194304 bytes; start the server with a larger "
            "--max-request-bytes",
        ),
    ],
)
def test_a_server_refuses_in_its_own_words(server, call, status, sentence):
    with Client(server.url) as client, pytest.raises(ServerError) as error:
        call(client)
    assert (error.value.status, str(error.value)) == (status, sentence)


def test_of_two_models_each_answers_under_its_name(guarded):
    for name in guarded.paths:
        with Client(guarded.url, model=name, token=TOKEN) as client:
            assert client.recommend({"user_id": "7"}).model == name
    with Client(guarded.url, token=TOKEN) as client, pytest.raises(UserError) as error:
        client.recommend({"user_id": "7"})
    sentence = (
        f"{guarded.url} serves the models by-exact, by-scann; name the one to ask"
    )
    assert str(error.value) == sentence


@pytest.mark.parametrize("token", [None, "wrong"])
def test_who_bears_no_token_is_refused(guarded, token):
    with Client(guarded.url, model="by-exact", token=token) as client:
        assert client.is_ready()
        with pytest.raises(ServerError, match="the token is missing or wrong") as error:
            client.recommend({"user_id": "7"})
    assert error.value.status == 401


def test_a_server_that_has_stopped_is_unreachable():
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, model="a", retries=0) as client:
        assert not client.is_ready()
        with pytest.raises(Unreachable, match=f"{url} can't be reached"):
            client.recommend({"user_id": "7"})


# The command line


def shortlist_recommend(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(["recommend", *map(str, arguments)])
    return (code, *capsys.readouterr())


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "asked",
    [
        ["--query", "user_id=7"],
        ["--query", "user_id=東京", "-k", "3"],
        ["--query", "user_id=7", "--exclude", "m1", "--exclude=-1", "-k", "400"],
        ["--query", "user_id=7", "--filter", "kind = song and not tags = new"],
        ["--query", "user_id=7", "--filter", "kind = opera"],
    ],
)
def test_a_server_makes_no_difference_to_what_is_printed(server, capsys, asked, form):
    asked = [*asked, "--format", form]
    here = shortlist_recommend(capsys, "--root", server.root, *asked)
    there = shortlist_recommend(capsys, "--server", server.url, *asked)
    if form == "text":
        assert there == here
        return
    both = [json.loads(out) for _, out, _ in (here, there)]
    scores = [[one.pop("score") for one in o["recommendations"]] for o in both]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
    assert both[0] == both[1]
    assert (there[0], there[2]) == (0, "")


def test_a_model_is_named_and_a_token_shown(guarded, capsys):
    asked = ["--query", "user_id=7", "-k", "2"]
    for name, path in guarded.paths.items():
        options = ["--name", name, "--token-file", guarded.token_file]
        there = shortlist_recommend(capsys, "--server", guarded.url, *options, *asked)
        assert there == shortlist_recommend(capsys, "--model", path, *asked)


def test_what_a_server_refuses_is_one_sentence(server, guarded, tmp_path, capsys):
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    secret = guarded.token_file
    nobody = f"http://127.0.0.1:{free_port()}"
    refused = "says: the token is missing or wrong; send 'Authorization: Bearer TOKEN'"
    for options, sentence in (
        (
            [server.url, "--name", "x"],
            f"{server.url} says: Servable not found for request: Latest(x); leave "
            "--name out to learn what it serves",
        ),
        (
            [server.url, "--filter", "kind"],
            f"{server.url} says: filter: 'kind' has its end where '=' should be",
        ),
        (
            [guarded.url, "--name", "by-exact"],
            f"{guarded.url} {refused} (here: --token-file FILE)",
        ),
        (
            [guarded.url, "--name", "by-exact", "--token-file", wrong],
            f"{guarded.url} {refused} (here: --token-file FILE)",
        ),
        (
            [guarded.url, "--token-file", secret],
            f"{guarded.url} serves the models by-exact, by-scann; name the one to ask",
        ),
        ([nobody], f"{nobody} can't be reached ("),
    ):
        code, out, error = shortlist_recommend(
            capsys, "--query", "user_id=7", "--server", *options
        )
        assert (code, out) == (1, "")
        assert error.startswith(f"shortlist recommend: {sentence}")
        assert error.count("\n") == 1
