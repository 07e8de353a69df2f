# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Finds what is wrong with an installation or a machine, and how to mend it.

TensorFlow and ScaNN are tried in a process of their own: on the wrong processor or
in the wrong version they do not raise, they crash.
"""

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from serving import process, scann_library, stacks
from serving.stacks import Stack

EXPECTED_VERSIONS = stacks.RUNNING.pins
# Of these, what answers with a pushed model.
SERVING = ("tensorflow", "scann")
# The same without kernels for GPUs, as in requirements/NAME-serving.in.
_STANDS_FOR = {"tensorflow": ("tensorflow-cpu",)}
SETUPTOOLS_BELOW = 81
# The wheels are compiled for these; without one the first call is a SIGILL.
CPU_FLAGS = ("avx", "avx2", "fma")
MIN_MEMORY_GIB = 4.0
MIN_SERVING_MEMORY_GIB = 1.0
MIN_DISK_GIB = 2.0

KERAS = "Keras 2"

_PROBE_TIMEOUT_S = 300
_PROBE_MARK = "doctor:"
_GIB = 2**30
# ScaNN's own index over random vectors, small enough to take no time.
_NUM_VECTORS = 1_000
_DIMENSIONS = 32
_NUM_QUERIES = 20
_TOP_K = 10
_MIN_RECALL = 0.8


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
      name: What was looked at.
      ok: Whether Shortlist can work with it.
      found: What is there.
      mend: What to do if it is not ok.
    """

    name: str
    ok: bool
    found: str
    mend: str


def checks(folder: Path = Path(), serving: bool = False) -> list[Check]:
    """Looks at everything; takes some ten seconds, most of them TensorFlow's import.

    Args:
      folder: Where runs are to be written.
      serving: Look only at what `shortlist serve` needs.

    Returns:
      The checks in the order in which their mends help.
    """
    libraries = check_libraries(_library_probe())
    stack = stacks.RUNNING.serving() if serving else stacks.RUNNING
    machine = [check_cpu(_read("/proc/cpuinfo")), check_glibc(_glibc(), stack)]
    memory = _available_memory_bytes()
    python = check_python(sys.version_info[:2], platform.python_implementation())
    if serving:
        return [
            python,
            *(check_version(name) for name in SERVING),
            *machine,
            *(check for check in libraries if check.name != KERAS),
            check_memory(memory, MIN_SERVING_MEMORY_GIB),
        ]
    return [
        python,
        *(check_version(name) for name in EXPECTED_VERSIONS),
        check_setuptools(),
        *machine,
        *libraries,
        check_memory(memory),
        check_disk(folder),
    ]


def check_python(version: tuple[int, ...], implementation: str) -> Check:
    """Checks for a CPython that all wheels of some stack are made for."""
    known = [minor for stack in stacks.STACKS for minor in stack.pythons]
    names = [".".join(map(str, minor)) for minor in sorted(known)]
    return Check(
        "Python",
        version in known and implementation == "CPython",
        f"{implementation} {'.'.join(map(str, version))}",
        "install with `make install`, which finds or fetches a CPython "
        f"({', '.join(names)})",
    )


def check_version(package: str) -> Check:
    """Checks one pinned package without importing it."""
    names = (package, *_STANDS_FOR.get(package, ()))
    found = next(filter(None, map(_installed, names)), None)
    expected = EXPECTED_VERSIONS[package]
    return Check(
        package,
        found == expected,
        found or "not installed",
        f"install {package}=={expected}: `make clean install STACK="
        f"{stacks.RUNNING.name}` (for a server `python3 requirements/install.py "
        f"serving --stack {stacks.RUNNING.name}`) restores the whole set",
    )


def check_setuptools() -> Check:
    """Checks for a setuptools that still has pkg_resources, which TFX imports."""
    found = _installed("setuptools")
    major = re.match(r"\d+", found or "")
    ok = major is not None and int(major[0]) < SETUPTOOLS_BELOW
    return Check(
        "setuptools",
        ok and importlib.util.find_spec("pkg_resources") is not None,
        found or "not installed",
        f"install 'setuptools<{SETUPTOOLS_BELOW}': later ones lack pkg_resources",
    )


def check_cpu(cpuinfo: str | None) -> Check:
    """Checks the instruction sets that the wheels are compiled for.

    Args:
      cpuinfo: The text of /proc/cpuinfo, None where there is none.
    """
    has = scann_library.read_features(cpuinfo or "")
    missing = [flag for flag in CPU_FLAGS if flag not in has]
    if not has:
        found = "not an x86-64 Linux: /proc/cpuinfo names no flags"
    else:
        found = f"lacks {', '.join(missing)}" if missing else ", ".join(CPU_FLAGS)
    return Check(
        "CPU flags",
        not missing,
        found,
        "use an x86-64 processor with AVX2 and FMA (Intel from 2013, AMD from 2015); "
        "a virtual machine needs the host's CPU model",
    )


def check_glibc(libc: str, stack: Stack = stacks.RUNNING) -> Check:
    """Checks the C library.

    Args:
      libc: Its name and version, such as "glibc 2.36"; "" for another one.
      stack: Whose wheels it is to run.
    """
    found = re.match(r"glibc (\d+)\.(\d+)", libc)
    wanted = ".".join(map(str, stack.min_glibc))
    return Check(
        "C library",
        found is not None and tuple(map(int, found.groups())) >= stack.min_glibc,
        libc or "not glibc",
        f"use a Linux with glibc {wanted} or newer: {stack.systems}",
    )


