# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Turns the values of any source into features of tf.Examples, of declared types."""

import datetime
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.columns import Column, Kind

UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Units that a column of whole-number timestamps may be in."""

_MISSING = frozenset(["", "na", "n/a", "nan", "null", "none", "\\n"])
"""Texts that stand for no value, in lower case."""

_NUMBER = r"^[-+]?\d+(\.\d*)?([eE]\+?\d+)?$"
_NOT_IN_IDS = r"[\r\n\x00]"
_MAX_SHOWN = 40
_FIRST_S, _LAST_S = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999
# A number from here to a hundred times that is a time of 1973 to 2286 in this unit.
_PLAUSIBLE_FROM = {"s": 10**8, "ms": 10**11, "us": 10**14, "ns": 10**17}

_ZONE_OF_NAIVE = datetime.timezone.utc


class BadValue(ValueError):
    """A value that its column cannot hold."""

    def __init__(self, row: int, column: str, problem: str):
        """Remembers where it stands.

        Args:
            row: Its row in the batch, from 0.
            column: Name of the column; "" where a whole row is wrong.
            problem: What is wrong, and the mend.
        """
        super().__init__(problem)
        self.row, self.column, self.problem = row, column, problem

    @property
    def sentence(self) -> str:
        """The column and what is wrong with it."""
        return f"column {self.column!r} {self.problem}" if self.column else self.problem


def convert(
    arrays: Mapping[str, pa.Array], columns: Sequence[Column]
) -> pa.RecordBatch:
    """Converts a batch of rows.

    Args:
        arrays: Values of each column, all of the same length and of any type that
            makes sense for the column's kind.
        columns: What to make of them.

    Returns:
        A batch with one large_list array a column: of large_binary, int64 or float32.
        A row without a value has null.

    Raises:
        BadValue: A value cannot be converted, or a required one is missing.
    """
    converted = {}
    for column in columns:
        array = arrays[column.name]
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_null(array.type):
            array = array.cast(pa.large_string())
        result = _CONVERTERS[column.kind](array, column)
        if column.required and result.null_count:
            row = int(np.argmin(result.is_valid().to_numpy(zero_copy_only=False)))
            raise BadValue(
                row, column.name, "has no value: fill it in or remove the row"
            )
        if column.required and column.kind == Kind.TEXT:
            _check_ids(result, column.name)
        converted[column.name] = result
    return pa.RecordBatch.from_pydict(converted)


def _check_ids(ids: pa.Array, name: str) -> None:
    """Refuses ids that neither a vocabulary nor a line of text can hold."""
    texts = ids.flatten().cast(pa.large_string())
    broken = pc.index(pc.match_substring_regex(texts, _NOT_IN_IDS), True).as_py()
    if broken >= 0:
        raise BadValue(
            broken,
            name,
            f"holds {_shown(texts[broken].as_py())}, but an id is one line of text: "
            "mend the value",
        )


def _shown(text: str) -> str:
    """Returns a text in quotes, cut to what a sentence can hold."""
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")


def _is_text(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,
            pa.types.is_large_binary,
        )
    )


def is_list(kind: pa.DataType) -> bool:
    """Tells whether values of an Arrow type are lists."""
    return any(
        test(kind)
        for test in (
            pa.types.is_list,
            pa.types.is_large_list,
            pa.types.is_fixed_size_list,
        )
    )


def _as_text(array: pa.Array, name: str) -> pa.Array:
    """Returns strings; whole numbers as their digits, blank and missing ones null."""
    kind = array.type
    if pa.types.is_floating(kind):
        # What a table of whole numbers with gaps becomes in pandas.
        values = array.to_numpy(zero_copy_only=False)
        broken = np.flatnonzero(~np.isnan(values) & (values != np.floor(values)))
        if len(broken):
            raise BadValue(
                int(broken[0]),
                name,
                f"holds {values[broken[0]]:g}, but ids and categories are text or "
                "whole numbers: declare it as a number or mend the value",
            )
        whole = [None if math.isnan(value) else int(value) for value in values]
        array = pa.array(whole, pa.int64())
    elif pa.types.is_decimal(kind):
        array = pa.array([None if v is None else f"{v:f}" for v in array.to_pylist()])
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        array = _decode(array, name)
    try:
        text = pc.utf8_trim_whitespace(array.cast(pa.large_string()))
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        raise BadValue(
            0, name, f"holds {kind} where text is wanted: flatten it into columns"
        ) from None
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.large_string()), text)


def _decode(array: pa.Array, name: str) -> pa.Array:
    """Reads bytes as UTF-8."""
    try:
        return array.cast(pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        row = first_unreadable(array.to_pylist(), lambda value: value.decode("utf-8"))
        raise BadValue(
            row, name, "is not UTF-8 text: say the file's encoding or save it as UTF-8"
        ) from None


def first_unreadable(values: Sequence[Any], read: Callable[[Any], object]) -> int:
    """Returns the position of the first value that can't be read."""
    for row, value in enumerate(values):
        if value is None:
            continue
        try:
            read(value)
        except ValueError:
            return row
    raise AssertionError("every value can be read")


