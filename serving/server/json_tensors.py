# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""JSON of TensorFlow Serving's REST API to tensors and back.

Requests are rows (`instances`) or columns (`inputs`), and so are the answers to them.
Beyond TensorFlow Serving's rules an input that has a default may be left out of either.
"""

import base64
import binascii
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import tensorflow as tf

from serving.server.failure import Code, Failure, invalid
from serving.server.tensors import (
    Input,
    Shape,
    Signature,
    Signatures,
    Tensor,
    Tensors,
    as_bytes,
    as_text,
    size_of,
)

_INSTANCES, _INPUTS, _SIGNATURE = "instances", "inputs", "signature_name"
_B64 = "b64"
_BYTES_SUFFIX = "_bytes"
_MOST_DIMENSIONS = 254
_SHOWN = 200
"""Characters of a value that an error repeats."""
_JSON_TYPES = {
    dict: "Object", list: "Array", str: "String", int: "Number", float: "Number",
    type(None): "Null",
}  # fmt: skip


def parse(body: bytes) -> Any:
    """Parses JSON, in which NaN and Infinity are numbers.

    Raises:
      Failure: It is none.
    """
    if not body.strip():
        raise invalid("JSON Parse error: The document is empty")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _parse_leniently(body, error)


def _parse_leniently(body: bytes, error: orjson.JSONDecodeError) -> Any:
    """Parses what is JSON but for NaN and Infinity."""
    if b"NaN" in body or b"Infinity" in body:
        try:
            content = json.loads(body)
            # It takes halves of surrogate pairs, which are no text.
            json.dumps(content, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            pass
        else:
            return content
    raise invalid(
        f"JSON Parse error: {error.msg[:1].upper()}{error.msg[1:]} at offset: "
        f"{error.pos}"
    ) from None


def read_predict(
    body: bytes, signatures: Signatures
) -> tuple[Signature, Tensors, bool]:
    """Reads the body of a predict request.

    Returns:
      The signature, a tensor for each of its inputs, and whether the request has rows.

    Raises:
      Failure: It can't be read, or does not fit the signature.
    """
    content = parse(body)
    if not isinstance(content, dict):
        raise invalid(f"JSON Value: {_shown(content)} Is not object")
    name = content.get(_SIGNATURE, "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {_shown(content)} not formatted correctly. "
            f"'{_SIGNATURE}' key must be a string value."
        )
    signature = signatures.find(name)
    if not signature.inputs:
        raise invalid(f"Failed to get input map for signature: {signature.name}")
    if _INSTANCES in content and _INPUTS in content:
        raise invalid(
            f"JSON Value: {_shown(content)} Not formatted correctly expecting only one "
            f"of '{_INPUTS}' or '{_INSTANCES}' keys to exist "
        )
    if _INSTANCES in content:
        return signature, _read_rows(content, signature), True
    if _INPUTS in content:
        return signature, _read_columns(content[_INPUTS], signature), False
    raise invalid(f"Missing '{_INPUTS}' or '{_INSTANCES}' key")


def _read_rows(content: dict[str, Any], signature: Signature) -> Tensors:
    """Reads `instances`: plain values of the one input, or objects."""
    rows = content[_INSTANCES]
    if not isinstance(rows, list):
        raise invalid(
            f"JSON Value: {_shown(content)} Excepting '{_INSTANCES}' to be an "
            "list/array"
        )
    if not rows:
        raise invalid(
            f"JSON Value: {_shown(content)} No values in '{_INSTANCES}' array"
        )
    has_names = _is_object(rows[0])
    if has_names:
        columns = _columns(rows, signature)
    elif len(signature.required) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    else:
        for at, row in enumerate(rows):
            if _is_object(row):
                raise invalid(
                    f"Expecting value/list but got object at item {at} of input list"
                )
        columns = {_only_input(signature): rows}
    return signature.complete(
        {
            name: _read_column(values, signature.inputs[name], has_names)
            for name, values in columns.items()
        }
    )


def _columns(rows: list[Any], signature: Signature) -> dict[str, list[Any]]:
    """Returns the values of each key of objects that must all have the same keys."""
    for at, row in enumerate(rows):
        if not _is_object(row):
            raise invalid(f"Expecting object but got list at item {at} of input list")
        for name in row:
            if name not in signature.inputs:
                raise invalid(
                    f"Failed to process element: {at} key: {name} of 'instances' list. "
                    f"Error: INVALID_ARGUMENT: JSON object: does not have named input: "
                    f"{name}"
                )
        if not row.keys() >= signature.required or row.keys() != rows[0].keys():
            keys = sorted(signature.required | rows[0].keys())
            raise invalid(
                f"Failed to process element: {at} of 'instances' list. JSON object: "
                f"{_shown(row)} keys must be equal to: {','.join(keys)}"
            )
    return {name: [row[name] for row in rows] for name in rows[0]}


def _read_column(values: list[Any], wanted: Input, has_name: bool) -> Tensor:
    """Reads the values of an input of all rows, each of the same shape.

    Args:
      values: A row each.
      wanted: What the signature takes.
      has_name: Whether the request names the input, so that errors do.
    """
    where = f" key: {wanted.name}" if has_name else ""
    shape: Shape | None = None
    found: list[Any] = []
    for at, value in enumerate(values):
        try:
            own = _dense_shape(value)
            flat = _flat(value, own, wanted.dtype)
            _check_same(own, own if shape is None else shape)
        except Failure as failure:
            raise invalid(
                f"Failed to process element: {at}{where} of 'instances' list. Error: "
                f"{failure.code.name}: {failure.message}"
            ) from None
        shape = own
        found += flat
    return _tensor(found, (len(values), *(shape or ())), wanted.dtype)


def _check_same(shape: Shape, first: Shape) -> None:
    """Refuses a row's value of another shape than that of the first row."""
    size, expected = size_of(shape), size_of(first)
    if size != expected:
        raise invalid(f"Expecting tensor size: {expected} but got: {size}")
    if shape != first:
        raise invalid(
            f"Expecting shape {_shape_text(first)} but got: {_shape_text(shape)}"
        )


