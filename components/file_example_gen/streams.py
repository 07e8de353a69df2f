# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Files as streams of unpacked bytes, looked at before they are read; free of TFX.

Whoever opens a file says how: readers by TFX's fileio, the check of a config by
Python's own `open`.
"""

import csv
import dataclasses
import difflib
import gzip
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, TypeAlias

from components import columns
from components.columns import Column
from serving.errors import UserError

OpenRaw: TypeAlias = Callable[[str], BinaryIO]
"""Opens a path as a buffered stream of its bytes as they are."""

_BUFFER_BYTES = 1 << 22
_MAGIC = {
    ".gz": b"\x1f\x8b",
    ".bz2": b"BZh",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".lz4": b"\x04\x22\x4d\x18",
}
_CODECS = {".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
_DELIMITERS = ";\t|,"


@dataclasses.dataclass(frozen=True)
class FileFormat:
    """How the files of a source are written."""

    name: str
    """csv, parquet, jsonl or tfrecord."""
    delimiter: str = ","
    """Between the columns of a CSV file."""
    encoding: str = "utf-8"
    """Of a CSV file."""
    column_names: tuple[str, ...] = ()
    """Of CSV files without a header."""
    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Names that columns go by here, by their names in the files."""

    def in_file(self, name: str) -> str:
        """Returns the name that a column has in the files."""
        return next((old for old, new in self.rename.items() if new == name), name)

    def check_names(
        self, wanted: Sequence[Column], found: Sequence[str], path: str
    ) -> None:
        """Refuses a file that lacks a column, or in which two go by its name.

        Args:
            wanted: What is read.
            found: Names in the file.
            path: The file.

        Raises:
            UserError: It names the column and the mend.
        """
        for column in wanted:
            name = self.in_file(column.name)
            if name != column.name and name not in found:
                near = difflib.get_close_matches(name, found, 1)
                mend = f"did you mean {near[0]!r}?" if near else "take it out"
                raise UserError(
                    f"{path} has no column {name!r} that source.rename could rename: "
                    f"{mend}"
                )
        columns.check_names(wanted, [self.rename.get(n, n) for n in found], path)


class _Raw(io.RawIOBase):
    """Makes a file of TFX's fileio, or a stream of Arrow, one that io can wrap."""

    def __init__(self, file: Any, seekable: bool):
        self._file, self._seekable = file, seekable

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._file.seek(offset, whence)
        return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


def buffered(file: Any, seekable: bool = True) -> io.BufferedReader:
    """Makes a file that only reads, and maybe seeks, one of Python's own."""
    return io.BufferedReader(_Raw(file, seekable), _BUFFER_BYTES)


def unpack(path: str, open_raw: OpenRaw) -> Any:
    """Opens a file as a stream of unpacked bytes, by the ending of its name."""
    file = open_raw(path)
    ending = _ending(path)
    if ending == ".gz":
        return gzip.open(file)
    if ending in _CODECS:
        import pyarrow as pa

        unpacked = pa.CompressedInputStream(pa.PythonFile(file), _CODECS[ending])
        return buffered(unpacked, seekable=False)
    return file


def _ending(path: str) -> str:
    return next((ending for ending in _MAGIC if path.endswith(ending)), "")


def check_head(path: str, form: FileFormat, open_raw: OpenRaw) -> None:
    """Refuses a file that begins like another kind of file than it should be.

    Raises:
        UserError: It says what the file seems to be, and the mend.
    """
    with open_raw(path) as raw:
        head = raw.read(4)
    problem = _packing_problem(path, form, head)
    if not problem and form.name != "tfrecord":
        with unpack(path, open_raw) as stream:
            problem = _looks(form, stream.read(256))
    if problem:
        raise UserError(f"{path} {problem}")