def check_libraries(probe: tuple[dict[str, str], str]) -> list[Check]:
    """Checks that TensorFlow gives Keras 2 and that ScaNN's ops load and search.

    Args:
      probe: What `run_probe` returned for `report_libraries`.
    """
    found, end = probe
    keras = found.get("keras", "")
    recall = found.get("recall")
    unasked = "not tried, as TensorFlow failed"
    return [
        Check(
            KERAS,
            keras.startswith("2."),
            f"tf.keras {keras}" if keras else end,
            "import serving.process before TensorFlow (it sets TF_USE_LEGACY_KERAS=1) "
            "and see that tensorflow and tf-keras are as expected above",
        ),
        Check(
            "ScaNN ops",
            recall is not None and float(recall) >= _MIN_RECALL,
            f"recall@{_TOP_K} {recall} on {_NUM_VECTORS:,} random vectors"
            if recall is not None
            else (end if found else unasked),
            "see that scann and tensorflow are as expected above (scann's ops load in "
            "one minor of TensorFlow only) and that no CPU flag is missing",
        ),
    ]


def check_memory(
    available_bytes: int | None, least_gib: float = MIN_MEMORY_GIB
) -> Check:
    """Checks the memory that a run of the default pipeline, or a server, can have."""
    gib = None if available_bytes is None else available_bytes / _GIB
    return Check(
        "Memory",
        gib is not None and gib >= least_gib,
        "unknown" if gib is None else f"{gib:.1f} GiB available",
        f"free memory, or raise the container's limit, to {least_gib:.0f} GiB",
    )


def check_disk(folder: Path) -> Check:
    """Checks the space where runs are to be written."""
    existing = next(
        p for p in [folder.absolute(), *folder.absolute().parents] if p.exists()
    )
    free = shutil.disk_usage(existing).free / _GIB
    return Check(
        "Disk space",
        free >= MIN_DISK_GIB,
        f"{free:.1f} GiB free in {existing}",
        f"free {MIN_DISK_GIB:.0f} GiB there or choose another folder with --root",
    )


def run_probe(command: Sequence[str], timeout_s: float) -> tuple[dict[str, str], str]:
    """Runs a command that reports findings, and survives however it ends.

    Args:
      command: Prints findings as lines of "doctor:name=value" on standard output.
      timeout_s: After this many seconds it is killed.

    Returns:
      The findings by name, and in a few words how the command ended.
    """
    try:
        done = subprocess.run(
            command,
            env=process.child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        return _findings(error.stdout), f"no answer within {timeout_s:.0f} s"
    if done.returncode < 0:
        end = f"crashed with {signal.Signals(-done.returncode).name}"
    elif done.returncode > 0:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        end = last or f"ended with exit code {done.returncode}"
    else:
        end = "ended"
    return _findings(done.stdout), end


def report_libraries() -> None:
    """Tries TensorFlow and ScaNN and prints what it finds; run in its own process."""
    process.set_up()
    import numpy as np
    import tensorflow as tf

    _report("tensorflow", tf.__version__)
    try:
        # tf.keras is a view of whichever package TensorFlow chose.
        chosen = tf.keras.Model.__module__.partition(".")[0]
        keras = importlib.import_module(chosen).__version__
    except ImportError:
        keras = "is missing"  # which a server does not mind
    _report("keras", keras)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(_NUM_VECTORS, _DIMENSIONS)).astype(np.float32)
    queries = rng.normal(size=(_NUM_QUERIES, _DIMENSIONS)).astype(np.float32)
    leaves = round(_NUM_VECTORS**0.5)
    searcher = (
        scann_library.operations()
        .builder(vectors, _TOP_K, "dot_product")
        .tree(leaves, leaves, training_sample_size=_NUM_VECTORS)
        .score_ah(2, anisotropic_quantization_threshold=0.2)
        .reorder(10 * _TOP_K)
        .build()
    )
    answered, _ = searcher.search_batched(queries)
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :_TOP_K]
    hits = [len(set(a) & set(e)) for a, e in zip(answered.numpy(), exact, strict=True)]
    _report("recall", f"{sum(hits) / exact.size:.2f}")


def _report(name: str, value: str) -> None:
    """Prints a finding at once: the next step may crash."""
    print(f"{_PROBE_MARK}{name}={value}", flush=True)


def _findings(output: bytes | None) -> dict[str, str]:
    """Returns the findings among the lines that libraries print too."""
    lines = (output or b"").decode(errors="replace").splitlines()
    marked = (line for line in lines if line.startswith(_PROBE_MARK))
    pairs = (line.removeprefix(_PROBE_MARK).partition("=") for line in marked)
    return {name: value for name, _, value in pairs}


def _library_probe() -> tuple[dict[str, str], str]:
    code = f"from {__name__} import report_libraries; report_libraries()"
    return run_probe([sys.executable, "-c", code], _PROBE_TIMEOUT_S)


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _glibc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return ""


def _available_memory_bytes() -> int | None:
    """Returns what the machine has free, or less where a container's limit says so."""
    return available_memory_bytes(
        _read("/proc/meminfo"),
        _read("/sys/fs/cgroup/memory.max"),
        _read("/sys/fs/cgroup/memory.current"),
    )


def available_memory_bytes(
    meminfo: str | None, limit: str | None, used: str | None
) -> int | None:
    """Returns the memory that this process can still have, in bytes.

    Args:
      meminfo: The text of /proc/meminfo, None where there is none.
      limit: The text of the cgroup's memory.max: bytes, or "max".
      used: The text of the cgroup's memory.current: bytes.

    Returns:
      The smaller of the machine's and the cgroup's, None if neither is known.
    """
    machine = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo or "", re.MULTILINE)
    known = [int(machine[1]) * 1024] if machine else []
    if limit and limit.strip().isdigit():
        known.append(max(0, int(limit) - int(used or 0)))
    return min(known, default=None)
