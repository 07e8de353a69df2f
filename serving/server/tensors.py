# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors of requests and answers, and the signatures that they have to fit."""

import dataclasses
import functools
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from serving.errors import UserError
from serving.server.failure import invalid

DEFAULT_SIGNATURE = "serving_default"
Shape = tuple[int, ...]


class Tensor(NamedTuple):
    """Values in row-major order, and their shape.

    Texts are a list of str, or of bytes where a client has sent bytes; all else is a
    NumPy array of one dimension.
    """

    values: list[str] | list[bytes] | np.ndarray
    shape: Shape

    @property
    def rows(self) -> int:
        """The size of the first dimension, 1 of a scalar."""
        return self.shape[0] if self.shape else 1


Tensors = dict[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Input:
    """What a signature takes under a name."""

    name: str
    dtype: tf.DType
    shape: tuple[int | None, ...] | None
    """None for any number of dimensions, None in it for any size."""
    default: Tensor | None = None
    """Taken where a request leaves it out."""

    # TensorFlow's types are slow to be asked, which every request would do.

    @functools.cached_property
    def enum(self) -> int:
        """The type as protobufs have it."""
        return self.dtype.as_datatype_enum

    @functools.cached_property
    def kind(self) -> Any:
        """The type as NumPy has it; `object` for texts."""
        return self.dtype.as_numpy_dtype

    def check(self, tensor: Tensor) -> None:
        """Refuses a tensor of another shape.

        Raises:
          Failure: It has one.
        """
        wanted = self.shape
        if wanted is None:
            return
        if len(wanted) != len(tensor.shape) or any(
            size is not None and size != given
            for size, given in zip(wanted, tensor.shape, strict=True)
        ):
            shape = ",".join("?" if size is None else f"{size}" for size in wanted)
            given = ",".join(map(str, tensor.shape))
            raise invalid(
                f"Input '{self.name}' must have the shape [{shape}], got [{given}]"
            )


@dataclasses.dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a function of a model."""

    name: str
    inputs: dict[str, Input]
    outputs: tuple[str, ...]

    def complete(self, given: Mapping[str, Tensor]) -> Tensors:
        """Checks inputs against the signature and adds the defaults of others.

        Args:
          given: By name.

        Returns:
          A tensor for each input.

        Raises:
          Failure: One is unknown, missing, or of another shape.
        """
        self.check_names(given)
        found: Tensors = {}
        for name, wanted in self.inputs.items():
            tensor = given.get(name)
            if tensor is None:
                assert wanted.default is not None  # else it is in `missing`
                found[name] = wanted.default
            else:
                wanted.check(tensor)
                found[name] = tensor
        return found

    def check_names(self, given: Mapping[str, Any]) -> None:
        """Refuses inputs that are unknown, and a request without a needed one.

        Raises:
          Failure: There is one.
        """
        missing = self.required - given.keys()
        extra = given.keys() - self.inputs.keys()
        if missing or extra:
            raise invalid(
                f"input size does not match signature: {len(given)}!="
                f"{len(self.inputs)} len({_set(given)}) != len({_set(self.inputs)}). "
                f"Sent extra: {_set(extra)}. Missing but required: {_set(missing)}."
            )

    @functools.cached_property
    def required(self) -> frozenset[str]:
        """Names of the inputs without defaults."""
        return frozenset(
            name for name, one in self.inputs.items() if one.default is None
        )


def _set(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


@dataclasses.dataclass(frozen=True)
class Signatures:
    """All signatures of a version."""

    definitions: meta_graph_pb2.MetaGraphDef
    """Holds `signature_def`, as metadata tells them."""
    by_name: dict[str, Signature]

    def find(self, name: str) -> Signature:
        """Returns a signature; "" is the default one.

        Raises:
          Failure: There is none of that name.
        """
        name = name or DEFAULT_SIGNATURE
        found = self.by_name.get(name)
        if found is None:
            raise invalid(
                f'Serving signature name: "{name}" not found in signature def'
            )
        return found


def read_signatures(path: str) -> Signatures:
    """Reads the signatures of a SavedModel without loading it.

    Args:
      path: Folder of a SavedModel.

    Raises:
      UserError: There is none, or it is damaged.
    """
    file = os.path.join(path, "saved_model.pb")
    try:
        with tf.io.gfile.GFile(file, "rb") as content:
            model = saved_model_pb2.SavedModel.FromString(content.read())
        graph = model.meta_graphs[0]
    except tf.errors.OpError:
        raise UserError(f"{file} can't be read; push the model again") from None
    # An empty file has no meta graph.
    except (message.DecodeError, IndexError):
        raise UserError(f"{file} is damaged; push the model again") from None
    definitions = meta_graph_pb2.MetaGraphDef()
    for name, one in graph.signature_def.items():
        definitions.signature_def[name].CopyFrom(one)
    return Signatures(
        definitions,
        {name: _signature(name, one) for name, one in graph.signature_def.items()},
    )


def _signature(name: str, definition: meta_graph_pb2.SignatureDef) -> Signature:
    inputs = {
        one: Input(
            one,
            tf.dtypes.as_dtype(info.dtype),
            _shape(info.tensor_shape),
            _default(definition, one),
        )
        for one, info in sorted(definition.inputs.items())
    }
    return Signature(name, inputs, tuple(sorted(definition.outputs)))


def _shape(proto: "tf.TensorShapeProto") -> tuple[int | None, ...] | None:
    if proto.unknown_rank:
        return None
    return tuple(None if one.size < 0 else one.size for one in proto.dim)


def _default(definition: meta_graph_pb2.SignatureDef, name: str) -> Tensor | None:
    if name not in definition.defaults:
        return None
    return of_array(tf.make_ndarray(definition.defaults[name]))


def of_array(array: np.ndarray) -> Tensor:
    """Makes a tensor of a NumPy array, of bytes objects if it holds texts."""
    flat = array.reshape(-1)
    return Tensor(flat.tolist() if array.dtype == object else flat, array.shape)


def to_array(tensor: Tensor, dtype: tf.DType) -> np.ndarray:
    """Makes a NumPy array of a tensor, of bytes objects if it holds texts."""
    if dtype == tf.string:
        array = np.empty(len(tensor.values), object)
        array[:] = [as_bytes(value) for value in tensor.values]
        return array.reshape(tensor.shape)
    return np.asarray(tensor.values, dtype.as_numpy_dtype).reshape(tensor.shape)


def as_bytes(value: str | bytes) -> bytes:
    """Returns a text as UTF-8."""
    return value if isinstance(value, bytes) else value.encode()


def as_text(value: str | bytes) -> str:
    """Returns bytes as text; what is no UTF-8 becomes something that no id is."""
    return value if isinstance(value, str) else value.decode(errors="replace")


def size_of(shape: Sequence[int]) -> int:
    """Returns how many values a shape has."""
    return math.prod(shape)
