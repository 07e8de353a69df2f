# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Reads files and writes their rows in splits."""

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_component_specs

from components import splits
from components.columns import load_columns
from components.file_example_gen import files
from components.file_example_gen.readers import FileShard
from components.file_example_gen.streams import FileFormat
from components.split_examples import write_splits

FORMAT_KEY = "format"
COLUMNS_KEY = "columns"
SPLIT_KEY = "split"
PATTERN_KEY = "pattern"
LAST_SPANS_KEY = "last_spans"
PATH_KEY = "path"
UNTIL_KEY = "until"
CODE_KEY = "fingerprint"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads each file as one shard and writes its rows to their splits."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the Examples artifact.

        Args:
            input_dict: Empty.
            output_dict: `examples`, one Examples artifact.
            exec_properties: `input_base`, `pattern`, `last_spans`, as JSON `format`,
                `columns` and `split`; maybe `path` in place of the first two, and
                `until`, the last span or date to read, "" for the latest.

        Raises:
            UserError: If a file cannot be read, a value does not fit its column, or a
                split is left empty.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.EXAMPLES_KEY]
        )
        base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
        pattern = exec_properties[PATTERN_KEY]
        if exec_properties.get(PATH_KEY):
            base, pattern = files.split_pattern(exec_properties[PATH_KEY])
        until = files.parse_span(exec_properties.get(UNTIL_KEY) or "", pattern)
        found = files.select(base, pattern, exec_properties[LAST_SPANS_KEY], until)
        shape = json.loads(exec_properties[FORMAT_KEY])
        shape["column_names"] = tuple(shape.get("column_names") or ())
        columns = tuple(load_columns(exec_properties[COLUMNS_KEY]))
        shards = [
            FileShard(
                path=path,
                index=index,
                shards=len(found.files),
                format=FileFormat(**shape),
                columns=columns,
            )
            for index, path in enumerate(found.files)
        ]
        split = splits.parse_split(json.loads(exec_properties[SPLIT_KEY]))
        write_splits(
            self._make_beam_pipeline(), shards, split, artifact, f"{base}/{pattern}"
        )
        # TFX's driver sets a custom property only; statistics inherit this one.
        artifact.span = found.spans[-1]
