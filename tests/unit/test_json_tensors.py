# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""JSON of requests and answers: there and back, and every way to be refused."""

import base64
import json
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import meta_graph_pb2

from serving.server.failure import Code, Failure
from serving.server.json_tensors import dumps, parse, read_predict, write_predict
from serving.server.tensors import (
    DEFAULT_SIGNATURE,
    Input,
    Signature,
    Signatures,
    Tensor,
    of_array,
    to_array,
)

WHOLE = (tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32,
         tf.uint64)  # fmt: skip
FLOATS = (tf.float32, tf.float64)


def signatures(*inputs: Input, outputs: tuple[str, ...] = ("y",)) -> Signatures:
    """One signature, the default one."""
    one = Signature(DEFAULT_SIGNATURE, {i.name: i for i in inputs}, outputs)
    return Signatures(meta_graph_pb2.MetaGraphDef(), {one.name: one})


def takes(dtype: tf.DType, name: str = "x", **options: Any) -> Input:
    return Input(name, dtype, options.pop("shape", None), **options)


@st.composite
def tensors(draw: st.DrawFn, rows: int = 0) -> Any:
    """A type and nested lists of it, of up to three dimensions."""
    dtype = draw(st.sampled_from([tf.string, tf.bool, *WHOLE, *FLOATS]))
    shape = draw(st.lists(st.integers(1, 3), max_size=2))
    shape = [rows, *shape] if rows else shape
    if not rows and draw(st.booleans()):
        shape.append(0)  # lists of nothing
    values = {
        tf.string: st.text(max_size=4).map(str.encode) | st.binary(max_size=4),
        tf.bool: st.booleans(),
        tf.float32: st.floats(width=32),
        tf.float64: st.floats(),
        **{one: st.integers(int(one.min), int(one.max)) for one in WHOLE},
    }[dtype]
    size = math.prod(shape)
    drawn = draw(st.lists(values, min_size=size, max_size=size))
    array = np.empty(size, object if dtype == tf.string else dtype.as_numpy_dtype)
    array[:] = drawn
    return dtype, array.reshape(shape)


def as_json(value: Any) -> Any:
    """Nested lists of what JSON has for a tensor's values."""
    if isinstance(value, np.ndarray) and value.ndim:
        return [as_json(one) for one in value]
    value = value if isinstance(value, bytes) else value.item()
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@given(tensors())
@settings(max_examples=200)
def test_columns_are_read_as_they_are(tensor):
    dtype, array = tensor
    body = json.dumps({"inputs": {"x": as_json(array)}}).encode()
    _, found, is_row = read_predict(body, signatures(takes(dtype)))
    assert not is_row
    same(to_array(found["x"], dtype), array)


@given(tensors(rows=2), st.booleans())
@settings(max_examples=200)
def test_rows_are_read_as_one_batch(tensor, has_name):
    dtype, array = tensor
    rows = [{"x": as_json(one)} if has_name else as_json(one) for one in array]
    body = json.dumps({"instances": rows}).encode()
    _, found, is_row = read_predict(body, signatures(takes(dtype)))
    assert is_row
    same(to_array(found["x"], dtype), array)


@given(tensors(rows=2), tensors(rows=2), st.booleans())
@settings(max_examples=200)
def test_answers_are_written_as_they_are(first, second, is_row):
    outputs = {"a_bytes": first, "b_bytes": second}
    if is_row:
        written = write_predict(
            {name: of_array(array) for name, (_, array) in outputs.items()}, True
        )
        rows = json.loads(written)["predictions"]
        columns = {name: [row[name] for row in rows] for name in outputs}
    else:
        written = write_predict(
            {name: of_array(array) for name, (_, array) in outputs.items()}, False
        )
        columns = json.loads(written)["outputs"]
    assert b"\n" not in written
    for name, (dtype, array) in outputs.items():
        body = json.dumps({"inputs": columns[name]}).encode()
        _, found, _ = read_predict(body, signatures(takes(dtype)))
        same(to_array(found["x"], dtype), array)


