# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the doctor: that it passes here, and what it says of other machines."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requirements import install
from serving import doctor, stacks

ROOT = Path(__file__).parents[2]
HASWELL = "processor\t: 0\nflags\t\t: fpu sse4_2 avx f16c fma avx2 bmi2\nbugs\t\t:\n"
IVY_BRIDGE = HASWELL.replace(" fma avx2", "")
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd sve\n"


def python(code: str, timeout_s: float = 60.0) -> tuple[dict[str, str], str]:
    """Runs Python code as a probe."""
    return doctor.run_probe([sys.executable, "-c", code], timeout_s)


@pytest.fixture(scope="module")
def here() -> dict[str, doctor.Check]:
    """The real checks of this machine."""
    return {check.name: check for check in doctor.checks(ROOT)}


def test_everything_is_well_here(here: dict[str, doctor.Check]) -> None:
    # What is free at the moment says nothing about the code.
    lasting = [c for c in here.values() if c.name not in ("Memory", "Disk space")]
    assert [check for check in lasting if not check.ok] == []


def test_everything_is_looked_at(here: dict[str, doctor.Check]) -> None:
    others = "Python,setuptools,CPU flags,C library,Keras 2,ScaNN ops,Memory,Disk space"
    assert set(here) == {*doctor.EXPECTED_VERSIONS, *others.split(",")}
    assert here["Keras 2"].found == f"tf.keras {stacks.RUNNING.pins['tf-keras']}"
    assert re.fullmatch(
        r"recall@10 \S+ on 1,000 random vectors", here["ScaNN ops"].found
    )
    assert all(check.found and check.mend for check in here.values())


def test_serving_needs_less(here: dict[str, doctor.Check]) -> None:
    checks = {check.name: check for check in doctor.checks(serving=True)}
    others = ["Python", "CPU flags", "C library", "ScaNN ops", "Memory"]
    assert set(checks) == {*doctor.SERVING, *others}
    assert all(checks[name] == here[name] for name in doctor.SERVING)


def test_importing_it_is_light() -> None:
    code = "import sys, serving.doctor; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"tensorflow", "scann", "numpy", "keras"} & set(loaded)


class TestOneTruth:
    @pytest.mark.parametrize("stack", stacks.STACKS, ids=lambda stack: stack.name)
    def test_pins_are_those_of_the_stacks(self, stack: stacks.Stack) -> None:
        texts = [
            (ROOT / f"requirements/{name}.in").read_text()
            for name in ("common", stack.name)
        ]
        pins = re.findall(r"^([\w-]+)==(\S+)$", "\n".join(texts), re.MULTILINE)
        assert dict(pins) == stack.pins

    def test_setuptools_are_bounded_alike(self) -> None:
        text = (ROOT / "requirements/common.in").read_text()
        below = re.search(r"^setuptools<(\d+)$", text, re.MULTILINE)
        assert below is not None
        assert int(below[1]) == doctor.SETUPTOOLS_BELOW

    def test_platform_is_that_of_the_installer(self) -> None:
        assert [one.name for one in stacks.STACKS] == [
            one.name for one in install.STACKS
        ]
        for ours, theirs in zip(stacks.STACKS, install.STACKS, strict=True):
            pythons = sorted(".".join(map(str, minor)) for minor in ours.pythons)
            assert pythons == sorted(theirs.pythons)
            assert (ours.min_glibc, ours.systems) == (theirs.min_glibc, theirs.systems)
        assert doctor.CPU_FLAGS == install.CPU_FLAGS


