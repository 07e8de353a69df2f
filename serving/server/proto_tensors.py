# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""TensorProtos of gRPC requests to tensors and back."""

import functools
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2

from serving.server.failure import invalid
from serving.server.tensors import Input, Shape, Tensor, of_array, size_of


def read(name: str, proto: tensor_pb2.TensorProto, wanted: Input) -> Tensor:
    """Reads an input.

    Args:
      name: Of the input, for errors.
      proto: As it came in.
      wanted: What the signature takes.

    Raises:
      Failure: It is of another type, or not whole.
    """
    if proto.dtype != wanted.enum:
        raise invalid(
            f"Expected input '{name}' to be {wanted.dtype.name}, got "
            f"{_type_name(proto.dtype)}"
        )
    shape = _shape(name, proto)
    # Almost all requests have it so, and make_ndarray is slow.
    field = _READ_FIELDS.get(wanted.kind)
    if field and not proto.tensor_content:
        values = list(getattr(proto, field))
        if len(values) == size_of(shape):
            is_text = wanted.kind is object
            return Tensor(values if is_text else np.array(values, wanted.kind), shape)
    return _read_any(name, proto, shape, wanted.dtype)


def _type_name(dtype: int) -> str:
    try:
        return tf.dtypes.as_dtype(dtype).name
    except TypeError:
        return f"type {dtype}"


def _shape(name: str, proto: tensor_pb2.TensorProto) -> Shape:
    """Returns the shape of a tensor that says it and can be as large.

    A few bytes may claim any shape: a list of values that is too short is filled up
    with the last one. So a tensor may be as large as its message, times a little.
    """
    if proto.tensor_shape.unknown_rank:
        raise invalid(f"Input '{name}' has no shape")
    shape = tuple(one.size for one in proto.tensor_shape.dim)
    if min(shape, default=0) < 0:
        raise invalid(f"Input '{name}' has a shape with a negative size: {list(shape)}")
    size = size_of(shape)
    if size > _MOST_FILLED and size > _MOST_FILLED + proto.ByteSize():
        raise invalid(f"Input '{name}' has fewer values than its shape {list(shape)}")
    return shape


_MOST_FILLED = 4096
"""Values beyond those of a message's bytes that filling up may make."""


def _read_any(
    name: str, proto: tensor_pb2.TensorProto, shape: Shape, dtype: tf.DType
) -> Tensor:
    """Reads a tensor in whatever form: values, one for all, or raw content."""
    try:
        if dtype == tf.string and len(proto.string_val) <= size_of(shape):
            # NumPy can't read texts as raw content, which C++ writes.
            parsed = tf.io.parse_tensor(proto.SerializeToString(), dtype)
            return of_array(np.asarray(parsed.numpy(), object))
        return of_array(tf.make_ndarray(proto))
    except (TypeError, ValueError, IndexError, tf.errors.InvalidArgumentError):
        raise invalid(
            f"Input '{name}' does not hold the values of its shape {list(shape)}"
        ) from None


def write(tensor: Tensor, proto: tensor_pb2.TensorProto) -> None:
    """Writes an output, its values in the field of their type.

    Args:
      tensor: The output.
      proto: Empty; it is filled.
    """
    proto.tensor_shape.CopyFrom(_shape_proto(tensor.shape))
    values: Any = tensor.values
    if isinstance(values, np.ndarray):
        kind = values.dtype.type
        proto.dtype = _ENUMS[kind]
        getattr(proto, _FIELDS[kind]).extend(values.tolist())
        return
    proto.dtype = types_pb2.DT_STRING
    if values and isinstance(values[0], str):
        values = [one.encode() for one in values]
    proto.string_val.extend(values)


@functools.lru_cache(256)
def _shape_proto(shape: Shape) -> tensor_shape_pb2.TensorShapeProto:
    """Returns a shape as a message, to be copied."""
    made = tensor_shape_pb2.TensorShapeProto()
    for size in shape:
        made.dim.add().size = size
    return made


_FIELDS = {
    np.float32: "float_val",
    np.float64: "double_val",
    np.int32: "int_val",
    np.int64: "int64_val",
    np.bool_: "bool_val",
}
"""Those of the types that a servable's signatures return."""
_READ_FIELDS: dict[Any, str] = {**_FIELDS, object: "string_val"}
_ENUMS = {kind: tf.dtypes.as_dtype(kind).as_datatype_enum for kind in _FIELDS}
