# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The humane API beside TensorFlow Serving's, its documents, health and metrics."""

import re
from collections.abc import Callable
from typing import Any

import jsonschema
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.model import Recommender
from tests.serving.asking import Server
from tests.serving.conftest import MODELS
from tests.serving.versions import RICH_USERS
from tests.unit.conftest import CANDIDATES, DEFAULT_K, World, attributes_of

METRICS = "/monitoring/prometheus/metrics"


def asked(server: Server, model: str, parameters: Any = None, body: Any = None) -> Any:
    """Asks by GET, or by POST if there is a body."""
    path = f"/v1/models/{model}:recommend"
    if body is None:
        reply = server.get(path, params=parameters)
    else:
        reply = server.post(path, body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def ids(answer: dict[str, Any]) -> list[str]:
    return [one["candidate_id"] for one in answer["recommendations"]]


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    for name in ("candidate_id", "title"):
        assert [one[name] for one in found] == [one[name] for one in expected]
    np.testing.assert_allclose(
        [one["score"] for one in found], [one["score"] for one in expected],
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(loaded: Callable[[str, int], Any]) -> Recommender:
    return loaded("main", 2)


QUESTIONS = [
    ({"user_id": "17"}, {}, None, []),
    ({"user_id": "nobody"}, {"k": 3}, 3, []),
    ({"user_id": ""}, {"k": 1}, 1, []),
    ({"user_id": "é"}, {"exclude": ["m3", "東京", "unknown"]}, None, ["m3", "東京"]),
    ({"user_id": "1"}, {"k": 25, "exclude": ["a b", "x,y"]}, 25, ["a b", "x,y"]),
    ({"user_id": "1"}, {"k": CANDIDATES + 50}, CANDIDATES, []),
]


@pytest.mark.parametrize(("query", "options", "k", "without"), QUESTIONS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_answer_is_that_of_the_model(
    method, query, options, k, without, shared, model
):
    if method == "GET":
        answer = asked(shared, "main", {**query, **options})
    else:
        answer = asked(shared, "main", body={"query": query, **options})
    assert (answer["model"], answer["version"]) == ("main", "2")
    same(answer["recommendations"], model.recommend(query, k, without or None))


@pytest.mark.parametrize("name", ["saved", "sharded"])
def test_versions_of_each_kind_answer(name, shared, loaded):
    answer = asked(shared, name, {"user_id": "17", "exclude": ["m3", "m4"], "k": 7})
    right = loaded(name, 1).recommend({"user_id": "17"}, 7, ["m3", "m4"])
    same(answer["recommendations"], right)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        ("kind = song", lambda one: one["kind"] == "song"),
        (
            "tags = rare and year >= 1950",
            lambda one: "rare" in one["tags"] and one["year"] >= 1950,
        ),
        ("", lambda one: True),
    ],
)
def test_a_filter_leaves_what_it_says(text, leaves, method, shared, world: World):
    options = {"k": 12, "filter": text}
    if method == "GET":
        answer = asked(shared, "main", {"user_id": "3", "exact": "true", **options})
    else:
        answer = asked(
            shared, "main", body={"query": {"user_id": "3"}, "exact": True, **options}
        )
    right = [one for one in world.ranking("3") if leaves(attributes_of(one))][:12]
    assert ids(answer) == right


def test_exact_search_and_effort_may_be_asked_for(shared, world: World):
    right = world.ranking("9")[:30]
    for options in ({"exact": "true"}, {"leaves_to_search": 12, "reorder": 300}):
        assert ids(asked(shared, "main", {"user_id": "9", "k": 30, **options})) == right


@pytest.mark.parametrize(
    ("where", "version"),
    [("", "2"), ("/versions/1", "1"), ("/versions/2", "2"), ("/labels/stable", "1")],
)
def test_versions_and_labels_answer_for_themselves(where, version, shared):
    found = asked(shared, f"main{where}", {"user_id": "1"})
    assert found["version"] == version
    assert asked(shared, f"main{where}", body={"query": {"user_id": "1"}}) == found


RICH = {"user_id": "u3", "city": "Bern", "tags": ["a", "b"], "age": "44.5",
        "taste": ["1.5", "-2"]}  # fmt: skip


def test_features_of_any_kind_are_read(shared, loaded):
    right = loaded("rich", 1).recommend(RICH, 5)
    same(asked(shared, "rich", {**RICH, "k": 5})["recommendations"], right)
    typed = {**RICH, "age": 44.5, "taste": [1.5, -2]}
    for query in (RICH, typed):
        answer = asked(shared, "rich", body={"query": query, "k": 5})
        same(answer["recommendations"], right)
    assert ids({"recommendations": right}) != ids(asked(shared, "rich", {"age": 1}))


def test_features_that_are_left_out_are_missing(shared, loaded):
    for query in ({"tags": ["a"]}, {"age": "3"}, {"user_id": "u3"}, {"city": "Bern"}):
        right = loaded("rich", 1).recommend(query)
        same(asked(shared, "rich", query)["recommendations"], right)
        answer = asked(shared, "rich", body={"query": query})
        same(answer["recommendations"], right)


TAKES = "the model takes user_id"
REFUSED_GET = [
    ({}, f"the query has no features; {TAKES}"),
    ({"user": "1"}, f"unknown query feature 'user'; {TAKES}"),
    ({"user_id": ["1", "2"]}, "query feature 'user_id' takes one value, got 2"),
    ({"user_id": "1", "k": "0"}, "k must be from 1 to 10000, got 0"),
    ({"user_id": "1", "k": "ten"}, "'k' must be a whole number of 32 bits, got 'ten'"),
    (
        {"user_id": "1", "k": "9999999999"},
        "'k' must be a whole number of 32 bits, got 9999999999",
    ),
    ({"user_id": "1", "k": ["1", "2"]}, "'k' may be given once, got 2"),
    ({"user_id": "1", "exact": "yes"}, "'exact' must be true or false, got 'yes'"),
    (
        {"user_id": "1", "filter": "size = 3"},
        "filter: unknown attribute 'size'; the model can filter by kind, tags, year",
    ),
]


@pytest.mark.parametrize(("parameters", "text"), REFUSED_GET)
def test_what_cant_be_meant_is_told(parameters, text, shared):
    reply = shared.get("/v1/models/main:recommend", params=parameters)
    assert (reply.status_code, reply.json()) == (400, {"error": text})


QUERY = {"user_id": "1"}
NO_QUERY = "the body must be an object with a 'query', an object of features"
REFUSED_POST = [
    (b"", "JSON Parse error: The document is empty"),
    ([], NO_QUERY),
    ({"k": 3}, NO_QUERY),
    ({"query": "1"}, NO_QUERY),
    (
        {"query": QUERY, "n": 3},
        "unknown key 'n'; known are query, k, exclude, filter, leaves_to_search, "
        "reorder, exact",
    ),
    ({"query": {}}, f"the query has no features; {TAKES}"),
    (
        {"query": {"user_id": None}},
        "the feature 'user_id' must be texts or numbers, got None",
    ),
    (
        {"query": {"user_id": [["1"]]}},
        "the feature 'user_id' must be texts or numbers, got ['1']",
    ),
    (
        {"query": {"user_id": True}},
        "the feature 'user_id' must be texts or numbers, got True",
    ),
    (
        {"query": QUERY, "k": 2.5},
        "'k' must be a whole number of 32 bits, got 2.5",
    ),
    ({"query": QUERY, "exclude": "m1"}, "'exclude' must be a list of texts, got 'm1'"),
    ({"query": QUERY, "exclude": [1]}, "'exclude' must be a list of texts, got [1]"),
    ({"query": QUERY, "filter": 1}, "'filter' must be of type str, got 1"),
    ({"query": QUERY, "exact": 1}, "'exact' must be of type bool, got 1"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "text"), REFUSED_POST, ids=lambda one: str(one)[:40])
def test_a_body_that_cant_be_meant_is_told(body, text, shared):
    reply = shared.post("/v1/models/main:recommend", body)
    assert (reply.status_code, reply.json()) == (400, {"error": text})


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"age": "old"}, "query feature 'age' must be of type float32, got 'old'"),
        ({"taste": ["1"]}, "query feature 'taste' takes 2 numbers, got 1"),
        (
            {"taste": ["1", "x"]},
            "query feature 'taste' must be of type float32, got 'x'",
        ),
    ],
)  # fmt: skip
def test_a_number_that_is_none_is_told(query, text, shared):
    reply = shared.get("/v1/models/rich:recommend", params=query)
    assert (reply.status_code, reply.json()) == (400, {"error": text})


