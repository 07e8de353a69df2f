# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of interactions and candidates: which one is said by its first key.

A path may hold `*` and `?`, and spans as TFX numbers them: `{SPAN}`, or `{YYYY}`,
`{MM}` and `{DD}`, and `{VERSION}`. Relative paths start from the config's folder.
"""

import os
import re
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    field_validator,
    model_validator,
)

Text = Annotated[str, Field(min_length=1)]

# Only SPAN and VERSION, which end in N, may have a width.
_SPEC = re.compile(r"\{(SPAN|VERSION|YYYY|MM|DD)(?:(?<=N):[1-9]\d*)?\}")
_DATE = {"YYYY", "MM", "DD"}


class _Source(BaseModel):
    """Where rows come from: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TfdsSource(_Source):
    """A TensorFlow Datasets dataset by name."""

    tfds: Text
    """Its name, as tfds.builder takes it, e.g. movielens/100k-ratings."""
    dataset_split: Text = "train"
    """Which of the dataset's own splits to read."""


class BigQuerySource(_Source):
    """A table of BigQuery or a query in its standard SQL."""

    bigquery: Text
    """The table, as project.dataset.table, or the query."""

    @field_validator("bigquery")
    @classmethod
    def _can_be_asked(cls, text: str) -> str:
        # Late: it imports NumPy and Arrow, which nothing else of a config needs.
        from components.bigquery_example_gen.queries import rows_query

        rows_query(text)
        return text


class FileSource(_Source):
    """Files, maybe compressed (.gz, .bz2, .zst, .lz4)."""

    last_spans: PositiveInt = 1
    """How many spans to read, the latest one included."""
    rename: dict[Text, Text] = {}
    """Columns that go by another name in the config and in requests, by their names in
    the files."""

    @property
    def path(self) -> str:
        """The path or pattern, which is the value of the format's key."""
        return getattr(self, self.format_name)

    @property
    def format_name(self) -> str:
        """The format, as `FileExampleGen` calls it."""
        return next(name for name in FILE_FORMATS if hasattr(self, name))

    def file_format(self) -> dict[str, Any]:
        """Returns how the files are written, as `FileExampleGen` reads it."""
        return {
            "name": self.format_name,
            **self.model_dump(exclude={self.format_name, "last_spans"}),
        }

    @field_validator("rename")
    @classmethod
    def _new_names_differ(cls, rename: dict[str, str]) -> dict[str, str]:
        seen: dict[str, str] = {}
        for old, new in rename.items():
            other = seen.setdefault(new, old)
            if other != old:
                raise ValueError(
                    f"'{other}' and '{old}' both become '{new}'; give each a name of "
                    "its own"
                )
        return rename

    @model_validator(mode="after")
    def _path_is_right(self) -> "FileSource":
        scheme, separator, _ = self.path.partition("://")
        if separator and scheme in ("http", "https", "ftp"):
            raise ValueError(
                f"{self.path} is an address on the web; fetch the file and give its "
                "path"
            )
        problem = _spec_problem(self.path)
        if problem:
            raise ValueError(f"the path {self.path} {problem}")
        if self.last_spans > 1 and not {"SPAN", "YYYY"} & set(_SPEC.findall(self.path)):
            raise ValueError(
                f"last_spans is {self.last_spans}, but the path {self.path} has no "
                "spans; put {SPAN} or {YYYY}, {MM} and {DD} into it"
            )
        return self


def as_glob(path: str) -> str:
    """Returns a pattern of the files of all spans of a path."""
    return _SPEC.sub("*", path)


def _spec_problem(path: str) -> str | None:
    """Says what is wrong with the spans in a path, or None."""
    specs = _SPEC.findall(path)
    date = _DATE & set(specs)
    if "{" in _SPEC.sub("", path):
        return (
            "has a brace that is no span; use {SPAN}, {VERSION}, or {YYYY}, {MM} and "
            "{DD}"
        )
    if len(specs) > len(set(specs)):
        return "has a span twice; use each of {SPAN}, {YYYY}, {MM} and {DD} once"
    if date and "SPAN" in specs:
        return "has a number and a date; take out {SPAN}, or {YYYY}, {MM} and {DD}"
    if date and date != _DATE:
        return "has a part of a date; a span is {YYYY}, {MM} and {DD} together"
    if "VERSION" in specs and not date and "SPAN" not in specs:
        return "has a version of no span; put {SPAN} or {YYYY}, {MM} and {DD} into it"
    return None


class CsvSource(FileSource):
    """CSV files. Every value is read as the type that its feature is declared to be."""

    csv: Text
    """Their path."""
    delimiter: str = ","
    """Between the fields, one character."""
    encoding: Text = "utf-8"
    """E.g. latin-1."""
    column_names: Annotated[list[Text], Field(min_length=1)] | None = None
    """Names of the columns, for files without a header."""

    @field_validator("delimiter")
    @classmethod
    def _can_delimit(cls, delimiter: str) -> str:
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise ValueError(
                f"{delimiter!r} can't delimit fields; give one character, a tab as "
                '"\\t" in double quotes'
            )
        return delimiter

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
        except LookupError:
            raise ValueError(
                f"no encoding {encoding!r}; name one that Python knows, such as utf-8 "
                "or latin-1"
            ) from None
        return encoding


class ParquetSource(FileSource):
    """Parquet files."""

    parquet: Text
    """Their path."""


class JsonLinesSource(FileSource):
    """Files with one JSON object a line."""

    jsonl: Text
    """Their path."""


class TfRecordSource(FileSource):
    """TFRecord files of tf.Examples, all of whose features are kept."""

    tfrecord: Text
    """Their path."""


FILE_FORMATS = ("csv", "parquet", "jsonl", "tfrecord")
SOURCE_KEYS = (*FILE_FORMATS, "tfds", "bigquery")


def _kind(value: Any) -> str | None:
    """Returns the key that says what kind of source it is."""
    if isinstance(value, BaseModel):
        return next(key for key in SOURCE_KEYS if hasattr(value, key))
    found = [key for key in SOURCE_KEYS if isinstance(value, dict) and key in value]
    return found[0] if len(found) == 1 else None


Source = Annotated[
    Annotated[CsvSource, Tag("csv")]
    | Annotated[ParquetSource, Tag("parquet")]
    | Annotated[JsonLinesSource, Tag("jsonl")]
    | Annotated[TfRecordSource, Tag("tfrecord")]
    | Annotated[TfdsSource, Tag("tfds")]
    | Annotated[BigQuerySource, Tag("bigquery")],
    Discriminator(_kind),
]


def make_absolute(source: Any, folder: str) -> None:
    """Lets the relative path of a source, still a mapping, start from a folder."""
    if not isinstance(source, dict):
        return
    for name in FILE_FORMATS:
        path = source.get(name)
        if isinstance(path, str) and path and "://" not in path:
            source[name] = os.path.normpath(os.path.join(folder, path))
