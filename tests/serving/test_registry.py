# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The model registry: a real MLflow server, and a server that follows its champion."""

import json
import pathlib
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from serving import checksums
from serving.errors import UserError
from serving.registry import base
from serving.registry.base import CHALLENGER, CHAMPION, GATES, PASSED, Registry
from serving.registry.config import RegistryConfig
from tests import mlflow_server
from tests.serving.asking import HOST, free_ports, serving, until
from tests.serving.versions import push


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory) -> Iterator[str]:
    with mlflow_server.served(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(scope="module")
def registry(mlflow) -> Registry:
    return base.open_registry(RegistryConfig(mlflow=mlflow))


@pytest.fixture(scope="module")
def pushed(build, tmp_path_factory) -> list[pathlib.Path]:
    """Three pushed versions."""
    folder = tmp_path_factory.mktemp("pushed")
    for number, kind in enumerate(("exact", "scann", "exact"), 1):
        push(build(kind).path, folder, number)
    # Same kind, but not the same version.
    manifest = folder / "3" / "assets.extra" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "measured": {"recall": {"10": 0.97}}}))
    checksums.write(str(folder / "3"))
    return [folder / str(number) for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def registered(registry, pushed) -> Callable[[str], list[str]]:
    """Registers all versions under a name, by no alias; returns their numbers."""

    def run(name: str) -> list[str]:
        numbers = []
        for path in pushed:
            tags, metrics = base.describe(str(path))
            tags |= {GATES: PASSED, base.PUSHED_VERSION: path.name}
            numbers.append(registry.register(name, str(path), tags, metrics).version)
        return numbers

    return run


def test_what_is_registered_comes_back_as_it_was(
    registry, registered, pushed, tmp_path
):
    numbers = registered("whole")
    assert numbers == ["1", "2", "3"]
    found = registry.versions("whole")
    assert [one.version for one in found] == ["3", "2", "1"]
    assert found[0].metrics == {"recall.10": 0.97}
    assert found[0].tags[base.PUSHED_VERSION] == "3"
    assert found[1].tags["index"] == "scann"
    for number, path in zip(numbers, pushed, strict=True):
        fetched = pathlib.Path(registry.fetch("whole", number, str(tmp_path)))
        assert fetched.name == number
        files = {
            str(file.relative_to(path)): file.read_bytes()
            for file in path.rglob("*")
            if file.is_file()
        }
        for name, content in files.items():
            assert (fetched / name).read_bytes() == content, name
    # Over again it is the same, and not one version more.
    assert registered("whole") == numbers
    assert len(registry.versions("whole")) == 3
    assert "whole" in registry.names()


def test_champions_follow_each_other_and_there_is_a_way_back(registry, registered):
    first, second, third = registered("ways")
    assert registry.champion("ways") is None
    with pytest.raises(UserError, match="ways has no champion; promote a version"):
        registry.roll_back("ways")
    registry.promote("ways", first)
    with pytest.raises(UserError, match="version 1 of ways took nobody's place"):
        registry.roll_back("ways")
    registry.set_alias("ways", CHALLENGER, second)
    assert registry.promote("ways", CHALLENGER).aliases == (CHALLENGER, CHAMPION)
    assert registry.resolve("ways", CHAMPION) == second
    assert registry.promote("ways", second).version == second  # nothing changes
    registry.promote("ways", third)
    assert registry.roll_back("ways").version == second
    assert registry.roll_back("ways").version == first
    assert registry.find("ways", CHAMPION).version == first
    assert registry.resolve("ways", "nobody") is None


def test_who_has_not_passed_the_gates_is_no_champion(registry, pushed):
    version = registry.register("gated", str(pushed[0]), {GATES: "failed"}, {})
    with pytest.raises(UserError, match="version 1 of gated did not pass its gates"):
        registry.promote("gated", version.version)
    assert registry.champion("gated") is None


def test_what_is_not_there_is_told_with_what_is(registry, registered):
    registered("there")
    with pytest.raises(UserError, match=r"no model 'nowhere'; it has .*there"):
        registry.find("nowhere", CHAMPION)
    with pytest.raises(UserError, match="no version 'best' of there; it has the ver"):
        registry.find("there", "best")
    assert registry.versions("nowhere") == []
    with pytest.raises(UserError, match="write models:/NAME@champion or models:/NAME/"):
        base.parse_address("there@champion")


def test_a_registry_that_does_not_answer_is_told_in_a_sentence(pushed):
    (port,) = free_ports(1)
    registry = base.open_registry(RegistryConfig(mlflow=f"http://{HOST}:{port}"))
    with pytest.raises(UserError, match=f"{port} can't be reached: check the registry"):
        registry.register("x", str(pushed[0]), {}, {})


def test_an_upload_that_breaks_off_registers_nothing(registry, pushed, monkeypatch):
    client = registry._client
    monkeypatch.setattr(
        type(client), "log_artifacts", lambda *_: (_ for _ in ()).throw(OSError("gone"))
    )
    with pytest.raises(UserError, match="can't be used \\(gone\\)"):
        registry.register("broken", str(pushed[0]), {}, {})
    assert registry.versions("broken") == []
    (run,) = client.search_runs([client.get_experiment_by_name("broken").experiment_id])
    assert run.info.status == "FAILED"


def test_a_damaged_version_is_not_fetched(registry, registered, tmp_path, monkeypatch):
    registered("damaged")
    download = registry.download

    def broken(name: str, version: str, folder: str) -> str:
        found = pathlib.Path(download(name, version, folder))
        (found / "saved_model.pb").write_bytes(b"half")
        return str(found)

    monkeypatch.setattr(registry, "download", broken)
    with pytest.raises(UserError, match="has 4 bytes instead of"):
        registry.fetch("damaged", "1", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


# The server


def test_a_server_follows_the_champion_and_drops_no_request(
    mlflow, registry, registered, tmp_path
):
    first, second, third = registered("followed")
    registry.promote("followed", first)
    arguments = (
        "--model", f"models:/followed@{CHAMPION}", "--registry", mlflow,
        "--cache-dir", str(tmp_path / "cache"), "--poll-s", "0.2",
        "--deadline-ms", "60000", "--max-wait-ms", "60000",
    )  # fmt: skip
    with serving(tmp_path / "log", *arguments) as server:
        server.wait_until_ready()
        asked = {"query": {"user_id": "0"}}
        failed: list[str] = []
        seen: set[str] = set()
        is_over = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=server.url, timeout=60) as client:
                while not is_over.is_set():
                    reply = client.post("/v1/models/followed:recommend", json=asked)
                    if reply.status_code == 200:
                        seen.add(str(reply.json()["version"]))
                    else:
                        failed.append(reply.text)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()

        def answering(version: str) -> None:
            until(
                f"version {version} answers",
                lambda: server.answering("followed", {"user_id": "0"}) == int(version),
            )

        try:
            answering(first)
            for version in (second, third):
                registry.promote("followed", version)
                answering(version)
            registry.roll_back("followed")
            answering(second)
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
        assert failed == []
        assert seen == {first, second, third}
        label = server.post(
            f"/v1/models/followed/labels/{CHAMPION}:recommend", asked
        ).json()
        assert str(label["version"]) == second
        kept = sorted(one.name for one in (tmp_path / "cache" / "followed").iterdir())
        assert kept == [second, third]


def test_what_was_served_goes_on_when_the_champion_can_not_be(
    mlflow, registry, registered, build, tmp_path
):
    first, *_ = registered("kept")
    registry.promote("kept", first)
    broken = tmp_path / "broken"
    broken.mkdir()
    push(build("exact").path, broken, 1)
    (broken / "1" / "assets.extra" / "manifest.json").write_text(
        '{"index": {"kind": "exact"}, "format": 999}'
    )
    checksums.write(str(broken / "1"))
    bad = registry.register("kept", str(broken / "1"), {GATES: PASSED}, {})
    arguments = (
        "--model", f"models:/kept@{CHAMPION}", "--registry", mlflow,
        "--cache-dir", str(tmp_path / "cache"), "--poll-s", "0.2",
        "--load-retries", "0",
    )  # fmt: skip
    with serving(tmp_path / "log", *arguments) as server:
        server.wait_until_ready()
        registry.promote("kept", bad.version)
        until("the server says so", lambda: "what was served goes on" in server.said)
        assert server.answering("kept", {"user_id": "0"}) == int(first)
        # The way back is taken too.
        registry.roll_back("kept")
        assert server.answering("kept", {"user_id": "0"}) == int(first)


# The command line


def test_models_are_listed_shown_promoted_and_compared(mlflow, registered, capsys):
    from pipeline.cli.main import main

    def shortlist(*arguments: str) -> tuple[int, str, str]:
        code = main(["models", *arguments, "--registry", mlflow])
        return code, *capsys.readouterr()

    registered("shown")
    _, listed, _ = shortlist("list", "shown", "--format", "json")
    assert [one["version"] for one in json.loads(listed)] == ["3", "2", "1"]
    assert "shown" in shortlist("list")[1].splitlines()
    assert shortlist("promote", "shown", "2")[1].startswith("shown 2: champion\n")
    assert "  recall.10 = 0.97\n" in shortlist("show", "shown", "3")[1]
    differing = shortlist("diff", "shown", CHAMPION, "3")[1]
    assert "  index: scann -> exact\n" in differing
    assert shortlist("rollback", "shown") == (
        1, "",
        "shortlist models: version 2 of shown took nobody's place; promote another "
        "version\n",
    )  # fmt: skip
