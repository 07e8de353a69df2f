# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Reads files of each format as batches of serialized tf.Examples.

Files are read as streams, so that memory does not grow with their size, and may be
compressed with gzip, bzip2, zstd or lz4, by their ending. Every error names the file
and, where it has lines or rows, which one.
"""

import csv
import dataclasses
import gzip
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import tensorflow as tf
from tfx.dsl.io import fileio
from tfx_bsl.coders import example_coder

from components import columns, records
from components.columns import Column
from components.conversion import BadValue, convert
from components.split_examples import Shard
from serving.errors import UserError

_ROWS_PER_BATCH = 8192
_BLOCK_BYTES = 1 << 22
# What TensorFlow puts around the text of an error.
_OP_NOTES = re.compile(r"\{\{.*?\}\}|\[Op:.*$")
_CODECS = {".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileShard(Shard):
    """One file."""

    path: str
    format: FileFormat
    columns: tuple[Column, ...]

    def read(self) -> Iterator[list[bytes]]:
        """Yields the rows as serialized tf.Examples.

        Raises:
            UserError: If the file can't be read or a value does not fit its column.
        """
        row = 0
        encoder = example_coder.RecordBatchToExamplesEncoder()
        try:
            for batch in _READERS[self.format.name](self):
                if isinstance(batch, list):  # tf.Examples that are right as they are
                    row += len(batch)
                    yield batch
                    continue
                converted = convert(batch, self.columns)
                row += converted.num_rows
                yield encoder.encode(converted)
        except BadValue as bad:
            where = _place(self, row + bad.row)
            raise UserError(f"{where}: column {bad.column!r} {bad.problem}") from None
        except (OSError, EOFError, pa.ArrowInvalid, tf.errors.OpError) as error:
            raise UserError(_damage(self, row, error)) from error


Batch = dict[str, pa.Array] | list[bytes]


def _place(shard: FileShard, row: int) -> str:
    """Says where the row of a file stands, counted from 0: by line if it has lines."""
    if shard.format.name == "jsonl":
        return f"{shard.path}, line {_json_line(shard, row)}"
    if shard.format.name == "csv":
        return f"{shard.path}, line {_csv_line(shard, row)}"
    return f"{shard.path}, row {row + 1}"


def _csv_line(shard: FileShard, row: int) -> int:
    """Returns the line on which a row ends; quoted breaks and blank lines count."""
    with _open(shard.path) as raw:
        lines = csv.reader(_as_lines(raw, shard), delimiter=shard.format.delimiter)
        wanted = row if shard.format.column_names else row + 1
        for fields in lines:
            if not fields:
                continue
            if not wanted:
                break
            wanted -= 1
        return lines.line_num


def _json_line(shard: FileShard, row: int) -> int:
    """Returns the line of a row, blank lines counted."""
    with _open(shard.path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                if not row:
                    return number
                row -= 1
    return number


def _damage(shard: FileShard, rows: int, error: Exception) -> str:
    """Says in one sentence why a file can't be read."""
    problem = " ".join(str(getattr(error, "message", error)).split())
    problem = _OP_NOTES.sub("", problem).strip()
    if shard.format.name == "csv" and "Expected" in problem:
        line, found, wanted = _misfit(shard)
        return (
            f"{shard.path}, line {line}: {found} fields where the first line has "
            f"{wanted}: mend the line, quote fields that hold the delimiter, or set "
            "source.delimiter"
        )
    if "UTF8" in problem:
        return _not_text(shard)
    return (
        f"{shard.path} can't be read as {shard.format.name} after {rows} rows "
        f"({problem or type(error).__name__}): mend the file or write it anew"
    )


def _misfit(shard: FileShard) -> tuple[int, int, int]:
    """Returns line, fields and wanted fields of the first row that does not fit."""
    wanted = len(shard.format.column_names)
    with _open(shard.path) as raw:
        lines = csv.reader(_as_lines(raw, shard), delimiter=shard.format.delimiter)
        for fields in lines:
            wanted = wanted or len(fields)
            if fields and len(fields) != wanted:
                return lines.line_num, len(fields), wanted
    raise AssertionError("every row has as many fields as the first")


def _not_text(shard: FileShard) -> str:
    return (
        f"{shard.path} is not {shard.format.encoding} text: set source.encoding to "
        "what it is, such as latin-1"
    )


def _as_lines(raw: Any, shard: FileShard) -> io.TextIOWrapper:
    return io.TextIOWrapper(raw, shard.format.encoding, newline="")


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


def _open_raw(path: str) -> io.BufferedReader:
    """Opens a file, local or remote, as a stream of its bytes."""
    return io.BufferedReader(_Raw(fileio.open(path, "rb"), True), _BLOCK_BYTES)