def _singles(array: pa.Array, column: Column) -> pa.Array:
    """Returns a column whose rows may be lists of one value as these values."""
    if not is_list(array.type):
        return array
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(
        zero_copy_only=False
    )
    if (lengths > 1).any():
        row = int(np.argmax(lengths > 1))
        raise BadValue(
            row,
            column.name,
            f"holds {lengths[row]} values where one is wanted: mend the row, or "
            "declare a feature as categories",
        )
    at = np.cumsum(lengths) - 1
    return array.flatten().take(pa.array(at, mask=lengths == 0))


def _lists(values: pa.Array, lengths: np.ndarray) -> pa.Array:
    """Puts flat values into a large_list array; a row of length 0 is null."""
    ends = np.cumsum(lengths)
    starts = pa.array(np.concatenate([[0], ends]), pa.int64())
    lists = pa.LargeListArray.from_arrays(starts, values)
    if (lengths > 0).all():
        return lists
    return pc.if_else(
        pa.array(lengths > 0), lists, pa.scalar(None, pa.large_list(values.type))
    )


def _one_each(values: pa.Array) -> pa.Array:
    """Puts each value into a list of its own; null stays null."""
    present = values.is_valid().to_numpy(zero_copy_only=False).astype(np.int64)
    return _lists(values.drop_null(), present)


def _convert_text(array: pa.Array, column: Column) -> pa.Array:
    texts = _as_text(_singles(array, column), column.name)
    return _one_each(texts.cast(pa.large_binary()))


def _convert_texts(array: pa.Array, column: Column) -> pa.Array:
    if not is_list(array.type):
        texts = _as_text(array, column.name)
        if column.separator is None:
            return _one_each(texts.cast(pa.large_binary()))
        array = pc.split_pattern(texts, pattern=column.separator)
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    counts = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    try:
        values = _as_text(array.flatten(), column.name)
    except BadValue as bad:
        raise BadValue(int(rows[bad.row]), column.name, bad.problem) from None
    present = values.is_valid().to_numpy(zero_copy_only=False)
    counts = np.bincount(rows[present], minlength=len(counts))
    return _lists(values.drop_null().cast(pa.large_binary()), counts)


def _numbers(array: pa.Array, column: Column) -> pa.Array:
    """Returns float64 values, null where missing or not a number."""
    if _is_text(array.type):
        array = _parse_each(
            array, column, float, "is no number: mend it, or declare another type"
        )
    try:
        numbers = array.cast(pa.float64(), safe=False)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        raise BadValue(
            0,
            column.name,
            f"holds {array.type} where numbers are wanted: declare another type",
        ) from None
    values = numbers.to_numpy(zero_copy_only=False)
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise BadValue(row, column.name, "is infinite: mend the value")
    return pa.array(values, mask=np.isnan(values))


