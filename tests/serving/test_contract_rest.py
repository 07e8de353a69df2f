# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Serving's REST API, call by call; see conftest.py for other servers.

Answers are held against those of `serving.model.Recommender` on the same version.
"""

import base64
import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import tensorflow as tf

from serving.model import Recommender
from tests.serving.conftest import Contract
from tests.unit.conftest import CANDIDATES, DEFAULT_K

USERS = ["1", "17", "nobody", "", "é"]
IDS = ["007", "7", "m3", "東京", "unknown", ""]
SIMILAR = {"rtol": 1e-5, "atol": 1e-6}


def example(**features: str) -> bytes:
    """A serialized tf.Example."""
    made = tf.train.Example()
    for name, value in features.items():
        made.features.feature[name].bytes_list.value.append(value.encode())
    return made.SerializeToString()


EXAMPLES = [example(user_id=user) for user in USERS] + [b""]
VECTORS = np.random.default_rng(8).normal(size=(3, 9)).round(3).tolist()
AS_BUILT = {"k": DEFAULT_K, "exclude": [[]], "leaves_to_search": 0, "reorder": 0}
EFFORT = ("leaves_to_search", "reorder")
FEW = {**AS_BUILT, "k": 3, "exclude": [["m3", "東京", "unknown", ""]]}
EACH = {**AS_BUILT, "exclude": [[one, "m1"] for one in ["007", "m2", "", "m3", "m4"]]}
THREE = {**EACH, "exclude": EACH["exclude"][:3]}
HARD = {**AS_BUILT, "k": 20, "leaves_to_search": 12, "reorder": 300}
PADDED = {**AS_BUILT, "k": CANDIDATES + 3}


def exact(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in EFFORT}


SEARCHES = [
    *(
        ("serving_default", {"user_id": USERS, **options})
        for options in (AS_BUILT, FEW, EACH, HARD, PADDED)
    ),
    *(("exact", {"user_id": USERS, **exact(one)}) for one in (AS_BUILT, FEW, PADDED)),
    *(("nearest", {"embedding": VECTORS, **one}) for one in (AS_BUILT, THREE, HARD)),
]
ONE_INPUT = [
    ("embed_query", {"user_id": USERS}),
    ("embed_candidate", {"movie_id": IDS}),
    ("serving_examples", {"examples": EXAMPLES}),
    ("query_segment", {"examples": EXAMPLES}),
]


def expected(
    model: Recommender, signature: str, inputs: dict[str, Any]
) -> dict[str, np.ndarray]:
    """What the SavedModel itself answers; options that are left out are as built."""
    run = model.signature(signature)
    tensors = {}
    for name, spec in run.inputs.items():
        value = inputs.get(name, AS_BUILT.get(name))
        shape = (1, 0) if value == [[]] else None
        tensors[name] = tf.constant(value, spec.dtype, shape)
    return {name: values.numpy() for name, values in run(**tensors).items()}


def as_json(value: Any) -> Any:
    """Bytes as TensorFlow Serving takes them; lists of values one by one."""
    if isinstance(value, list):
        return [as_json(one) for one in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value


def same(found: Any, right: np.ndarray) -> None:
    """Holds nested lists of JSON against a tensor."""
    if right.dtype == object:
        texts = np.vectorize(lambda one: one.decode(), otypes=[object])(right)
        assert found == texts.tolist()
    else:
        assert np.shape(found) == right.shape
        np.testing.assert_allclose(found, right, **SIMILAR)


def same_columns(outputs: Any, right: dict[str, np.ndarray]) -> None:
    outputs = outputs if len(right) > 1 else {next(iter(right)): outputs}
    assert outputs.keys() == right.keys()
    for name, values in right.items():
        same(outputs[name], values)


def same_rows(predictions: Any, right: dict[str, np.ndarray]) -> None:
    if len(right) == 1:
        same(predictions, next(iter(right.values())))
        return
    assert all(row.keys() == right.keys() for row in predictions)
    for name, values in right.items():
        same([row[name] for row in predictions], values)


def predict(contract: Contract, body: Any, where: str = "") -> Any:
    reply = contract.server.post(f"/v1/models/{contract.model}{where}:predict", body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    return json.loads(reply.content)


@pytest.fixture(scope="module")
def model(contract: Contract, loaded: Callable[[str, int], Any]) -> Recommender:
    """The newest version of the model that is asked."""
    newest = max(contract.server.states(contract.model))
    return loaded(contract.model, newest)


@pytest.mark.parametrize(("signature", "inputs"), SEARCHES + ONE_INPUT)
def test_columns_are_answered_as_columns(signature, inputs, contract, model):
    body = {
        "signature_name": signature,
        "inputs": {name: as_json(value) for name, value in inputs.items()},
    }
    found = predict(contract, body)
    assert found.keys() == {"outputs"}
    same_columns(found["outputs"], expected(model, signature, inputs))


@pytest.mark.parametrize(("signature", "inputs"), ONE_INPUT)
@pytest.mark.parametrize("form", ["values", "objects"])
def test_rows_are_answered_as_rows(form, signature, inputs, contract, model):
    ((name, values),) = inputs.items()
    rows = [as_json(one) for one in values]
    instances = rows if form == "values" else [{name: one} for one in rows]
    found = predict(contract, {"signature_name": signature, "instances": instances})
    assert found.keys() == {"predictions"}
    same_rows(found["predictions"], expected(model, signature, inputs))


def test_the_one_input_may_stand_without_its_name(contract, model):
    found = predict(contract, {"signature_name": "embed_query", "inputs": USERS})
    same_columns(found["outputs"], expected(model, "embed_query", {"user_id": USERS}))


@pytest.mark.parametrize("name", [None, "", "serving_default"])
def test_the_default_signature_needs_no_name(name, contract, model):
    inputs = {"user_id": USERS, **AS_BUILT}
    body = {"inputs": inputs} | ({} if name is None else {"signature_name": name})
    right = expected(model, "serving_default", inputs)
    same_columns(predict(contract, body)["outputs"], right)


def test_texts_may_be_base64_as_well(contract, model):
    users = ["17", "é"]
    body = {
        "signature_name": "embed_query",
        "instances": [as_json(one.encode()) for one in users],
    }
    right = expected(model, "embed_query", {"user_id": users})
    same_rows(predict(contract, body)["predictions"], right)


def test_what_fills_up_a_short_row_is_minus_infinity_as_a_bare_token(contract):
    body = {"inputs": {"user_id": ["1"], **PADDED}}
    reply = contract.server.post(f"/v1/models/{contract.model}:predict", body)
    assert b"-Infinity" in reply.content
    found = json.loads(reply.content)["outputs"]
    assert found["candidate_id"][0][-4] != "" and found["score"][0][-4] > -np.inf
    assert found["candidate_id"][0][-3:] == ["", "", ""]
    assert found["title"][0][-3:] == ["", "", ""]
    assert found["score"][0][-3:] == [-np.inf] * 3


def test_an_empty_batch_has_an_empty_answer(contract):
    body = {"inputs": {"user_id": [], **AS_BUILT}}
    found = predict(contract, body)["outputs"]
    assert found == {"candidate_id": [], "title": [], "score": []}


@pytest.mark.parametrize("where", ["", "/versions/1", "/versions/2", "/labels/stable"])
def test_versions_and_labels_answer_for_themselves(where, contract, loaded):
    newest = max(contract.server.states(contract.model))
    number = {"": newest, "/labels/stable": 1}.get(where) or int(where[-1])
    inputs = {"user_id": USERS, **AS_BUILT}
    found = predict(contract, {"inputs": inputs}, where)
    right = expected(loaded(contract.model, number), "serving_default", inputs)
    same_columns(found["outputs"], right)


# What only Shortlist promises: defaults may be left out, in rows too


@pytest.mark.parametrize("name", ["serving_default", "exact"])
@pytest.mark.parametrize("form", ["values", "objects", "columns", "bare column"])
def test_what_has_a_default_may_be_left_out(form, name, ours, model):
    content = {
        "values": {"instances": USERS},
        "objects": {"instances": [{"user_id": one} for one in USERS]},
        "columns": {"inputs": {"user_id": USERS}},
        "bare column": {"inputs": USERS},
    }[form]
    found = predict(ours, {"signature_name": name, **content})
    right = expected(model, name, {"user_id": USERS})
    if "instances" in content:
        same_rows(found["predictions"], right)
    else:
        same_columns(found["outputs"], right)


def test_rows_may_exclude_each_for_itself(ours, model):
    rows = [
        {"user_id": user, "exclude": ids}
        for user, ids in zip(USERS, EACH["exclude"], strict=True)
    ]
    inputs = {"user_id": USERS, "exclude": EACH["exclude"]}
    right = expected(model, "serving_default", inputs)
    same_rows(predict(ours, {"instances": rows})["predictions"], right)


@pytest.mark.parametrize("name", ["saved", "sharded"])
@pytest.mark.parametrize(
    ("signature", "inputs"),
    [SEARCHES[0], SEARCHES[1], SEARCHES[5], SEARCHES[8], *ONE_INPUT],
)
def test_versions_of_each_kind_answer_as_their_model(
    name, signature, inputs, ours, loaded
):
    body = {
        "signature_name": signature,
        "inputs": {one: as_json(value) for one, value in inputs.items()},
    }
    found = predict(Contract(ours.server, name, True), body)
    same_columns(found["outputs"], expected(loaded(name, 1), signature, inputs))


# Status and metadata


def test_the_status_is_told_newest_first(contract):
    found = contract.server.get(f"/v1/models/{contract.model}").json()
    assert found == {
        "model_version_status": [
            {
                "version": number,
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
            for number in ("2", "1")
        ]
    }


def test_the_status_of_one_version_is_told(contract):
    found = contract.server.get(f"/v1/models/{contract.model}/versions/1").json()
    (one,) = found["model_version_status"]
    assert one["version"] == "1" and one["state"] == "AVAILABLE"


def test_a_label_has_the_status_of_its_version(ours):
    found = ours.server.get(f"/v1/models/{ours.model}/labels/stable").json()
    assert [one["version"] for one in found["model_version_status"]] == ["1"]


@pytest.mark.parametrize(
    ("where", "version"),
    [("", "2"), ("/versions/1", "1"), ("/labels/stable", "1"), ("/labels/canary", "2")],
)
def test_the_metadata_has_the_signatures_nested_twice(where, version, contract):
    reply = contract.server.get(f"/v1/models/{contract.model}{where}/metadata")
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert found["model_spec"] == {
        "name": contract.model, "signature_name": "", "version": version,
    }  # fmt: skip
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert {name for name, _ in SEARCHES + ONE_INPUT} <= signatures.keys()
    default = signatures["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict"
    user = default["inputs"]["user_id"]
    assert user["dtype"] == "DT_STRING"
    assert user["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}], "unknown_rank": False,
    }  # fmt: skip
    assert user["name"].startswith("serving_default_user_id")
    assert default["outputs"]["score"]["dtype"] == "DT_FLOAT"


# Paths


def test_paths_are_matched_whatever_their_case(contract):
    name = contract.model
    body = {"signature_name": "embed_query", "instances": ["1"]}
    for path in (f"/V1/MODELS/{name}:PREDICT", f"/v1/Models/{name}/Versions/1:Predict"):
        assert contract.server.post(path, body).status_code == 200
    for path in (f"/V1/models/{name}", f"/v1/MODELS/{name}/METADATA",
                 f"/v1/models/{name}/Labels/stable"):  # fmt: skip
        assert contract.server.get(path).status_code == 200


def test_names_keep_their_case(contract):
    reply = contract.server.get(f"/v1/models/{contract.model.upper()}")
    assert reply.status_code == 404


def test_names_may_be_written_with_percent(contract):
    name = "".join(f"%{one:02x}" for one in contract.model.encode())
    assert contract.server.get(f"/v1/models/{name}").status_code == 200


def raw(contract: Contract, method: str, path: str) -> tuple[int, str]:
    """Sends a path as it is; returns the status and the error's text."""
    connection = http.client.HTTPConnection(urlsplit(contract.server.url).netloc)
    body = b"{}" if method in ("POST", "PUT") else None
    connection.putrequest(method, path, skip_accept_encoding=True)
    connection.putheader("content-length", str(len(body or b"")))
    connection.endheaders(body)
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return reply.status, json.loads(content).get("error", "")


