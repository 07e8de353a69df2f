# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Artifacts for the tests of components: empty ones, and those of the session's run."""

import copy
import gzip
import pathlib
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def new_artifact(tmp_path: pathlib.Path) -> Callable[..., Any]:
    """Makes an artifact with an empty folder of its own."""
    made: list[Any] = []

    def make(kind: type, split_names: list[str] | None = None) -> Any:
        from tfx.types import artifact_utils

        artifact = kind()
        made.append(artifact)
        folder = tmp_path / f"{kind.__name__}-{len(made)}"
        folder.mkdir()
        artifact.uri = str(folder)
        artifact.id = len(made)
        if split_names is not None:
            artifact.split_names = artifact_utils.encode_split_names(split_names)
        return artifact

    return make


@pytest.fixture
def new_examples(new_artifact: Callable[..., Any]) -> Callable[..., Any]:
    """Writes an Examples artifact: a list of shards of features for each split.

    A feature is one value or a list of them; bytes, ints or floats.
    """

    def make(splits: dict[str, list[list[dict[str, Any]]]]) -> Any:
        import tensorflow as tf
        from tfx.types import standard_artifacts

        artifact = new_artifact(standard_artifacts.Examples, list(splits))
        for split, shards in splits.items():
            folder = pathlib.Path(artifact.uri, f"Split-{split}")
            folder.mkdir()
            for number, rows in enumerate(shards):
                path = folder / f"data-{number:05}-of-{len(shards):05}.gz"
                with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
                    for row in rows:
                        example = tf.train.Example()
                        for name, value in row.items():
                            values = value if isinstance(value, list) else [value]
                            feature = example.features.feature[name]
                            _list_of(feature, values).extend(values)
                        writer.write(example.SerializeToString())
                if not rows:
                    path.write_bytes(gzip.compress(b""))
        return artifact

    return make


def _list_of(feature: Any, values: list[Any]) -> Any:
    """The list of a feature that takes values of this type."""
    kinds = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
    return getattr(feature, kinds[type(values[0])]).value


@pytest.fixture
def made(first_run: Any) -> Callable[[str, str], Any]:
    """Returns what a node of the session's run made, as an executor takes it."""

    def get(node: str, key: str) -> Any:
        return copy.deepcopy(first_run.outputs[node][key])

    return get
