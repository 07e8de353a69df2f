# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""TensorProtos there and back, in each form that clients write, and damaged ones."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from tensorflow.core.framework import tensor_pb2

from serving.server import proto_tensors
from serving.server.failure import Code, Failure
from serving.server.tensors import Input, Tensor, of_array, to_array

NUMBERS = {
    tf.float32: st.floats(width=32),
    tf.float64: st.floats(),
    tf.int32: st.integers(-(2**31), 2**31 - 1),
    tf.int64: st.integers(-(2**63), 2**63 - 1),
    tf.bool: st.booleans(),
}
SHAPES = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[tf.DType, np.ndarray]:
    dtype = draw(st.sampled_from([tf.string, *NUMBERS]))
    if dtype == tf.string:
        return dtype, draw(arrays(object, SHAPES, elements=st.binary(max_size=5)))
    kind = dtype.as_numpy_dtype
    return dtype, draw(arrays(kind, SHAPES, elements=NUMBERS[dtype]))


def read(proto: tensor_pb2.TensorProto, dtype: tf.DType) -> np.ndarray:
    return to_array(proto_tensors.read("x", proto, Input("x", dtype, None)), dtype)


def raw(dtype: tf.DType, array: np.ndarray) -> tensor_pb2.TensorProto:
    """As TensorFlow's C++ writes tensors: all values in one piece of memory."""
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if dtype == tf.string:
        texts = array.reshape(-1).tolist()
        # Lengths as variable-length integers, which are one byte up to 127.
        proto.tensor_content = bytes(map(len, texts)) + b"".join(texts)
    else:
        proto.tensor_content = array.tobytes()
    return proto


def with_values(dtype: tf.DType, array: np.ndarray) -> tensor_pb2.TensorProto:
    """As Python clients write tensors by hand: in the field of their type."""
    field = {
        tf.string: "string_val", tf.float32: "float_val", tf.float64: "double_val",
        tf.int32: "int_val", tf.int64: "int64_val", tf.bool: "bool_val",
    }[dtype]  # fmt: skip
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    getattr(proto, field).extend(array.reshape(-1).tolist())
    return proto


@given(tensors())
@settings(max_examples=150)
def test_every_form_reads_the_same(tensor):
    dtype, array = tensor
    for proto in (
        raw(dtype, array),
        with_values(dtype, array),
        tf.make_tensor_proto(array, dtype, array.shape),
    ):
        found = read(proto, dtype)
        assert found.shape == array.shape and found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@given(tensors())
@settings(max_examples=150)
def test_what_is_written_reads_as_it_was(tensor):
    _, array = tensor
    proto = tensor_pb2.TensorProto()
    proto_tensors.write(of_array(array), proto)
    assert not proto.tensor_content  # values are what clients look for
    found = tf.make_ndarray(proto)
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_texts_are_written_as_utf_8():
    proto = tensor_pb2.TensorProto()
    proto_tensors.write(Tensor(["é", "東京"], (2,)), proto)
    assert list(proto.string_val) == ["é".encode(), "東京".encode()]


def test_one_value_stands_for_all():
    for dtype, value in ((tf.string, b"a"), (tf.float32, 0.5), (tf.int32, 3)):
        proto = with_values(dtype, np.array(value))
        proto.tensor_shape.dim.add().size = 4
        assert read(proto, dtype).tolist() == [value] * 4


def refused(proto: tensor_pb2.TensorProto, dtype: tf.DType) -> str:
    with pytest.raises(Failure) as caught:
        read(proto, dtype)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(tf.float32, "string"), (tf.int64, "int32"), (tf.string, "float32")],
)
def test_another_type_is_told(given, wanted):
    proto = with_values(given, np.array([], given.as_numpy_dtype))
    assert refused(proto, tf.dtypes.as_dtype(wanted)) == (
        f"Expected input 'x' to be {wanted}, got {given.name}"
    )


def test_a_type_that_is_none_is_told():
    message = refused(tensor_pb2.TensorProto(), tf.string)
    assert message.startswith("Expected input 'x' to be string, got ")
    proto = tensor_pb2.TensorProto(dtype=99)
    assert refused(proto, tf.string).endswith("got type 99")


def test_a_shape_that_is_not_told_is_refused():
    proto = with_values(tf.float32, np.zeros(2, np.float32))
    proto.tensor_shape.unknown_rank = True
    assert refused(proto, tf.float32) == "Input 'x' has no shape"


def test_a_negative_size_is_refused():
    proto = with_values(tf.float32, np.zeros(2, np.float32))
    proto.tensor_shape.dim[0].size = -2
    assert "negative size: [-2]" in refused(proto, tf.float32)


@pytest.mark.parametrize("dtype", [tf.string, tf.float32])
@pytest.mark.parametrize("shape", [(10**6,), (10**12,), (2**62, 2**62), (1000, 1000)])
def test_a_few_bytes_may_not_claim_much_memory(dtype, shape):
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    assert refused(proto, dtype) == (
        f"Input 'x' has fewer values than its shape {list(shape)}"
    )


@pytest.mark.parametrize("dtype", [tf.string, tf.float32, tf.int32])
@pytest.mark.parametrize("cut", [1, 3])
def test_raw_content_that_is_cut_is_refused(dtype, cut):
    kind = object if dtype == tf.string else dtype.as_numpy_dtype
    array = np.array([b"ab", b"cd"] if dtype == tf.string else [1, 2], kind)
    proto = raw(dtype, array)
    proto.tensor_content = proto.tensor_content[:-cut]
    assert refused(proto, dtype) == (
        "Input 'x' does not hold the values of its shape [2]"
    )


def test_more_values_than_the_shape_has_are_refused():
    for dtype, value in ((tf.string, b"a"), (tf.float32, 0.5)):
        proto = with_values(dtype, np.array([value] * 3))
        proto.tensor_shape.dim[0].size = 2
        assert refused(proto, dtype) == (
            "Input 'x' does not hold the values of its shape [2]"
        )
