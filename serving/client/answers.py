# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a server answers, as the client hands it out."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Recommendation:
    """A candidate that was found."""

    candidate_id: str
    title: str
    score: float
    """The very float32 that the server has worked out."""


@dataclasses.dataclass(frozen=True, slots=True)
class Recommendations:
    """The answer to one query."""

    model: str
    version: int
    """The one that has answered."""
    results: tuple[Recommendation, ...]
    """Best first; fewer than k only where no more candidates are left."""


@dataclasses.dataclass(frozen=True, slots=True)
class VersionStatus:
    """How a version of a model is."""

    version: int
    state: str
    """START, LOADING, AVAILABLE, UNLOADING or END."""
    error: str
    """Why it could not be loaded; "" where nothing is wrong."""


@dataclasses.dataclass(frozen=True, slots=True)
class Metadata:
    """The signatures of a version of a model."""

    model: str
    version: int
    signatures: dict[str, Any]
    """TensorFlow's SignatureDefs by name, as JSON."""


@dataclasses.dataclass(frozen=True, slots=True)
class KnownQueries:
    """Query ids that training knew."""

    feature: str | None
    """What the id is called in a query; None where the model takes none."""
    ids: tuple[str, ...]
