# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Serving's gRPC API by its own stubs; see conftest.py for other servers."""

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
)

from serving.model import Recommender
from tests.serving.conftest import MODELS, Contract
from tests.serving.test_contract_rest import (
    AS_BUILT,
    ONE_INPUT,
    PADDED,
    SEARCHES,
    SIMILAR,
    USERS,
    expected,
)

Code = grpc.StatusCode
TIMEOUT_S = 60


def tensor(value: Any, dtype: tf.DType) -> tensor_pb2.TensorProto:
    shape = (1, 0) if value == [[]] else None
    return tf.make_tensor_proto(value, dtype, shape)


def request(
    model: Recommender, name: str, signature: str, inputs: dict[str, Any], **spec: Any
) -> predict_pb2.PredictRequest:
    """A request with inputs of the types that the signature has."""
    made = predict_pb2.PredictRequest()
    made.model_spec.name = name
    made.model_spec.signature_name = signature
    if "version" in spec:
        made.model_spec.version.value = spec["version"]
    if "label" in spec:
        made.model_spec.version_label = spec["label"]
    specs = model.signature(signature or "serving_default").inputs
    for one, value in inputs.items():
        made.inputs[one].CopyFrom(tensor(value, specs[one].dtype))
    return made


def same(response: predict_pb2.PredictResponse, right: dict[str, np.ndarray]) -> None:
    assert response.outputs.keys() == right.keys()
    for name, values in right.items():
        found = tf.make_ndarray(response.outputs[name])
        assert found.shape == values.shape
        if values.dtype == object:
            assert found.tolist() == values.tolist()
        else:
            np.testing.assert_allclose(found, values, **SIMILAR)


def predict(contract: Contract, asked: Any) -> predict_pb2.PredictResponse:
    return contract.server.prediction.Predict(asked, TIMEOUT_S)


def refused(method: Callable[..., Any], asked: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        method(asked, TIMEOUT_S)
    return caught.value.code(), caught.value.details()


@pytest.fixture(scope="module")
def model(contract: Contract, loaded: Callable[[str, int], Any]) -> Recommender:
    """The newest version of the model that is asked."""
    return loaded(contract.model, 2)


DEFAULT = {"user_id": USERS, **AS_BUILT}


@pytest.mark.parametrize(("signature", "inputs"), SEARCHES + ONE_INPUT)
def test_every_signature_is_answered(signature, inputs, contract, model):
    response = predict(contract, request(model, contract.model, signature, inputs))
    same(response, expected(model, signature, inputs))
    spec = response.model_spec
    assert (spec.name, spec.version.value) == (contract.model, 2)
    assert spec.signature_name == signature


def test_the_default_signature_needs_no_name(contract, model):
    response = predict(contract, request(model, contract.model, "", DEFAULT))
    same(response, expected(model, "serving_default", DEFAULT))
    assert response.model_spec.signature_name == "serving_default"


def test_what_has_a_default_may_be_left_out(contract, model):
    asked = request(model, contract.model, "", {"user_id": USERS})
    same(predict(contract, asked), expected(model, "serving_default", DEFAULT))


@pytest.mark.parametrize(
    ("spec", "number"),
    [({"version": 1}, 1), ({"version": 2}, 2), ({"label": "stable"}, 1),
     ({"label": "canary"}, 2)],
)  # fmt: skip
def test_versions_and_labels_answer_for_themselves(
    spec, number, contract, model, loaded
):
    response = predict(contract, request(model, contract.model, "", DEFAULT, **spec))
    right = expected(loaded(contract.model, number), "serving_default", DEFAULT)
    same(response, right)
    assert response.model_spec.version.value == number


@pytest.mark.parametrize("names", [["score"], ["title", "candidate_id"]])
def test_only_the_outputs_that_are_wanted_are_sent(names, contract, model):
    asked = request(model, contract.model, "", DEFAULT)
    asked.output_filter.extend(names)
    right = expected(model, "serving_default", DEFAULT)
    same(predict(contract, asked), {name: right[name] for name in names})


def test_raw_content_reads_as_values_do(contract, model):
    vectors = np.random.default_rng(2).normal(size=(2, 9)).astype(np.float32)
    asked = request(
        model, contract.model, "nearest", {"embedding": vectors.tolist(), **AS_BUILT}
    )
    asked.inputs["embedding"].CopyFrom(
        tensor_pb2.TensorProto(
            dtype=tf.float32.as_datatype_enum,
            tensor_shape=tf.TensorShape(vectors.shape).as_proto(),
            tensor_content=vectors.tobytes(),
        )
    )
    right = expected(model, "nearest", {"embedding": vectors.tolist()})
    same(predict(contract, asked), right)


def test_texts_of_raw_content_read_as_values_do(contract, model):
    asked = request(model, contract.model, "embed_query", {"user_id": ["17", "4"]})
    asked.inputs["user_id"].ClearField("string_val")
    asked.inputs["user_id"].tensor_content = b"\x02\x01174"
    right = expected(model, "embed_query", {"user_id": ["17", "4"]})
    same(predict(contract, asked), right)


def test_what_fills_up_a_short_row_is_minus_infinity(contract, model):
    inputs = {"user_id": ["1"], **PADDED}
    response = predict(contract, request(model, contract.model, "", inputs))
    assert list(response.outputs["candidate_id"].string_val[-3:]) == [b"", b"", b""]
    assert list(response.outputs["score"].float_val[-3:]) == [-np.inf] * 3


@pytest.mark.parametrize("name", ["saved", "sharded"])
@pytest.mark.parametrize(("signature", "inputs"), [SEARCHES[1], *ONE_INPUT])
def test_versions_of_each_kind_answer_as_their_model(
    name, signature, inputs, ours, loaded
):
    model = loaded(name, 1)
    response = predict(
        Contract(ours.server, name, True), request(model, name, signature, inputs)
    )
    same(response, expected(model, signature, inputs))


# Refused


def named(name: str | None, **spec: Any) -> predict_pb2.PredictRequest:
    made = predict_pb2.PredictRequest()
    if name is not None:
        made.model_spec.CopyFrom(model_pb2.ModelSpec(name=name))
    if "version" in spec:
        made.model_spec.version.value = spec["version"]
    if "label" in spec:
        made.model_spec.version_label = spec["label"]
    if "signature" in spec:
        made.model_spec.signature_name = spec["signature"]
    return made


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        ({"name": None}, Code.INVALID_ARGUMENT, "Missing ModelSpec"),
        ({"name": ""}, Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (
            {"name": "nope"},
            Code.NOT_FOUND,
            "Servable not found for request: Latest(nope)",
        ),
        (
            {"version": 77},
            Code.NOT_FOUND,
            "Servable not found for request: Specific({name}, 77)",
        ),
        (
            {"label": "nope"},
            Code.INVALID_ARGUMENT,
            "Unrecognized servable version label: nope",
        ),
        (
            {"name": "nope", "label": "stable"},
            Code.INVALID_ARGUMENT,
            "Unrecognized servable version label: stable",
        ),
        (
            {"signature": "x"},
            Code.FAILED_PRECONDITION,
            'Serving signature key "x" not found.',
        ),
    ],
)
def test_what_is_not_served_is_told(spec, code, text, contract):
    asked = named(**{"name": contract.model, **spec})
    found = refused(contract.server.prediction.Predict, asked)
    assert found == (code, text.format(name=contract.model))


