# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Versions on disk that the tests serve, and how they are pushed and damaged."""

import json
import os
import pathlib
import shutil
from typing import Any

import numpy as np
import tensorflow as tf

from serving import checksums
from serving.build import build_servable
from serving.index_config import IndexConfig
from tests.unit.conftest import DEFAULT_K, write_shards

DIMENSIONS = 4
RICH_USERS = [f"u{number}" for number in range(20)]
RICH_IDS = [f"c{number}" for number in range(60)]


def push(source: str | os.PathLike, base: pathlib.Path, number: int | str) -> None:
    """Pushes a version as Pusher does: with checksums, and in one rename."""
    unfinished = base / f".pushing-{number}"
    shutil.copytree(source, unfinished)
    checksums.write(str(unfinished))
    unfinished.rename(base / str(number))


def build_rich(folder: pathlib.Path) -> str:
    """Builds a version whose queries tell more than an id.

    Features: `user_id`, `city` (texts), `tags` (any number of texts), `age` (a number),
    `taste` (two numbers).
    """
    towers, shards = str(folder / "towers"), str(folder / "shards")
    vectors = _save_towers(towers)
    write_shards(shards, RICH_IDS, [f"Title {one}" for one in RICH_IDS], vectors)
    config = IndexConfig(kind="exact", k=DEFAULT_K)
    path = str(folder / "version")
    build_servable(towers, shards, config, path, {"pipeline": "rich"})
    return path


class _Tables(tf.Module):
    """Rows of numbers for texts, by their hash."""

    def __init__(self, *names: str):
        super().__init__()
        draw = np.random.default_rng(3)
        self.tables = {
            name: tf.Variable(draw.normal(size=(997, DIMENSIONS)).astype(np.float32))
            for name in names
        }

    def __call__(self, name: str, texts: tf.Tensor) -> tf.Tensor:
        """Looks texts up; "" is all zeros."""
        rows = tf.gather(self.tables[name], tf.strings.to_hash_bucket_fast(texts, 997))
        return tf.where((texts != "")[..., tf.newaxis], rows, 0.0)


def _specs(**features: tuple[tf.DType, list[int | None]]) -> list[Any]:
    """Makes the input signature of a function of features."""
    specs = {
        name: tf.TensorSpec(shape, dtype, name)
        for name, (dtype, shape) in features.items()
    }
    return [specs]


_QUERY = _specs(
    user_id=(tf.string, [None]),
    city=(tf.string, [None]),
    tags=(tf.string, [None, None]),
    age=(tf.float32, [None]),
    taste=(tf.float32, [None, 2]),
)
_CANDIDATE = _specs(movie_id=(tf.string, [None]))


class _Towers(tf.Module):
    """Two towers over tables and a few numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = _Tables("user_id", "city", "tags", "movie_id")
        mixed = np.random.default_rng(4).normal(size=(3, DIMENSIONS))
        self.mixed = tf.Variable(mixed.astype(np.float32))

    @tf.function(input_signature=_QUERY, autograph=False)
    def embed_query(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        age = tf.where(tf.math.is_nan(features["age"]), 0.0, features["age"])
        numbers = tf.concat([age[:, tf.newaxis] / 50, features["taste"]], axis=1)
        return {
            "embedding": self.tables("user_id", features["user_id"])
            + 2 * self.tables("city", features["city"])
            + tf.reduce_sum(self.tables("tags", features["tags"]), axis=1)
            + numbers @ self.mixed
        }

    @tf.function(input_signature=_CANDIDATE, autograph=False)
    def embed_candidate(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"embedding": self.tables("movie_id", features["movie_id"])}

    @tf.function(input_signature=_QUERY, autograph=False)
    def is_known_query(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.strings.regex_full_match(features["user_id"], "u1?[0-9]")


def _save_towers(path: str) -> np.ndarray:
    """Saves towers as the Trainer does; returns the candidates' vectors."""
    towers = _Towers()
    signatures = {
        name: getattr(towers, name) for name in ("embed_query", "embed_candidate")
    }
    tf.saved_model.save(towers, path, signatures=signatures)
    extra = pathlib.Path(path, "assets.extra")
    extra.mkdir()
    about = {"feature": "user_id", "vocabulary": "assets.extra/users"}
    (extra / "query_id.json").write_text(json.dumps(about))
    (extra / "users").write_text("".join(f"{one}\n" for one in RICH_USERS))
    embedded = towers.embed_candidate({"movie_id": tf.constant(RICH_IDS)})
    return embedded["embedding"].numpy()


def flip_byte(path: pathlib.Path, keep_time: bool = False) -> bytes:
    """Changes a byte in the middle of a file, and returns what it held."""
    before, stat = path.read_bytes(), path.stat()
    content = bytearray(before)
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    if keep_time:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return before


def files_of(path: pathlib.Path) -> list[str]:
    """Names of all files of a version, relative to it, in their order."""
    return sorted(
        str(one.relative_to(path)) for one in path.rglob("*") if one.is_file()
    )


def copy_file(source: pathlib.Path, target: pathlib.Path, name: str) -> None:
    """Copies one file of a version."""
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / name, target / name)
