# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Sizes and checksums of a pushed version's files, by which it is known to be whole.

A copy may be watched while it grows: a server must not take a part of it for a version,
nor a file that a full disk or a bad transfer has changed.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from serving.errors import UserError

FILE = os.path.join("assets.extra", "checksums.json")
_CHUNK = 1 << 20


class _Checksum(NamedTuple):
    size: int
    crc32: str


def write(path: str) -> None:
    """Writes what all files of the version in the folder `path` are like.

    Nothing may change in it afterwards.
    """
    content = {
        name: _checksum(os.path.join(path, name)) for name in sorted(_files(path))
    }
    with tf.io.gfile.GFile(os.path.join(path, FILE), "w") as file:
        file.write(json.dumps(content, indent=1) + "\n")


def exist(path: str) -> bool:
    """Tells whether the version in the folder `path` has checksums."""
    return tf.io.gfile.exists(os.path.join(path, FILE))


def digest(path: str) -> str:
    """Returns a hash of what is in a version with checksums, 16 hex digits.

    Raises:
      UserError: It has none, or they are damaged.
    """
    if not exist(path):
        raise UserError(f"{path} has no {FILE}; push the model again")
    text = json.dumps(sorted(_read(path).items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_whole(path: str) -> bool:
    """Tells whether all files of a version with checksums are there, in full size."""
    try:
        return all(
            tf.io.gfile.stat(os.path.join(path, name)).length == one.size
            for name, one in _read(path).items()
        )
    except (tf.errors.OpError, UserError):
        return False


def verify(path: str) -> None:
    """Reads all files of a version with checksums.

    Raises:
      UserError: One of them is missing, or not as it was written.
    """
    known = _read(path)
    # First all sizes: of what is half copied, most need not be read to know it.
    for name, one in known.items():
        file = os.path.join(path, name)
        if not tf.io.gfile.exists(file):
            raise UserError(f"{file} is missing; push the model again")
        size = tf.io.gfile.stat(file).length
        if size != one.size:
            raise UserError(
                f"{file} has {size} bytes instead of {one.size}; push the model again"
            )
    for name, one in known.items():
        file = os.path.join(path, name)
        if _checksum(file) != one:
            raise UserError(
                f"{file} is not as it was pushed (its checksum is another); push the "
                "model again"
            )


def _read(path: str) -> dict[str, _Checksum]:
    file = os.path.join(path, FILE)
    try:
        with tf.io.gfile.GFile(file) as content:
            text = content.read()
        if not text.endswith("\n"):
            raise ValueError("its last line has no end")
        found = json.loads(text)
        return {name: _Checksum(*one) for name, one in found.items()}
    # A file that is still being written is no JSON, or not all of it.
    except (ValueError, TypeError, AttributeError):
        raise UserError(f"{file} is damaged; push the model again") from None


def _files(path: str) -> Iterator[str]:
    """Yields all files of a folder but the checksums, relative to it."""
    for folder, _, names in tf.io.gfile.walk(path):
        for name in names:
            file = os.path.relpath(os.path.join(folder, name), path)
            if file != FILE:
                yield file


def _checksum(path: str) -> _Checksum:
    size = crc = 0
    for chunk in _chunks(path):
        size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return _Checksum(size, f"{crc:08x}")


def _chunks(path: str) -> Iterator[bytes | memoryview]:
    """Yields what is in a file, local or remote; a chunk is valid up to the next."""
    if not os.path.exists(path):
        with tf.io.gfile.GFile(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        return
    # GFile keeps other threads waiting while it copies what it has read.
    buffer = memoryview(bytearray(_CHUNK))
    with open(path, "rb", buffering=0) as local:
        while count := local.readinto(buffer):
            yield buffer[:count]
