# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Reads, looks into and writes TFRecord files of tf.Examples, thousands at a time.

Records stay the serialized bytes that they are; only the features that are asked for
are decoded, in C++. For 100,000 records every Beam step a record costs seconds.
"""

import dataclasses
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
from google.protobuf import message
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx_bsl.coders import example_coder

from components.columns import Column as DeclaredColumn
from components.conversion import BadValue, convert
from components.splits import Value

RECORDS_PER_BATCH = 4096
FILE_PREFIX = "data_tfrecord"
UNFINISHED_FOLDER = ".unfinished"
"""Folder beside the splits where files stand until they are whole."""

_FILE_FORMAT = "tfrecords_gzip"
_GZIP = "GZIP"
_KINDS = {
    "bytes_list": schema_pb2.BYTES,
    "int64_list": schema_pb2.INT,
    "float_list": schema_pb2.FLOAT,
}

Column = list[list[Value]]
"""For each record the values of one feature; an absent feature has none."""


@dataclasses.dataclass(frozen=True, order=True)
class ExamplesFile:
    """One file of an Examples artifact."""

    path: str
    split: str
    index: int
    files: int


def list_files(artifact: types.Artifact) -> list[ExamplesFile]:
    """Lists the files of all splits of an Examples artifact in a fixed order."""
    result: list[ExamplesFile] = []
    for split in artifact_utils.decode_split_names(artifact.split_names):
        folder = artifact_utils.get_split_uri([artifact], split)
        paths = sorted(os.path.join(folder, name) for name in fileio.listdir(folder))
        result += [
            ExamplesFile(path, split, index, len(paths))
            for index, path in enumerate(paths)
        ]
    return result


def read_batches(path: str, size: int = RECORDS_PER_BATCH) -> Iterator[list[bytes]]:
    """Yields the records of a TFRecord file in order, in lists of bounded length.

    Args:
        path: The file; one that ends in `.gz` is unpacked.
        size: Records a list; the last one may be shorter.

    Raises:
        tf.errors.OpError: If the file is missing, cut short or damaged.
    """
    compression = _GZIP if path.endswith(".gz") else ""
    records = tf.data.TFRecordDataset(path, compression_type=compression)
    for batch in records.batch(size).as_numpy_iterator():
        yield batch.tolist()


class ColumnDecoder:
    """Decodes a few named features of serialized tf.Examples.

    The type of a feature is taken from the first record that has it. An instance may
    be used for many batches but not pickled once it has been used.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._kinds: dict[str, int] = {}
        self._decoder: example_coder.ExamplesToRecordBatchDecoder | None = None

    def decode(self, records: list[bytes]) -> dict[str, Column]:
        """Returns a column for each name, as long as `records`.

        Raises:
            RuntimeError: If a feature changes its type from one record to another.
        """
        columns: dict[str, Column] = {name: [[]] * len(records) for name in self._names}
        arrays = self.decode_arrays(records)
        return columns | {name: _to_lists(array) for name, array in arrays.items()}

    def decode_arrays(self, records: list[bytes]) -> dict[str, pa.LargeListArray]:
        """Returns the values of each record as Arrow has them.

        Args:
            records: Serialized tf.Examples.

        Returns:
            An array by name, as long as `records`. A feature that no record has had
            yet is left out.

        Raises:
            RuntimeError: If a feature changes its type from one record to another.
        """
        self._learn_kinds(records)
        if self._decoder is None:
            return {}
        decoded = self._decoder.DecodeBatch(records)
        return dict(zip(decoded.schema.names, decoded.columns, strict=True))

    def _learn_kinds(self, records: list[bytes]) -> None:
        missing = [name for name in self._names if name not in self._kinds]
        for record in records:
            if not missing:
                break
            features = tf.train.Example.FromString(record).features.feature
            for name in missing:
                kind = features[name].WhichOneof("kind") if name in features else None
                if kind is not None:
                    self._kinds[name] = _KINDS[kind]
                    self._decoder = None
            missing = [name for name in missing if name not in self._kinds]
        if self._decoder is None and self._kinds:
            schema = schema_pb2.Schema()
            for name, kind in self._kinds.items():
                schema.feature.add(name=name, type=kind)
            self._decoder = example_coder.ExamplesToRecordBatchDecoder(
                schema.SerializeToString()
            )


def canonical(record: bytes) -> bytes:
    """Returns equal bytes for equal tf.Examples, whose features have no order."""
    example = tf.train.Example.FromString(record)
    return example.SerializeToString(deterministic=True)


def to_arrow(batch: Sequence[bytes]) -> pa.RecordBatch:
    """Decodes all features of serialized tf.Examples, one large_list array each."""
    return example_coder.ExamplesToRecordBatchDecoder(None).DecodeBatch(list(batch))


def with_features(
    batch: Sequence[bytes], features: Mapping[str, pa.Array]
) -> Sequence[bytes]:
    """Returns serialized tf.Examples with more features; null adds nothing.

    Args:
        batch: Serialized tf.Examples.
        features: large_list arrays, each as long as the batch; one whose name is there
            already takes its place.
    """
    if not features or not batch:
        return batch
    decoded = to_arrow(batch)
    arrays = dict(zip(decoded.schema.names, decoded.columns, strict=True))
    return example_coder.RecordBatchToExamplesEncoder().encode(
        pa.RecordBatch.from_pydict({**arrays, **features})
    )