MALFORMED = [
    ("POST", "/v1/models/{name}"),
    ("POST", "/v1/models/{name}:predic"),
    ("POST", "/v1/models/{name}:predict/"),
    ("POST", "/v1/models/{name}:predict:predict"),
    ("POST", "/v1/models/{name}/:predict"),
    ("POST", "/v1/models/:predict"),
    ("POST", "/v1/models/{name}/versions/one:predict"),
    ("POST", "/v1/models/{name}/versions/-1:predict"),
    ("POST", "/v1/models/{name}/versions/1/labels/stable:predict"),
    ("POST", "/v1/models/{name}/metadata"),
    ("POST", "/v1/"),
    ("GET", "/v1/models/{name}:predict"),
    ("GET", "/v1/models/{name}:metadata"),
    ("GET", "/v1/models/{name}/"),
    ("GET", "/v1/models/{name}/metadata/"),
    ("GET", "/v1/models/{name}/versions/"),
    ("GET", "/v1/models/"),
    ("GET", "/v1/models/../secrets"),
    ("GET", "/v1/models/a/b"),
    ("GET", "/v1/other"),
    ("DELETE", "/v1/models/{name}"),
    ("PUT", "/v1/models/{name}:predict"),
]


@pytest.mark.parametrize(("method", "path"), MALFORMED)
def test_a_path_that_is_none_is_told(method, path, contract):
    path = path.format(name=contract.model)
    assert raw(contract, method, path) == (400, f"Malformed request: {method} {path}")


