# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""FileExampleGen: brings files into the pipeline as Examples."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tfx import types
from tfx.components import FileBasedExampleGen
from tfx.components.example_gen import utils
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration import data_types
from tfx.proto import example_gen_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components import splits
from components.columns import Column, dump_columns
from components.file_example_gen import driver, executor, files
from components.file_example_gen.readers import FORMATS
from serving.errors import UserError


class FileExampleGenSpec(standard_component_specs.FileBasedExampleGenSpec):
    """Spec of FileExampleGen: the standard one, and how to read and split."""

    PARAMETERS = {
        **standard_component_specs.FileBasedExampleGenSpec.PARAMETERS,
        executor.FORMAT_KEY: component_spec.ExecutionParameter(type=str),
        executor.COLUMNS_KEY: component_spec.ExecutionParameter(type=str),
        executor.SPLIT_KEY: component_spec.ExecutionParameter(type=str),
        executor.PATTERN_KEY: component_spec.ExecutionParameter(type=str),
        executor.LAST_SPANS_KEY: component_spec.ExecutionParameter(type=int),
        executor.CODE_KEY: component_spec.ExecutionParameter(type=str),
        executor.PATH_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        executor.UNTIL_KEY: component_spec.ExecutionParameter(type=str, optional=True),
    }


class FileExampleGen(FileBasedExampleGen):
    """An ExampleGen on CSV, Parquet, JSON lines or TFRecords of tf.Examples.

    Unlike TFX's CsvExampleGen it does not guess types: the columns that are declared
    are read as what they are declared to be, so that ids which look like numbers stay
    strings, in every file. Spans and versions are TFX's own; a window of the last
    spans is read as one set of examples.

    A run is taken from the cache if the settings and the names, sizes and times of
    change of the files are the same as before.

    Component `outputs` contains:
     - `examples`: Channel of type `standard_artifacts.Examples`, with the splits that
       `split` names and the latest span as its custom property.
    """

    SPEC_CLASS = FileExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
    DRIVER_CLASS = driver.Driver

    def __init__(
        self,
        pattern: str,
        file_format: Mapping[str, Any],
        columns: Sequence[Column],
        split: Mapping[str, Any],
        last_spans: int = 1,
        fingerprint: str = "",
        path: data_types.RuntimeParameter | None = None,
        until: data_types.RuntimeParameter | None = None,
    ) -> None:
        """Constructs a FileExampleGen component.

        Args:
            pattern: Path of the files, which may hold `*`, `?`, `{SPAN}`, `{YYYY}`,
                `{MM}`, `{DD}` and `{VERSION}`.
            file_format: Values of a `readers.FileFormat`.
            columns: What to read.
            split: How to split the rows; see `splits.parse_split`.
            last_spans: Spans to read, the latest one included.
            fingerprint: Of the code behind this component; another one means another
                execution.
            path: In place of `pattern`, told when it runs.
            until: The last span or date to read, told when it runs; "": the latest.

        Raises:
            UserError: If a value is missing or wrong.
        """
        if file_format["name"] not in FORMATS:
            raise UserError(
                f"no format {file_format['name']!r}: choose one of {', '.join(FORMATS)}"
            )
        if last_spans < 1:
            raise UserError(f"last_spans is {last_spans}: give a number of at least 1")
        if last_spans > 1 and not files.has_spans(pattern):
            raise UserError(
                f"last_spans is {last_spans}, but {pattern} has no spans: put {{SPAN}} "
                "or {YYYY}, {MM} and {DD} into the path"
            )
        splits.parse_split(split)
        base, rest = files.split_pattern(pattern)
        input_config = example_gen_pb2.Input(
            splits=[example_gen_pb2.Input.Split(name="all", pattern=rest)]
        )
        spec = FileExampleGenSpec(
            input_base=base,
            input_config=input_config,
            output_config=utils.make_default_output_config(input_config),
            output_data_format=example_gen_pb2.FORMAT_TF_EXAMPLE,
            output_file_format=example_gen_pb2.FORMAT_TFRECORDS_GZIP,
            format=json.dumps(dict(file_format), sort_keys=True),
            columns=dump_columns(columns),
            split=json.dumps(split, sort_keys=True),
            pattern=rest,
            last_spans=last_spans,
            fingerprint=fingerprint,
            path=path,
            until=until,
            examples=types.Channel(type=standard_artifacts.Examples),
        )
        # The parent's constructor builds the standard spec, without our parameters.
        base_beam_component.BaseBeamComponent.__init__(self, spec=spec)