@pytest.mark.parametrize(
    ("dtype", "text", "next_text"),
    [
        (tf.float32, "3.4028235e+38", "3.4028236e+38"),
        (tf.float64, "1.7976931348623157e+308", None),
    ],
    ids=lambda value: value.name if isinstance(value, tf.DType) else "",
)
def test_the_largest_number_is_read_as_it_is_written(dtype, text, next_text):
    most = np.finfo(dtype.as_numpy_dtype).max
    assert str(most) == text
    for sign in ("", "-"):
        body = f'{{"inputs": [{sign}{text}]}}'.encode()
        _, found, _ = read_predict(body, signatures(takes(dtype)))
        assert abs(to_array(found["x"], dtype)) == [most]
        body = f'{{"inputs": [{sign}{next_text}]}}'.encode()
        if next_text:
            with pytest.raises(Failure, match="without loss of precision"):
                read_predict(body, signatures(takes(dtype)))


def test_one_output_is_bare_and_several_are_objects():
    one = {"y": of_array(np.array([1, 2], np.int32))}
    assert json.loads(write_predict(one, True)) == {"predictions": [1, 2]}
    assert json.loads(write_predict(one, False)) == {"outputs": [1, 2]}
    two = one | {"z": of_array(np.array([[3], [4]], np.int32))}
    assert json.loads(write_predict(two, True)) == {
        "predictions": [{"y": 1, "z": [3]}, {"y": 2, "z": [4]}]
    }
    assert json.loads(write_predict(two, False)) == {
        "outputs": {"y": [1, 2], "z": [[3], [4]]}
    }


def test_texts_are_text_unless_the_name_says_bytes():
    for texts in (["é", "b"], ["é".encode(), b"b"]):
        written = write_predict({"y": Tensor(texts, (2,))}, True)
        assert json.loads(written) == {"predictions": ["é", "b"]}
    written = write_predict({"y": Tensor([b"a\xff"], (1,))}, True)
    assert json.loads(written) == {"predictions": ["a\ufffd"]}
    written = write_predict({"y_bytes": Tensor([b"\xff"], (1,))}, False)
    assert json.loads(written) == {"outputs": [{"b64": "/w=="}]}


def test_numbers_have_the_fewest_digits_that_tell_them_apart():
    given_ = np.array([0.1, 1.0, 16777216.0, 1e-30, -2.5], np.float32)
    written = write_predict({"y": of_array(given_)}, False)
    assert written == b'{"outputs":[0.1,1.0,16777216.0,1e-30,-2.5]}'


def test_nan_and_infinity_are_bare_tokens_both_ways():
    values = np.array([np.nan, np.inf, -np.inf, 0.1], np.float32)
    bare = b"[NaN,Infinity,-Infinity,0.1]"
    assert write_predict({"y": of_array(values)}, False) == b'{"outputs":%s}' % bare
    assert write_predict({"y": of_array(values)}, True) == b'{"predictions":%s}' % bare
    body = b'{"inputs":%s}' % bare
    _, found, _ = read_predict(body, signatures(takes(tf.float32)))
    same(to_array(found["x"], tf.float32), values)


def test_what_is_finite_is_written_alike_with_and_without_infinity_beside_it():
    values = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    assert json.loads(dumps({"y": values}, is_finite=False)) == json.loads(
        dumps({"y": values})
    )


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_reads_as_itself_again(value):
    (found,) = json.loads(write_predict({"y": of_array(np.float32([value]))}, False))[
        "outputs"
    ]
    assert np.float32(found) == np.float32(value)


TWO = (takes(tf.string, "a", shape=(None,)), takes(tf.float32, "b", shape=(None,)))
K = takes(tf.int32, "k", shape=(), default=Tensor(np.int32([10]), ()))


def test_an_input_with_a_default_may_be_left_out():
    known = signatures(takes(tf.string, "a", shape=(None,)), K)
    for body in (
        {"inputs": {"a": ["u"]}}, {"inputs": ["u"]},
        {"instances": [{"a": "u"}]}, {"instances": ["u"]},
    ):  # fmt: skip
        _, found, _ = read_predict(json.dumps(body).encode(), known)
        assert found["a"] == Tensor(["u"], (1,))
        assert found["k"].values[0] == 10
    _, found, _ = read_predict(b'{"inputs": {"a": ["u"], "k": 3}}', known)
    assert found["k"].values[0] == 3 and found["k"].shape == ()


