# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Reads a bounded sample of a source of any format, as columns of Arrow."""

import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pipeline.init import dialect, names, tfrecords
from pipeline.init.files import PIECES, FileSet, Piece, find, pieces, spread
from serving.errors import UserError

ROWS = 1_000_000
"""Most rows read of a source whose format has row groups or records."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """A part of a source, or all of it."""

    files: FileSet
    source: dict[str, Any]
    """What the config says of the source, the path first."""
    columns: dict[str, pa.Array]
    """Values by name: text as it stands in CSV, else of the file's own types."""
    share: float
    """Which share of the source was read; 1: all of it."""
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    """Columns that can't be read, and why."""
    has_names: bool = True
    """Whether the file names its columns."""

    @property
    def rows(self) -> int:
        """Rows read."""
        return len(next(iter(self.columns.values())))

    @property
    def total_rows(self) -> int:
        """Rows of the source, estimated from its size where not all was read."""
        return self.rows if self.share == 1 else round(self.rows / self.share)

    def renamed(self, new: dict[str, str]) -> "Sample":
        """Returns the sample of a file without a header under other names."""
        columns = {new.get(n, n): array for n, array in self.columns.items()}
        listed = [new.get(n, n) for n in self.source["column_names"]]
        source = {**self.source, "column_names": listed}
        return dataclasses.replace(self, columns=columns, source=source)


def read(pattern: str) -> Sample:
    """Samples the files of a path or pattern.

    Raises:
      UserError: There is no file, or it can't be read.
    """
    files = find(pattern)
    kind = _format_of(files)
    sample = _READERS[kind](files)
    if not sample.columns or not sample.rows:
        raise UserError(f"{pattern} holds no rows; give it a header and rows")
    return _with_usable_names(sample)


def _with_usable_names(sample: Sample) -> Sample:
    """Renames the columns that requests can't name, here and in what is configured."""
    rename = names.usable(list(sample.columns))
    if not rename:
        return sample
    columns = {rename.get(n, n): array for n, array in sample.columns.items()}
    source = {**sample.source, "rename": rename}
    return dataclasses.replace(sample, columns=columns, source=source)


def _format_of(files: FileSet) -> str:
    """Returns the format of a source, by how its first file begins."""
    path = files.paths[0]
    with open(path, "rb") as file:
        start = file.read(4)
    if start == b"PAR1":
        return "parquet"
    if start.startswith(b"PK"):
        raise UserError(
            f"{path} is a zip archive or a spreadsheet; unpack it, or save it as CSV"
        )
    if tfrecords.is_tfrecord(path):
        return "tfrecord"
    head = pieces(FileSet(path, (path,)))[0][0].data[:4096].lstrip(b"\xef\xbb\xbf \r\n")
    if head.startswith(b"{"):
        return "jsonl"
    if head.startswith(b"["):
        raise UserError(
            f"{path} is one JSON array; write one object a line instead, such as by: "
            f"jq -c '.[]' {path}"
        )
    if not head:
        raise UserError(f"{path} is empty; give it a header and rows")
    if b"\0" in head and dialect.find_encoding(head) != "utf-16":
        raise UserError(
            f"{path} is no text, Parquet or TFRecord file; write it as one of these"
        )
    return "csv"


def _unique(found: Sequence[str]) -> tuple[dict[str, int], dict[str, str]]:
    """Returns the positions of usable names, and why others are not."""
    places: dict[str, int] = {}
    left_out: dict[str, str] = {}
    for at, name in enumerate(found):
        if found.count(name) > 1:
            left_out[name] = "several columns have this name"
        elif name.strip():
            places[name] = at
    return places, left_out


def _read_csv(files: FileSet) -> Sample:
    found, share = pieces(files)
    style = dialect.sniff(found[0].data, files.paths[0])
    places, left_out = _unique(style.names)
    tables: list[pa.Table] = []
    lines_in_values = False
    for piece in found:
        if tables and not piece.is_start and lines_in_values:
            continue  # where a row starts can't be told
        table = _parse(piece, style, files)
        if table is None:
            continue
        if not tables:
            lines_in_values = _has_line_breaks(table)
        tables.append(table)
    if not tables:
        raise UserError(f"{files.pattern} holds no rows; give it a header and rows")
    whole = pa.concat_tables(tables)
    source: dict[str, Any] = {"csv": files.pattern}
    if style.delimiter != ",":
        source["delimiter"] = style.delimiter
    if style.encoding != "utf-8":
        source["encoding"] = style.encoding
    if not style.has_header:
        source["column_names"] = list(style.names)
    columns = {name: whole.column(at).combine_chunks() for name, at in places.items()}
    return Sample(files, source, columns, share, left_out, style.has_header)


