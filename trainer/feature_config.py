# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Features by declaration: Transform, towers, schema and signatures follow from these.

A feature may be declared by its type alone, `country: category`, or with options,
`genres: {type: categories, separator: "|"}`.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    model_validator,
)


class _Feature(BaseModel):
    """A column and how the towers read it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Vocabulary(_Feature):
    """A feature whose values are looked up in a vocabulary of the training split."""

    min_count: PositiveInt = 1
    """Rows that a value must be in to get an embedding; rarer ones are unknown."""
    max_values: PositiveInt | None = None
    """Most values that get an embedding, the most frequent ones; null: all."""


class IdFeature(_Vocabulary):
    """An identifier with an embedding of its own: of a user, an item, an artist."""

    type: Literal["id"] = "id"


class CategoryFeature(_Vocabulary):
    """One of a set of values."""

    type: Literal["category"]


class CategoriesFeature(_Vocabulary):
    """Several of a set of values; their embeddings are averaged."""

    type: Literal["categories"]
    separator: Annotated[str, Field(min_length=1)] | None = None
    """Between the values of one text, e.g. "|"; null: a list, or one value."""


class TextFeature(_Feature):
    """Words; their embeddings are averaged, letter case and punctuation ignored."""

    type: Literal["text"]
    ngrams: Annotated[int, Field(ge=1, le=5)] = 1
    """Longest row of words that has an embedding of its own; 2: words and pairs."""
    characters: Annotated[int, Field(ge=0, le=10)] = 0
    """Above 0: so many letters in a row instead, of "<word>" for each word, so that
    forms of a word, misspellings and parts of codes share some; a shorter one whole."""
    buckets: NonNegativeInt = 0
    """Above 0: hash them into so many embeddings, without a vocabulary, so that those
    never seen in training count too."""
    min_count: PositiveInt = 2
    """Rows that a word must be in to get an embedding."""
    max_values: PositiveInt | None = 50_000
    """Most words that get an embedding, the most frequent ones; null: all."""

    @model_validator(mode="after")
    def _options_agree(self) -> "TextFeature":
        if self.characters and self.ngrams > 1:
            raise ValueError(
                f"ngrams: {self.ngrams} are of words, and characters: "
                f"{self.characters} parts them; take one of them out"
            )
        fields = type(self).model_fields
        needless = [
            name
            for name in ("min_count", "max_values")
            if getattr(self, name) != fields[name].default
        ]
        if self.buckets and needless:
            raise ValueError(
                f"{needless[0]}: with buckets there is no vocabulary to choose from; "
                "take one of them out"
            )
        return self


class NumberFeature(_Feature):
    """A number, scaled to mean 0 and standard deviation 1."""

    type: Literal["number"]
    log: bool = False
    """Take log(1 + x) of it first, for prices and counts; below 0 counts as 0."""
    buckets: NonNegativeInt = 0
    """Above 0: an embedding for each of so many quantiles instead."""


class TimestampFeature(_Feature):
    """An instant: its age, and the hour, day and season as points on circles."""

    type: Literal["timestamp"]
    unit: Literal["s", "ms", "us", "ns"] = "s"
    """Of whole numbers, since 1970 UTC."""
    format: str | None = None
    """Of texts, as strptime takes it; null: ISO 8601."""


class EmbeddingFeature(_Feature):
    """A vector computed elsewhere, e.g. of a picture, projected by a dense layer."""

    type: Literal["embedding"]
    dimensions: PositiveInt
    """Its length, the same in every row."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """Between the numbers of a text; null: a list, or a comma."""


class HistoryFeature(_Feature):
    """Ids of candidates, the query's own last ones before the interaction.

    It is made from the log, so that it needs no column; requests carry it.
    """

    type: Literal["history"]
    length: PositiveInt = 50
    """Most candidates that it holds, the latest ones."""


FEATURE_TYPES: dict[str, type[BaseModel]] = {
    "id": IdFeature,
    "category": CategoryFeature,
    "categories": CategoriesFeature,
    "text": TextFeature,
    "number": NumberFeature,
    "timestamp": TimestampFeature,
    "embedding": EmbeddingFeature,
    "history": HistoryFeature,
}
"""What may be declared, by the name of the type."""


def spelled_out(value: Any) -> Any:
    """Reads a type alone as a feature without options."""
    return {"type": value} if isinstance(value, str) else value


Feature = Annotated[
    IdFeature
    | CategoryFeature
    | CategoriesFeature
    | TextFeature
    | NumberFeature
    | TimestampFeature
    | EmbeddingFeature
    | HistoryFeature,
    Field(discriminator="type"),
    BeforeValidator(spelled_out),
]

Features = dict[Annotated[str, Field(min_length=1)], Feature]
"""Features of one side by the name of their column, in a fixed order."""

_ADAPTER = TypeAdapter(Features)


def load_features(values: dict[str, Any]) -> Features:
    """Reads features from JSON-able values, as `dump_features` returns them."""
    return _ADAPTER.validate_python(values)


def dump_features(features: Features) -> dict[str, Any]:
    """Returns features as JSON-able values."""
    return _ADAPTER.dump_python(features, mode="json")
