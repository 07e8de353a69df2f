# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Samples TFRecord files of tf.Examples without TensorFlow, which is slow to import."""

import functools
import os
import struct
from typing import Any

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message

from pipeline.init.files import FileSet, open_unpacked, spread
from serving import stacks
from serving.errors import UserError

_HEAD = struct.Struct("<QI")
_CRC_BYTES = 4
_MOST_BYTES = 1 << 30
_POLYNOMIAL = 0x82F63B78
"""Of CRC-32C, reversed."""
_ENDINGS = (".tfrecord", ".tfrecords", ".tfrecord.gz", ".tfrecords.gz")


def is_tfrecord(path: str) -> bool:
    """Tells whether a file is of records, by its name or by its first checksum."""
    if path.endswith(_ENDINGS):
        return True
    try:
        with open_unpacked(path) as stream:
            head = stream.read(_HEAD.size)
    except (OSError, EOFError):
        return False
    return len(head) == _HEAD.size and _masked_crc(head[:8]) == _HEAD.unpack(head)[1]


def _masked_crc(data: bytes) -> int:
    """Returns the checksum of a few bytes as TFRecord files hold it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read(files: FileSet, rows: int) -> tuple[dict[str, pa.Array], float]:
    """Reads the first examples of some files.

    Returns:
      The features as columns, of lists where an example holds several values, and the
      estimated share of all examples.

    Raises:
      UserError: A record is damaged or is no tf.Example.
    """
    chosen = spread(files.paths, 4)
    examples: list[dict[str, list[Any]]] = []
    read_bytes = 0.0
    for path in chosen:
        found, share = _read_file(path, max(1, rows // len(chosen)))
        examples += found
        read_bytes += share * os.path.getsize(path)
    names = sorted({name for example in examples for name in example})
    columns = {name: _column([e.get(name) for e in examples]) for name in names}
    return columns, min(1.0, read_bytes / files.bytes)


def _read_file(path: str, rows: int) -> tuple[list[dict[str, list[Any]]], float]:
    """Reads the first records of a file and estimates their share of it."""
    examples: list[dict[str, list[Any]]] = []
    try:
        with open_unpacked(path) as stream:
            while len(examples) < rows:
                head = stream.read(_HEAD.size)
                if not head:
                    return examples, 1.0
                length, crc = _HEAD.unpack(head)
                if length > _MOST_BYTES or (
                    not examples and crc != _masked_crc(head[:8])
                ):
                    raise EOFError("no record starts here")
                record = stream.read(length)
                stream.read(_CRC_BYTES)
                examples.append(_parse(record))
            packed = getattr(stream, "fileobj", None) or stream
            return examples, min(1.0, packed.tell() / os.path.getsize(path))
    except (OSError, EOFError, OverflowError, struct.error, message.DecodeError):
        raise UserError(
            f"{path} can't be read as TFRecord of tf.Examples after {len(examples)} "
            "records; write it anew"
        ) from None


def _parse(record: bytes) -> dict[str, list[Any]]:
    """Returns the values of each feature of a serialized tf.Example."""
    example = _example_class().FromString(record)
    features = example.features.feature
    return {
        entry.key: list(getattr(entry.value, kind).value)
        for entry in features
        if (kind := entry.value.WhichOneof("kind"))
    }


def _column(values: list[list[Any] | None]) -> pa.Array:
    """Returns a feature: single values, or lists if an example holds several."""
    if all(value is None or len(value) <= 1 for value in values):
        return pa.array([value[0] if value else None for value in values])
    return pa.array(values)


@functools.cache
def _example_class() -> Any:
    """Builds the message tf.Example, a feature map as the list that it is on the wire.

    In a pool of its own: TensorFlow registers its own where it is imported.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="example.proto", package="shortlist", syntax="proto3"
    )

    def add(name: str, *fields: tuple[str, int, Any, bool]) -> Any:
        declared = file.message_type.add(name=name)
        for label, number, kind, repeated in fields:
            is_message = isinstance(kind, str)
            declared.field.add(
                name=label,
                number=number,
                type=field.TYPE_MESSAGE if is_message else kind,
                type_name=f".shortlist.{kind}" if is_message else None,
                label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
            )
        return declared

    add("BytesList", ("value", 1, field.TYPE_BYTES, True))
    add("FloatList", ("value", 1, field.TYPE_FLOAT, True))
    add("Int64List", ("value", 1, field.TYPE_INT64, True))
    feature = add(
        "Feature",
        ("bytes_list", 1, "BytesList", False),
        ("float_list", 2, "FloatList", False),
        ("int64_list", 3, "Int64List", False),
    )
    feature.oneof_decl.add(name="kind")
    for kind in feature.field:
        kind.oneof_index = 0
    add("Entry", ("key", 1, field.TYPE_STRING, False), ("value", 2, "Feature", False))
    add("Features", ("feature", 1, "Entry", True))
    add("Example", ("features", 1, "Features", False))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    example = pool.FindMessageTypeByName("shortlist.Example")
    return stacks.message_class(example)