def _open(path: str) -> Any:
    """Opens a file, local or remote, as a stream of unpacked bytes."""
    file = _open_raw(path)
    if path.endswith(".gz"):
        return gzip.open(file)
    if path.endswith((".bz2", ".zst", ".lz4")):
        unpacked = pa.CompressedInputStream(pa.PythonFile(file), _CODECS[path[-4:]])
        return io.BufferedReader(_Raw(unpacked, False), _BLOCK_BYTES)
    return file


def _read_csv(shard: FileShard) -> Iterator[Batch]:
    """Reads CSV as text only: which type a column has is declared, not guessed."""
    header = list(shard.format.column_names) or _csv_header(shard)
    columns.check_names(shard.columns, header, shard.path)
    wanted = [column.name for column in shard.columns]
    with _open(shard.path) as stream:
        reader = pyarrow.csv.open_csv(
            stream,
            pyarrow.csv.ReadOptions(
                block_size=_BLOCK_BYTES,
                column_names=shard.format.column_names or None,
                encoding=shard.format.encoding,
            ),
            pyarrow.csv.ParseOptions(
                delimiter=shard.format.delimiter, newlines_in_values=True
            ),
            pyarrow.csv.ConvertOptions(
                column_types={name: pa.string() for name in wanted},
                include_columns=wanted,
            ),
        )
        for batch in reader:
            yield dict(zip(batch.schema.names, batch.columns, strict=True))


def _csv_header(shard: FileShard) -> list[str]:
    """Returns the names in the first line."""
    with _open(shard.path) as raw:
        lines = csv.reader(_as_lines(raw, shard), delimiter=shard.format.delimiter)
        try:
            for fields in lines:
                if fields:
                    return [fields[0].removeprefix("\ufeff"), *fields[1:]]
        except UnicodeDecodeError:
            raise UserError(_not_text(shard)) from None
    raise UserError(f"{shard.path} is empty: give it a header and rows, or remove it")


def _read_parquet(shard: FileShard) -> Iterator[Batch]:
    """Reads the columns that are wanted, a batch of rows at a time."""
    with _open_raw(shard.path) as stream:
        file = pyarrow.parquet.ParquetFile(stream)
        columns.check_names(shard.columns, file.schema_arrow.names, shard.path)
        names = [column.name for column in shard.columns]
        for batch in file.iter_batches(_ROWS_PER_BATCH, columns=names):
            yield dict(zip(batch.schema.names, batch.columns, strict=True))


def _read_jsonl(shard: FileShard) -> Iterator[Batch]:
    """Reads one JSON object a line; a key that a line lacks is a missing value."""
    names = [column.name for column in shard.columns]
    seen: set[str] = set()
    rows: list[dict[str, Any]] = []
    with _open(shard.path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            rows.append(_json_object(line, f"{shard.path}, line {number}"))
            if len(rows) == _ROWS_PER_BATCH:
                seen.update(*rows)
                yield _json_columns(rows, names)
                rows = []
    seen.update(*rows)
    # A key need not be in every line, but one in no line at all is a mistake.
    columns.check_names(shard.columns, sorted(seen), shard.path)
    if rows:
        yield _json_columns(rows, names)


def _json_object(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        raise UserError(f"{where}: not UTF-8 text: save the file as UTF-8") from None
    except ValueError as error:
        raise UserError(f"{where}: not valid JSON ({error}): mend the line") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: a {type(row).__name__}, not a JSON object: mend it")
    return row


def _json_columns(rows: list[dict[str, Any]], names: list[str]) -> Batch:
    """Turns objects into columns; mixed types become text, as in a CSV file."""
    return {name: _json_column([row.get(name) for row in rows], name) for name in names}


def _json_column(values: list[Any], name: str) -> pa.Array:
    for row, value in enumerate(values):
        if isinstance(value, dict):
            raise BadValue(row, name, "holds an object: flatten it into columns")
    lists = [isinstance(value, list) for value in values if value is not None]
    if any(lists) and not all(lists):
        row = [isinstance(value, list) for value in values].index(True)
        raise BadValue(row, name, "is a list here but not in other lines: mend one")
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([_json_text(value) for value in values], pa.string())


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def _read_tfrecord(shard: FileShard) -> Iterator[Batch]:
    """Reads tf.Examples; features that are not declared stay as they are."""
    for batch in records.read_batches(shard.path):
        yield records.conform(batch, shard.columns)


_READERS: dict[str, Callable[[FileShard], Iterator[Batch]]] = {
    "csv": _read_csv,
    "parquet": _read_parquet,
    "jsonl": _read_jsonl,
    "tfrecord": _read_tfrecord,
}

FORMATS: Sequence[str] = tuple(_READERS)
