# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Versions come and go below a running server, whole, half copied and damaged.

One server has a model for each test, so that tests leave each other alone; all of them
are in one model config, which tests change by gRPC or by its file.
"""

import pathlib
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving import checksums
from tests.serving.asking import Server, serving, until
from tests.serving.versions import copy_file, files_of, flip_byte, push

QUERY = {"user_id": "1"}
POLL_S, RETRIES, RETRY_S = 0.1, 2, 0.4
TIMEOUT_S = 60
SPECIFIC, ALL = "specific", "all"
AVAILABLE, END = "AVAILABLE", "END"

MODELS: dict[str, dict[str, Any]] = {
    "takeover": {},
    "truncated": {},
    "flipped": {},
    "garbage": {},
    "bare-garbage": {},
    "mended": {},
    "first": {},
    "last": {},
    "absent": {},
    "numbers": {},
    "emptied": {},
    "two": {"latest": 2, "versions": (1, 2)},
    "every": {"latest": ALL, "versions": (1, 2, 3)},
    "pinned": {"latest": SPECIFIC, "pinned": (1,), "versions": (1, 2)},
    "rollback": {"versions": (1, 2)},
    "labels": {"latest": ALL, "versions": (1, 2), "labels": {"stable": 1}},
    "by-file": {"versions": (1, 2)},
    "removed": {},
    "moved": {},
    "broken": {"versions": (1, 2)},
}


class Cluster:
    """A running server, its models' folders and their config."""

    def __init__(self, folder: pathlib.Path, source: str):
        self.folder, self.source = folder, pathlib.Path(source)
        self.file = folder / "models.config"
        self.config = model_server_config_pb2.ModelServerConfig()
        self.server: Server

    def base(self, name: str) -> pathlib.Path:
        return self.folder / name

    def push(self, name: str, number: int) -> None:
        push(self.source, self.base(name), number)

    def model(self, name: str) -> model_server_config_pb2.ModelConfig:
        (found,) = (
            one for one in self.config.model_config_list.config if one.name == name
        )
        return found

    def add(
        self, name: str, latest: Any = 1, pinned: Any = (), versions: Any = (1,),
        labels: Any = (),
    ) -> None:  # fmt: skip
        """Makes a model's folder and config."""
        self.base(name).mkdir()
        for number in versions:
            self.push(name, number)
        made = self.config.model_config_list.config.add(
            name=name, base_path=str(self.base(name)), model_platform="tensorflow"
        )
        policy = made.model_version_policy
        if latest == ALL:
            policy.all.SetInParent()
        elif latest == SPECIFIC:
            policy.specific.versions.extend(pinned)
        else:
            policy.latest.num_versions = latest
        made.version_labels.update(dict(labels))

    def write(self) -> None:
        """Edits the model config file, in one rename."""
        new = self.file.with_suffix(".new")
        new.write_text(text_format.MessageToString(self.config))
        new.rename(self.file)

    def reload(self) -> None:
        """Has the server serve the config; it has looked at every folder then."""
        asked = model_management_pb2.ReloadConfigRequest()
        asked.config.CopyFrom(self.config)
        response = self.server.models.HandleReloadConfigRequest(asked, TIMEOUT_S)
        assert response.status.error_code == 0

    def states(self, name: str) -> dict[int, str]:
        return self.server.states(name)

    def answering(self, name: str) -> int:
        return self.server.answering(name, QUERY)

    def wait_for(self, name: str, states: dict[int, str]) -> None:
        until(f"{name}: {states}", lambda: self.states(name) == states)

    def wait_for_error(self, name: str, number: int) -> str:
        """Waits until a version has failed, while another one answers."""
        return until(
            f"{name}: an error of {number}",
            lambda: self.server.error_of(name, number),
        )

    def holds(self, name: str) -> None:
        """Holds that version 1 answers, and version 2 does not."""
        states = self.states(name)
        assert states[1] == AVAILABLE
        assert states.get(2) in (None, END, "LOADING")  # it may be tried again just now
        assert self.answering(name) == 1

    def loads(self, name: str, result: str) -> int:
        return int(
            self.server.metric(
                "shortlist_version_loads_total", model_name=name, result=result
            )
        )


