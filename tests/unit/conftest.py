# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A small world for unit tests: real towers, embedded candidates and servables."""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
import zlib
from collections.abc import Callable
from typing import Any

# First of all: the package sets TensorFlow up.
import serving.process

serving.process.set_up()

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import pytest  # noqa: E402

KINDS = ("exact", "scann", "tfrs-scann", "tfrs-brute-force")
SCANN_KINDS = ("scann", "tfrs-scann")

# Ids that something on the way might mend, split, strip or take for a number.
ODD_IDS = ["007", "7", "7.0", "1e3", "null", "élan", "東京", "🎬", " lead", "trail "]
ODD_IDS += ["a b", "x,y", 'quo"te', "tab\tid", "-1", "NaN", "\\n"]
CANDIDATES = 300
USERS = 40
DEFAULT_K = 10


@dataclasses.dataclass(frozen=True)
class World:
    """Trained towers on disk and all that is known of them without TensorFlow."""

    towers: str
    """Folder of the towers' SavedModel."""
    shards: str
    """Folder of the embedded candidates' Parquet shards."""
    users: list[str]
    ids: list[str]
    """Candidate ids in the order of the towers' vocabulary."""
    titles: list[str]
    query_vectors: np.ndarray
    """float64 [users, dimensions], as the towers' weights say."""
    candidate_vectors: np.ndarray
    """float64 [candidates, dimensions], in the order of `ids`."""

    def ranking(self, user: str | None, exclude: tuple[str, ...] = ()) -> list[str]:
        """Every candidate id that is not excluded, best first, by NumPy alone.

        Args:
          user: A user, or None for one that the towers do not know.
          exclude: Ids to leave out.
        """
        scores = self.scores(user)
        order = np.argsort(-scores, kind="stable")
        return [self.ids[row] for row in order if self.ids[row] not in exclude]

    def scores(self, user: str | None) -> np.ndarray:
        """The score of every candidate, [candidates], in the order of `ids`."""
        query = np.zeros(self.candidate_vectors.shape[1])
        query[-1] = self.query_vectors[0, -1]  # the temperature
        if user is not None:
            query = self.query_vectors[self.users.index(user)]
        return self.candidate_vectors @ query

    def title(self, candidate_id: str) -> str:
        """The title of a candidate."""
        return self.titles[self.ids.index(candidate_id)]


@dataclasses.dataclass(frozen=True)
class Built:
    """A servable on disk and as it was in memory before it was saved."""

    path: str
    servable: Any


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clustered(count: int, dimensions: int, clusters: int, seed: int) -> np.ndarray:
    """Makes float32 [count, dimensions] unit vectors around a few centres."""
    generator = np.random.default_rng(seed)
    centres = _unit(generator.normal(size=(clusters, dimensions)))
    near = generator.normal(size=(count, dimensions)) / np.sqrt(dimensions)
    vectors = centres[generator.integers(clusters, size=count)] + 0.5 * near
    return _unit(vectors).astype(np.float32)