def _parse_each(
    array: pa.Array, column: Column, parse: Callable[[str], Any], problem: str
) -> pa.Array:
    """Parses texts one by one; missing ones become null."""
    parsed: list[Any] = []
    for row, text in enumerate(_as_text(array, column.name).to_pylist()):
        if text is None or text.lower() in _MISSING:
            parsed.append(None)
            continue
        try:
            parsed.append(parse(text))
        except ValueError:
            raise BadValue(
                row, column.name, f"holds {_shown(text)}, which {problem}"
            ) from None
    return pa.array(parsed, pa.float64() if parse is float else pa.int64())


def _convert_number(array: pa.Array, column: Column) -> pa.Array:
    numbers = _numbers(_singles(array, column), column)
    return _one_each(_as_float32(numbers, column))


def _as_float32(numbers: pa.Array, column: Column) -> pa.Array:
    """Returns float64 values as float32, which ends at 3.4e38."""
    result = numbers.cast(pa.float32())
    infinite = pc.index(pc.is_inf(result), True).as_py()
    if infinite >= 0:
        raise BadValue(
            infinite,
            column.name,
            f"holds {numbers[infinite]}, which is too large: mend the value",
        )
    return result


def _convert_timestamp(array: pa.Array, column: Column) -> pa.Array:
    array = _singles(array, column)
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("s"))
    if pa.types.is_timestamp(array.type):
        units = array.cast(pa.int64())
        return _one_each(_seconds(units, UNITS_PER_SECOND[array.type.unit]))
    if column.time_format and pa.types.is_integer(array.type):
        array = array.cast(pa.string())  # such as 20240131
    if _is_text(array.type):
        texts = _as_text(array, column.name)
        lower = pc.utf8_lower(texts)
        missing = pc.is_in(lower, pa.array(sorted(_MISSING), pa.large_string()))
        array = pc.if_else(missing, pa.scalar(None, texts.type), texts)
        is_number = pc.match_substring_regex(array, _NUMBER)
        if column.time_format or not pc.all(is_number).as_py():
            return _one_each(_parse_times(array, column))
        try:
            array = array.cast(pa.int64())
        except pa.ArrowInvalid:
            array = array.cast(pa.float64())
    if not pa.types.is_integer(array.type):
        array = pc.floor(_numbers(array, column))
    return _one_each(_whole_times(array, column))


def _whole_times(array: pa.Array, column: Column) -> pa.Array:
    """Returns whole numbers of the column's unit as seconds."""
    present = np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False))
    values = array.drop_null().to_numpy(zero_copy_only=False)
    _check_unit(values, present, column)
    seconds = values / UNITS_PER_SECOND[column.unit]
    outside = np.flatnonzero((seconds < _FIRST_S) | (seconds > _LAST_S))
    if len(outside):
        raise BadValue(
            int(present[outside[0]]),
            column.name,
            f"holds {values[outside[0]]:.0f}, which is no time in {column.unit} of the "
            "years 1 to 9999: mend the value",
        )
    return _seconds(array.cast(pa.int64()), UNITS_PER_SECOND[column.unit])


def _check_unit(values: np.ndarray, rows: np.ndarray, column: Column) -> None:
    """Refuses numbers all of which are times of our age in another unit, or dates."""
    if not len(values):
        return
    problem = ""
    for unit, first in _PLAUSIBLE_FROM.items():
        if unit != column.unit and first <= values.min() <= values.max() < 100 * first:
            problem = (
                f"a time in {unit} and not in {column.unit}: set timestamp_unit (unit "
                f"of a feature) to {unit}"
            )
    day, month = values % 100, values // 100 % 100
    if 19000101 <= values.min() <= values.max() <= 21001231 and np.all(
        (day >= 1) & (day <= 31) & (month >= 1) & (month <= 12)
    ):
        problem = (
            "a date: set timestamp_format (format of a feature) to '%Y%m%d', in quotes"
        )
    if problem:
        raise BadValue(
            int(rows[0]), column.name, f"holds {values[0]:.0f}, which is {problem}"
        )