@pytest.fixture(scope="module")
def cluster(
    build: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"), build("exact").path)
    for name, options in MODELS.items():
        made.add(name, **options)
    broken = made.base("broken") / "2"
    (broken / "saved_model.pb").write_bytes(b"\xffgarbage")
    checksums.write(str(broken))  # what was pushed was garbage already
    made.write()
    arguments = ("--model-config-file", str(made.file), "--poll-s", str(POLL_S))
    arguments += ("--load-retries", str(RETRIES), "--load-retry-s", str(RETRY_S))
    # A lone thread for each of the many versions; a busy machine takes its time.
    arguments += ("--threads", "1", "--deadline-ms", "60000", "--max-wait-ms", "60000")
    with serving(made.folder / "log", *arguments) as made.server:
        made.server.wait_until_ready()
        yield made


def test_a_server_beside_a_broken_newest_version_answers_with_the_one_before(cluster):
    cluster.holds("broken")
    assert "saved_model.pb is damaged" in cluster.wait_for_error("broken", 2)


def test_the_policy_says_which_versions_are_loaded(cluster):
    assert cluster.states("rollback") == {2: AVAILABLE}
    assert cluster.states("two") == {1: AVAILABLE, 2: AVAILABLE}
    assert cluster.states("every") == dict.fromkeys((1, 2, 3), AVAILABLE)
    assert cluster.states("pinned") == {1: AVAILABLE}
    assert cluster.answering("pinned") == 1 and cluster.answering("every") == 3


class Asking(threading.Thread):
    """A client that asks again and again until it is stopped."""

    def __init__(self, cluster: Cluster, name: str):
        super().__init__()
        self._cluster, self._name = cluster, name
        self._stopping = threading.Event()
        self.found: list[int | str] = []

    def run(self) -> None:
        path = f"/v1/models/{self._name}:recommend"
        while not self._stopping.is_set():
            reply = self._cluster.server.http.post(path, json={"query": QUERY})
            is_ok = reply.status_code == 200
            self.found.append(int(reply.json()["version"]) if is_ok else reply.text)

    def __enter__(self) -> "Asking":
        self.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stopping.set()
        self.join()


def test_a_new_version_takes_over_without_a_failed_request(cluster):
    with Asking(cluster, "takeover") as client:
        until("answers of 1", lambda: 1 in client.found)
        cluster.push("takeover", 2)
        cluster.wait_for("takeover", {2: AVAILABLE, 1: END})
        seen = len(client.found)
        until("more answers", lambda: len(client.found) > seen + 10)
    assert set(client.found) == {1, 2}
    assert client.found == sorted(client.found)
    assert cluster.answering("takeover") == 2
    reply = cluster.server.post(
        "/v1/models/takeover/versions/1:predict", {"inputs": {}}
    )
    assert reply.json() == {
        "error": "Servable not found for request: Specific(takeover, 1)"
    }


def test_latest_2_keeps_two(cluster):
    cluster.push("two", 3)
    cluster.wait_for("two", {3: AVAILABLE, 2: AVAILABLE, 1: END})
    assert cluster.answering("two") == 3
    assert cluster.answering("two/versions/2") == 2


def test_all_keeps_all(cluster):
    cluster.push("every", 4)
    cluster.wait_for("every", dict.fromkeys((4, 3, 2, 1), AVAILABLE))


# Damaged versions


@pytest.fixture(scope="module")
def whole(cluster, tmp_path_factory) -> pathlib.Path:
    """A version with checksums, as a push leaves it."""
    folder = tmp_path_factory.mktemp("whole")
    push(cluster.source, folder, 2)
    return folder / "2"


def push_damaged(
    cluster: Cluster, whole: pathlib.Path, name: str,
    damage: Callable[[pathlib.Path], None],
) -> str:  # fmt: skip
    """Pushes a damaged version 2; returns its error, while version 1 answers."""
    version = shutil.copytree(whole, cluster.base(name) / "damaged")
    damage(version)
    version.rename(cluster.base(name) / "2")
    error = cluster.wait_for_error(name, 2)
    cluster.holds(name)
    assert "\n" not in error
    return error


VECTORS = "assets.extra/native/embeddings.npy"


def test_a_truncated_file_is_told_and_the_old_version_answers(cluster, whole):
    def truncate(version: pathlib.Path) -> None:
        content = (version / VECTORS).read_bytes()
        (version / VECTORS).write_bytes(content[: len(content) // 2])

    error = push_damaged(cluster, whole, "truncated", truncate)
    assert VECTORS in error and "bytes instead of" in error


def test_a_flipped_byte_is_told_and_mended_in_place(cluster, whole):
    error = push_damaged(
        cluster, whole, "flipped", lambda version: flip_byte(version / VECTORS) and None
    )
    assert VECTORS in error and "its checksum is another" in error
    shutil.copyfile(whole / VECTORS, cluster.base("flipped") / "2" / VECTORS)
    cluster.wait_for("flipped", {2: AVAILABLE, 1: END})
    assert cluster.answering("flipped") == 2
    assert cluster.server.error_of("flipped", 2) == ""


@pytest.mark.parametrize("name", ["garbage", "bare-garbage"])
def test_garbage_instead_of_a_graph_is_told(name, cluster, whole):
    def spoil(version: pathlib.Path) -> None:
        (version / "saved_model.pb").write_bytes(b"\xff garbage")
        if name == "garbage":
            checksums.write(str(version))  # what was pushed was garbage already
        else:
            (version / checksums.FILE).unlink()

    error = push_damaged(cluster, whole, name, spoil)
    assert error.endswith("saved_model.pb is damaged; push the model again")
    shutil.rmtree(cluster.base(name) / "2")
    cluster.reload()
    assert cluster.answering(name) == 1


def test_a_version_that_fails_is_tried_again_a_few_times(cluster, whole):
    contents = []

    def flip(version: pathlib.Path) -> None:
        contents.append(flip_byte(version / VECTORS, keep_time=True))

    push_damaged(cluster, whole, "mended", flip)
    until("all tries", lambda: cluster.loads("mended", "failed") == 1 + RETRIES)
    # Sizes and times stay, as after `rsync --times`: only another push would be seen.
    cluster.reload()
    assert cluster.loads("mended", "failed") == 1 + RETRIES
    assert cluster.states("mended") == {2: END, 1: AVAILABLE}
    (cluster.base("mended") / "2" / VECTORS).write_bytes(contents[0])
    cluster.wait_for("mended", {2: AVAILABLE, 1: END})
    assert cluster.loads("mended", "failed") == 1 + RETRIES


# Copies that can be watched


def order_of_a_copy(name: str, whole: pathlib.Path) -> list[str]:
    """Files of a version: first the graph, by which a folder is a version.

    Checksums come first, last or not at all; what a server can't do without comes last.
    """
    needed = "manifest.json" if name == "last" else "catalogue.arrow"
    names = [one for one in files_of(whole) if one != checksums.FILE]
    names.sort(key=lambda one: (one != "saved_model.pb", one.endswith(needed)))
    if name != "absent":
        names.insert(0 if name == "first" else len(names), checksums.FILE)
    return names


@pytest.mark.parametrize("name", ["first", "last", "absent"])
def test_a_copy_that_stands_still_is_taken_when_it_is_whole(name, cluster, whole):
    target = cluster.base(name) / "2"
    names = order_of_a_copy(name, whole)
    half, needed = len(names) // 2, len(names) - (2 if name == "last" else 1)
    for one in names[:half]:
        copy_file(whole, target, one)
    assert cluster.wait_for_error(name, 2)
    for one in names[half:needed]:
        cluster.holds(name)
        copy_file(whole, target, one)
    cluster.reload()
    cluster.holds(name)
    for one in names[needed:]:
        copy_file(whole, target, one)
    cluster.wait_for(name, {2: AVAILABLE, 1: END})
    assert cluster.answering(name) == 2


# Folders


def test_folders_that_are_no_numbers_are_passed_over(cluster, whole):
    base = cluster.base("numbers")
    for name in ("abc", "-3", "1.5", "٣", "2²", "0x4", "99999999999999999999", " 5"):
        shutil.copytree(whole, base / name)
    shutil.copytree(whole, base / ".pushing-9")
    (base / "6").write_text("a file")
    (base / "7").mkdir()
    cluster.reload()
    cluster.reload()
    assert cluster.states("numbers") == {1: AVAILABLE}
    shutil.copytree(whole, base / "0000000008")  # as in TensorFlow Serving's examples
    cluster.wait_for("numbers", {8: AVAILABLE, 1: END})


def test_an_emptied_base_path_keeps_the_last_version(cluster):
    shutil.rmtree(cluster.base("emptied") / "1")
    cluster.reload()
    cluster.reload()
    assert cluster.answering("emptied") == 1
    assert cluster.states("emptied") == {1: AVAILABLE}
    cluster.base("emptied").rmdir()
    cluster.reload()
    assert cluster.answering("emptied") == 1
    cluster.base("emptied").mkdir()
    cluster.push("emptied", 2)
    cluster.wait_for("emptied", {2: AVAILABLE, 1: END})


# Changes of the config


def test_a_rollback_is_a_specific_version(cluster):
    policy = cluster.model("rollback").model_version_policy
    assert cluster.answering("rollback") == 2
    with Asking(cluster, "rollback") as client:
        policy.specific.versions.append(1)
        cluster.reload()
        assert cluster.answering("rollback") == 1
        cluster.wait_for("rollback", {2: END, 1: AVAILABLE})
        policy.latest.num_versions = 1
        cluster.reload()
        assert cluster.answering("rollback") == 2
        cluster.wait_for("rollback", {2: AVAILABLE, 1: END})
    assert set(client.found) <= {1, 2}


def refused(cluster: Cluster) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        cluster.reload()
    return caught.value.code(), caught.value.details()


def test_a_specific_version_that_is_not_there_is_told_and_the_others_answer(cluster):
    policy = cluster.model("pinned").model_version_policy
    del policy.specific.versions[:]
    policy.specific.versions.append(7)
    code, text = refused(cluster)
    assert code is grpc.StatusCode.UNKNOWN
    assert text.startswith("version 7 of model 'pinned' can't be loaded: not in ")
    assert cluster.answering("pinned") == 1
    policy.specific.versions[0] = 2
    cluster.reload()
    assert cluster.answering("pinned") == 2
    cluster.wait_for("pinned", {2: AVAILABLE, 1: END})


def label(cluster: Cluster, name: str) -> int | str:
    path = f"/v1/models/labels/labels/{name}:recommend"
    reply = cluster.server.post(path, {"query": QUERY})
    is_ok = reply.status_code == 200
    return int(reply.json()["version"]) if is_ok else reply.json()["error"]


def test_labels_move(cluster):
    labels = cluster.model("labels").version_labels
    assert label(cluster, "stable") == 1
    assert label(cluster, "canary") == "Unrecognized servable version label: canary"
    labels["canary"] = 2
    cluster.reload()
    assert (label(cluster, "stable"), label(cluster, "canary")) == (1, 2)
    labels["stable"] = 2
    cluster.reload()
    assert (label(cluster, "stable"), label(cluster, "canary")) == (2, 2)
    labels["stable"] = 1  # back again
    del labels["canary"]
    cluster.reload()
    assert label(cluster, "stable") == 1
    assert label(cluster, "canary") == "Unrecognized servable version label: canary"


def test_a_label_for_a_version_that_is_not_there_is_refused_and_stays(cluster):
    labels = cluster.model("labels").version_labels
    labels["stable"] = 9
    assert refused(cluster) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "Request to assign label to version 9 of model labels, which is not currently "
        "available for inference",
    )
    assert label(cluster, "stable") == 1
    labels["stable"] = 1
    cluster.reload()


def test_an_edited_config_file_is_served(cluster):
    model = cluster.model("by-file")
    model.model_version_policy.specific.versions.append(1)
    model.version_labels["stable"] = 1
    cluster.write()
    cluster.wait_for("by-file", {2: END, 1: AVAILABLE})
    assert cluster.answering("by-file/labels/stable") == 1
    model.model_version_policy.all.SetInParent()
    model.version_labels["stable"] = 2
    cluster.write()
    until("the label", lambda: cluster.answering("by-file/labels/stable") == 2)
    assert cluster.states("by-file") == {2: AVAILABLE, 1: AVAILABLE}


def test_a_config_file_that_is_damaged_changes_nothing(cluster):
    good = cluster.file.read_text()
    cluster.file.write_text(good[: len(good) // 2])
    until("a warning", lambda: "is no model config" in cluster.server.said)
    assert cluster.answering("by-file") == 2
    cluster.model("by-file").version_labels["after"] = 1
    cluster.write()
    until("the file again", lambda: cluster.server.get(
        "/v1/models/by-file/labels/after").status_code == 200)  # fmt: skip


def test_models_come_and_go(cluster):
    assert cluster.answering("removed") == 1
    kept = cluster.model("removed")
    removed = model_server_config_pb2.ModelConfig()
    removed.CopyFrom(kept)
    cluster.config.model_config_list.config.remove(kept)
    cluster.add("added", versions=(5,))
    cluster.reload()
    assert cluster.answering("added") == 5
    reply = cluster.server.get("/v1/models/removed")
    assert reply.status_code == 404
    assert reply.json() == {"error": "Could not find any versions of model removed"}
    reply = cluster.server.post("/v1/models/removed:predict", {"inputs": {}})
    assert reply.json() == {"error": "Servable not found for request: Latest(removed)"}
    cluster.config.model_config_list.config.append(removed)
    cluster.reload()
    assert cluster.answering("removed") == 1


def test_a_model_without_a_version_is_refused_and_waited_for(cluster):
    cluster.add("late", versions=())
    code, text = refused(cluster)
    assert code is grpc.StatusCode.UNKNOWN
    assert text == "the model 'late' has no version that can be loaded"
    assert cluster.server.get("/readyz").status_code == 503
    assert f"late: there is no version to serve in {cluster.base('late')} yet" in (
        cluster.server.said
    )
    cluster.push("late", 1)
    until("the version", lambda: cluster.server.get("/readyz").status_code == 200)
    assert cluster.answering("late") == 1


def test_another_base_path_takes_over_without_a_failed_request(cluster):
    elsewhere = cluster.folder / "elsewhere"
    elsewhere.mkdir()
    push(cluster.source, elsewhere, 1)
    push(cluster.source, elsewhere, 3)
    with Asking(cluster, "moved") as client:
        until("an answer", lambda: client.found)
        cluster.model("moved").base_path = str(elsewhere)
        cluster.reload()
        assert cluster.answering("moved") == 3
    assert set(client.found) <= {1, 3}
    assert cluster.states("moved") == {3: AVAILABLE}
