# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""ScaNN's two libraries, told what the processor can do and how little to print.

The wheel of ScaNN 1.4.2 was built without its look at the processor: it finds none of
any processor's features and searches by SSE 4, which takes 1.9 to 2.7 times as long as
by AVX2 or AVX-512. So what it would have found is put where it keeps it. A wheel that
has looked, such as 1.3.2's, is left as it is.
"""

import contextlib
import ctypes
import functools
import os
import re
from typing import Any

from serving import process

NEEDED = {
    "should_use_avx2": {"avx2", "fma"},
    "should_use_avx512": {"avx512f", "avx512dq", "avx512bw"},
    "should_use_avx512_vnni": {"avx512f", "avx512dq", "avx512bw", "avx512_vnni"},
}
"""ScaNN's variables, and the features that it sets each for, as Linux names them."""


@functools.cache
def native() -> Any:
    """Returns the module `scann_ops_pybind`."""
    from scann.scann_ops.py import scann_ops_pybind

    _set_up(scann_ops_pybind.scann_pybind.__file__)
    return scann_ops_pybind


@functools.cache
def operations() -> Any:
    """Returns the module `scann_ops`, whose operations TensorFlow knows then.

    Raises:
      ImportError: ScaNN is not installed.
      tf.errors.NotFoundError: It was built for another TensorFlow.
    """
    from scann.scann_ops.py import scann_ops

    _set_up(operations_file())
    return scann_ops


def operations_file() -> str:
    """Returns the library of the operations."""
    import scann

    return os.path.join(*scann.__path__, "scann_ops", "cc", "_scann_ops.so")


def cpu_features() -> set[str]:
    """Returns what the processor can do, as Linux tells it."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return read_features(file.read())


def read_features(cpuinfo: str) -> set[str]:
    """Returns what a text such as /proc/cpuinfo's names, nothing where it does not."""
    found = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return set(found[1].split()) if found else set()


def switches(path: str) -> dict[str, ctypes.c_bool]:
    """Returns those of a loaded library that are there, each to be read and set.

    Args:
      path: The library's file.
    """
    library, found = ctypes.CDLL(path), {}
    for name in NEEDED:
        mangled = f"_ZN14research_scann14flags_internal{len(name)}{name}E"
        # A version that keeps it elsewhere goes by itself.
        with contextlib.suppress(ValueError):
            found[name] = ctypes.c_bool.in_dll(library, mangled)
    return found


def _set_up(path: str) -> None:
    """Tells a loaded library what it does not find out itself."""
    _switch_on(path, cpu_features())
    process.set_log_level(path)


def _switch_on(path: str, features: set[str]) -> None:
    """Sets what a library has not found of the processor's features."""
    found = switches(path)
    if any(one.value for one in found.values()):
        return  # it has looked
    for name, one in found.items():
        one.value = NEEDED[name] <= features