def test_a_filter_without_a_native_engine_is_told(shared):
    reply = shared.get(
        "/v1/models/saved:recommend", params={"user_id": "1", "filter": "kind = song"}
    )
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("a filter needs a native engine")


def test_more_parameters_than_anybody_needs_are_refused(shared):
    many = {"user_id": "1", "exclude": [f"m{one}" for one in range(1001)]}
    reply = shared.get("/v1/models/main:recommend", params=many)
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("a request may have 1000 parameters")
    answer = asked(shared, "main", body={"query": QUERY, "exclude": many["exclude"]})
    assert len(ids(answer)) == DEFAULT_K


# Query ids to choose from


def queries(server: Server, model: str, **parameters: Any) -> Any:
    reply = server.get(f"/v1/models/{model}/queries", params=parameters)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_known_query_ids_are_told(shared, world: World):
    assert queries(shared, "main") == {"feature": "user_id", "ids": world.users[:20]}
    assert queries(shared, "main", limit=1000)["ids"] == world.users
    with_1 = [one for one in world.users if one.startswith("1")]
    assert queries(shared, "main", prefix="1")["ids"] == with_1
    assert queries(shared, "main", prefix="1", limit=2)["ids"] == with_1[:2]
    assert queries(shared, "main", limit=-1)["ids"] == []
    assert queries(shared, "main", prefix="nobody")["ids"] == []
    assert queries(shared, "main/versions/1")["ids"] == world.users[:20]
    assert queries(shared, "sharded")["ids"] == world.users[:20]
    assert queries(shared, "rich", limit=3)["ids"] == RICH_USERS[:3]