class TestVersions:
    def test_another_version_and_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wanted = {"rich": "0.0.1", "no-such-package": "1.0"}
        monkeypatch.setattr(doctor, "EXPECTED_VERSIONS", wanted)
        other, none = (doctor.check_version(name) for name in wanted)
        assert not other.ok
        assert other.found != "0.0.1"
        assert "rich==0.0.1" in other.mend
        assert (none.ok, none.found) == (False, "not installed")

    def test_late_setuptools(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert doctor.check_setuptools().ok
        monkeypatch.setattr(doctor, "SETUPTOOLS_BELOW", 80)
        assert not doctor.check_setuptools().ok

    @pytest.mark.parametrize(
        ("version", "implementation", "ok"),
        [
            ((3, 10), "CPython", True),
            ((3, 11), "CPython", True),
            ((3, 14), "CPython", False),
            ((3, 1), "CPython", False),
            ((3, 10), "PyPy", False),
        ],
    )
    def test_python(
        self, version: tuple[int, int], implementation: str, ok: bool
    ) -> None:
        assert doctor.check_python(version, implementation).ok == ok

    def test_a_build_without_gpu_kernels_is_as_good(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = {"tensorflow-cpu": doctor.EXPECTED_VERSIONS["tensorflow"]}
        monkeypatch.setattr(doctor, "_installed", held.get)
        assert doctor.check_version("tensorflow").ok
        held["tensorflow-cpu"] = "2.17.0"
        assert doctor.check_version("tensorflow").found == "2.17.0"
        assert not doctor.check_version("tensorflow").ok
        assert not doctor.check_version("scann").ok


class TestMachine:
    @pytest.mark.parametrize(
        ("cpuinfo", "ok", "found"),
        [
            (HASWELL, True, "avx, avx2, fma"),
            (IVY_BRIDGE, False, "lacks avx2, fma"),
            (HASWELL.replace(" avx ", " "), False, "lacks avx"),
            (GRAVITON, False, "not an x86-64 Linux: /proc/cpuinfo names no flags"),
            (None, False, "not an x86-64 Linux: /proc/cpuinfo names no flags"),
        ],
    )
    def test_cpu(self, cpuinfo: str | None, ok: bool, found: str) -> None:
        check = doctor.check_cpu(cpuinfo)
        assert (check.ok, check.found) == (ok, found)

    @given(st.sets(st.sampled_from(["avx", "avx2", "fma", "avx512f", "xavx2", "fma4"])))
    def test_cpu_needs_every_flag(self, flags: set[str]) -> None:
        check = doctor.check_cpu(f"flags : {' '.join(flags)}\n")
        assert check.ok == ({"avx", "avx2", "fma"} <= flags)

    @given(st.tuples(st.integers(0, 4), st.integers(0, 99)))
    def test_glibc_is_compared_by_number(self, version: tuple[int, int]) -> None:
        for stack in stacks.STACKS:
            check = doctor.check_glibc("glibc {}.{}".format(*version), stack)
            assert check.ok == (version >= stack.min_glibc)

    def test_another_c_library(self) -> None:
        check = doctor.check_glibc("")
        assert (check.ok, check.found) == (False, "not glibc")

    @given(
        free_kib=st.none() | st.integers(0, 2**40),
        limit=st.none() | st.integers(0, 2**50),
        used=st.integers(0, 2**50),
    )
    def test_memory_is_the_smaller_of_machine_and_container(
        self, free_kib: int | None, limit: int | None, used: int
    ) -> None:
        meminfo = None if free_kib is None else f"MemAvailable:   {free_kib} kB\n"
        cgroup = "max\n" if limit is None else f"{limit}\n"
        known = doctor.available_memory_bytes(meminfo, cgroup, f"{used}\n")
        expected = [] if free_kib is None else [free_kib * 1024]
        expected += [] if limit is None else [max(limit - used, 0)]
        assert known == (sorted(expected)[0] if expected else None)

    @pytest.mark.parametrize(
        ("available", "ok", "found"),
        [
            (None, False, "unknown"),
            (4 * 2**30, True, "4.0 GiB available"),
            (4 * 2**30 - 1, False, "4.0 GiB available"),
            (3 * 2**29, False, "1.5 GiB available"),
        ],
    )
    def test_memory(self, available: int | None, ok: bool, found: str) -> None:
        check = doctor.check_memory(available)
        assert (check.ok, check.found) == (ok, found)

    def test_disk_of_a_folder_yet_to_be_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        check = doctor.check_disk(tmp_path / "runs/new")
        assert check.ok
        assert check.found.endswith(f" GiB free in {tmp_path}")
        monkeypatch.chdir(tmp_path)
        assert doctor.check_disk(Path("runs")).found.endswith(f" in {tmp_path}")
        monkeypatch.setattr(doctor, "MIN_DISK_GIB", 2.0**40)
        assert not doctor.check_disk(tmp_path).ok


class TestProbe:
    def test_findings_stand_among_other_lines(self) -> None:
        found, end = python("print('noise\\ndoctor:a=1=2\\nx doctor:b=3\\ndoctor:c=')")
        assert (found, end) == ({"a": "1=2", "c": ""}, "ended")

    @pytest.mark.parametrize("name", ["SIGILL", "SIGSEGV"])
    def test_crash_is_reported_not_suffered(self, name: str) -> None:
        crash = f"import os, signal; os.kill(os.getpid(), signal.{name})"
        found, end = python(f"print('doctor:keras=2.16.0', flush=True); {crash}")
        keras, scann = doctor.check_libraries((found, end))
        assert keras.ok
        assert (scann.ok, scann.found) == (False, f"crashed with {name}")

    def test_error_of_a_library_is_shown(self) -> None:
        keras, scann = doctor.check_libraries(python("import no_such_tensorflow"))
        message = "ModuleNotFoundError: No module named 'no_such_tensorflow'"
        assert (keras.ok, keras.found) == (False, message)
        assert (scann.ok, scann.found) == (False, "not tried, as TensorFlow failed")

    def test_silent_failure_has_its_exit_code(self) -> None:
        assert python("import os; os._exit(3)") == ({}, "ended with exit code 3")

    def test_hanging_library_is_killed(self) -> None:
        code = "import time; print('doctor:keras=2.16.0', flush=True); time.sleep(60)"
        found, end = python(code, timeout_s=1.0)
        assert (found, end) == ({"keras": "2.16.0"}, "no answer within 1 s")

    def test_bad_recall_is_refused(self) -> None:
        found = {"keras": "2.16.0", "recall": "0.13"}
        assert [c.ok for c in doctor.check_libraries((found, "ended"))] == [True, False]

    def test_keras_3_is_refused(self) -> None:
        code = (
            "from serving import doctor; import os;"
            "os.environ['TF_USE_LEGACY_KERAS'] = '0'; doctor.report_libraries()"
        )
        keras, scann = doctor.check_libraries(python(code))
        assert not keras.ok
        assert keras.found.startswith("tf.keras 3.")
        assert scann.ok

    def test_missing_keras_does_not_keep_scann_from_being_tried(self) -> None:
        code = (
            "import sys; sys.modules['tf_keras'] = None;"
            "from serving import doctor; doctor.report_libraries()"
        )
        keras, scann = doctor.check_libraries(python(code))
        assert (keras.ok, keras.found) == (False, "tf.keras is missing")
        assert scann.ok

    def test_child_finds_the_project_from_anywhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        code = "import serving.doctor as d; print('doctor:file=' + d.__file__)"
        found, _ = python(code)
        assert os.path.samefile(found["file"], doctor.__file__)
