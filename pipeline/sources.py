# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of interactions and candidates: which one is said by its first key.

A path may hold `*` and `?`, and spans as TFX numbers them: `{SPAN}`, or `{YYYY}`,
`{MM}` and `{DD}`, and `{VERSION}`. Relative paths start from the config's folder.
"""

import os
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


class _FileSource(_Source):
    """Files, maybe compressed (.gz, .bz2, .zst, .lz4)."""

    last_spans: PositiveInt = 1
    """How many spans to read, the latest one included."""

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

    @model_validator(mode="after")
    def _spans_are_there(self) -> "_FileSource":
        if self.last_spans > 1 and not {"{SPAN", "{YYYY"} & set(_specs(self.path)):
            raise ValueError(
                f"last_spans is {self.last_spans}, but the path {self.path} has no "
                "spans; put {SPAN} or {YYYY}, {MM} and {DD} into it"
            )
        return self


def _specs(path: str) -> list[str]:
    """Returns the starts of the specs in a path, such as "{SPAN"."""
    return ["{" + part.partition("}")[0].partition(":")[0] for part in path.split("{")]


class CsvSource(_FileSource):
    """CSV files. Every value is read as the type that its feature is declared to be."""

    csv: Text
    """Their path."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Between the fields, one character."""
    encoding: Text = "utf-8"
    """E.g. latin-1."""
    column_names: list[Text] | None = None
    """Names of the columns, for files without a header."""

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


class ParquetSource(_FileSource):
    """Parquet files."""

    parquet: Text
    """Their path."""


class JsonLinesSource(_FileSource):
    """Files with one JSON object a line."""

    jsonl: Text
    """Their path."""


class TfRecordSource(_FileSource):
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
