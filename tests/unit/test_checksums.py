# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Checksums of a version, and the ways in which copies go wrong."""

import json
import pathlib
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import checksums
from serving.errors import UserError

FILES = {
    "saved_model.pb": b"graph",
    "variables/variables.index": b"index",
    "assets.extra/native/embeddings.npy": bytes(range(256)) * 10,
    "assets.extra/manifest.json": "{é}".encode(),
    "empty": b"",
}


@pytest.fixture
def version(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "1"
    for name, content in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    checksums.write(str(path))
    return path


def refused(path: pathlib.Path) -> str:
    with pytest.raises(UserError) as caught:
        checksums.verify(str(path))
    return str(caught.value)


def test_what_is_as_it_was_written_is_whole(version):
    assert checksums.exist(str(version))
    assert checksums.is_whole(str(version))
    checksums.verify(str(version))
    written = json.loads((version / checksums.FILE).read_text())
    assert set(written) == set(FILES)


def test_without_checksums_nothing_is_known(version):
    (version / checksums.FILE).unlink()
    assert not checksums.exist(str(version))


def test_to_write_them_again_changes_nothing(version):
    before = (version / checksums.FILE).read_bytes()
    checksums.write(str(version))
    assert (version / checksums.FILE).read_bytes() == before


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_told(version, name):
    (version / name).unlink()
    assert not checksums.is_whole(str(version))
    assert refused(version) == f"{version / name} is missing; push the model again"


@pytest.mark.parametrize("name", [name for name, content in FILES.items() if content])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_told(version, name, change):
    content = FILES[name]
    (version / name).write_bytes(content[:-1] if change < 0 else content + b"\0")
    assert not checksums.is_whole(str(version))
    assert refused(version) == (
        f"{version / name} has {len(content) + change} bytes instead of "
        f"{len(content)}; push the model again"
    )


@pytest.mark.parametrize("name", [name for name, content in FILES.items() if content])
def test_a_flipped_bit_is_told(version, name):
    content = bytearray(FILES[name])
    content[len(content) // 2] ^= 1
    (version / name).write_bytes(content)
    assert checksums.is_whole(str(version))  # sizes are what a look can compare
    assert refused(version) == (
        f"{version / name} is not as it was pushed (its checksum is another); push "
        "the model again"
    )


def test_a_file_more_is_no_harm(version):
    (version / "more").write_bytes(b"x")
    assert checksums.is_whole(str(version))
    checksums.verify(str(version))


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "7", "null", '{"saved_model.pb": 5}', '{"saved_model.pb": [5]}'],
)
def test_damaged_checksums_are_told(version, content):
    (version / checksums.FILE).write_text(content)
    if content == "[]":
        pytest.raises(UserError, checksums.verify, str(version))
        return
    assert not checksums.is_whole(str(version))
    assert refused(version) == (
        f"{version / checksums.FILE} is damaged; push the model again"
    )


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.99])
def test_checksums_that_are_still_being_written_are_not_whole(version, keep):
    content = (version / checksums.FILE).read_bytes()
    (version / checksums.FILE).write_bytes(content[: int(len(content) * keep)])
    assert not checksums.is_whole(str(version))


@given(order=st.permutations([*FILES, checksums.FILE]), data=st.data())
def test_a_copy_is_whole_with_its_last_byte(tmp_path_factory, order, data):
    source = tmp_path_factory.mktemp("source") / "1"
    for name, content in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    checksums.write(str(source))
    target = tmp_path_factory.mktemp("target") / "1"
    for at, name in enumerate(order):
        content = (source / name).read_bytes()
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if content:
            part = data.draw(st.integers(0, len(content) - 1), label=name)
            (target / name).write_bytes(content[:part])
            assert not _is_whole(target)
        shutil.copy(source / name, target / name)
        assert _is_whole(target) == (at == len(order) - 1)


def _is_whole(path: pathlib.Path) -> bool:
    return checksums.exist(str(path)) and checksums.is_whole(str(path))
