# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document, with the models and query features that are served just now."""

import importlib.metadata
from collections.abc import Iterable, Mapping
from typing import Any

from serving.servable import CANDIDATE_ID, SCORE, TITLE
from serving.server.options import ServerOptions
from serving.server.service import Service

_MODELS = "/v1/models/{name}"
_TARGETS = {
    "": (),
    "/versions/{version}": ("version",),
    "/labels/{label}": ("label",),
}
"""What of a model a path may name, and the parameters that it has for it."""
_SCHEMA = "#/components/schemas/"
_INT32 = {"type": "integer", "format": "int32"}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_FAILURES = {
    "400": "the request can't be understood or carried out",
    "401": "the token is missing or wrong",
    "404": "no such model, or no such version of it",
    "413": "the body is too large",
    "429": "too many requests wait; Retry-After says when to come back",
    "503": "too many requests are under way; Retry-After says when to come back",
    "504": "the answer was not ready in time",
}


def document(service: Service) -> dict[str, Any]:
    """Returns the OpenAPI document."""
    features = _features(service)
    return {
        "openapi": "3.0.3",  # the newest that the page's Swagger UI shows
        "info": {
            "title": "Shortlist",
            "version": importlib.metadata.version("shortlist"),
            "description": "The best few candidates for a query, of pushed models. "
            "TensorFlow Serving's API and a humane one beside it.",
        },
        "paths": {
            **_for_targets(":recommend", _recommend(features, service.options)),
            **_for_targets(":predict", {"post": _predict()}),
            **_for_targets("", {"get": _get("States of versions", "Status")}),
            **_for_targets(
                "/metadata", {"get": _get("Signatures of a version", "Metadata")}
            ),
            **_for_targets("/queries", {"get": _queries()}),
            **_for_targets("/history", {"get": _history(features)}),
            **_operations(),
        },
        "components": {
            "schemas": _schemas(service.options),
            "parameters": _path_parameters(service),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}] if service.options.token_file else [],
    }


def _features(service: Service) -> list[str]:
    """Returns the query features of all models that answer."""
    found = set()
    for model in service.models:
        for one in model.available:
            if one.version:
                found |= one.version.query_features.keys()
    return sorted(found)


