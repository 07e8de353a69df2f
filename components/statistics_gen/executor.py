# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Computes TFDV's statistics of each split from record batches."""

import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_data_validation as tfdv
from tfx import types
from tfx.components.statistics_gen import executor
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils
from tfx_bsl.coders import example_coder

from components import records

SAMPLE_RATE_KEY = "sample_rate"
FINGERPRINT_KEY = "fingerprint"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes what TFX's own executor writes, a file of statistics a split."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Computes the statistics.

        Args:
            input_dict: `examples`, one Examples artifact.
            output_dict: `statistics`, one ExampleStatistics artifact.
            exec_properties: `stats_options_json` and `sample_rate`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(
            input_dict[standard_component_specs.EXAMPLES_KEY]
        )
        statistics = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.STATISTICS_KEY]
        )
        rate = exec_properties[SAMPLE_RATE_KEY]
        splits = artifact_utils.decode_split_names(examples.split_names)
        statistics.split_names = examples.split_names
        statistics.span = examples.span
        statistics.set_json_value_custom_property(
            executor.SAMPLE_RATE_BY_SPLIT_PROPERTY_NAME,
            json_utils.dumps(dict.fromkeys(splits, rate)),
        )
        options = tfdv.StatsOptions.from_json(
            exec_properties[standard_component_specs.STATS_OPTIONS_JSON_KEY]
        )
        files = records.list_files(examples)
        with self._make_beam_pipeline() as pipeline:
            for split in splits:
                _ = (
                    pipeline
                    | f"Files[{split}]"
                    >> beam.Create([file.path for file in files if file.split == split])
                    | f"Spread[{split}]" >> beam.Reshuffle()
                    | f"Read[{split}]"
                    >> beam.ParDo(ReadRecordBatches(rate)).with_output_types(
                        pa.RecordBatch
                    )
                    | f"Statistics[{split}]" >> tfdv.GenerateStatistics(options)
                    | f"Write[{split}]"
                    >> tfdv.WriteStatisticsToBinaryFile(
                        os.path.join(
                            artifact_utils.get_split_uri([statistics], split),
                            executor.DEFAULT_FILE_NAME,
                        )
                    )
                )


class ReadRecordBatches(beam.DoFn):
    """Decodes every n-th row of a file of tf.Examples."""

    def __init__(self, sample_rate: float) -> None:
        """Remembers the share of rows to decode; a file's first row always is one."""
        self._sample_rate = sample_rate

    def process(self, path: str) -> Iterator[pa.RecordBatch]:
        """Yields record batches with a column for each feature in them."""
        decoder = example_coder.ExamplesToRecordBatchDecoder()
        row = 0
        for batch in records.read_batches(path):
            # A row is chosen where the number of rows wanted so far goes up.
            wanted = np.ceil(np.arange(row, row + len(batch) + 1) * self._sample_rate)
            row += len(batch)
            chosen = [batch[at] for at in np.flatnonzero(np.diff(wanted))]
            if chosen:
                yield decoder.DecodeBatch(chosen)