def test_a_query_string_is_no_part_of_the_path(contract):
    status, _ = raw(contract, "GET", f"/v1/models/{contract.model}?a=/:b")
    assert status == 200


@pytest.mark.parametrize("name", ["..", "%2e%2e", "%2e%2e%2fmain", ".%00", "%ff"])
def test_a_name_is_never_a_path(name, contract):
    status, text = raw(contract, "POST", f"/v1/models/{name}:predict")
    assert status == 404 and text.startswith("Servable not found for request: Latest(")
    status, text = raw(contract, "GET", f"/v1/models/{name}")
    assert status == 404 and text.startswith("Could not find any versions of model ")


# Errors

PREDICT, GET = "POST", "GET"
MISSING = [
    ("GET", "/v1/models", 400, "Missing model name in request."),
    ("GET", "/v1/models/nope", 404, "Could not find any versions of model nope"),
    (
        "GET",
        "/v1/models/{name}/versions/77",
        404,
        "Could not find version 77 of model {name}",
    ),
    (
        "GET",
        "/v1/models/nope/metadata",
        404,
        "Servable not found for request: Latest(nope)",
    ),
    (
        "GET",
        "/v1/models/{name}/versions/77/metadata",
        404,
        "Servable not found for request: Specific({name}, 77)",
    ),
    (
        "POST",
        "/v1/models/nope:predict",
        404,
        "Servable not found for request: Latest(nope)",
    ),
    (
        "POST",
        "/v1/models/nope/versions/3:predict",
        404,
        "Servable not found for request: Specific(nope, 3)",
    ),
    (
        "POST",
        "/v1/models/{name}/versions/77:predict",
        404,
        "Servable not found for request: Specific({name}, 77)",
    ),
    (
        "POST",
        "/v1/models/{name}/labels/nope:predict",
        400,
        "Unrecognized servable version label: nope",
    ),
    (
        "POST",
        "/v1/models/nope/labels/stable:predict",
        400,
        "Unrecognized servable version label: stable",
    ),
    (
        "GET",
        "/v1/models/{name}/versions/9223372036854775808",
        400,
        "Failed to convert version: 9223372036854775808 to numeric.",
    ),
    (
        "POST",
        "/v1/models/{name}/versions/99999999999999999999:predict",
        400,
        "Failed to convert version: 99999999999999999999 to numeric.",
    ),
    (
        "POST",
        "/v1/models/{name}/versions/" + "9" * 5000 + ":predict",
        400,
        "Failed to convert version: " + "9" * 5000 + " to numeric.",
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "status", "text"), MISSING, ids=lambda one: str(one)[:40]
)
def test_what_is_not_served_is_told(method, path, status, text, contract):
    path, text = (one.format(name=contract.model) for one in (path, text))
    if method == "POST":
        reply = contract.server.post(path, {"inputs": {}})
    else:
        reply = contract.server.get(path)
    assert (reply.status_code, reply.json()) == (status, {"error": text})


