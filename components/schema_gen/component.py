# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""DeclaredSchemaGen: spec and channels."""

from collections.abc import Sequence

from tfx import types
from tfx.components import SchemaGen
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from components.columns import Column, dump_columns
from components.schema_gen import executor


class DeclaredSchemaGenSpec(standard_component_specs.SchemaGenSpec):
    """Spec of DeclaredSchemaGen: the standard one and the declared columns."""

    PARAMETERS = {
        **standard_component_specs.SchemaGenSpec.PARAMETERS,
        executor.COLUMNS_KEY: component_spec.ExecutionParameter(type=str),
        executor.DERIVED_KEY: component_spec.ExecutionParameter(type=str),
        executor.SCHEMA_FILE_KEY: component_spec.ExecutionParameter(type=str),
        executor.SCHEMA_TEXT_KEY: component_spec.ExecutionParameter(type=str),
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }


class DeclaredSchemaGen(SchemaGen):
    """TFX's SchemaGen, in which a declared column is what it is declared to be.

    What is inferred from statistics depends on the rows that happen to be there: a
    feature that no row lacks today is required, and a value that is new tomorrow an
    anomaly. A declared column has the type of its declaration, any values, and is
    required if it is an id or the timestamp. A written schema wins over both.

    Component `outputs` contains:
     - `schema`: Channel of type `standard_artifacts.Schema`.
    """

    SPEC_CLASS = DeclaredSchemaGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        statistics: types.BaseChannel,
        columns: Sequence[Column],
        derived: Sequence[Column] = (),
        schema_file: str | None = None,
        schema_text: str = "",
        fingerprint: str = "",
    ) -> None:
        """Constructs a DeclaredSchemaGen component.

        Args:
            statistics: Channel of type `standard_artifacts.ExampleStatistics`.
            columns: What is declared of the source.
            derived: Features that later components add to the examples.
            schema_file: Where a written schema (.pbtxt) is from, to which only the
                derived features are added; None: it is inferred and declared.
            schema_text: The written schema, so that a node elsewhere needs no file.
            fingerprint: Of the code behind this component.
        """
        spec = DeclaredSchemaGenSpec(
            statistics=statistics,
            infer_feature_shape=1,
            exclude_splits=json_utils.dumps([]),
            columns=dump_columns(columns),
            derived=dump_columns(derived),
            schema_file=schema_file or "",
            schema_text=schema_text,
            fingerprint=fingerprint,
            schema=types.Channel(type=standard_artifacts.Schema),
        )
        # The parent's constructor builds the standard spec, which knows no columns.
        base_component.BaseComponent.__init__(self, spec=spec)