def _only_input(signature: Signature) -> str:
    """Returns the name of the input that plain values are for."""
    return next(iter(signature.required or signature.inputs))


def _read_columns(inputs: Any, signature: Signature) -> Tensors:
    """Reads `inputs`: a value of the one input, or an object."""
    if not _is_object(inputs):
        if len(signature.required) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        inputs = {_only_input(signature): inputs}
    for name in signature.inputs:
        if name in signature.required and name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    found = {}
    for name, wanted in signature.inputs.items():
        if name in inputs:
            shape = _dense_shape(inputs[name])
            values = _flat(inputs[name], shape, wanted.dtype)
            found[name] = _tensor(values, shape, wanted.dtype)
    return signature.complete(found)


def _dense_shape(value: Any) -> Shape:
    """Returns the shape of nested lists by their first elements.

    Raises:
      Failure: They are nested deeper than TensorFlow's tensors can be.
    """
    shape: list[int] = []
    while isinstance(value, list):
        if len(shape) == _MOST_DIMENSIONS:
            raise invalid(f"a tensor may have at most {_MOST_DIMENSIONS} dimensions")
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _flat(value: Any, shape: Shape, dtype: tf.DType) -> list[Any]:
    """Returns all values of nested lists, checked for shape and type."""
    found: list[Any] = []
    read = _READERS.get(dtype)
    if read is None:
        raise Failure(
            Code.UNIMPLEMENTED,
            f"Conversion of JSON Value: {_shown(value)} to type: {dtype.name}",
        )
    _fill(value, 0, shape, read, found)
    return found


def _fill(
    value: Any,
    level: int,
    shape: Shape,
    read: Callable[[Any], Any],
    found: list[Any],
) -> None:
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise invalid(
                f"JSON Value: {_shown(value)} found at incorrect level: {level + 1} in "
                f"the JSON DOM. Expected at level: {rank}"
            )
        found.append(read(value))
        return
    if level >= rank:
        raise invalid(
            f"Encountered list at unexpected level: {level} expected < {rank}"
        )
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for one in value:
        _fill(one, level + 1, shape, read, found)


def _tensor(values: list[Any], shape: Shape, dtype: tf.DType) -> Tensor:
    if dtype == tf.string:
        return Tensor(values, shape)
    return Tensor(np.array(values, dtype.as_numpy_dtype), shape)


def _read_text(value: Any) -> str | bytes:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise _type_error(value, tf.string)
    if not _is_base64(value):
        raise invalid(
            f"JSON Value: {_shown(value)} not formatted correctly for base64 data"
        )
    try:
        return base64.b64decode(value[_B64], validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def _number_reader(dtype: tf.DType) -> Callable[[Any], float]:
    """Returns what reads a number, which may be a whole one."""
    info = np.finfo(dtype.as_numpy_dtype)
    digits = info.nmant + 1
    # The largest number is written shorter than it is, by one a little above it.
    too_much = float(info.max) + 2.0 ** (info.maxexp - info.nmant - 2)

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _type_error(value, dtype)
        is_lossy = (
            abs(value) >= 2**digits
            if isinstance(value, int)
            else math.isfinite(value) and abs(value) >= too_much
        )
        if is_lossy:
            raise invalid(
                f"Cannot convert JSON value: {_shown(value)} to {dtype.name} without "
                "loss of precision."
            )
        return float(value)

    return read


def _whole_number_reader(dtype: tf.DType) -> Callable[[Any], int]:
    least, most = dtype.min, dtype.max

    def read(value: Any) -> int:
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or not least <= value <= most
        ):
            raise _type_error(value, dtype)
        return value

    return read


