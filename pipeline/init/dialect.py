# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""How a CSV file is written: its encoding, delimiter and header."""

import codecs
import collections
import csv
import dataclasses
import io
import re

from serving.errors import UserError

_DELIMITERS = ",;\t|"
_LINES = 200
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"))


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a CSV file is written."""

    delimiter: str
    encoding: str
    names: tuple[str, ...]
    """Of the columns, from the header or made up."""
    has_header: bool


def sniff(data: bytes, path: str) -> Dialect:
    """Guesses how the start of a CSV file is written.

    Raises:
      UserError: It has one column only, or its fields stand between two characters.
    """
    encoding = find_encoding(data)
    text = data.decode(encoding, errors="replace").removeprefix("\ufeff")
    delimiter = _delimiter(text, path)
    rows = _rows(text, delimiter)
    if not rows:
        raise UserError(f"{path} holds no rows; give it a header and rows")
    first = rows[0]
    if _is_header(first, rows[1:]):
        return Dialect(delimiter, encoding, tuple(first), True)
    names = tuple(f"column_{number}" for number in range(1, len(first) + 1))
    return Dialect(delimiter, encoding, names, False)


def find_encoding(data: bytes) -> str:
    """Guesses the encoding: UTF-8 where it is valid, else one byte a character."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    try:
        # The data may end within a character.
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        # What Windows writes has letters where latin-1 has control characters.
        control = any(byte in data for byte in range(0x80, 0xA0))
        if control and _decodes(data, "cp1252"):
            return "cp1252"
        return "latin-1"
    return "utf-8"


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _rows(text: str, delimiter: str) -> list[list[str]]:
    """Returns the fields of the first lines."""
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if row:
                rows.append(row)
            if len(rows) == _LINES:
                break
    except csv.Error:
        pass
    return rows


def _delimiter(text: str, path: str) -> str:
    """Returns what parts most lines into the same number of fields, at least two."""
    best, best_score = "", (0.0, 0)
    for delimiter in _DELIMITERS:
        rows = _rows(text, delimiter)
        # The last line of a piece may be cut.
        counts = collections.Counter(map(len, rows[:-1] or rows))
        if not counts:
            continue
        fields, lines = counts.most_common(1)[0]
        score = (round(lines / sum(counts.values()), 2), fields)
        if fields > 1 and score > best_score:
            best, best_score = delimiter, score
    if best:
        return best
    if "::" in text.partition("\n")[0]:
        raise UserError(
            f"{path} has '::' between its fields, and a delimiter is one character; "
            "replace it, such as by: sed 's/::/\\t/g'"
        )
    raise UserError(
        f"{path} has one column only, by any of the delimiters comma, semicolon, tab "
        "and |; an interaction needs two ids"
    )


def _is_header(first: list[str], rest: list[list[str]]) -> bool:
    """Tells whether the first row names the columns.

    A name is no number and no date, there is none twice, and it is not among the
    values that come more than once in its column.
    """
    values = [value.strip() for value in first]
    if any(_NUMBER.fullmatch(v) or _DATE.fullmatch(v) for v in values if v):
        return False
    named = [value for value in values if value]
    if not named or len(set(named)) < len(named):
        return False
    return not any(
        value and sum(row[at] == value for row in rest if len(row) > at) > 1
        for at, value in enumerate(first)
    )
