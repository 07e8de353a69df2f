# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Folders that are copied from one file system to another."""

import itertools
import pathlib

import pytest
import tensorflow as tf

from serving import folders

FILES = {"a": b"1", "empty": b"", "of/x": b"2", "of/the/y": b"3"}
number = itertools.count()


@pytest.fixture
def places(tmp_path: pathlib.Path):
    """Makes new places: here, and in a file system that is not this machine's."""
    return {
        "here": lambda: str(tmp_path / str(next(number))),
        "remote": lambda: f"ram://test/{next(number)}",
    }


def files_of(folder: str) -> dict[str, bytes]:
    found = {}
    for at, _, names in tf.io.gfile.walk(folder):
        for name in names:
            path = f"{at}/{name}"
            with tf.io.gfile.GFile(path, "rb") as file:
                found[path.removeprefix(f"{folder}/")] = file.read()
    return found


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize(
    ("source", "target"), itertools.product(["here", "remote"], repeat=2)
)
def test_a_copy_has_all_files_wherever_it_is(source, target, is_there, places):
    source, target = places[source](), places[target]()
    for name, content in FILES.items():
        path = f"{source}/{name}"
        tf.io.gfile.makedirs(path.rpartition("/")[0])
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(content)
    more = {}
    if is_there:
        tf.io.gfile.makedirs(f"{target}/of")
        with tf.io.gfile.GFile(f"{target}/of/z", "wb") as file:
            file.write(b"4")
        more = {"of/z": b"4"}
    folders.copy(source, target)
    assert files_of(source) == FILES
    assert files_of(target) == {**FILES, **more}


@pytest.mark.parametrize("source", ["here", "remote"])
def test_a_folder_that_is_not_there_is_no_empty_one(source, places):
    with pytest.raises(tf.errors.NotFoundError):
        folders.copy(places[source](), places["here"]())