def rename(batch: list[bytes], names: Mapping[str, str]) -> list[bytes]:
    """Gives features of tf.Examples other names; one that is not there stays so.

    Args:
        batch: Serialized tf.Examples.
        names: New names by old.

    Raises:
        BadValue: A record is no tf.Example, or two features get one name.
    """
    if not names:
        return batch
    decoded = _decoded(batch)
    renamed = [names.get(name, name) for name in decoded.schema.names]
    for name in names.values():
        if renamed.count(name) > 1:
            raise BadValue(
                0, name, "is there already, and source.rename gives its name to another"
            )
    return example_coder.RecordBatchToExamplesEncoder().encode(
        pa.RecordBatch.from_arrays(decoded.columns, renamed)
    )


def conform(batch: list[bytes], wanted: Sequence[DeclaredColumn]) -> list[bytes]:
    """Gives the declared features of tf.Examples their types.

    Args:
        batch: Serialized tf.Examples.
        wanted: What to make of which features.

    Returns:
        The very records if all is as declared; else new ones, in which the features
        that are not declared keep their types and values.

    Raises:
        BadValue: A value cannot be converted, or a required one is missing.
    """
    if not wanted:
        return batch
    decoded = _decoded(batch)
    arrays = dict(zip(decoded.schema.names, decoded.columns, strict=True))
    for column in wanted:
        if column.required and column.name not in arrays:
            raise BadValue(
                0,
                column.name,
                f"is not there, but {', '.join(map(repr, arrays))}: mend the name in "
                "the config",
            )
    absent = pa.nulls(len(batch))
    converted = convert(
        {column.name: arrays.get(column.name, absent) for column in wanted}, wanted
    )
    changed = {
        name: array
        for name, array in zip(converted.schema.names, converted.columns, strict=True)
        if not array.equals(arrays.get(name, absent))
        and (name in arrays or array.null_count < len(array))
    }
    if not changed:
        return batch
    return example_coder.RecordBatchToExamplesEncoder().encode(
        pa.RecordBatch.from_pydict({**arrays, **changed})
    )


def _decoded(batch: list[bytes]) -> pa.RecordBatch:
    """Decodes tf.Examples, or names the first one that can't be."""
    try:
        return to_arrow(batch)
    except RuntimeError:
        raise _first_odd(batch) from None


def _first_odd(batch: Sequence[bytes]) -> BadValue:
    """Returns the first record that is no tf.Example or has a feature of another type.

    Another type, that is, than in the records before it.
    """
    kinds: dict[str, str] = {}
    for row, record in enumerate(batch):
        try:
            features = tf.train.Example.FromString(record).features.feature
        except message.DecodeError:
            return BadValue(row, "", "no tf.Example: write the file anew")
        for name in sorted(features):
            kind = features[name].WhichOneof("kind")
            if kind and kinds.setdefault(name, kind) != kind:
                return BadValue(
                    row,
                    name,
                    f"is of type {kind}, but {kinds[name]} in rows before: write one "
                    "type",
                )
    raise AssertionError("every record can be read")


def _to_lists(column: pa.LargeListArray) -> Column:
    """The values of each record; quick for the usual case of one value each."""
    if column.null_count == 0 and np.all(np.diff(column.offsets) == 1):
        return [[value] for value in column.flatten().to_pylist()]
    return [values or [] for values in column.to_pylist()]


def to_id(values: Sequence[Value]) -> bytes | None:
    """Returns an id as text, or None where there is not exactly one that is not blank.

    Integers are taken as the text of their digits, since ids are strings.
    """
    if len(values) != 1 or isinstance(values[0], float):
        return None
    value = values[0]
    text = value if isinstance(value, bytes) else b"%d" % value
    return text if text.strip() else None


class SplitWriter:
    """Writes one file of a split and shows it under its name only once it is whole.

    A worker that dies or is repeated by Beam leaves nothing in the split's folder.
    """

    def __init__(self, artifact_uri: str, split: str, shard: int, shards: int) -> None:
        name = f"{FILE_PREFIX}-{shard:05d}-of-{shards:05d}.gz"
        self._path = os.path.join(artifact_uri, f"Split-{split}", name)
        unfinished = os.path.join(artifact_uri, UNFINISHED_FOLDER)
        self._unfinished_path = os.path.join(unfinished, f"{uuid.uuid4().hex}.gz")
        fileio.makedirs(os.path.dirname(self._path))
        fileio.makedirs(unfinished)
        self._writer = tf.io.TFRecordWriter(self._unfinished_path, _GZIP)

    def __enter__(self) -> "SplitWriter":
        return self

    def write(self, records: Sequence[bytes]) -> None:
        """Appends records."""
        for record in records:
            self._writer.write(record)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()
        if error is None:
            fileio.rename(self._unfinished_path, self._path, overwrite=True)


def finish_examples(artifact: types.Artifact, split_names: Sequence[str]) -> None:
    """Sets the properties of an Examples artifact whose files are all written."""
    artifact.split_names = artifact_utils.encode_split_names(list(split_names))
    examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(artifact, _FILE_FORMAT)
    unfinished = os.path.join(artifact.uri, UNFINISHED_FOLDER)
    if fileio.exists(unfinished):
        fileio.rmtree(unfinished)


def counters(pipeline: beam.Pipeline, namespace: str) -> dict[str, int]:
    """Returns the counters of a namespace after a pipeline has run."""
    selected = beam.metrics.MetricsFilter().with_namespace(namespace)
    found = pipeline.result.metrics().query(selected)["counters"]
    totals: dict[str, int] = {}
    for counter in found:
        name = counter.key.metric.name
        totals[name] = totals.get(name, 0) + counter.result
    return totals