def test_without_a_native_engine_none_are_known(shared):
    assert queries(shared, "saved") == {"feature": None, "ids": []}


def test_query_ids_of_no_model_are_not_found(shared):
    assert shared.get("/v1/models/nope/queries").status_code == 404


# Documents


def references(content: Any) -> set[str]:
    if isinstance(content, dict):
        below = set().union(*map(references, content.values()), set())
        return below | ({content["$ref"]} if "$ref" in content else set())
    if isinstance(content, list):
        return set().union(*map(references, content), set())
    return set()


@pytest.fixture(scope="module")
def document(shared: Server) -> dict[str, Any]:
    reply = shared.get("/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    return reply.json()


def test_the_document_is_openapi_3_0(document):
    # Swagger UI 4 shows no newer one.
    assert re.fullmatch(r"3\.0\.\d", document["openapi"])
    assert {"info", "paths"} <= document.keys()
    assert {"title", "version"} <= document["info"].keys()
    for path, item in document["paths"].items():
        assert path.startswith("/")
        names = {one["$ref"].rpartition("/")[2] for one in item.get("parameters", [])}
        assert names == set(re.findall(r"{(\w+)}", path))
        for method in item.keys() - {"parameters"}:
            operation = item[method]
            assert method in ("get", "post") and operation["responses"]
            for status, response in operation["responses"].items():
                assert re.fullmatch(r"\d{3}", status) and response["description"]
            own = [one["name"] for one in operation.get("parameters", [])]
            assert len(own) == len(set(own))


def test_every_reference_leads_somewhere(document):
    found = references(document)
    assert found
    for reference in found:
        place: Any = document
        assert reference.startswith("#/")
        for name in reference[2:].split("/"):
            place = place[name]
        assert place


def schemas_of_3_0(content: Any) -> None:
    """Holds schemas against what OpenAPI 3.0 has of JSON Schema."""
    if isinstance(content, list):
        for one in content:
            schemas_of_3_0(one)
    elif isinstance(content, dict):
        if "type" in content and "properties" not in content.get("properties", {}):
            assert isinstance(content["type"], str)
            assert content["type"] != "array" or "items" in content
            assert content.get("required") != []
            assert not {"examples", "const", "$defs"} & content.keys()
        for one in content.values():
            schemas_of_3_0(one)


def test_schemas_are_those_of_openapi_3_0(document):
    schemas_of_3_0(document["components"]["schemas"])
    for one in document["components"]["parameters"].values():
        schemas_of_3_0(one["schema"])


def test_the_document_tells_the_features_and_models(document):
    operation = document["paths"]["/v1/models/{name}:recommend"]["get"]
    names = {one["name"] for one in operation["parameters"]}
    assert {"user_id", "city", "tags", "age", "taste"} <= names
    assert {"k", "exclude", "filter", "exact"} <= names
    assert document["components"]["parameters"]["name"]["schema"]["enum"] == [*MODELS]


def test_what_is_answered_is_what_the_document_says(document, shared):
    schemas = document["components"]["schemas"]
    defined = {"components": document["components"]}
    for name, path in (
        ("Recommendations", "/v1/models/main:recommend?user_id=1"),
        ("Queries", "/v1/models/main/queries"),
        ("Status", "/v1/models/main"),
        ("Metadata", "/v1/models/main/metadata"),
        ("Error", "/v1/models/nope"),
    ):
        jsonschema.validate(shared.get(path).json(), {**schemas[name], **defined})
    jsonschema.validate({"query": {"a": ["b", 1], "c": 2}, "k": 3},
                        {**schemas["Recommendation"], **defined})  # fmt: skip
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"k": 3}, {**schemas["Recommendation"], **defined})