def test_an_input_that_is_missing_is_told(contract, model):
    asked = request(model, contract.model, "", {"k": 3})
    code, text = refused(contract.server.prediction.Predict, asked)
    assert code is Code.INVALID_ARGUMENT and "user_id" in text


def test_an_input_too_many_is_told(contract, model):
    asked = request(model, contract.model, "embed_query", {"user_id": ["1"]})
    asked.inputs["more"].CopyFrom(tensor(["1"], tf.string))
    code, text = refused(contract.server.prediction.Predict, asked)
    assert code is Code.INVALID_ARGUMENT
    assert text == (
        "input size does not match signature: 2!=1 len({more,user_id}) != "
        "len({user_id}). Sent extra: {more}. Missing but required: {}."
    )


@pytest.mark.parametrize(
    ("name", "value", "dtype"),
    [
        ("user_id", [1, 2], tf.int64),  # another type
        ("k", 3, tf.int64),
        ("k", [3], tf.int32),  # another shape
        ("user_id", [["1"]], tf.string),
        ("exclude", ["m1"], tf.string),
        ("exclude", [["m1"], ["m2"], ["m3"]], tf.string),  # rows of another number
        ("k", 0, tf.int32),
        ("k", -1, tf.int32),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(name, value, dtype, contract, model):
    asked = request(model, contract.model, "", {"user_id": ["1", "2"]})
    asked.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype))
    code, text = refused(contract.server.prediction.Predict, asked)
    assert code is Code.INVALID_ARGUMENT and name in text


def test_an_output_that_is_none_is_told(contract, model):
    asked = request(model, contract.model, "embed_query", {"user_id": ["1"]})
    asked.output_filter.append("scores")
    assert refused(contract.server.prediction.Predict, asked) == (
        Code.INVALID_ARGUMENT,
        "output tensor alias not found in signature: scores Outputs expected to be in "
        "the set {embedding}.",
    )


def test_an_output_that_is_wanted_twice_is_told(contract, model):
    asked = request(model, contract.model, "", DEFAULT)
    asked.output_filter.extend(["score", "score"])
    assert refused(contract.server.prediction.Predict, asked) == (
        Code.INVALID_ARGUMENT, "duplicate output tensor alias: score",
    )  # fmt: skip


def test_an_example_that_is_none_is_refused(contract, model):
    asked = request(
        model, contract.model, "serving_examples", {"examples": [b"\xff\xff"]}
    )
    code, text = refused(contract.server.prediction.Predict, asked)
    assert code is Code.INVALID_ARGUMENT and "Could not parse example" in text


