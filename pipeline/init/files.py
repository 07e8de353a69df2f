# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the files that a path or pattern means, and reads bounded pieces of them."""

import dataclasses
import glob
import gzip
import os
import re
import zlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from serving.errors import UserError

PIECE_BYTES = 4 << 20
"""Read in one go; a large file is sampled in such pieces."""
PIECES = 16
"""Most pieces read of one source, unpacked."""

_SPEC = re.compile(r"\{(SPAN|VERSION|YYYY|MM|DD)(?::\d+)?\}")
_CODECS = {".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
_PACKED = (".gz", *_CODECS)


@dataclasses.dataclass(frozen=True)
class FileSet:
    """The files of a source."""

    pattern: str
    """As it was given."""
    paths: tuple[str, ...]
    """Of the latest span."""

    @property
    def stem(self) -> str:
        """The name of the file, or of the pattern, without endings."""
        return os.path.basename(self.pattern).partition(".")[0] or self.pattern

    @property
    def bytes(self) -> int:
        """Size of all of them, packed."""
        return sum(os.path.getsize(path) for path in self.paths)


def find(pattern: str) -> FileSet:
    """Finds the files of a path, a glob or a pattern with spans.

    Raises:
      UserError: There is none, or it is a folder or on another host.
    """
    if "://" in pattern:
        raise UserError(
            f"{pattern} is not on this machine; copy one file of it here, run init on "
            "that, and put the path into the config"
        )
    if os.path.isdir(pattern):
        example = os.path.join(pattern, "*.csv")
        raise UserError(
            f"{pattern} is a folder; name its files, in quotes if by a pattern: "
            f"'{example}'"
        )
    paths = [pattern] if os.path.isfile(pattern) else _latest(pattern)
    if not paths:
        raise UserError(f"no file matches {pattern}; mend the path")
    if not any(os.path.getsize(path) for path in paths):
        raise UserError(f"{pattern} is empty; give it a header and rows")
    return FileSet(pattern, tuple(paths))


def _latest(pattern: str) -> list[str]:
    """Returns the files of the latest span and version, as TFX numbers them."""
    names = [
        name for name in glob.glob(_SPEC.sub("*", pattern)) if os.path.isfile(name)
    ]
    specs = _SPEC.findall(pattern)
    if not specs:
        return sorted(names)
    shape = re.compile(_as_regex(pattern))
    order = ["SPAN", "YYYY", "MM", "DD", "VERSION"]
    spans: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        if found := shape.fullmatch(name):
            values = dict(zip(specs, found.groups(), strict=True))
            key = tuple(int(values[spec]) for spec in order if spec in values)
            spans.setdefault(key, []).append(name)
    return sorted(spans[max(spans)]) if spans else []


def _as_regex(pattern: str) -> str:
    """Returns the regular expression of a pattern, a group for each spec."""
    parts = []
    at = 0
    for spec in _SPEC.finditer(pattern):
        parts += [_glob_regex(pattern[at : spec.start()]), r"(\d+)"]
        at = spec.end()
    return "".join([*parts, _glob_regex(pattern[at:])])


def _glob_regex(text: str) -> str:
    return re.escape(text).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")


def open_unpacked(path: str) -> Any:
    """Opens a file as a stream of unpacked bytes."""
    if path.endswith(".gz"):
        return gzip.open(path)
    if path.endswith(tuple(_CODECS)):
        return pa.CompressedInputStream(pa.OSFile(path), _CODECS[path[-4:]])
    return open(path, "rb")


def is_packed(path: str) -> bool:
    """Tells whether a file is compressed, by its ending."""
    return path.endswith(_PACKED)


@dataclasses.dataclass(frozen=True)
class Piece:
    """Bytes of a file from somewhere in it."""

    data: bytes
    is_start: bool
    is_end: bool

    def whole_lines(self) -> bytes:
        """Returns the data without lines that it holds a part of only."""
        start = 0 if self.is_start else self.data.find(b"\n") + 1
        end = len(self.data) if self.is_end else self.data.rfind(b"\n") + 1
        return self.data[start:end]


def pieces(files: FileSet) -> tuple[list[Piece], float]:
    """Reads a bounded part of the files: their heads and, unless packed, more.

    Returns:
      The pieces in their order, and which share of all bytes they are, 1 for all.

    Raises:
      UserError: A file is damaged.
    """
    chosen = spread(files.paths, 4)
    read: list[Piece] = []
    seen = 0.0
    for path in chosen:
        try:
            found, share = _pieces_of(path, max(1, PIECES // len(chosen)))
        except (OSError, EOFError, zlib.error, pa.ArrowInvalid) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{path} can't be read ({reason}); mend the file") from None
        read += found
        seen += share * os.path.getsize(path)
    return read, min(1.0, seen / files.bytes)


def spread(paths: Sequence[str], most: int) -> list[str]:
    """Returns some of many, the first and the last among them."""
    if len(paths) <= most:
        return list(paths)
    return [paths[at * (len(paths) - 1) // (most - 1)] for at in range(most)]


def _pieces_of(path: str, most: int) -> tuple[list[Piece], float]:
    size = os.path.getsize(path)
    if is_packed(path):
        return _packed_head(path, most * PIECE_BYTES)
    if size <= most * PIECE_BYTES:
        with open(path, "rb") as file:
            return [Piece(file.read(), True, True)], 1.0
    with open(path, "rb") as file:
        found = []
        for number in range(most):
            start = number * (size - PIECE_BYTES) // max(1, most - 1)
            file.seek(start)
            data = file.read(PIECE_BYTES)
            found.append(Piece(data, number == 0, start + len(data) >= size))
    return found, most * PIECE_BYTES / size


def _packed_head(path: str, most: int) -> tuple[list[Piece], float]:
    """Reads the start of a packed file; which share it is goes by packed bytes."""
    with open_unpacked(path) as stream:
        data = stream.read(most)
        rest = stream.read(1)
    if not rest:
        return [Piece(data, True, True)], 1.0
    packed = len(zlib.compress(data[:PIECE_BYTES], 6)) / min(len(data), PIECE_BYTES)
    share = packed * len(data) / os.path.getsize(path)
    return [Piece(data, True, False)], min(0.99, share)