def _read_truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _type_error(value, tf.bool)
    return value


_READERS: dict[tf.DType, Callable[[Any], Any]] = {
    tf.string: _read_text,
    tf.bool: _read_truth,
    **{one: _number_reader(one) for one in (tf.float32, tf.float64)},
    **{
        one: _whole_number_reader(one)
        for one in (
            tf.int8, tf.int16, tf.int32, tf.int64,
            tf.uint8, tf.uint16, tf.uint32, tf.uint64,
        )
    },
}  # fmt: skip


def _type_error(value: Any, dtype: tf.DType) -> Failure:
    kind = (
        {True: "True", False: "False"}.get(value) if isinstance(value, bool) else None
    )
    return invalid(
        f"JSON Value: {_shown(value)} Type: {kind or _JSON_TYPES[type(value)]} is not "
        f"of expected type: {dtype.name}"
    )


def _is_base64(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {_B64}
        and isinstance(value[_B64], str)
    )


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _shown(value: Any) -> str:
    """Returns a value as JSON, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "…"  # nested too deep to be written, and to be read by anybody
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _shape_text(shape: Shape) -> str:
    return f"[{','.join(map(str, shape))}]"


def write_predict(outputs: Tensors, is_row: bool) -> bytes:
    """Writes the answer to a predict request.

    Args:
      outputs: By name.
      is_row: Whether the request had rows, so that the answer has.

    Raises:
      Failure: Rows are asked for and the outputs are not as many.
    """
    if is_row:
        _check_rows(outputs)
    nested = {name: _nested(name, one) for name, one in outputs.items()}
    content: Any = next(iter(nested.values())) if len(nested) == 1 else nested
    if is_row and len(nested) > 1:
        content = [
            dict(zip(nested, row, strict=True))
            for row in zip(*nested.values(), strict=True)
        ]
    is_finite = all(_is_finite(one.values) for one in outputs.values())
    return dumps({"predictions" if is_row else "outputs": content}, is_finite)


def _check_rows(outputs: Tensors) -> None:
    batch = next(iter(outputs.values())).rows
    for name, one in outputs.items():
        if not one.shape:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if one.rows != batch:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {one.rows} "
                f"expecting: {batch}"
            )


def _is_finite(values: list[str] | list[bytes] | np.ndarray) -> bool:
    """Tells whether there is neither NaN nor Infinity in an output."""
    is_float = isinstance(values, np.ndarray) and values.dtype.kind == "f"
    return not is_float or bool(np.isfinite(values).all())


def _nested(name: str, tensor: Tensor) -> Any:
    """Returns an output as nested lists, or as the NumPy array that it is."""
    if isinstance(tensor.values, np.ndarray):
        return tensor.values.reshape(tensor.shape)
    values: list[Any] = tensor.values
    if name.endswith(_BYTES_SUFFIX):
        values = [{_B64: base64.b64encode(as_bytes(one)).decode()} for one in values]
    elif values and isinstance(values[0], bytes):
        values = [as_text(one) for one in values]
    for at in range(len(tensor.shape) - 1, 0, -1):
        size, count = tensor.shape[at], math.prod(tensor.shape[:at])
        values = [values[one * size : (one + 1) * size] for one in range(count)]
    return values if tensor.shape else values[0]


def dumps(content: Any, is_finite: bool = True) -> bytes:
    """Writes JSON, numbers of NumPy with the fewest digits that tell them apart.

    Args:
      content: Nested values, NumPy arrays among them.
      is_finite: Whether there are neither NaN nor Infinity; orjson writes none as the
        bare tokens that TensorFlow Serving writes.
    """
    if is_finite:
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    text = json.dumps(
        content, ensure_ascii=False, separators=(",", ":"), default=_listed
    )
    return text.encode()


def _listed(array: np.ndarray) -> Any:
    """Returns an array as a list; of float32 the shortest numbers that read as it."""
    if array.ndim:
        return [_listed(one) for one in array]
    return float(str(array)) if array.dtype == np.float32 else array.item()
