# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Restriction by attribute at query time: `genres = Drama and not year < 1990`.

A filter compares attributes with values, by `=`, `!=`, `<`, `<=`, `>`, `>=` or
`in (a, b)`, and joins comparisons with `and`, `or`, `not` and parentheses. An attribute
of several values is equal to each of them. Where an attribute has no value, every
comparison is false but `!=`. Names and values with blanks or signs stand in quotes,
'Sci-Fi' or "Sci-Fi".

Attributes are kept inverted: for each value the rows that have it, so that a filter
reads what it finds and not the catalogue.
"""

import dataclasses
import functools
import json
import operator
import os
import re
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.errors import UserError
from serving.texts import Texts, read_table, write_table

_ABOUT = "attributes.json"
_NUMBER = "number"
_CACHED = 32
"""Filters that are kept when they have been worked out, a byte a candidate each."""


@dataclasses.dataclass(frozen=True)
class Survivors:
    """The candidates that a filter leaves."""

    mask: np.ndarray
    """bool [candidates]."""
    count: int

    @functools.cached_property
    def rows(self) -> np.ndarray:
        """Their rows, int64 [count], ascending."""
        return np.flatnonzero(self.mask)


def write(folder: str, attributes: Mapping[str, pa.ChunkedArray]) -> None:
    """Writes attributes inverted.

    Args:
      folder: Local; is made.
      attributes: Strings, lists of strings or numbers, each [candidates]. "" and NaN
        are missing values.
    """
    os.makedirs(folder)
    about = []
    for number, (name, column) in enumerate(attributes.items()):
        is_number = pa.types.is_floating(column.type)
        invert = _invert_numbers if is_number else _invert_texts
        invert(column, os.path.join(folder, str(number)))
        about.append({"name": name, "type": _NUMBER if is_number else "text"})
    with open(os.path.join(folder, _ABOUT), "w", encoding="utf-8") as file:
        json.dump(about, file)


def _invert_numbers(column: pa.ChunkedArray, path: str) -> None:
    """Writes the rows in the order of their numbers, and these."""
    values = column.to_numpy().astype(np.float64)
    rows = np.argsort(values, kind="stable")
    rows = rows[: len(rows) - np.count_nonzero(np.isnan(values))]
    np.save(f"{path}-values.npy", values[rows])
    np.save(f"{path}-rows.npy", rows.astype(np.int32))


def _invert_texts(column: pa.ChunkedArray, path: str) -> None:
    """Writes the distinct values, and the rows of each, one after the other."""
    owners = np.arange(len(column))
    if pa.types.is_list(column.type):
        owners = pc.list_parent_indices(column).to_numpy()
        column = pc.list_flatten(column)
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    values = encoded.dictionary.to_pylist()
    if "" in values:
        owners = owners[codes != values.index("")]
        codes = codes[codes != values.index("")]
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=len(values))
    write_table(f"{path}-values.arrow", {"value": values})
    np.save(f"{path}-ends.npy", np.cumsum(counts))
    np.save(f"{path}-rows.npy", owners[order].astype(np.int32))


class Attributes:
    """The attributes of a catalogue, mapped from files."""

    def __init__(self, folder: str, candidates: int):
        """Reads what `write` has written, of so many candidates."""
        self._candidates = candidates
        with open(os.path.join(folder, _ABOUT), encoding="utf-8") as file:
            about = json.load(file)
        self._attributes: dict[str, _Numbers | _Values] = {
            one["name"]: (_Numbers if one["type"] == _NUMBER else _Values)(
                one["name"], os.path.join(folder, str(number))
            )
            for number, one in enumerate(about)
        }
        # For each engine its own: a method's cache would keep engines alive.
        self.survivors: Callable[[str], Survivors] = functools.lru_cache(_CACHED)(
            self._survivors
        )
        """Works out a filter, or recalls it; raises UserError if it can't be read."""

    @property
    def names(self) -> list[str]:
        """What may be filtered by."""
        return list(self._attributes)

    def common(self) -> list[str]:
        """Returns filters of each attribute that leave many, to be measured by."""
        return [one for a in self._attributes.values() for one in a.common()]

    def _survivors(self, text: str) -> Survivors:
        mask = _Parser(text, self._compare).parse()
        mask.flags.writeable = False
        return Survivors(mask, int(np.count_nonzero(mask)))

    def _compare(self, name: str, sign: str, values: list[str]) -> np.ndarray:
        if name not in self._attributes:
            known = ", ".join(self.names)
            raise UserError(
                f"filter: unknown attribute '{name}'; the model can filter by {known}"
            )
        if sign == "!=":
            return ~self._compare(name, "=", values)
        mask = np.zeros(self._candidates, bool)
        for value in values:
            mask[self._attributes[name].rows(sign, value)] = True
        return mask