REFUSED = [
    (b"", "JSON Parse error: The document is empty"),
    ({}, "Missing 'inputs' or 'instances' key"),
    (
        {"signature_name": "x", "inputs": {}},
        'Serving signature name: "x" not found in signature def',
    ),
    (
        {"signature_name": "embed_candidate", "inputs": {"user_id": ["1"]}},
        "Missing named input: movie_id in 'inputs' object.",
    ),
    (
        {"signature_name": "embed_candidate", "instances": ["1", ["2"]]},
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
        "Expecting shape [] but got: [1]",
    ),
    (
        {"signature_name": "embed_candidate", "instances": [{"movie": "1"}]},
        "Failed to process element: 0 key: movie of 'instances' list. Error: "
        "INVALID_ARGUMENT: JSON object: does not have named input: movie",
    ),
    (
        {"inputs": {"user_id": ["1"], **AS_BUILT, "k": "3"}},
        'JSON Value: "3" Type: String is not of expected type: int32',
    ),
    (
        {"inputs": {"user_id": [["1"], "2"], **AS_BUILT}},
        'JSON Value: "2" found at incorrect level: 2 in the JSON DOM. Expected at '
        "level: 2",
    ),
]


@pytest.mark.parametrize(("body", "text"), REFUSED, ids=lambda one: str(one)[:40])
def test_what_cant_be_read_is_told(body, text, contract):
    reply = contract.server.post(f"/v1/models/{contract.model}:predict", body)
    assert (reply.status_code, reply.json()) == (400, {"error": text})


