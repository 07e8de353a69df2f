# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A client of `shortlist serve` for any program: it needs neither TensorFlow nor NumPy.

    with Client("http://127.0.0.1:8501", model="movielens-100k") as client:
        for one in client.recommend({"user_id": "42"}, k=5).results:
            print(one.candidate_id, one.title, one.score)

What is asked, and how an answer is read, is in `requests`; what follows a failure is in
`attempts`. `Client` and `AsyncClient` only carry requests, one blocking, one not.
"""

from serving.client.answers import (
    KnownQueries,
    Metadata,
    Recommendation,
    Recommendations,
    VersionStatus,
)
from serving.client.attempts import ServerError, Unreachable
from serving.client.clients import AsyncClient, Client

__all__ = [
    "AsyncClient",
    "Client",
    "KnownQueries",
    "Metadata",
    "Recommendation",
    "Recommendations",
    "ServerError",
    "Unreachable",
    "VersionStatus",
]
