# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Infers a schema as TFX does and lets declarations win."""

import os
from collections.abc import Iterable
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types
from tfx.components.schema_gen import executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils

from components.columns import Column, Kind, load_columns
from serving.errors import UserError

COLUMNS_KEY = "columns"
DERIVED_KEY = "derived"
SCHEMA_FILE_KEY = "schema_file"
SCHEMA_TEXT_KEY = "schema_text"
FINGERPRINT_KEY = "fingerprint"

_TYPES = {
    Kind.TEXT: schema_pb2.BYTES,
    Kind.TEXTS: schema_pb2.BYTES,
    Kind.NUMBER: schema_pb2.FLOAT,
    Kind.TIMESTAMP: schema_pb2.INT,
    Kind.VECTOR: schema_pb2.FLOAT,
}


class Executor(executor.Executor):
    """The standard executor, whose schema is then made to fit the declarations."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the schema.

        Args:
            input_dict: `statistics`, as for the standard executor.
            output_dict: `schema`, as for the standard executor.
            exec_properties: Those of the standard executor, `columns` and `derived` as
                JSON, and `schema_file`, the written schema or "".

        Raises:
            UserError: The written schema can't be read.
        """
        derived = load_columns(exec_properties[DERIVED_KEY])
        path = os.path.join(
            artifact_utils.get_single_uri(
                output_dict[standard_component_specs.SCHEMA_KEY]
            ),
            executor.DEFAULT_FILE_NAME,
        )
        if exec_properties[SCHEMA_FILE_KEY]:
            schema = _parse(
                exec_properties[SCHEMA_TEXT_KEY], exec_properties[SCHEMA_FILE_KEY]
            )
            known = {feature.name for feature in schema.feature}
            columns = [column for column in derived if column.name not in known]
        else:
            super().Do(input_dict, output_dict, exec_properties)
            schema = io_utils.parse_pbtxt_file(path, schema_pb2.Schema())
            columns = [*load_columns(exec_properties[COLUMNS_KEY]), *derived]
        io_utils.write_pbtxt_file(path, declare(schema, columns))


def _parse(text: str, path: str) -> schema_pb2.Schema:
    try:
        return text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError as error:
        raise UserError(
            f"{path} is no schema ({error}): write it as TFX's schema.pbtxt"
        ) from None


def declare(schema: schema_pb2.Schema, columns: Iterable[Column]) -> schema_pb2.Schema:
    """Returns a schema in which the declared columns are as declared.

    Args:
        schema: Inferred from the data.
        columns: Declared; one that the data never had a value for is added.
    """
    wanted = {column.name: column for column in columns}
    result = schema_pb2.Schema()
    result.CopyFrom(schema)
    del result.feature[:]
    result.feature.extend(f for f in schema.feature if f.name not in wanted)
    result.feature.extend(_feature(column) for column in wanted.values())
    return result


def _feature(column: Column) -> schema_pb2.Feature:
    feature = schema_pb2.Feature(name=column.name, type=_TYPES[column.kind])
    feature.presence.min_fraction = 1.0 if column.required else 0.0
    if column.required:
        feature.presence.min_count = 1
        feature.shape.dim.add(size=1)
    elif column.kind == Kind.VECTOR:
        feature.value_count.min = feature.value_count.max = column.dimensions
    else:
        feature.value_count.min = 1
        if column.kind != Kind.TEXTS:
            feature.value_count.max = 1
    return feature