def _parse(piece: Piece, style: dialect.Dialect, files: FileSet) -> pa.Table | None:
    """Parses a piece of a CSV file; None where it can't be told how."""
    data = piece.whole_lines()
    keys = [str(at) for at in range(len(style.names))]
    try:
        return pyarrow.csv.read_csv(
            io.BytesIO(data),
            pyarrow.csv.ReadOptions(
                column_names=keys, encoding=style.encoding, use_threads=False
            ),
            pyarrow.csv.ParseOptions(
                delimiter=style.delimiter, newlines_in_values=True
            ),
            pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(keys, pa.string())),
        ).slice(1 if piece.is_start and style.has_header else 0)
    except pa.ArrowInvalid as error:
        if not piece.is_start:
            return None
        problem = " ".join(str(error).split())
        raise UserError(
            f"{files.pattern} can't be read as CSV ({problem}); mend the line, or "
            "quote fields that hold the delimiter"
        ) from None


def _has_line_breaks(table: pa.Table) -> bool:
    return any(
        pa.compute.any(pa.compute.match_substring(column, "\n")).as_py()
        for column in table.columns
    )


def _read_jsonl(files: FileSet) -> Sample:
    found, share = pieces(files)
    rows: list[dict[str, Any]] = []
    for piece in found:
        for line in piece.whole_lines().splitlines():
            if line.strip():
                rows.append(_json_object(line, files.pattern, len(rows) + 1))
    columns, left_out = {}, {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        if problem := _json_problem(values):
            left_out[name] = problem
        else:
            columns[name] = _json_array(values)
    return Sample(files, {"jsonl": files.pattern}, columns, share, left_out)


def _json_object(line: bytes, path: str, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        problem = " ".join(str(error).split())
        raise UserError(
            f"{path}, row {number}: not valid JSON ({problem}); mend the line"
        ) from None
    if not isinstance(row, dict):
        raise UserError(f"{path}, row {number}: not a JSON object; mend the line")
    return row


def _json_problem(values: list[Any]) -> str | None:
    """Says why a column of JSON can't be read, if so."""
    present = [value for value in values if value is not None]
    lists = [isinstance(value, list) for value in present]
    if any(isinstance(value, dict) for value in present):
        return "holds objects; flatten them into columns"
    if any(lists) and not all(lists):
        return "is a list in some lines but not in others"
    nested = (part for value in present if isinstance(value, list) for part in value)
    if any(isinstance(part, dict | list) for part in nested):
        return "holds lists of objects or of lists; flatten them"
    return None


def _json_array(values: list[Any]) -> pa.Array:
    """Returns a column; mixed types become text, as when the pipeline reads them."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array(
            [v if v is None or isinstance(v, str) else json.dumps(v) for v in values],
            pa.string(),
        )


def _read_parquet(files: FileSet) -> Sample:
    chosen = spread(files.paths, 4)
    batches: list[pa.RecordBatch] = []
    rows, total = 0, 0
    for path in chosen:
        try:
            file = pa.parquet.ParquetFile(path)
            total += file.metadata.num_rows
            batches += _some_rows(file, ROWS // len(chosen))
        except (pa.ArrowInvalid, OSError) as error:
            problem = " ".join(str(error).split())
            raise UserError(
                f"{path} can't be read as Parquet ({problem}); write it anew"
            ) from None
    rows = sum(batch.num_rows for batch in batches)
    if not rows:
        raise UserError(f"{files.pattern} holds no rows; write it anew")
    whole = pa.Table.from_batches(batches)
    places, left_out = _unique(whole.schema.names)
    columns = {}
    for name, at in places.items():
        array = whole.column(at).combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks)
        if pa.types.is_struct(array.type) or pa.types.is_map(array.type):
            left_out[name] = "holds objects; flatten them into columns"
        elif pa.types.is_dictionary(array.type):
            columns[name] = array.dictionary_decode()
        else:
            columns[name] = array
    share = rows / total * len(chosen) / len(files.paths)
    return Sample(files, {"parquet": files.pattern}, columns, share, left_out)


def _some_rows(file: Any, most: int) -> list[pa.RecordBatch]:
    """Reads rows of the first, the last and some row groups between."""
    groups = list(range(file.num_row_groups))
    if file.metadata.num_rows > most and len(groups) > PIECES:
        last = len(groups) - 1
        groups = [at * last // (PIECES - 1) for at in range(PIECES)]
    batches = []
    for group in groups:
        left = max(1, most // len(groups))
        for batch in file.iter_batches(row_groups=[group]):
            batches.append(batch.slice(0, left))
            left -= batches[-1].num_rows
            if left <= 0:
                break
    return batches


def _read_tfrecord(files: FileSet) -> Sample:
    columns, share = tfrecords.read(files, ROWS // 10)
    return Sample(files, {"tfrecord": files.pattern}, columns, share)


_READERS: dict[str, Callable[[FileSet], Sample]] = {
    "csv": _read_csv,
    "parquet": _read_parquet,
    "jsonl": _read_jsonl,
    "tfrecord": _read_tfrecord,
}