def deep(depth: int) -> str:
    return "[" * depth + "]" * depth


REFUSED = [
    ("", "JSON Parse error: The document is empty"),
    (" \n", "JSON Parse error: The document is empty"),
    ("[1]", "JSON Value: [1] Is not object"),
    ("null", "JSON Value: null Is not object"),
    ("{}", "Missing 'inputs' or 'instances' key"),
    (
        '{"signature_name": 1}',
        "JSON Value: {\"signature_name\": 1} not formatted correctly. 'signature_name' "
        "key must be a string value.",
    ),
    (
        '{"signature_name": "x"}',
        'Serving signature name: "x" not found in signature def',
    ),
    (
        '{"inputs": 1, "instances": 2}',
        'JSON Value: {"inputs": 1, "instances": 2} Not formatted correctly expecting '
        "only one of 'inputs' or 'instances' keys to exist ",
    ),
    (
        '{"instances": 1}',
        "JSON Value: {\"instances\": 1} Excepting 'instances' to be an list/array",
    ),
    (
        '{"instances": []}',
        "JSON Value: {\"instances\": []} No values in 'instances' array",
    ),
    (
        '{"instances": ["u"]}',
        "instances is a plain list, but expecting list of objects as multiple input "
        "tensors required as per tensorinfo_map",
    ),
    (
        '{"instances": [{"a": "u", "b": 1}, 2]}',
        "Expecting object but got list at item 1 of input list",
    ),
    (
        '{"instances": [{"a": "u"}]}',
        'Failed to process element: 0 of \'instances\' list. JSON object: {"a": "u"} '
        "keys must be equal to: a,b",
    ),
    (
        '{"instances": [{"a": "u", "b": 1, "c": 1}]}',
        "Failed to process element: 0 key: c of 'instances' list. Error: "
        "INVALID_ARGUMENT: JSON object: does not have named input: c",
    ),
    (
        '{"instances": [{"a": "u", "b": 1}, {"a": 7, "b": 1}]}',
        "Failed to process element: 1 key: a of 'instances' list. Error: "
        "INVALID_ARGUMENT: JSON Value: 7 Type: Number is not of expected type: string",
    ),
    (
        '{"instances": [{"a": ["u", "v"], "b": 1}, {"a": ["w"], "b": 1}]}',
        "Failed to process element: 1 key: a of 'instances' list. Error: "
        "INVALID_ARGUMENT: Expecting tensor size: 2 but got: 1",
    ),
    (
        '{"instances": [{"a": ["u", "v"], "b": 1}, {"a": [["w"], ["x"]], "b": 1}]}',
        "Failed to process element: 1 key: a of 'instances' list. Error: "
        "INVALID_ARGUMENT: Expecting shape [2] but got: [2,1]",
    ),
    (
        '{"inputs": ["u"]}',
        "inputs is a plain value/list, but expecting an object as multiple input "
        "tensors required as per tensorinfo_map",
    ),
    ('{"inputs": {"b": [1]}}', "Missing named input: a in 'inputs' object."),
    (
        '{"inputs": {"a": [{"b64": "?"}], "b": [1]}}',
        "Unable to base64 decode",
    ),
    (
        '{"inputs": {"a": [{"b65": "?"}], "b": [1]}}',
        'JSON Value: {"b65": "?"} not formatted correctly for base64 data',
    ),
    (
        '{"inputs": {"a": [null], "b": [1]}}',
        "JSON Value: null Type: Null is not of expected type: string",
    ),
    (
        '{"inputs": {"a": ["u"], "b": [true]}}',
        "JSON Value: true Type: True is not of expected type: float32",
    ),
    (
        '{"inputs": {"a": ["u"], "b": ["1"]}}',
        'JSON Value: "1" Type: String is not of expected type: float32',
    ),
    (
        '{"inputs": {"a": ["u"], "b": [16777217]}}',
        "Cannot convert JSON value: 16777217 to float32 without loss of precision.",
    ),
    (
        '{"inputs": {"a": ["u"], "b": [1e39]}}',
        "Cannot convert JSON value: 1e+39 to float32 without loss of precision.",
    ),
    (
        '{"inputs": {"a": ["u"], "b": [[1], 2]}}',
        "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: "
        "2",
    ),
    (
        '{"inputs": {"a": ["u"], "b": [1, [2]]}}',
        "Encountered list at unexpected level: 1 expected < 1",
    ),
    (
        '{"inputs": {"a": ["u"], "b": [[1], [2, 3]]}}',
        "Encountered list at unexpected size: 2 at level: 1 expected size: 1",
    ),
    (
        '{"inputs": {"a": ["u"], "b": [[1]]}}',
        "Input 'b' must have the shape [?], got [1,1]",
    ),
    (
        f'{{"inputs": {{"a": ["u"], "b": {deep(900)}}}}}',
        "a tensor may have at most 254 dimensions",
    ),
]


