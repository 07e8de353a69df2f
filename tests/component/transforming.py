# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Runs real transform graphs on a few rows, as TFX's Transform runs them."""

import pathlib
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io
from tfx_bsl.public import tfxio


def write_examples(folder: pathlib.Path, rows: list[dict[str, Any]]) -> str:
    """Writes rows of texts, whole numbers, numbers, or lists of these; None is not."""
    folder.mkdir(parents=True)
    path = str(folder / "data_tfrecord-00000-of-00001.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for row in rows:
            example = tf.train.Example()
            for name, value in row.items():
                if value is not None:
                    _fill(example.features.feature[name], value)
            writer.write(example.SerializeToString())
    return path


def _fill(feature: Any, value: Any) -> None:
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], str):
        feature.bytes_list.value.extend(text.encode() for text in values)
    elif isinstance(values[0], int):
        feature.int64_list.value.extend(values)
    else:
        feature.float_list.value.extend(values)


def transform(
    folder: pathlib.Path,
    preprocessing_fn: Callable,
    splits: dict[str, list[dict[str, Any]]],
    schema: schema_pb2.Schema,
) -> dict[str, str]:
    """Runs Transform: analyses train, transforms every split.

    Returns:
      The folder of the graph under "graph", and patterns of transformed shards.
    """
    results = {"graph": str(folder / "graph")}
    with beam.Pipeline() as pipeline, tft_beam.Context(str(folder / "temporary")):
        datasets = {}
        for split, rows in splits.items():
            path = write_examples(folder / "raw" / split, rows)
            source = tfxio.TFExampleRecord(path, schema=schema)
            read = pipeline | f"Read {split}" >> source.BeamSource()
            datasets[split] = (read, source.TensorAdapterConfig())
        graph = datasets["train"] | tft_beam.AnalyzeDataset(preprocessing_fn)
        _ = graph | tft_beam.WriteTransformFn(results["graph"])
        for split, dataset in datasets.items():
            changed, metadata = (
                dataset,
                graph,
            ) | f"Transform {split}" >> tft_beam.TransformDataset()
            coder = tft.coders.ExampleProtoCoder(metadata.schema)
            _ = (
                changed
                | f"Encode {split}" >> beam.Map(coder.encode)
                | f"Write {split}"
                >> beam.io.WriteToTFRecord(
                    str(folder / split / "transformed"), file_name_suffix=".gz"
                )
            )
            results[split] = str(folder / split / "transformed*")
    # As TFX's Transform leaves it beside the graph.
    raw = pathlib.Path(results["graph"], tft.TFTransformOutput.RAW_METADATA_DIR)
    metadata_io.write_metadata(dataset_metadata.DatasetMetadata(schema), str(raw))
    return results
