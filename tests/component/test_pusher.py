# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""AtomicPusher: a version is there whole or not at all, whatever goes wrong."""

import errno
import json
import os
import pathlib
import threading
import time
from typing import Any

import pytest
from google.protobuf import json_format
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import channel_utils, standard_artifacts
from tfx.utils import path_utils

from components.artifacts import IndexEvaluation
from components.pusher import component, executor
from serving import checksums
from serving import model as serving_model

REPORT = {
    "recall": {"10": 0.99},
    "latency_ms": {"scann": {"p99": 1.5}},
    "top_k_accuracy": {"scann": {"100": 0.3}},
    "passed": True,
}
FILES = {
    "saved_model.pb": b"graph",
    "fingerprint.pb": b"print",
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": b"weights" * 1000,
    "assets/candidate_ids.txt": b"1\n2\n",
    "assets.extra/manifest.json": b'{"candidates": 2, "index": {"kind": "exact"}}',
}
MANIFEST = "assets.extra/manifest.json"


@pytest.fixture
def base(tmp_path) -> pathlib.Path:
    """The serving folder, not there yet."""
    return tmp_path / "deep" / "serving"


@pytest.fixture
def push(base, new_artifact):
    """Pushes a model with a pair of blessings; returns the PushedModel."""

    def run(
        model_blessed: bool | None = True,
        infra_blessed: bool = True,
        contents: dict[str, bytes] = FILES,
    ):
        model = new_artifact(standard_artifacts.Model)
        for name, content in contents.items():
            path = pathlib.Path(path_utils.serving_model_dir(model.uri), name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        blessings = {}
        for key, kind, blessed in (
            ("model_blessing", standard_artifacts.ModelBlessing, model_blessed),
            ("infra_blessing", standard_artifacts.InfraBlessing, infra_blessed),
        ):
            if blessed is None:
                continue
            blessings[key] = new_artifact(kind)
            blessings[key].set_int_custom_property("blessed", int(blessed))
        evaluation = new_artifact(IndexEvaluation)
        report = pathlib.Path(evaluation.uri, "report.json")
        report.write_text(json.dumps(REPORT))
        inputs = {"model": model, **blessings, "evaluation": evaluation}
        pushed = new_artifact(standard_artifacts.PushedModel)
        executor.Executor().Do(
            {key: [artifact] for key, artifact in inputs.items()},
            {"pushed_model": [pushed]},
            properties(str(base)),
        )
        return pushed

    return run


def properties(base: str, fingerprint: str = "") -> dict[str, Any]:
    """The execution's properties, as the component makes them."""
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=base)
    )
    node = component.AtomicPusher(
        model=channel_utils.as_channel([standard_artifacts.Model()]),
        model_blessing=channel_utils.as_channel([standard_artifacts.ModelBlessing()]),
        infra_blessing=channel_utils.as_channel([standard_artifacts.InfraBlessing()]),
        evaluation=channel_utils.as_channel([IndexEvaluation()]),
        push_destination=destination,
        fingerprint=fingerprint,
    )
    assert node.outputs["pushed_model"].type is standard_artifacts.PushedModel
    told = json.loads(node.exec_properties["push_destination"])
    assert json_format.ParseDict(told, pusher_pb2.PushDestination()) == destination
    return dict(node.exec_properties)


def names(base: pathlib.Path) -> list[str]:
    return sorted(os.listdir(base)) if base.exists() else []


