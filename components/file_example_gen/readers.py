# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Reads files of each format as batches of serialized tf.Examples.

Files are read as streams, so that memory does not grow with their size, and may be
compressed with gzip, bzip2, zstd or lz4, by their ending. Every error names the file
and, where it has lines or rows, which one.
"""

import dataclasses
import io
import itertools
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import tensorflow as tf
from tfx.dsl.io import fileio
from tfx_bsl.coders import example_coder

from components import records
from components.columns import Column
from components.conversion import BadValue, convert, first_unreadable
from components.file_example_gen import streams
from components.file_example_gen.streams import FileFormat
from components.split_examples import Shard
from serving.errors import UserError

_ROWS_PER_BATCH = 8192
_BLOCK_BYTES = 1 << 22
# What TensorFlow puts around the text of an error.
_DAMAGE = (OSError, EOFError, zlib.error, pa.ArrowInvalid, tf.errors.OpError)
_OP_NOTES = re.compile(r"\{\{.*?\}\}|\[Op:.*$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileShard(Shard):
    """One file."""

    path: str
    format: FileFormat
    columns: tuple[Column, ...]

    @property
    def source(self) -> tuple[str, FileFormat, streams.OpenRaw]:
        """What the functions of `streams` take."""
        return self.path, self.format, _open_raw

    def read(self) -> Iterator[list[bytes]]:
        """Yields the rows as serialized tf.Examples.

        Raises:
            UserError: If the file can't be read or a value does not fit its column.
        """
        row = 0
        encoder = example_coder.RecordBatchToExamplesEncoder()
        try:
            streams.check_head(*self.source)
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
            raise UserError(f"{where}: {bad.sentence}") from None
        except UnicodeDecodeError:
            raise UserError(streams.not_text(*self.source)) from None
        except _DAMAGE as error:
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
    """Returns the line on which a row begins; quoted breaks and blank lines count."""
    wanted = row if shard.format.column_names else row + 1
    rows = streams.csv_rows(*shard.source, errors="replace")
    return next(line for line, _ in itertools.islice(rows, wanted, None))


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
        return _misfit(shard)
    if "UTF8" in problem:
        return streams.not_text(*shard.source)
    if fileio.isdir(shard.path):
        return f"{shard.path} is a folder: name the files in it, as {shard.path}/*"
    return (
        f"{shard.path} can't be read as {shard.format.name} after {rows} rows "
        f"({problem or type(error).__name__}): mend the file or write it anew"
    )


def _misfit(shard: FileShard) -> str:
    """Says which row of a CSV file is the first that has too few or many fields."""
    where = shard.path
    wanted, whose = len(shard.format.column_names), "source.column_names has"
    for line, fields in streams.csv_rows(*shard.source, errors="replace"):
        if not wanted:
            wanted, whose = len(fields), "the first line has"
        if len(fields) != wanted:
            where = f"{shard.path}, line {line}"
            break
    return (
        f"{where}: {len(fields)} "
        f"{'field' if len(fields) == 1 else 'fields'} where {whose} {wanted}: mend "
        "the line, close its quotes, quote fields that hold the delimiter, or set "
        "source.delimiter"
    )


def _check_quotes(shard: FileShard) -> None:
    """Refuses a file whose last row is all that follows a quote that does not close."""
    last, lines = 1, 0
    with _open(shard.path) as stream:
        lines = sum(1 for _ in stream)
    for line, _ in streams.csv_rows(*shard.source, errors="replace"):
        last = line
    if last < lines:
        raise UserError(
            f"{shard.path}, line {last}: a quote opens there and does not close: close "
            "it, or write a quote that is part of a text twice"
        )


class _QuoteCounter(io.RawIOBase):
    """Passes a stream on and counts the quotes in it."""

    def __init__(self, stream: Any):
        self._stream = stream
        self.quotes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self.quotes += data.count(b'"')
        buffer[: len(data)] = data
        return len(data)


def _open_raw(path: str) -> io.BufferedReader:
    """Opens a file, local or remote, as a stream of its bytes."""
    return streams.buffered(fileio.open(path, "rb"))


def _open(path: str) -> Any:
    """Opens a file, local or remote, as a stream of unpacked bytes."""
    return streams.unpack(path, _open_raw)


def _read_csv(shard: FileShard) -> Iterator[Batch]:
    """Reads CSV as text only: which type a column has is declared, not guessed."""
    header = streams.csv_header(*shard.source)
    shard.format.check_names(shard.columns, header, shard.path)
    names = [column.name for column in shard.columns]
    wanted = [shard.format.in_file(name) for name in names]
    with _open(shard.path) as stream:
        counter = _QuoteCounter(stream)
        reader = pyarrow.csv.open_csv(
            counter,
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
            yield dict(zip(names, batch.columns, strict=True))
    if counter.quotes % 2:
        _check_quotes(shard)


def _read_parquet(shard: FileShard) -> Iterator[Batch]:
    """Reads the columns that are wanted, a batch of rows at a time."""
    with _open_raw(shard.path) as stream:
        file = pyarrow.parquet.ParquetFile(stream)
        found = file.schema_arrow.names
        shard.format.check_names(shard.columns, found, shard.path)
        names = {shard.format.in_file(c.name): c.name for c in shard.columns}
        for batch in file.iter_batches(_ROWS_PER_BATCH, columns=list(names)):
            yield {new: batch.column(old) for old, new in names.items()}


def _read_jsonl(shard: FileShard) -> Iterator[Batch]:
    """Reads one JSON object a line; a key that a line lacks is a missing value."""
    names = {c.name: shard.format.in_file(c.name) for c in shard.columns}
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
    if seen:
        shard.format.check_names(shard.columns, sorted(seen), shard.path)
    if rows:
        yield _json_columns(rows, names)


def _json_object(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        raise UserError(f"{where}: not UTF-8 text: save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where}: not valid JSON ({error.msg} at character {error.pos + 1}): mend "
            "the line, or write an object a line"
        ) from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: not a JSON object: write an object a line")
    return row


def _json_columns(rows: list[dict[str, Any]], names: Mapping[str, str]) -> Batch:
    """Turns objects into columns; mixed types become text, as in a CSV file."""
    return {
        name: _json_column([row.get(in_file) for row in rows], name)
        for name, in_file in names.items()
    }


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
    except UnicodeEncodeError:
        row = first_unreadable(values, _as_utf8)
        raise BadValue(row, name, "holds half a character: mend the text") from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_json_text(value) for value in values], pa.string())


def _as_utf8(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def _read_tfrecord(shard: FileShard) -> Iterator[Batch]:
    """Reads tf.Examples; features that are not declared stay as they are."""
    for batch in records.read_batches(shard.path):
        named = records.rename(batch, shard.format.rename)
        yield records.conform(named, shard.columns)


_READERS: dict[str, Callable[[FileShard], Iterator[Batch]]] = {
    "csv": _read_csv,
    "parquet": _read_parquet,
    "jsonl": _read_jsonl,
    "tfrecord": _read_tfrecord,
}

FORMATS: Sequence[str] = tuple(_READERS)