def test_other_methods_are_not_there(ours):
    from tensorflow_serving.apis import classification_pb2

    asked = classification_pb2.ClassificationRequest()
    asked.model_spec.name = ours.model
    code, _ = refused(ours.server.prediction.Classify, asked)
    assert code is Code.UNIMPLEMENTED


# Metadata and status


def metadata(name: str | None, *fields: str, **spec: Any) -> Any:
    made = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if name is not None:
        made.model_spec.CopyFrom(named(name, **spec).model_spec)
    return made


@pytest.mark.parametrize(
    ("spec", "number"), [({}, 2), ({"version": 1}, 1), ({"label": "stable"}, 1)]
)
def test_the_metadata_are_the_signatures(spec, number, contract, loaded):
    asked = metadata(contract.model, "signature_def", **spec)
    response = contract.server.prediction.GetModelMetadata(asked, TIMEOUT_S)
    assert response.model_spec.name == contract.model
    assert response.model_spec.version.value == number
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    model = loaded(contract.model, number)
    for name, _ in SEARCHES + ONE_INPUT:
        inputs = found.signature_def[name].inputs
        assert inputs.keys() == model.signature(name).inputs.keys()
        for one, spec_ in model.signature(name).inputs.items():
            assert inputs[one].dtype == spec_.dtype.as_datatype_enum


@pytest.mark.parametrize(
    ("name", "fields", "code", "text"),
    [
        (None, ["signature_def"], Code.INVALID_ARGUMENT, "Missing ModelSpec"),
        (
            "main",
            [],
            Code.INVALID_ARGUMENT,
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        (
            "nope",
            ["signature_def"],
            Code.NOT_FOUND,
            "Servable not found for request: Latest(nope)",
        ),
    ],
)
def test_metadata_that_cant_be_told(name, fields, code, text, contract):
    asked = metadata(name, *fields)
    assert refused(contract.server.prediction.GetModelMetadata, asked) == (code, text)


def test_metadata_of_another_field_are_refused(contract):
    asked = metadata(contract.model, "weights")
    code, text = refused(contract.server.prediction.GetModelMetadata, asked)
    assert code is Code.INVALID_ARGUMENT and "is not supported" in text


def status(name: str | None, **spec: Any) -> Any:
    made = get_model_status_pb2.GetModelStatusRequest()
    if name is not None:
        made.model_spec.CopyFrom(named(name, **spec).model_spec)
    return made


def test_the_status_is_told_newest_first(contract):
    found = contract.server.models.GetModelStatus(status(contract.model), TIMEOUT_S)
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert [
        (one.version, one.state, one.status.error_code, one.status.error_message)
        for one in found.model_version_status
    ] == [(2, available, 0, ""), (1, available, 0, "")]


def test_the_status_of_one_version_is_told(contract):
    asked = status(contract.model, version=1)
    found = contract.server.models.GetModelStatus(asked, TIMEOUT_S)
    assert [one.version for one in found.model_version_status] == [1]


@pytest.mark.parametrize(
    ("name", "spec", "code", "text"),
    [
        (None, {}, Code.INVALID_ARGUMENT, "Missing ModelSpec"),
        ("nope", {}, Code.NOT_FOUND, "Could not find any versions of model nope"),
        (
            "{name}",
            {"version": 77},
            Code.NOT_FOUND,
            "Could not find version 77 of model {name}",
        ),
    ],
)
def test_the_status_of_what_is_not_there(name, spec, code, text, contract):
    asked = status(name and name.format(name=contract.model), **spec)
    found = refused(contract.server.models.GetModelStatus, asked)
    assert found == (code, text.format(name=contract.model))


# To serve other models; what else it does is in test_versions.py


def test_to_configure_what_is_served_changes_nothing(ours, folder):
    from google.protobuf import text_format

    before = {name: ours.server.states(name) for name in MODELS}
    asked = model_management_pb2.ReloadConfigRequest()
    text_format.Parse((folder / "models.config").read_text(), asked.config)
    response = ours.server.models.HandleReloadConfigRequest(asked, TIMEOUT_S)
    assert response.status.error_code == 0
    assert {name: ours.server.states(name) for name in MODELS} == before


def test_a_config_that_cant_be_meant_is_refused(ours):
    asked = model_management_pb2.ReloadConfigRequest()
    code, text = refused(ours.server.models.HandleReloadConfigRequest, asked)
    assert code is Code.INVALID_ARGUMENT
    assert text == "no model is named; fill in model_config_list"
    asked.config.model_config_list.config.add(name="a/b", base_path="/nowhere")
    code, text = refused(ours.server.models.HandleReloadConfigRequest, asked)
    assert code is Code.INVALID_ARGUMENT
    assert text == "the model's name must be without / and :, got 'a/b'"
    assert ours.server.states(ours.model).keys() == {1, 2}