def _packing_problem(path: str, form: FileFormat, head: bytes) -> str | None:
    """Says why a file can't be unpacked, or None."""
    ending = _ending(path)
    found = next((e for e, magic in _MAGIC.items() if head.startswith(magic)), "")
    if form.name == "parquet":
        return None  # packed inside, whatever its name
    if form.name == "tfrecord" and ending not in ("", ".gz"):
        return f"is packed as {ending}: pack TFRecords with gzip"
    if ending and head and found != ending:
        return f"is not packed as {ending}: give it another name, or pack it"
    if found and not ending:
        return f"is packed: let its name end in {found}"
    return None


def _looks(form: FileFormat, head: bytes) -> str | None:
    """Says what the unpacked beginning of a file shows it to be, if that is wrong."""
    is_parquet = head.startswith(b"PAR1")
    start = head.lstrip(b"\xef\xbb\xbf \r\n\t")
    if is_parquet != (form.name == "parquet") and head:
        return (
            f"is {'a' if is_parquet else 'no'} Parquet file: name it in the source "
            "under the key of its format"
        )
    if head.startswith(b"PK\x03\x04"):
        return "is a ZIP archive or a workbook: unpack it, or save the sheet as CSV"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and "16" not in form.encoding:
        return "is UTF-16 text: save it as UTF-8"
    if start.startswith(b"<"):
        return "is a page of the web or XML: get the data itself"
    if form.name == "csv" and start.startswith((b'{"', b"[{", b"[\n")):
        return "is JSON: name it under source.jsonl"
    if form.name == "jsonl" and start.startswith(b"["):
        return "is one JSON array: write an object a line"
    if form.name == "jsonl" and re.match(rb"\{\s*\n", start):
        return "has a JSON object over several lines: write an object a line"
    return None


def csv_header(path: str, form: FileFormat, open_raw: OpenRaw) -> list[str]:
    """Returns the names of a CSV file's columns.

    Raises:
        UserError: The file is empty, not of its encoding or delimiter, or has a header
            although the config names its columns.
    """
    try:
        first = next((fields for _, fields in csv_rows(path, form, open_raw)), None)
    except UnicodeError:
        raise UserError(not_text(path, form, open_raw)) from None
    if first is None:
        raise UserError(f"{path} is empty: give it a header and rows, or remove it")
    names = list(form.column_names) or first
    if form.column_names and first == names:
        raise UserError(
            f"{path}, line 1: the names of the columns: take source.column_names out"
        )
    if len(first) == 1 < len(names) or len(names) == 1:
        found = [d for d in _DELIMITERS if d in first[0] and d != form.delimiter]
        if found:
            raise UserError(
                f"{path}, line 1: one field, {first[0][:60]!r}: set source.delimiter "
                f"to {found[0]!r}"
            )
    return names


def csv_rows(
    path: str, form: FileFormat, open_raw: OpenRaw, errors: str = "strict"
) -> Iterator[tuple[int, list[str]]]:
    """Yields the rows that are not blank, each with the line on which it begins.

    Python's own reader: slow, but it counts lines. It finds the place of errors.
    """
    csv.field_size_limit(2**31 - 1)
    with unpack(path, open_raw) as stream:
        text = io.TextIOWrapper(stream, form.encoding, errors, newline="")
        # The reader refuses NUL, which Arrow takes for a character.
        lines = csv.reader(
            (line.replace("\0", "") for line in text), delimiter=form.delimiter
        )
        begin = 1
        for fields in lines:
            if fields:
                if begin == 1:
                    fields[0] = fields[0].removeprefix("\ufeff")
                yield begin, fields
            begin = lines.line_num + 1


def not_text(path: str, form: FileFormat, open_raw: OpenRaw) -> str:
    """Says that a file is not of its encoding, and on which line if that is known."""
    where = path
    if "\n".encode(form.encoding) == b"\n":
        with unpack(path, open_raw) as stream:
            for number, line in enumerate(stream, 1):
                try:
                    line.decode(form.encoding)
                except UnicodeError:
                    where = f"{path}, line {number}"
                    break
    return (
        f"{where}: not {form.encoding} text: set source.encoding to what it is, such "
        "as latin-1"
    )
