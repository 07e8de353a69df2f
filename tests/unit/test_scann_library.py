# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""That ScaNN searches by what the processor can do, and keeps to itself how."""

import ctypes
import json
import subprocess
import sys

import pytest

from serving import process, scann_library

ASK = """
import json
import serving.process
serving.process.set_up()
from serving import scann_library
native = scann_library.native().scann_pybind.__file__
scann_library.operations()
paths = (native, scann_library.operations_file())
found = [scann_library.switches(path) for path in paths]
print(json.dumps([{name: one.value for name, one in each.items()} for each in found]))
"""
WANTED = {
    name: needed <= scann_library.cpu_features()
    for name, needed in scann_library.NEEDED.items()
}


@pytest.mark.parametrize("log_level", ["3", "", "quiet"])
def test_both_libraries_know_the_processor(log_level):
    environment = process.child_environment() | {"TF_CPP_MIN_LOG_LEVEL": log_level}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for found in json.loads(done.stdout.splitlines()[-1]):
        assert found
        assert found == {name: WANTED[name] for name in found}


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch) -> dict[str, ctypes.c_bool]:
    """Those of a library that has not looked."""
    found = {name: ctypes.c_bool(False) for name in scann_library.NEEDED}
    monkeypatch.setattr(scann_library, "switches", lambda path: found)
    return found


@pytest.mark.parametrize(
    ("features", "on"),
    [
        (set(), []),
        ({"avx2"}, []),
        ({"avx2", "fma"}, ["should_use_avx2"]),
        ({"avx2", "fma", "avx512f"}, ["should_use_avx2"]),
        (
            {"avx2", "fma", "avx512f", "avx512dq", "avx512bw"},
            ["should_use_avx2", "should_use_avx512"],
        ),
        (
            {"avx2", "fma", "avx512f", "avx512dq", "avx512bw", "avx512_vnni"},
            ["should_use_avx2", "should_use_avx512", "should_use_avx512_vnni"],
        ),
    ],
    ids=lambda value: str(len(value)),
)
def test_only_what_the_processor_has_is_switched_on(switches, features, on):
    scann_library._switch_on("", features)
    assert [name for name, one in switches.items() if one.value] == on


def test_what_a_library_has_found_stays(switches):
    switches["should_use_avx2"].value = True
    scann_library._switch_on("", set().union(*scann_library.NEEDED.values()))
    assert [one.value for one in switches.values()] == [True, False, False]


TRAIN = """
import numpy as np
import serving.process
serving.process.set_up(verbose={verbose})
import tensorflow as tf
from serving import scann_files, scann_library
from serving.index_config import IndexConfig, plan_index
scann_library.operations()
vectors = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
plan = plan_index(IndexConfig(kind="scann"), *vectors.shape)
scann_files.build(vectors, plan, "index")
scann_files.load_state("index", tf.Variable(vectors))
"""


def test_nothing_is_printed_but_of_failures(tmp_path):
    """Nor by TensorFlow, which is asked to read what was built."""
    environment = process.child_environment()
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # that of the tests' own process
    for verbose in (True, False):
        folder = tmp_path / str(verbose)
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", TRAIN.format(verbose=verbose)],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert bool(done.stderr) == verbose


def test_a_library_without_switches_is_left_alone():
    assert scann_library.switches("libc.so.6") == {}
    scann_library._set_up("libc.so.6")
