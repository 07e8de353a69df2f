# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Reads a prepared TensorFlow Dataset shard by shard and writes it in splits."""

import dataclasses
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components import records, splits
from components.columns import Column, check_names, load_columns
from components.conversion import BadValue
from components.split_examples import PlacedShard, write_splits
from components.tfds_example_gen import tfds_data
from serving.errors import UserError

DATASET_KEY = "dataset"
DATA_DIR_KEY = "data_dir"
COLUMNS_KEY = "columns"
DATASET_SPLIT_KEY = "dataset_split"
SPLIT_KEY = "split"
FINGERPRINT_KEY = "fingerprint"
EXAMPLES_KEY = "examples"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard(PlacedShard):
    """A file of a prepared dataset."""

    path: str
    rows: int
    columns: tuple[Column, ...] = ()

    def read(self) -> Iterator[list[bytes]]:
        """Yields the records of the file in order, in lists of bounded length.

        Raises:
            UserError: If the file is damaged, not all of its rows are there, or a
                value does not fit its column.
        """
        rows = 0
        try:
            for batch in records.read_batches(self.path):
                yield records.conform(batch, self.columns)
                rows += len(batch)
        except BadValue as bad:
            raise UserError(
                f"{self.path}, row {rows + bad.row + 1}: {bad.sentence}"
            ) from None
        except tf.errors.OpError:
            rows = -1
        if rows != self.rows:
            raise UserError(
                f"{self.path} is damaged or incomplete: delete the folder "
                f"{os.path.dirname(self.path)} and run again, which prepares it anew"
            )


class Executor(base_beam_executor.BaseBeamExecutor):
    """Prepares the dataset if need be, assigns its rows to splits and writes them."""

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
            exec_properties: `dataset`, `data_dir`, `dataset_split` and `split`, the
                last as JSON; see `splits.parse_split`.

        Raises:
            UserError: If the dataset cannot be had or read, lacks a feature that the
                split needs, or leaves a split empty.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(output_dict[EXAMPLES_KEY])
        split = splits.parse_split(json.loads(exec_properties[SPLIT_KEY]))
        dataset = exec_properties[DATASET_KEY]
        builder = tfds_data.prepare(dataset, exec_properties[DATA_DIR_KEY])
        columns = tuple(load_columns(exec_properties[COLUMNS_KEY]))
        check_names(columns, list(builder.info.features), dataset)
        shards = [
            dataclasses.replace(shard, columns=columns)
            for shard in list_shards(builder, exec_properties[DATASET_SPLIT_KEY])
        ]
        if isinstance(split, splits.ShuffleSplit):
            split.assign_positions(shards[0].rows_total)  # refuses too small datasets

        write_splits(self._make_beam_pipeline(), shards, split, artifact, dataset)


def list_shards(builder: Any, dataset_split: str) -> list[Shard]:
    """Lists the files of the named TFDS splits (`train`, or `train+test`) in order.

    Raises:
        UserError: If a split or file is missing or the files are no TFRecords.
    """
    if builder.info.file_format.value != "tfrecord":
        raise UserError(
            f"{builder.data_dir} holds {builder.info.file_format.value} files: prepare "
            "the dataset in the format tfrecord"
        )
    files: list[tuple[str, int]] = []
    for name in dataset_split.split("+"):
        if name not in builder.info.splits:
            raise UserError(
                f"{builder.info.full_name} has no split {name!r}: set dataset_split to "
                f"one of {', '.join(builder.info.splits)}"
            )
        info = builder.info.splits[name]
        paths = [os.fspath(path) for path in info.filepaths]
        files += zip(paths, info.shard_lengths, strict=True)
    starts = np.cumsum([0, *(rows for _, rows in files)])
    return [
        Shard(
            path=path,
            index=index,
            shards=len(files),
            start=int(starts[index]),
            rows=rows,
            rows_total=int(starts[-1]),
        )
        for index, (path, rows) in enumerate(files)
    ]