class _Numbers:
    """An attribute of one number a candidate."""

    def __init__(self, name: str, path: str):
        self._name = name
        self._values = np.load(f"{path}-values.npy", mmap_mode="r")
        self._rows = np.load(f"{path}-rows.npy", mmap_mode="r")

    def rows(self, sign: str, text: str) -> np.ndarray:
        """Returns the rows whose number compares so with another one."""
        try:
            # As the catalogue has it: 0.1 is there as the float nearest to it.
            number = float(np.float32(text))
        except ValueError:
            raise UserError(
                f"filter: '{self._name}' is a number, and '{text}' is none"
            ) from None
        first = int(np.searchsorted(self._values, number, "left"))
        last = int(np.searchsorted(self._values, number, "right"))
        return {
            "=": self._rows[first:last],
            "<": self._rows[:first],
            "<=": self._rows[:last],
            ">": self._rows[last:],
            ">=": self._rows[first:],
        }[sign]

    def common(self) -> list[str]:
        """See `Attributes.common`."""
        if not len(self._values):
            return []
        bounds = np.quantile(self._values, (0.5, 0.9))
        name = _quoted(self._name)
        return [f"{name} >= {float(at):.9g}" for at in dict.fromkeys(bounds)]


class _Values:
    """An attribute of texts, any number a candidate."""

    def __init__(self, name: str, path: str):
        self._name = name
        self._values = Texts(read_table(f"{path}-values.arrow").column(0).chunk(0))
        self._ends = np.load(f"{path}-ends.npy")
        self._rows = np.load(f"{path}-rows.npy", mmap_mode="r")

    def rows(self, sign: str, text: str) -> np.ndarray:
        """Returns the rows that have a value."""
        if sign != "=":
            raise UserError(
                f"filter: '{self._name}' is no number; compare it by =, != or in"
            )
        (at,) = self._values.rows([text])
        if at < 0:
            return self._rows[:0]
        return self._rows[self._ends[at - 1] if at else 0 : self._ends[at]]

    def common(self) -> list[str]:
        """See `Attributes.common`."""
        counts = np.diff(self._ends, prepend=0)
        order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)].tolist()
        chosen = dict.fromkeys(order[at] for at in (0, len(order) // 4) if order)
        texts = self._values.take(chosen)
        return [f"{_quoted(self._name)} = {_quoted(text)}" for text in texts]


def _quoted(text: str) -> str:
    """Returns a name or value as a filter may have it."""
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


_BARE = re.compile(r"[\w.+:-]+")
_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<sign><=|>=|!=|=|<|>|\(|\)|,)|(?P<bare>[\w.+:-]+))"""
)
_WORDS = ("and", "or", "not", "in")
_SIGNS = ("=", "!=", "<", "<=", ">", ">=")


class _Parser:
    """Reads a filter by recursive descent: or, and, not, a comparison."""

    def __init__(self, text: str, compare: Callable[[str, str, list[str]], np.ndarray]):
        self._text, self._compare = text, compare
        self._tokens = self._read()
        self._at = 0

    def _read(self) -> list[tuple[str, str, int]]:
        """Returns the tokens: kind (word, sign or text), value and place."""
        tokens, at, text = [], 0, self._text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._wrong(f"can't be read from '{text[at:].strip()}' on")
            kind, value = match.lastgroup or "", match.group(match.lastgroup or 0)
            if kind == "quoted":
                kind, value = "text", re.sub(r"\\(.)", r"\1", value[1:-1])
            elif kind == "bare":
                is_word = value.lower() in _WORDS
                kind, value = ("word", value.lower()) if is_word else ("text", value)
            tokens.append((kind, value, match.start(match.lastgroup or 0)))
            at = match.end()
        return [*tokens, ("end", "", len(text))]

    def parse(self) -> np.ndarray:
        """Returns the mask of what the filter leaves.

        Raises:
          UserError: It can't be read.
        """
        mask = self._joined("or", operator.or_, self._all)
        kind, value, _ = self._tokens[self._at]
        if kind != "end":
            raise self._wrong(
                f"has '{value}' where it should end or go on with and, or"
            )
        return mask

    def _all(self) -> np.ndarray:
        return self._joined("and", operator.and_, self._one)

    def _joined(
        self, word: str, join: Callable, read: Callable[[], np.ndarray]
    ) -> np.ndarray:
        mask = read()
        while self._take("word", word):
            mask = join(mask, read())
        return mask

    def _one(self) -> np.ndarray:
        if self._take("word", "not"):
            return ~self._one()
        if self._take("sign", "("):
            mask = self._joined("or", operator.or_, self._all)
            self._expect("sign", ")")
            return mask
        name = self._expect("text")
        if self._take("word", "in"):
            return self._compare(name, "=", self._values())
        sign = self._expect("sign")
        if sign not in _SIGNS:
            raise self._wrong(f"has '{sign}' where a comparison should be")
        return self._compare(name, sign, [self._expect("text")])

    def _values(self) -> list[str]:
        self._expect("sign", "(")
        values = [self._expect("text")]
        while self._take("sign", ","):
            values.append(self._expect("text"))
        self._expect("sign", ")")
        return values

    def _take(self, kind: str, value: str) -> bool:
        """Goes on if the next token is this one."""
        if self._tokens[self._at][:2] != (kind, value):
            return False
        self._at += 1
        return True

    def _expect(self, kind: str, value: str | None = None) -> str:
        """Returns the next token, which must be of a kind."""
        found, text, _ = self._tokens[self._at]
        if found != kind or value not in (None, text):
            expected = value or {"text": "a name or a value", "sign": "="}[kind]
            there = f"'{text}'" if found != "end" else "its end"
            raise self._wrong(f"has {there} where '{expected}' should be")
        self._at += 1
        return text

    def _wrong(self, what: str) -> UserError:
        return UserError(
            f"filter: '{self._text}' {what}; write e.g. genres = Drama and year >= 1990"
        )