@pytest.mark.parametrize(("body", "text"), REFUSED, ids=lambda one: one[:40])
def test_what_is_wrong_with_a_request_is_told_as_by_tensorflow_serving(body, text):
    with pytest.raises(Failure) as caught:
        read_predict(body.encode(), signatures(*TWO))
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message == text


def test_what_is_nested_deep_is_not_shown_whole():
    """Some Pythons can't write it as JSON at all."""
    body = f'{{"instances": {{"a": {deep(990)}}}}}'
    with pytest.raises(Failure) as caught:
        read_predict(body.encode(), signatures(*TWO))
    text = caught.value.message
    assert text.startswith("JSON Value: ")
    assert text.endswith("… Excepting 'instances' to be an list/array")
    assert len(text) < 400


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"a"}', b"NaN}", b'{"a": Infinit}', b'"\xff"', b'{"a": "\\ud800"}',
     b'{"a": NaN, "b": "\\ud800"}', deep(2000).encode(), b"nul\0",
     b'{"NaN": ' + deep(100_000).encode() + b"}"],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_what_is_no_json_is_refused(body):
    with pytest.raises(Failure, match="^JSON Parse error: .* at offset: \\d+$"):
        parse(body)


def test_a_plain_value_that_is_wrong_is_told_without_a_name():
    with pytest.raises(Failure) as caught:
        read_predict(b'{"instances": ["u", 7]}', signatures(takes(tf.string)))
    assert caught.value.message == (
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
        "JSON Value: 7 Type: Number is not of expected type: string"
    )
    with pytest.raises(Failure) as caught:
        read_predict(b'{"instances": ["u", {"x": 7}]}', signatures(takes(tf.string)))
    assert caught.value.message == (
        "Expecting value/list but got object at item 1 of input list"
    )


@pytest.mark.parametrize("dtype", WHOLE)
def test_a_whole_number_out_of_range_is_refused(dtype):
    for value in (int(dtype.max) + 1, int(dtype.min) - 1, 1.0, True):
        with pytest.raises(Failure, match=f"not of expected type: {dtype.name}"):
            read_predict(
                json.dumps({"inputs": [value]}).encode(), signatures(takes(dtype))
            )


def test_a_type_that_json_has_no_values_for_is_told():
    with pytest.raises(Failure) as caught:
        read_predict(b'{"inputs": [1]}', signatures(takes(tf.complex64)))
    assert caught.value.code is Code.UNIMPLEMENTED
    assert caught.value.message == "Conversion of JSON Value: [1] to type: complex64"


def test_a_signature_without_inputs_is_told():
    with pytest.raises(Failure, match="Failed to get input map for signature: serving"):
        read_predict(b'{"inputs": {}}', signatures())


def test_rows_of_outputs_that_differ_are_told():
    one = of_array(np.zeros((1, 2), np.float32))
    with pytest.raises(Failure) as caught:
        write_predict({"a": one, "b": of_array(np.zeros(2, np.float32))}, True)
    assert caught.value.message == (
        "Tensor name: b has inconsistent batch size: 2 expecting: 1"
    )
    with pytest.raises(Failure, match="Tensor name: b has no shape information "):
        write_predict({"a": one, "b": of_array(np.float32(1))}, True)


def test_what_an_error_repeats_is_cut():
    body = json.dumps({"instances": "x" * 10_000}).encode()
    with pytest.raises(Failure) as caught:
        read_predict(body, signatures(*TWO))
    assert len(caught.value.message) < 300