def _for_targets(ending: str, operations: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the paths of an operation, by model, version and label."""
    return {
        f"{_MODELS}{target}{ending}": {
            "parameters": [
                {"$ref": f"#/components/parameters/{one}"} for one in ("name", *names)
            ],
            **operations,
        }
        for target, names in _TARGETS.items()
    }


def _path_parameters(service: Service) -> dict[str, Any]:
    def parameter(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
        return {
            "name": name, "in": "path", "required": True, "schema": schema,
            "description": text,
        }  # fmt: skip

    served = [model.settings.name for model in service.models]
    return {
        "name": parameter(
            "name", {"type": "string", **({"enum": served} if served else {})},
            "of the model",
        ),
        "version": parameter(
            "version", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
            "number of the version",
        ),
        "label": parameter("label", {"type": "string"}, "that stands for a version"),
    }  # fmt: skip


def _recommend(features: Iterable[str], options: ServerOptions) -> dict[str, Any]:
    text = "The best candidates for a query"
    parameters = [
        *(
            _parameter(name, {"type": "string"}, "a query feature; repeatable")
            for name in features
        ),
        _parameter(
            "k", {**_INT32, "minimum": 1, "maximum": options.max_k}, "most results"
        ),
        _parameter("exclude", _TEXTS, "a candidate to leave out; repeatable"),
        _parameter(
            "filter", {"type": "string"}, "e.g. genres = Drama and not year < 1990"
        ),
        _parameter("exact", {"type": "boolean"}, "search exhaustively"),
        _parameter("leaves_to_search", _INT32, "of ScaNN's; 0: as built"),
        _parameter("reorder", _INT32, "hits that ScaNN rescores; 0: as built"),
    ]
    answers = _answers("Recommendations")
    return {
        "get": {"summary": text, "parameters": parameters, "responses": answers},
        "post": {
            "summary": f"{text}, with features of any length",
            "requestBody": _body("Recommendation"),
            "responses": answers,
        },
    }


def _predict() -> dict[str, Any]:
    return {
        "summary": "Calls a signature, as TensorFlow Serving does",
        "requestBody": _body("Predict"),
        "responses": _answers("Predictions"),
    }


def _queries() -> dict[str, Any]:
    return {
        "summary": "Query ids that training knew, to choose from",
        "parameters": [
            _parameter("prefix", {"type": "string"}, "what ids begin with"),
            _parameter("limit", _INT32, "most ids"),
        ],
        "responses": _answers("Queries"),
    }


def _history(features: Iterable[str]) -> dict[str, Any]:
    return {
        "summary": "What training has seen a query choose, by its id",
        "parameters": [
            *(_parameter(name, {"type": "string"}, "the id") for name in features),
            _parameter("limit", _INT32, "most candidates"),
        ],
        "responses": _answers("History"),
    }


def _get(summary: str, schema: str) -> dict[str, Any]:
    return {"summary": summary, "responses": _answers(schema)}


def _operations() -> dict[str, Any]:
    """Returns the paths for those who watch over the server."""

    def get(summary: str, *statuses: str, **more: Any) -> dict[str, Any]:
        responses = {one: {"description": summary} for one in ("200", *statuses)}
        return {"get": {"summary": summary, "responses": responses, **more}}

    ready = "Whether every model has a version that answers"
    return {
        "/healthz": get("Whether the process is alive", security=[]),
        "/readyz": get(ready, "503", security=[]),
        "/monitoring/prometheus/metrics": get("Metrics for Prometheus", "401"),
    }


def _parameter(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": text}


def _body(schema: str) -> dict[str, Any]:
    return {"required": True, "content": _content(schema)}


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _SCHEMA + schema}}}


def _answers(schema: str) -> dict[str, Any]:
    failures = {
        status: {"description": text, "content": _content("Error")}
        for status, text in _FAILURES.items()
    }
    return {
        "200": {"description": "the answer", "content": _content(schema)},
        **failures,
    }


def _object(properties: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    needed = {"required": list(required)} if required else {}
    return {"type": "object", "properties": properties, **needed, **more}


def _schemas(options: ServerOptions) -> dict[str, Any]:
    text = {"type": "string"}
    result = _object(
        {CANDIDATE_ID: text, TITLE: text, SCORE: {"type": "number"}},
        CANDIDATE_ID, TITLE, SCORE,
    )  # fmt: skip
    value = {"anyOf": [text, {"type": "number"}]}
    values = {"anyOf": [*value["anyOf"], {"type": "array", "items": value}]}
    any_json: dict[str, Any] = {}
    anything = {"type": "array", "items": any_json}
    return {
        "Error": _object({"error": text}, "error"),
        "Recommendation": _object(
            {
                "query": {"type": "object", "additionalProperties": values},
                "k": {**_INT32, "minimum": 1, "maximum": options.max_k},
                "exclude": _TEXTS,
                "filter": text,
                "exact": {"type": "boolean"},
                "leaves_to_search": _INT32,
                "reorder": _INT32,
            },
            "query",
            additionalProperties=False,
        ),
        "Recommendations": _object(
            {
                "model": text,
                "version": text,
                "recommendations": {"type": "array", "items": result},
            },
            "model", "version", "recommendations",
        ),
        "Predict": _object(
            {"signature_name": text, "instances": anything, "inputs": any_json}
        ),
        "Predictions": _object({"predictions": anything, "outputs": any_json}),
        "Status": _object({"model_version_status": anything}, "model_version_status"),
        "Metadata": _object(
            {"model_spec": {"type": "object"}, "metadata": {"type": "object"}},
            "model_spec", "metadata",
        ),
        "History": _object(
            {"history": anything, "total": {"type": "integer"}},
            "history", "total",
        ),
        "Queries": _object(
            {"feature": {**text, "nullable": True}, "ids": _TEXTS}, "feature", "ids"
        ),
    }  # fmt: skip
