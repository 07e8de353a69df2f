# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The server that one writes in an afternoon: FastAPI, a signature call per request.

Run as `python -m benchmarks.serving.baseline PORT FOLDER_OF_A_VERSION`.
"""

import sys

import serving.process

serving.process.set_up()

import tensorflow as tf  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from scann.scann_ops.py import scann_ops  # noqa: E402, F401  (registers ScaNN's)


class Query(BaseModel):
    """A request."""

    user_id: str
    k: int = 10


class Result(BaseModel):
    """One of its results."""

    candidate_id: str
    title: str
    score: float


def make_app(path: str) -> FastAPI:
    """Loads the SavedModel of a version behind one endpoint."""
    model = tf.saved_model.load(path)
    recommend = model.signatures["serving_default"]
    options = {"k", "exclude", "leaves_to_search", "reorder"}
    (feature,) = recommend.structured_input_signature[1].keys() - options
    nothing = tf.constant([], tf.string, shape=(1, 0))
    app = FastAPI()

    @app.post("/recommend")
    def answer(query: Query) -> list[Result]:
        found = recommend(
            **{feature: tf.constant([query.user_id])},
            k=tf.constant(query.k),
            exclude=nothing,
            leaves_to_search=tf.constant(0),
            reorder=tf.constant(0),
        )
        columns = (found[name].numpy()[0] for name in Result.model_fields)
        return [
            Result(candidate_id=one, title=title, score=score)
            for one, title, score in zip(*columns, strict=True)
        ]

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[2]), port=int(sys.argv[1]), log_level="error")
