# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Recognises instants: numbers since 1970, ISO 8601, or a format of strptime."""

import dataclasses
import datetime
import itertools
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from components.columns import Column, Kind
from components.conversion import UNITS_PER_SECOND, convert
from pipeline.init.profile import MISSING, Profile, fits

# 1980 to 2040: what is outside is rather a count or an id.
_EARLIEST_S, _LATEST_S = 315_532_800, 2_208_988_800
_DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y",
    "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y", "%d-%b-%Y", "%d %b %Y",
    "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%d-%b-%y",
)  # fmt: skip
_TIMES = (
    "", " %H:%M:%S", " %H:%M", "T%H:%M:%S", " %H:%M:%S.%f", " %I:%M:%S %p",
    " %I:%M %p", " %H:%M:%S %Z", " %H:%M:%S %z", ", %H:%M:%S", ", %H:%M",
)  # fmt: skip
_FORMATS = (
    *(date + time for date, time in itertools.product(_DATES, _TIMES)),
    "%a %b %d %H:%M:%S %z %Y",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y%m%d",
    "%Y%m%d%H%M%S",
)
_MOST_TEXTS = 2_000


@dataclasses.dataclass(frozen=True)
class Times:
    """How the instants of a column are written."""

    unit: str = "s"
    """Of whole numbers."""
    format: str | None = None
    """Of texts; None: ISO 8601 or whole numbers."""
    reason: str = ""
    """What it is, for a comment."""
    is_doubtful: bool = False
    """Whether day and month might be the other way round."""

    def column(self, name: str) -> Column:
        """Returns how to read a column of such instants."""
        return Column(name, Kind.TIMESTAMP, unit=self.unit, time_format=self.format)


def recognise(column: Profile, looks_like_id: bool = False) -> Times | None:
    """Tells how the instants of a column are written; None: they are none.

    Args:
      column: What it holds.
      looks_like_id: Whether its name says that it holds ids, so that numbers are none.
    """
    if column.is_list or not column.distinct:
        return None
    kind = column.array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        found: Times | None = Times(reason="times by their type in the file")
    elif column.numbers is not None:
        found = None if looks_like_id else _from_numbers(column)
    else:
        found = _from_texts(column)
    if found and fits(column.array[:_MOST_TEXTS], found.column(column.name)):
        return found
    return None


def _from_numbers(column: Profile) -> Times | None:
    known = column.known_numbers
    if not column.is_whole or column.distinct < 2:
        return None
    least, most = known.min(), known.max()
    for unit, per_second in UNITS_PER_SECOND.items():
        if _EARLIEST_S * per_second <= least and most <= _LATEST_S * per_second:
            day = datetime.datetime.fromtimestamp(
                least / per_second, datetime.timezone.utc
            )
            return Times(
                unit, reason=f"{_UNIT_NAMES[unit]} since 1970, from {day:%Y-%m-%d}"
            )
    # In Parquet and JSON lines a whole number is never read by a format.
    if pa.types.is_string(column.array.type) and all(
        len(value) in (8, 14) for value in column.spread_values
    ):
        return _from_texts(column)
    return None


_UNIT_NAMES = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}


def _from_texts(column: Profile) -> Times | None:
    texts = [text for text in column.spread_values if text.lower() not in MISSING]
    step = -(-len(texts) // _MOST_TEXTS) or 1
    texts = texts[::step]
    if not texts or not all(re.search(r"\d", text) for text in texts[:20]):
        return None
    array = pa.array(texts, pa.string())
    is_digits = column.numbers is not None
    if not is_digits and fits(array, Column(column.name, Kind.TIMESTAMP)):
        return Times(reason=f"ISO 8601 times, such as {texts[0]}")
    found = [form for form in _FORMATS if _all_parse(texts, form)]
    if not found:
        return None
    swapped = len({form[:2] for form in found}) > 1
    return Times(
        format=found[0],
        reason=f"times written as {found[0]}, such as {texts[0]}",
        is_doubtful=swapped,
    )


def _all_parse(texts: Sequence[str], form: str) -> bool:
    """Tells whether all texts are of a format, and of a century that makes sense."""
    try:
        for text in texts:
            moment = datetime.datetime.strptime(text, form)
            if not 1900 <= moment.year <= 2100:
                return False
    except ValueError:
        return False
    return True


def seconds(column: Profile, times: Times, rows: int) -> np.ndarray:
    """Returns the first rows' instants, int64 seconds since 1970; 0 where missing."""
    lists = convert(
        {column.name: column.array[:rows]}, [times.column(column.name)]
    ).column(0)
    present = lists.is_valid().to_numpy(zero_copy_only=False)
    found = np.zeros(len(lists), np.int64)
    found[present] = lists.flatten().to_numpy()
    return found