def _parse_times(array: pa.Array, column: Column) -> pa.Array:
    """Reads texts as seconds since 1970."""
    problem = (
        "is no time: give ISO 8601 or a whole number, or set timestamp_format (format "
        "of a feature)"
    )
    if column.time_format:
        problem = f"is no time of the format {column.time_format!r}: mend one of them"
    return _parse_each(array, column, lambda text: _read_time(text, column), problem)


def _seconds(units: pa.Array, per_second: int) -> pa.Array:
    """Rounds down to seconds, before 1970 too."""
    if per_second == 1:
        return units
    present = units.is_valid().to_numpy(zero_copy_only=False)
    values = pc.fill_null(units, 0).to_numpy() // per_second
    return pa.array(values, pa.int64(), mask=~present)


def _read_time(text: str, column: Column) -> int:
    """Returns the seconds since 1970 of a time as text; UTC where it names no zone."""
    if column.time_format:
        moment = datetime.datetime.strptime(text, column.time_format)
    elif text.lstrip("-").isdigit():
        seconds = int(text) // UNITS_PER_SECOND[column.unit]
        if not _FIRST_S <= seconds <= _LAST_S:
            raise ValueError(text)
        return seconds
    else:
        # Python 3.10 reads neither Z nor fractions of other than 3 or 6 digits.
        head, dot, tail = text.replace("Z", "+00:00").partition(".")
        digits = len(tail) - len(tail.lstrip("0123456789"))
        moment = datetime.datetime.fromisoformat(head + (tail[digits:] if dot else ""))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=_ZONE_OF_NAIVE)
    return math.floor(moment.timestamp())


def _convert_vector(array: pa.Array, column: Column) -> pa.Array:
    if _is_text(array.type):
        array = _parse_vectors(array, column)
    if not is_list(array.type):
        raise BadValue(
            0,
            column.name,
            f"holds {array.type} where lists of numbers are wanted: declare another "
            "type",
        )
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    counts = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    wrong = (counts != column.dimensions) & (counts != 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BadValue(
            row,
            column.name,
            f"has a length of {counts[row]}, but its dimensions are "
            f"{column.dimensions}: mend the row or the config",
        )
    try:
        values = _numbers(array.flatten(), column)
    except BadValue as bad:
        rows = np.repeat(np.arange(len(counts)), counts)
        raise BadValue(int(rows[bad.row]), column.name, bad.problem) from None
    if values.null_count:
        rows = np.repeat(np.arange(len(counts)), counts)
        at = int(np.argmin(values.is_valid().to_numpy(zero_copy_only=False)))
        raise BadValue(
            int(rows[at]), column.name, "lacks one of its numbers: mend the row"
        )
    return _lists(_as_float32(values, column), counts)


def _parse_vectors(array: pa.Array, column: Column) -> pa.Array:
    """Reads texts such as "0.1,0.2" or "[0.1, 0.2]" as lists of numbers."""
    separator = column.separator or ","
    parsed: list[list[float] | None] = []
    for row, text in enumerate(_as_text(array, column.name).to_pylist()):
        try:
            parsed.append(
                None
                if text is None
                else [float(part) for part in text.strip("[] ").split(separator)]
            )
        except ValueError:
            raise BadValue(
                row,
                column.name,
                f"holds {_shown(text)}, which are no numbers between {separator!r}: "
                "mend the row or say the separator",
            ) from None
    return pa.array(parsed, pa.large_list(pa.float64()))


_CONVERTERS: dict[Kind, Callable[[pa.Array, Column], pa.Array]] = {
    Kind.TEXT: _convert_text,
    Kind.TEXTS: _convert_texts,
    Kind.NUMBER: _convert_number,
    Kind.TIMESTAMP: _convert_timestamp,
    Kind.VECTOR: _convert_vector,
}