def files(folder: pathlib.Path) -> dict[str, bytes]:
    """All files of a pushed version but the checksums, which must be right."""
    checksums.verify(str(folder))
    paths = (path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    told = json.loads(found.pop(checksums.FILE))
    assert {name: size for name, (size, _) in told.items()} == {
        name: len(content) for name, content in found.items()
    }
    return found


@pytest.mark.parametrize("blessed", [(False, True), (True, False), (False, False)])
def test_what_is_not_blessed_by_both_is_not_pushed(push, base, blessed):
    pushed = push(*blessed)
    assert names(base) == []
    assert pushed.get_int_custom_property("pushed") == 0
    assert pushed.get_string_custom_property("pushed_version") == ""


def test_a_catalogue_in_shards_goes_by_the_one_blessing(push, base):
    shards = {
        f"shards/{shard:05}-of-00002/{name}": content
        for shard in range(2)
        for name, content in FILES.items()
    }
    contents = {**shards, MANIFEST: FILES[MANIFEST]}
    push(None, False, contents)
    assert names(base) == []
    version = push(None, True, contents).get_string_custom_property("pushed_version")
    assert serving_model.versions(str(base)) == [int(version)]
    found = files(base / version)
    assert "measured" in json.loads(found.pop(MANIFEST))
    assert found == shards


def test_a_version_holds_the_model_and_what_was_measured(push, base):
    before = int(time.time())
    pushed = push()
    (version,) = names(base)
    assert before <= int(version) <= time.time()
    found = files(base / version)
    manifest = json.loads(found.pop(MANIFEST))
    assert found == {name: FILES[name] for name in FILES if name != MANIFEST}
    measured = {name: REPORT[name] for name in REPORT if name != "passed"}
    assert manifest == {**json.loads(FILES[MANIFEST]), "measured": measured}
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == version
    destination = pushed.get_string_custom_property("pushed_destination")
    assert destination == str(base / version)
    assert files(pathlib.Path(pushed.uri)) == files(base / version)


def test_versions_rise_within_a_second(push, base):
    versions = [
        int(push().get_string_custom_property("pushed_version")) for _ in range(4)
    ]
    assert versions == sorted(set(versions))
    assert sorted(map(int, names(base))) == versions


def test_versions_rise_though_the_clock_is_behind(push, base):
    (base / "99999999999").mkdir(parents=True)
    assert push().get_string_custom_property("pushed_version") == "100000000000"


@pytest.mark.parametrize("name", ["latest", "v7", "1.5", "-3", "²", "٣", ".snapshot"])
def test_other_folders_beside_the_versions_do_not_matter(push, base, name):
    (base / name).mkdir(parents=True)
    version = push().get_string_custom_property("pushed_version")
    assert names(base) == sorted([name, version])


@pytest.fixture
def copies(monkeypatch, base):
    """Counts files copied into the serving folder and calls a hook before each."""
    copy = fileio.copy
    made: list[str] = []
    hook: list[Any] = []

    def copied(source: str, target: str, overwrite: bool = False) -> None:
        if str(target).startswith(str(base)):
            made.append(str(target))
            for call in hook:
                call(len(made))
        copy(source, target, overwrite)

    monkeypatch.setattr(fileio, "copy", copied)
    return made, hook


@pytest.mark.parametrize("at", range(1, len(FILES) + 1))
def test_a_copy_that_fails_leaves_no_version(push, base, copies, at):
    made, hook = copies

    def fail(count: int) -> None:
        if count == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), made[-1])

    first = push().get_string_custom_property("pushed_version")
    made.clear()
    hook.append(fail)
    with pytest.raises(OSError, match="No space left"):
        push()
    assert len(made) == at
    assert [name for name in names(base) if not name.startswith(".")] == [first]
    assert serving_model.versions(str(base)) == [int(first)]

    hook.clear()
    second = push().get_string_custom_property("pushed_version")
    # What was left half-way is gone too.
    assert names(base) == sorted([first, second])
    assert set(files(base / second)) == set(FILES)


def test_what_a_killed_push_left_is_removed_by_the_next(push, base):
    (base / ".pushing-17" / "variables").mkdir(parents=True)
    (base / ".pushing-17" / "saved_model.pb").write_bytes(b"half")
    version = push().get_string_custom_property("pushed_version")
    assert names(base) == [version]


def test_a_poller_never_sees_half_a_version(push, base, copies):
    _, hook = copies
    hook.append(lambda _: time.sleep(0.01))
    over = threading.Event()
    seen: set[str] = set()
    torn: list[str] = []
    unfinished: set[str] = set()

    def poll() -> None:
        while not over.is_set():
            for name in names(base):
                if not name.isdigit():
                    unfinished.add(name)
                    continue
                seen.add(name)
                found = files(base / name)
                if set(found) != set(FILES) or b"measured" not in found[MANIFEST]:
                    torn.append(name)

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        for _ in range(4):
            push()
            time.sleep(0.02)
    finally:
        over.set()
        poller.join()
    assert not torn
    assert sorted(seen) == names(base)
    assert unfinished  # It did look while copies were made.


def test_another_folder_or_code_is_another_execution():
    plain = properties("/serving")
    assert plain == properties("/serving")
    assert properties("/elsewhere") != plain
    assert properties("/serving", "f") != plain
