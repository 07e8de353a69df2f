# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a sampled column holds: how many values, of what form, how often."""

import dataclasses
import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.columns import Column, Kind
from components.conversion import BadValue, convert, is_list

MISSING = frozenset(["", "na", "n/a", "nan", "null", "none", "\\n"])
"""Texts that mean no value where a number or a time is read, in lower case."""
MOST_VALUES = 20_000
"""Most distinct values looked at one by one."""
FLAGS = (
    frozenset(["0", "1"]),
    frozenset(["false", "true"]),
    frozenset(["no", "yes"]),
    frozenset(["n", "y"]),
    frozenset(["f", "t"]),
)


@dataclasses.dataclass(frozen=True)
class Profile:
    """A column of a sample."""

    name: str
    array: pa.Array
    """The values as they were read."""
    codes: np.ndarray
    """int64 [rows], positions in `values`; -1 where there is no value. Empty for
    lists."""
    values: tuple[str, ...]
    """Distinct values as text; of lists, their distinct parts."""
    counts: np.ndarray
    """int64 [values], how often each is there."""
    lengths: np.ndarray | None = None
    """int64 [rows], of lists; None where a row holds one value."""

    @property
    def rows(self) -> int:
        """Rows, those without a value too."""
        return len(self.array)

    @property
    def distinct(self) -> int:
        """Distinct values."""
        return len(self.values)

    @property
    def present(self) -> int:
        """Rows with a value."""
        if self.lengths is not None:
            return int((self.lengths > 0).sum())
        return int(self.counts.sum())

    @property
    def missing(self) -> int:
        """Rows without a value."""
        return self.rows - self.present

    @property
    def is_list(self) -> bool:
        """Tells whether rows hold lists."""
        return self.lengths is not None

    @property
    def uniqueness(self) -> float:
        """Distinct values as a share of the rows that have one."""
        return self.distinct / max(1, self.present)

    @property
    def spread_values(self) -> list[str]:
        """Distinct values, or so many of them that each can be looked at."""
        step = -(-self.distinct // MOST_VALUES) or 1
        return list(self.values[::step])

    @functools.cached_property
    def numbers(self) -> np.ndarray | None:
        """float64 [values], NaN for a text that means none; None: not all numbers."""
        texts = pa.array(self.values, pa.string())
        none = pc.is_in(pc.utf8_lower(texts), pa.array(sorted(MISSING)))
        try:
            numbers = pc.if_else(none, None, texts).cast(pa.float64())
        except pa.ArrowInvalid:
            return None
        found = numbers.to_numpy(zero_copy_only=False)
        known = found[~np.isnan(found)]
        return found if len(known) and np.isfinite(known).all() else None

    @property
    def known_numbers(self) -> np.ndarray:
        """float64, the numbers among the values; empty where there are none."""
        if self.numbers is None:
            return np.empty(0)
        return self.numbers[~np.isnan(self.numbers)]

    @functools.cached_property
    def is_whole(self) -> bool:
        """Tells whether all values are whole numbers."""
        known = self.known_numbers
        return bool(len(known)) and bool((known == np.floor(known)).all())

    @property
    def is_flag(self) -> bool:
        """Tells whether it says yes or no."""
        values = {v.lower().removesuffix(".0") for v in self.values[:3]}
        return self.distinct == 2 and values in FLAGS

    @property
    def is_coded(self) -> bool:
        """Tells whether digits are no number: 007, or more of them than fit a float."""
        return any(
            (len(v) > 1 and v[0] == "0" and v.isdigit())
            or (v.isdigit() and len(v) > 15)
            for v in self.spread_values
        )

    @functools.cached_property
    def words(self) -> float:
        """Mean number of words between blanks."""
        counts = [len(value.split()) for value in self.spread_values]
        return float(np.mean(counts)) if counts else 0.0

    @functools.cached_property
    def length(self) -> float:
        """Mean number of characters."""
        lengths = [len(value) for value in self.spread_values]
        return float(np.mean(lengths)) if lengths else 0.0

    def quantile(self, share: float) -> float:
        """Returns a quantile of the numbers, rows counted."""
        assert self.numbers is not None
        known = ~np.isnan(self.numbers)
        order = np.argsort(self.numbers[known])
        total = np.cumsum(self.counts[known][order])
        at = int(np.searchsorted(total, share * total[-1]))
        return float(self.numbers[known][order][min(at, len(order) - 1)])

    def most_frequent(self, most: int = 3) -> list[str]:
        """Returns the most frequent values."""
        order = np.lexsort((np.arange(self.distinct), -self.counts))
        return [self.values[at] for at in order[:most]]


def fits(array: pa.Array, column: Column) -> bool:
    """Tells whether the pipeline can read values as a column is declared."""
    try:
        convert({column.name: array}, [column])
    except BadValue:
        return False
    return True


def profile(name: str, array: pa.Array) -> Profile:
    """Profiles a column."""
    if is_list(array.type):
        return _profile_list(name, array)
    texts = _as_texts(name, array)
    encoded = texts.dictionary_encode()
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy()
    values = tuple(encoded.dictionary.to_pylist())
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    return Profile(name, array, codes, values, counts)


def _as_texts(name: str, array: pa.Array) -> pa.Array:
    """Returns single values as the pipeline writes them, null where there is none."""
    kind = array.type
    if pa.types.is_null(kind):
        return pa.nulls(len(array), pa.large_string())
    if pa.types.is_floating(kind):
        array = pa.array(array.to_numpy(zero_copy_only=False), from_pandas=True)
        if not fits(array, Column(name, Kind.TEXT)):
            return array.cast(pa.large_string())
    try:
        lists = convert({name: array}, [Column(name, Kind.TEXT)]).column(0)
        present = pc.is_valid(lists).to_numpy(zero_copy_only=False)
        values = lists.flatten().cast(pa.large_string())
        places = np.cumsum(present) - 1
        return values.take(pa.array(places, mask=~present))
    except (BadValue, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Such as bytes that are no text: nothing can be made of them.
        return pa.nulls(len(array), pa.large_string())


def _profile_list(name: str, array: pa.Array) -> Profile:
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(
        zero_copy_only=False
    )
    parts = _as_texts(name, array.flatten()).dictionary_encode()
    codes = pc.fill_null(parts.indices.cast(pa.int64()), -1).to_numpy()
    values = tuple(parts.dictionary.to_pylist())
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    return Profile(
        name, array, np.empty(0, np.int64), values, counts, lengths.astype(np.int64)
    )


def determines(
    first: Profile, second: Profile, rows: np.ndarray | None = None
) -> float:
    """Returns how far a column determines another, as validation measures it.

    It is Krippendorff's alpha: 1 where rows of the same value of the first have the
    same value of the second, about 0 where they agree by chance only.

    Args:
      first: Whose values the rows share.
      second: What they may agree on.
      rows: Which rows to look at; None: the first ones.
    """
    # Late: it imports pandas.
    from components.feature_validator.agreement import agreement

    if first.is_list or second.is_list:
        return 0.0
    some = np.arange(first.rows) if rows is None else rows
    some = some[:_AGREEMENT_ROWS]
    units = (first.codes[some] + 1).astype(np.uint64)
    found = agreement(units, (second.codes[some] + 1).astype(np.uint64))
    if found is None or found.expected < _EXPECTED:
        return 0.0
    return found.alpha


_AGREEMENT_ROWS = 50_000
_EXPECTED = 10
"""Disagreements by chance below which an agreement says nothing."""