def test_the_page_of_the_api_is_all_of_this_server(shared):
    reply = shared.get("/docs")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/html")
    assert "openapi.json" in reply.text
    named = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']*)""", reply.text)
    assert len(named) >= 3
    assert "//" not in re.sub(r"<!.*?>", "", reply.text)
    for one in named:
        found = shared.get(f"/{one.lstrip('/')}")
        assert found.status_code == 200, one
        assert found.content
    assert any(one.endswith("swagger-ui-bundle.js") for one in named)


# Health and metrics


def test_who_watches_is_told_of_every_model(shared):
    assert shared.get("/healthz").json() == {"status": "alive"}
    found = shared.get("/readyz").json()
    assert found == {
        "ready": True,
        "draining": False,
        "models": {
            "main": {"1": "AVAILABLE", "2": "AVAILABLE"},
            **{name: {"1": "AVAILABLE"} for name in MODELS if name != "main"},
        },
    }


def test_metrics_are_in_the_format_of_prometheus(shared):
    asked(shared, "main", {"user_id": "1"})
    reply = shared.get(METRICS)
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {one.name: one for one in text_string_to_metric_families(reply.text)}
    counts = families[":tensorflow:serving:request_count"]
    assert counts.type == "counter"
    assert all(one.labels.keys() == {"model_name", "status"} for one in counts.samples)
    # The parser calls all counters by OpenMetrics' names; this is what is sent.
    assert "\n# TYPE :tensorflow:serving:request_count counter\n" in reply.text
    assert "\n:tensorflow:serving:request_count{" in reply.text
    assert "request_count_total" not in reply.text
    latency = families[":tensorflow:serving:request_latency"]
    assert latency.type == "histogram"
    for one in latency.samples:
        assert {"model_name", "API", "entrypoint"} <= one.labels.keys()
    assert all(one.type != "unknown" for one in families.values())


def test_metrics_count_what_was_asked(shared):
    def counts() -> dict[str, float]:
        request, latency = (
            f":tensorflow:serving:request_{name}"
            for name in ("count_total", "latency_count")
        )
        by_rest = {"model_name": "rich", "entrypoint": "REST"}
        return {
            "ok": shared.metric(request, model_name="rich", status="OK"),
            "invalid": shared.metric(
                request, model_name="rich", status="INVALID_ARGUMENT"
            ),
            "recommend": shared.metric(latency, **by_rest, API="recommend"),
            "predict": shared.metric(latency, **by_rest, API="predict"),
            "rows": shared.metric("shortlist_batch_rows_sum", model_name="rich"),
            "hits": shared.metric(
                "shortlist_query_cache", model_name="rich", result="hit"
            ),
        }

    before = counts()
    for _ in range(3):
        asked(shared, "rich", {"user_id": "u1", "city": "counted"})
    shared.get("/v1/models/rich:recommend", params={"nope": "1"})
    body = {"inputs": {"user_id": ["a", "b"]}}
    assert shared.post("/v1/models/rich:predict", body).status_code == 400
    after = counts()
    told = {name: after[name] - before[name] for name in before}
    assert told == {
        "ok": 3, "invalid": 2, "recommend": 4, "predict": 1, "rows": 3, "hits": 2,
    }  # fmt: skip


def test_metrics_tell_versions_and_loads(shared):
    available = {"model_name": "main", "version": "2"}
    assert shared.metric("shortlist_version_state", **available) == 30
    loads = {"model_name": "main", "result": "ok"}
    assert shared.metric("shortlist_version_loads_total", **loads) == 2
    assert shared.metric("shortlist_waiting_requests", **available) == 0


def test_models_that_nobody_serves_make_no_series(shared):
    shared.get("/v1/models/unheard-of:recommend", params={"user_id": "1"})
    assert "unheard-of" not in shared.get(METRICS).text


def test_default_k_is_that_of_the_model(shared):
    assert len(asked(shared, "main", {"user_id": "1"})["recommendations"]) == DEFAULT_K