def save_towers(
    path: str,
    users: list[str],
    ids: list[str],
    query_table: np.ndarray,
    candidate_table: np.ndarray,
    bias: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Saves the Trainer's own towers, with given weights, as its export saves them.

    Args:
      path: Folder of the SavedModel.
      users: Query ids, [users].
      ids: Candidate ids, [candidates].
      query_table: float32 [users, dim], the query tower's embedding.
      candidate_table: float32 [candidates, dim].
      bias: float32 [candidates], the candidates' biases.

    Returns:
      Query vectors [users, dim + 1] and candidate vectors [candidates, dim + 1] in
      float64, computed from the weights in NumPy.
    """
    import tensorflow as tf

    from trainer.config import ModelConfig
    from trainer.feature_config import IdFeature
    from trainer.towers import CandidateTower, QueryTower

    config = ModelConfig(embedding_dim=query_table.shape[1], temperature=0.3)

    def lookup(names: list[str]) -> tf.lookup.StaticHashTable:
        rows = tf.range(len(names), dtype=tf.int64)
        return tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.constant(names), rows), -1
        )

    module = tf.Module()
    module.tables = [lookup(users), lookup(ids)]
    module.query_tower = QueryTower(
        {"user_id": IdFeature()}, {"user_id": len(users)}, config, "query_tower"
    )
    module.candidate_tower = CandidateTower(
        {"movie_id": IdFeature()}, {"movie_id": len(ids)}, config, "candidate_tower"
    )
    nobody = tf.constant([-1], tf.int64)
    module.query_tower({"user_id": nobody})
    module.candidate_tower({"movie_id": nobody})
    module.query_tower.encoders["user_id"].set_weights([query_table])
    module.candidate_tower.encoders["movie_id"].set_weights([candidate_table])
    module.candidate_tower.biases["movie_id"].set_weights([bias[:, np.newaxis]])

    def text(name: str) -> dict[str, tf.TensorSpec]:
        return {name: tf.TensorSpec([None], tf.string, name)}

    @tf.function(input_signature=[text("user_id")], autograph=False)
    def embed_query(features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        rows = module.tables[0].lookup(features["user_id"])
        return {"embedding": module.query_tower({"user_id": rows})}

    @tf.function(input_signature=[text("movie_id")], autograph=False)
    def embed_candidate(features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        rows = module.tables[1].lookup(features["movie_id"])
        return {"embedding": module.candidate_tower({"movie_id": rows})}

    @tf.function(input_signature=[text("user_id")], autograph=False)
    def is_known_query(features: dict[str, tf.Tensor]) -> tf.Tensor:
        return module.tables[0].lookup(features["user_id"]) >= 0

    module.embed_query, module.embed_candidate = embed_query, embed_candidate
    module.is_known_query = is_known_query
    signatures = {"embed_query": embed_query, "embed_candidate": embed_candidate}
    tf.saved_model.save(module, path, signatures=signatures)
    extra = os.path.join(path, "assets.extra")
    os.makedirs(extra)
    with open(os.path.join(extra, "query_id.json"), "w") as file:
        json.dump({"feature": "user_id", "vocabulary": "assets.extra/users"}, file)
    with open(os.path.join(extra, "users"), "w") as file:
        file.writelines(f"{user}\n" for user in users)
    temperature = np.full((len(users), 1), config.temperature)
    return (
        np.hstack([_unit(query_table.astype(np.float64)), temperature]),
        np.hstack([_unit(candidate_table.astype(np.float64)), bias[:, np.newaxis]]),
    )


def attributes_of(candidate_id: str) -> dict[str, Any]:
    """What requests may filter a candidate by."""
    number = zlib.crc32(candidate_id.encode())
    return {
        "kind": ["song", "film", ""][number % 3],
        "tags": [
            tag for at, tag in enumerate(["new", "old", "rare"]) if number >> at & 1
        ],
        "year": 1900.0 + number % 120,
    }


def write_shards(
    folder: str, ids: list[str], titles: list[str], vectors: np.ndarray, shards: int = 3
) -> None:
    """Writes candidates as CandidateEmbedder writes them, in no order at all."""
    os.makedirs(folder, exist_ok=True)
    dimensions = vectors.shape[1]
    schema = pa.schema(
        [
            ("candidate_id", pa.string()),
            ("title", pa.string()),
            ("embedding", pa.list_(pa.float32(), dimensions)),
            ("attribute:kind", pa.string()),
            ("attribute:tags", pa.list_(pa.string())),
            ("attribute:year", pa.float32()),
        ]
    )
    order = np.random.default_rng(7).permutation(len(ids))
    for shard, rows in enumerate(np.array_split(order, shards)):
        values = pa.array(vectors[rows].astype(np.float32).reshape(-1))
        columns = [
            pa.array([ids[row] for row in rows], pa.string()),
            pa.array([titles[row] for row in rows], pa.string()),
            pa.FixedSizeListArray.from_arrays(values, dimensions),
            pa.array([attributes_of(ids[row])["kind"] for row in rows], pa.string()),
            pa.array(
                [attributes_of(ids[row])["tags"] for row in rows],
                pa.list_(pa.string()),
            ),
            pa.array([attributes_of(ids[row])["year"] for row in rows], pa.float32()),
        ]
        name = f"candidates-{shard:05}-of-{shards:05}.parquet"
        pq.write_table(pa.table(columns, schema=schema), os.path.join(folder, name))


def build_version(
    path: pathlib.Path, towers: str, ids: list[str], titles: list[str],
    vectors: np.ndarray, config: Any,
) -> str:  # fmt: skip
    """Builds a version as ScannIndexer does, from Parquet; one shard: no shards."""
    import serving.build
    from serving.index_config import SHARDS, shard_name
    from serving.shards import shard_of, write_manifest

    path.mkdir()
    version, embedded = str(path / "version"), str(path / "embedded")
    if config.shards == 1:
        write_shards(embedded, ids, titles, vectors)
        serving.build.build_servable(towers, embedded, config, version, {})
        return version
    where = shard_of(ids, config.shards)
    for shard in range(config.shards):
        name = shard_name(shard, config.shards)
        rows = np.flatnonzero(where == shard)
        below = os.path.join(embedded, name)
        write_shards(
            below, [ids[r] for r in rows], [titles[r] for r in rows], vectors[rows]
        )
        target = os.path.join(version, SHARDS, name)
        about = {"pipeline": "small", "shard": name}
        serving.build.build_servable(towers, below, config, target, about)
    write_manifest(version)
    return version


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """300 candidates with odd ids among them, 40 users, nine dimensions."""
    folder = tmp_path_factory.mktemp("world")
    generator = np.random.default_rng(1)
    users = [str(number) for number in range(1, USERS + 1)]
    ids = [*ODD_IDS, *(f"m{number}" for number in range(CANDIDATES - len(ODD_IDS)))]
    titles = [f"Título {number} — 映画" for number in range(CANDIDATES)]
    titles[20] = titles[21]  # two candidates of one title
    query_table = generator.normal(size=(USERS, 8)).astype(np.float32)
    candidate_table = generator.normal(size=(CANDIDATES, 8)).astype(np.float32)
    bias = generator.normal(size=CANDIDATES).astype(np.float32)
    towers, shards = str(folder / "towers"), str(folder / "shards")
    queries, candidates = save_towers(
        towers, users, ids, query_table, candidate_table, bias
    )
    write_shards(shards, ids, titles, candidates)
    return World(towers, shards, users, ids, titles, queries, candidates)


@pytest.fixture(scope="session")
def build(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Built]:
    """Builds a servable of a kind by serving.build, once a session."""
    import serving.build
    from serving.index_config import IndexConfig

    @functools.cache
    def built(kind: str) -> Built:
        kept = []

        class Kept(serving.build.Servable):
            """The real one, remembered."""

            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                kept.append(self)

        path = str(tmp_path_factory.mktemp(kind) / "model")
        config = IndexConfig(
            kind=kind, k=DEFAULT_K, leaves=12, leaves_to_search=8, reorder=100
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(serving.build, "Servable", Kept)
            about = {"pipeline": "small"}
            serving.build.build_servable(
                world.towers, world.shards, config, path, about
            )
        return Built(path, kept[0])

    return built


@pytest.fixture(scope="session")
def load(build: Callable[[str], Built]) -> Callable[[str], Any]:
    """Loads the servable of a kind with serving.model, once a session."""
    from serving.model import Recommender

    return functools.cache(lambda kind: Recommender(build(kind).path))


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess]:
    """Runs Python in a process of its own that finds this project's packages."""

    def run(
        *arguments: str, first_on_path: pathlib.Path | None = None, **options: Any
    ) -> subprocess.CompletedProcess:
        environment = serving.process.child_environment()
        if first_on_path is not None:
            parts = [str(first_on_path), environment["PYTHONPATH"]]
            environment["PYTHONPATH"] = os.pathsep.join(parts)
        return subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            **options,
        )

    return run
