# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The sets of versions that Shortlist runs on, and what differs between them.

This is the only module that knows versions: what others do otherwise in one stack than
in another, they ask here. It imports nothing heavy.
"""

import dataclasses
import sys
from typing import Any


@dataclasses.dataclass(frozen=True)
class Stack:
    """A set of versions that fit together."""

    name: str
    pythons: tuple[tuple[int, int], ...]
    """Minor versions of CPython."""
    min_glibc: tuple[int, int]
    systems: str
    """Some that have it."""
    pins: dict[str, str]
    """Packages that must be of just this version."""

    def serving(self) -> "Stack":
        """Returns what serves its models: no part of that needs so new a C library."""
        return dataclasses.replace(
            self, min_glibc=STABLE.min_glibc, systems=STABLE.systems
        )


_COMMON = {"tensorflow-recommenders": "0.7.7", "tensorflow-datasets": "4.9.10"}
STABLE = Stack(
    "stable",
    ((3, 10),),
    (2, 28),
    "Debian 10, Ubuntu 20.04, RHEL 8",
    {
        "tfx": "1.16.0",
        "tensorflow": "2.16.2",
        "tf-keras": "2.16.0",
        "tensorflow-model-analysis": "0.47.0",
        "scann": "1.3.2",
        "apache-beam": "2.60.0",
        **_COMMON,
    },
)
CURRENT = Stack(
    "current",
    ((3, 11), (3, 12), (3, 13)),
    (2, 39),
    "Debian 13, Ubuntu 24.04, RHEL 10",
    {
        "tfx": "1.21.0",
        "tensorflow": "2.20.0",
        "tf-keras": "2.20.1",
        "tensorflow-model-analysis": "0.52.0",
        "scann": "1.4.2",
        "apache-beam": "2.77.0",
        **_COMMON,
    },
)
STACKS = (CURRENT, STABLE)
"""The newest first; requirements/install.py and requirements/*.in repeat them."""


def of_python(version: tuple[int, int]) -> Stack:
    """Returns the stack that a minor version of Python is for; the newest if none."""
    return next((one for one in STACKS if version in one.pythons), STACKS[0])


RUNNING = of_python(sys.version_info[:2])
"""That of this process."""

SOAR_IS_UPDATED = RUNNING is STABLE
"""Whether ScaNN can put candidates into an index with second partitions; 1.4.2 writes
past its memory then."""

ALL_FIELDS = {
    "including_default_value_fields"
    if RUNNING is STABLE
    else "always_print_fields_with_no_presence": True
}
"""What makes protobuf's JSON hold fields of their default values too."""


def message_class(descriptor: Any) -> Any:
    """Returns the class of a message type.

    Args:
      descriptor: Of the type, in a pool.
    """
    from google.protobuf import message_factory

    if RUNNING is STABLE:  # protobuf 3.20
        return message_factory.MessageFactory(descriptor.file.pool).GetPrototype(
            descriptor
        )
    return message_factory.GetMessageClass(descriptor)