@pytest.mark.parametrize(
    "body",
    [
        b"[1]", b"{", b'{"instances": 1}', b'{"instances": []}', b"\xff{}",
        b'{"inputs": 1, "instances": 1}', b'{"signature_name": 3, "inputs": []}',
        b'{"inputs": ["1"], "inputs": ' + b"[" * 5000,
    ],
    ids=lambda one: repr(one[:30]),
)  # fmt: skip
def test_every_error_is_one_line_of_json(body, contract):
    reply = contract.server.post(f"/v1/models/{contract.model}:predict", body)
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/json"
    assert reply.json().keys() == {"error"}
    assert "\n" not in reply.json()["error"]


def test_a_tensor_of_another_shape_is_refused(contract):
    body = {"inputs": {"user_id": [["1"]], **AS_BUILT}}
    reply = contract.server.post(f"/v1/models/{contract.model}:predict", body)
    assert reply.status_code == 400 and "user_id" in reply.json()["error"]


def test_k_below_one_is_refused(contract):
    body = {"inputs": {"user_id": ["1"], **AS_BUILT, "k": 0}}
    reply = contract.server.post(f"/v1/models/{contract.model}:predict", body)
    assert reply.status_code == 400 and "k must be " in reply.json()["error"]


def test_an_example_that_is_none_is_refused(contract):
    for signature in ("serving_examples", "query_segment"):
        body = {"signature_name": signature, "instances": [as_json(b"\xff\xff")]}
        reply = contract.server.post(f"/v1/models/{contract.model}:predict", body)
        assert reply.status_code == 400
        assert "Could not parse example" in reply.json()["error"]


@pytest.mark.parametrize("api", ["classify", "regress"])
def test_other_apis_of_tensorflow_serving_are_not_there(api, ours):
    reply = ours.server.post(f"/v1/models/{ours.model}:{api}", {"examples": [{}]})
    assert reply.status_code == 501
    assert reply.json() == {
        "error": f"{api} is not supported by this model; use predict"
    }


def test_what_is_not_of_the_api_is_not_found(contract):
    for path in ("/v1", "/v2/models/a", "/nope"):
        assert contract.server.get(path).status_code == 404


def test_connections_are_kept_after_an_error(contract):
    connection = http.client.HTTPConnection(urlsplit(contract.server.url).netloc)
    path = f"/v1/models/{contract.model}:predict"
    for body, status in ((b"{", 400), (b"{}", 400)):
        connection.request("POST", path, body)
        reply = connection.getresponse()
        assert reply.status == status
        reply.read()
        assert connection.sock is not None
    connection.close()
