# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The Trainer's way through real transform graphs, from tf.Examples to embeddings."""

import collections
import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from components.trainer import executor
from serving.build import build_servable
from serving.errors import UserError
from serving.index_config import IndexConfig
from serving.model import Recommender
from serving.towers import Towers
from tests.component.transforming import transform, write_examples
from tests.workers import finish, start, tf_configs
from trainer import data
from trainer.batches import Interactions
from trainer.config import ModelConfig, TrainingConfig
from trainer.export import Side, TwoTowers
from trainer.feature_config import dump_features, load_features
from trainer.features import CANDIDATE_INDEX, QUERY_KEY, vocabulary_name
from trainer.model import Catalogue, TwoTowerModel
from trainer.preprocessing import preprocess_candidates, preprocess_interactions
from trainer.run import run_fn

IDS = {"query_id": "user_id", "candidate_id": "movie_id"}
USER, MOVIE = load_features({"user_id": "id"}), load_features({"movie_id": "id"})
QUERY_IDS = vocabulary_name("user_id")
# Ids that something on the way might strip, split or take for a number.
MOVIES = ["007", "7", " lead", "trail ", "two words", "東京", "x,y", "1e3", "unseen"]
USERS = ["1", "01", "user two", "élan", "🎬", "5.0"]
ORPHAN = "no such movie"

Rows = list[tuple[str, str]]


def interactions(seed: int, count: int) -> Rows:
    """Users of two kinds, who choose among two halves of the catalogue."""
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        user, liked = int(generator.integers(len(USERS))), int(generator.integers(4))
        rows.append((USERS[user], MOVIES[liked + 4 * (user % 2)]))
    return rows


TRAIN = interactions(1, 240)
VALID = [*interactions(2, 20), ("never seen before", "7")]


def schema_of(names: list[str], shape: str) -> schema_pb2.Schema:
    """Strings as a curated schema declares them, or as an inferred one may."""
    kinds = {
        "[1]": tf.io.FixedLenFeature([1], tf.string),
        "[]": tf.io.FixedLenFeature([], tf.string),
        "sparse": tf.io.VarLenFeature(tf.string),
    }
    return schema_utils.schema_from_feature_spec(dict.fromkeys(names, kinds[shape]))


@dataclasses.dataclass(frozen=True)
class Transformed:
    """Both sources after Transform."""

    interactions: dict[str, str]
    candidates: dict[str, str]

    @property
    def query_graph(self) -> tft.TFTransformOutput:
        return tft.TFTransformOutput(self.interactions["graph"])

    @property
    def candidate_graph(self) -> tft.TFTransformOutput:
        return tft.TFTransformOutput(self.candidates["graph"])

    @property
    def lookup(self) -> data.CandidateLookup:
        return data.CandidateLookup(self.candidate_graph)

    @property
    def users(self) -> int:
        sizes = data.vocabulary_sizes(self.query_graph, USER, self.lookup)
        return sizes["user_id"]

    def read(self, pattern: str) -> Interactions:
        return data.read_interactions(
            [pattern], self.query_graph, USER, "movie_id", self.lookup, None
        )


def run_transform(
    folder: pathlib.Path,
    shape: str,
    train: Rows,
    movies: Iterable[str] = MOVIES,
    valid: Rows = VALID,
) -> Transformed:
    splits = {"train": train, "valid": valid, "orphans": [("1", ORPHAN), TRAIN[0]]}
    return Transformed(
        transform(
            folder / "interactions",
            functools.partial(
                preprocess_interactions,
                custom_config={
                    **IDS,
                    "features": dump_features(USER),
                    "weight": None,
                },
            ),
            {
                name: [{"user_id": u, "movie_id": m} for u, m in rows]
                for name, rows in splits.items()
            },
            schema_of(["user_id", "movie_id"], shape),
        ),
        transform(
            folder / "candidates",
            functools.partial(
                preprocess_candidates,
                custom_config={
                    "candidate_id": "movie_id",
                    "features": dump_features(MOVIE),
                },
            ),
            {
                "train": [
                    {"movie_id": movie, "movie_title": f"Title of {movie}"}
                    for movie in movies
                ]
            },
            schema_of(["movie_id", "movie_title"], shape),
        ),
    )


@pytest.fixture(scope="module")
def transformed(tmp_path_factory) -> Transformed:
    """With the schema as it is curated for MovieLens: one value an example."""
    return run_transform(tmp_path_factory.mktemp("fixed"), "[1]", TRAIN)


@pytest.fixture(scope="module", params=["[1]", "[]", "sparse"])
def any_shape(request, tmp_path_factory, transformed) -> Transformed:
    """With each form in which a schema may declare a string."""
    if request.param == "[1]":
        return transformed
    return run_transform(tmp_path_factory.mktemp("other"), request.param, TRAIN)


def vocabulary(graph: tft.TFTransformOutput, name: str) -> list[str]:
    content = pathlib.Path(graph.vocabulary_file_by_name(name)).read_bytes()
    return content.decode().split("\n")[:-1]


# Preprocessing


def test_query_ids_come_from_the_training_split_alone(any_shape: Transformed):
    found = vocabulary(any_shape.query_graph, QUERY_IDS)
    assert sorted(found) == sorted({user for user, _ in TRAIN})
    assert any_shape.users == len(USERS)


def test_candidate_ids_come_from_the_catalogue(any_shape: Transformed):
    found = vocabulary(any_shape.candidate_graph, "candidate_ids")
    assert sorted(found) == sorted(MOVIES)
    assert any_shape.lookup.size == len(MOVIES)
    asked = tf.constant([[*found, ORPHAN, "", "lead", "trail", "07"]])
    expected = [*range(len(MOVIES)), *[-1] * 5]
    assert any_shape.lookup(asked).numpy().tolist() == [expected]


def test_interactions_are_positions_in_both_vocabularies(any_shape: Transformed):
    users = vocabulary(any_shape.query_graph, QUERY_IDS)
    movies = vocabulary(any_shape.candidate_graph, "candidate_ids")
    for split, rows in (("train", TRAIN), ("valid", VALID)):
        found = any_shape.read(any_shape.interactions[split])
        queries = found.query["user_id"].numpy()
        assert len(found) == len(rows)
        names = [
            (users[q] if q >= 0 else "never seen before", movies[c])
            for q, c in zip(queries, found.candidate, strict=True)
        ]
        assert collections.Counter(names) == collections.Counter(rows)
    assert (queries < 0).sum() == 1


def test_candidates_are_counted_in_the_training_split(any_shape: Transformed):
    movies = vocabulary(any_shape.candidate_graph, "candidate_ids")
    counts = data.candidate_counts(any_shape.query_graph, any_shape.lookup)
    expected = collections.Counter(movie for _, movie in TRAIN)
    assert dict(zip(movies, counts.tolist(), strict=True)) == {
        movie: expected[movie] for movie in MOVIES
    }
    assert counts.sum() == len(TRAIN)
    assert counts[movies.index("unseen")] == 0


def test_an_orphan_is_not_counted_and_not_taken_for_another(tmp_path):
    rows = [*TRAIN, ("1", ORPHAN), ("", "7"), ("1", ORPHAN)]
    found = run_transform(tmp_path, "[1]", rows)
    counts = data.candidate_counts(found.query_graph, found.lookup)
    assert counts.sum() == len(TRAIN) + 1
    # An empty id is nobody's: it is in no vocabulary.
    assert found.users == len(USERS)


def test_an_interaction_that_names_no_candidate_stops_training(transformed):
    pattern = transformed.interactions["orphans"]
    with pytest.raises(UserError) as caught:
        transformed.read(pattern)
    assert str(caught.value) == (
        f"1 interactions in {pattern} name no candidate of the catalogue; run the "
        "ExampleCleaner before Transform"
    )


def test_a_split_without_rows_is_told(transformed: Transformed, tmp_path):
    empty = write_examples(tmp_path / "empty", [])
    for pattern in (empty, str(tmp_path / "none*")):
        with pytest.raises(UserError) as caught:
            transformed.read(pattern)
        assert str(caught.value) == (
            f"no interactions in {pattern}; the split is empty"
        )


# Export


def built_model(transformed: Transformed) -> TwoTowerModel:
    """A model with random embeddings and biases."""
    tf.keras.utils.set_random_seed(3)
    counts = data.candidate_counts(transformed.query_graph, transformed.lookup)
    config = ModelConfig(embedding_dim=4, temperature=0.5)
    model = TwoTowerModel(
        config,
        TrainingConfig(),
        USER,
        {"user_id": len(USERS)},
        Catalogue("movie_id", MOVIE, {}, counts),
        {"movie_id": len(MOVIES)},
        "user_id",
    )
    model.query_tower({"user_id": tf.constant([0], tf.int64)})
    model.candidate_tower({"movie_id": tf.constant([0], tf.int64)})
    bias = np.random.default_rng(4).normal(size=(len(MOVIES), 1))
    model.candidate_tower.biases["movie_id"].set_weights([bias])
    return model


@pytest.fixture(scope="module")
def saved(any_shape: Transformed, tmp_path_factory) -> tuple[TwoTowerModel, str]:
    """A model and where its towers were saved."""
    model = built_model(any_shape)
    path = str(tmp_path_factory.mktemp("export") / "model")
    TwoTowers(
        Side(model.query_tower, any_shape.query_graph, USER, "user_id"),
        Side(model.candidate_tower, any_shape.candidate_graph, MOVIE, "movie_id"),
        any_shape.lookup,
    ).save(path)
    return model, path


def test_towers_embed_raw_ids_as_the_model_embeds_positions(saved, any_shape):
    model, path = saved
    towers = Towers(path)
    users = vocabulary(any_shape.query_graph, QUERY_IDS)
    movies = vocabulary(any_shape.candidate_graph, "candidate_ids")
    embedded = towers.embed_query({"user_id": tf.constant(users)})
    everyone = {"user_id": tf.range(len(USERS), dtype=tf.int64)}
    np.testing.assert_array_equal(embedded, model.query_tower(everyone))
    embedded = towers.embed_candidate({"movie_id": tf.constant(movies)})
    every = {"movie_id": tf.range(len(MOVIES), dtype=tf.int64)}
    np.testing.assert_array_equal(embedded, model.candidate_tower(every))


def test_towers_know_whom_they_have_seen(saved):
    towers = Towers(saved[1])
    users = tf.constant([*USERS, "nobody", "", " 1"])
    known = towers.is_known_query({"user_id": users}).numpy().tolist()
    assert known == [True] * len(USERS) + [False] * 3
    embedded = towers.embed_query({"user_id": users}).numpy()
    assert (embedded[-3:, :-1] == 0).all()
    assert (embedded[:, -1] == np.float32(0.5)).all()
    np.testing.assert_allclose(
        np.linalg.norm(embedded[: len(USERS), :-1], axis=1), 1, rtol=1e-5
    )


def test_towers_take_a_batch_of_any_size(saved):
    towers = Towers(saved[1])
    empty = tf.constant([], tf.string)
    assert towers.embed_query({"user_id": empty}).shape == (0, 5)
    assert towers.embed_candidate({"movie_id": empty}).shape == (0, 5)
    assert towers.is_known_query({"user_id": empty}).shape == (0,)
    many = tf.constant(USERS * 50)
    together = towers.embed_query({"user_id": many}).numpy()
    # Vector instructions round the last rows of a batch otherwise.
    expected = np.tile(together[: len(USERS)], (50, 1))
    np.testing.assert_allclose(together, expected, atol=1e-6)


def test_towers_say_what_they_take(saved):
    model = tf.saved_model.load(saved[1])
    for name, feature in (("embed_query", "user_id"), ("embed_candidate", "movie_id")):
        signature = model.signatures[name]
        (found,) = signature.structured_input_signature[1].items()
        assert found == (feature, tf.TensorSpec([None], tf.string, feature))
        assert signature.structured_outputs["embedding"].shape.as_list() == [None, 5]


# run_fn


@dataclasses.dataclass
class Arguments:
    """What TFX hands to a run_fn, as far as ours reads it."""

    train_files: list[str]
    eval_files: list[str]
    transform_graph_path: str
    base_model: str | None
    hyperparameters: dict[str, Any] | None
    serving_model_dir: str
    model_run_dir: str
    custom_config: dict[str, Any]


def train(
    transformed: Transformed,
    folder: pathlib.Path,
    valid: bool = False,
    base_model: str | None = None,
    state_dir: pathlib.Path | None = None,
    model: dict[str, Any] | None = None,
    hyperparameters: dict[str, Any] | None = None,
    **training: Any,
) -> str:
    """Runs the run_fn and returns where the towers are."""
    options = {
        "rows": "interaction", "schedule": "constant", "epochs": 12, "batch_size": 32,
        "learning_rate": 0.05, **training,
    }  # fmt: skip
    arguments = Arguments(
        train_files=[transformed.interactions["train"]],
        eval_files=[],
        transform_graph_path=transformed.interactions["graph"],
        base_model=base_model,
        hyperparameters=hyperparameters,
        serving_model_dir=str(folder / "Format-Serving"),
        model_run_dir=str(folder / "run"),
        custom_config={
            **IDS,
            "catalogue_id": "movie_id",
            "weight": None,
            "query_features": dump_features(USER),
            "candidate_features": dump_features(MOVIE),
            "candidate_files": [transformed.candidates["train"]],
            "candidate_transform_graph": transformed.candidates["graph"],
            "valid_files": [transformed.interactions["valid"]] if valid else [],
            "model": {"embedding_dim": 4, "temperature": 0.3, **(model or {})},
            "training": options,
            "state_dir": str(state_dir or folder / "state"),
        },
    )
    run_fn(arguments)
    return arguments.serving_model_dir


@pytest.fixture(scope="module")
def trained(transformed: Transformed, tmp_path_factory) -> tuple[pathlib.Path, str]:
    folder = tmp_path_factory.mktemp("trained")
    return folder, train(transformed, folder)


def scores(path: str) -> np.ndarray:
    """Users by movies, in the order of USERS and MOVIES."""
    towers = Towers(path)
    queries = towers.embed_query({"user_id": tf.constant(USERS)}).numpy()
    candidates = towers.embed_candidate({"movie_id": tf.constant(MOVIES)}).numpy()
    return queries @ candidates.T


def test_run_fn_learns_who_likes_what(trained):
    best = np.argsort(-scores(trained[1])[:, :8], axis=1)[:, :4]
    for user, found in enumerate(best):
        assert set(found // 4) == {user % 2}, USERS[user]


def test_rows_that_are_queries_learn_it_too(transformed, tmp_path):
    path = train(transformed, tmp_path, rows="query", epochs=60)
    best = np.argsort(-scores(path)[:, :8], axis=1)[:, :4]
    for user, found in enumerate(best):
        assert set(found // 4) == {user % 2}, USERS[user]


def test_run_fn_leaves_logs(trained):
    folder, _ = trained
    assert list((folder / "run").rglob("events.out.tfevents.*"))


def test_the_same_seed_trains_the_same_towers(trained, transformed, tmp_path):
    again = scores(train(transformed, tmp_path / "again"))
    np.testing.assert_allclose(again, scores(trained[1]), atol=1e-4)
    other = scores(train(transformed, tmp_path / "other", seed=7, epochs=1))
    assert np.abs(other - again).max() > 0.01


def test_a_warm_start_finds_vectors_by_id(trained, transformed, tmp_path):
    # One user and one movie are gone, others new, and all have other positions.
    renamed = {USERS[5]: "new user", MOVIES[7]: "🎬 new"}  # comes first
    rows = [
        (renamed.get(user, user), renamed.get(movie, movie))
        for user, movie in TRAIN
        for _ in range(1 + USERS.index(user))
    ]
    movies = [renamed.get(movie, movie) for movie in MOVIES]
    later = run_transform(tmp_path / "later", "[1]", rows, movies)
    for graph in ("query_graph", "candidate_graph"):
        name = QUERY_IDS if graph == "query_graph" else "candidate_ids"
        before = vocabulary(getattr(transformed, graph), name)
        after = vocabulary(getattr(later, graph), name)
        assert len({*before} & {*after}) == len(before) - 1
        assert sum(a == b for a, b in zip(before, after, strict=True)) < len(before) / 2
    still = {"epochs": 1, "learning_rate": 1e-12}
    warm = Towers(train(later, tmp_path / "warm", base_model=trained[1], **still))
    cold, base = Towers(train(later, tmp_path / "cold", **still)), Towers(trained[1])
    kept, new = tf.constant(USERS[:5]), tf.constant(["new user"])

    def embedded(towers: Towers, users: tf.Tensor) -> np.ndarray:
        return towers.embed_query({"user_id": users}).numpy()

    np.testing.assert_allclose(embedded(warm, kept), embedded(base, kept), atol=1e-6)
    assert np.abs(embedded(cold, kept) - embedded(base, kept)).max() > 0.1
    np.testing.assert_allclose(embedded(warm, new), embedded(cold, new), atol=1e-6)
    ids = tf.constant([movie for movie in MOVIES if movie not in renamed])
    # With their biases, a table of its own.
    ours = warm.embed_candidate({"movie_id": ids}).numpy()
    theirs = base.embed_candidate({"movie_id": ids}).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert np.abs(theirs[:, -1]).max() > 0.1


def test_a_warm_start_learns_faster(trained, transformed, tmp_path):
    def losses(folder: str, base_model: str | None) -> list[float]:
        path = tmp_path / folder
        train(transformed, path, base_model=base_model, epochs=3)
        return logged_losses(path / "run")

    cold, warm = losses("cold", None), losses("warm", trained[1])
    assert warm[0] < cold[-1]


def logged_losses(folder: pathlib.Path) -> list[float]:
    """The loss of each epoch, from TensorBoard's logs."""
    (file,) = folder.rglob("events.out.tfevents.*")
    return [
        float(tf.make_ndarray(value.tensor))
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
        if value.tag == "epoch_loss"
    ]


def test_a_warm_start_of_rows_that_are_queries(transformed, tmp_path):
    """Histories read the candidates' table, whose rows have moved."""
    options = {"rows": "query", "epochs": 60, "id_dropout": 0.9}
    base = train(transformed, tmp_path / "base", **options)
    movies = ["龍 new", *reversed(MOVIES)]
    rows = [*TRAIN, ("1", "龍 new")]
    later = run_transform(tmp_path / "later", "[1]", rows, movies)
    still = {**options, "epochs": 1, "learning_rate": 1e-12}
    warm = train(later, tmp_path / "warm", base_model=base, **still)
    ids = tf.constant(MOVIES[:8])
    ours, theirs = (
        Towers(path).embed_candidate({"movie_id": ids}).numpy() for path in (warm, base)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    best = np.argsort(-scores(warm)[:, :8], axis=1)[:, :4]
    for user, found in enumerate(best):
        assert set(found // 4) == {user % 2}, USERS[user]


def test_a_warm_start_keeps_what_is_not_seen_any_more(trained, transformed, tmp_path):
    """A movie that nobody chose lately is still known from the earlier model."""
    gone = MOVIES[0]
    rows = [(user, movie) for user, movie in TRAIN if movie != gone]
    later = run_transform(tmp_path / "later", "[1]", rows)
    still = {"epochs": 1, "learning_rate": 1e-12}
    warm = Towers(train(later, tmp_path / "warm", base_model=trained[1], **still))
    cold, base = Towers(train(later, tmp_path / "cold", **still)), Towers(trained[1])

    def embedded(towers: Towers) -> np.ndarray:
        return towers.embed_candidate({"movie_id": tf.constant([gone])}).numpy()[0]

    np.testing.assert_allclose(embedded(warm), embedded(base), atol=1e-6)
    assert (embedded(cold)[:-1] == 0).all()


def test_a_warm_start_from_wider_towers_begins_afresh(trained, transformed, tmp_path):
    wider = {"embedding_dim": 8}
    path = train(transformed, tmp_path, base_model=trained[1], epochs=1, model=wider)
    assert np.isfinite(scores(path)).all()


def test_the_vocabulary_of_towers_is_beside_them(trained, transformed):
    folder = pathlib.Path(trained[1], "assets.extra", "vocabularies")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*/*")} == {
        f"query_tower/{QUERY_IDS}",
        f"candidate_tower/{vocabulary_name('movie_id')}",
    }


# Checkpoints


def test_a_training_that_stopped_goes_on_only_with_the_same_inputs(
    transformed, tmp_path, caplog, monkeypatch
):
    caplog.set_level("INFO", "trainer")
    monkeypatch.setattr(TwoTowers, "save", fail)  # killed before they were written

    def said(**training: Any) -> str:
        caplog.clear()
        options = {"epochs": 3, "state_dir": tmp_path / "kept", **training}
        with pytest.raises(RuntimeError, match="as if killed"):
            train(transformed, tmp_path / "out", **options)
        return caplog.text

    assert "goes on" not in said()
    assert "training goes on after epoch 3 of 3" in said()
    assert "goes on" not in said(epochs=4)
    assert "goes on" not in said(seed=7)
    assert "goes on" not in said(valid=True)
    assert len(list((tmp_path / "kept").iterdir())) == 4


def test_a_killed_execution_is_taken_up_by_the_next_and_leaves_nothing(
    transformed, tmp_path
):
    def execute(execution: int) -> standard_artifacts.Model:
        return run_executor(transformed, tmp_path / "Trainer", execution)

    state = tmp_path / "Trainer" / ".system" / "stateful_working_dir"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TwoTowers, "save", fail)
        with pytest.raises(RuntimeError, match="as if killed"):
            execute(1)
    (kept,) = (state / "state").iterdir()
    assert (kept / "ckpt-2.index").exists()
    before = (kept / "ckpt-2.index").stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TwoTowers, "save", fail)
        with pytest.raises(RuntimeError, match="as if killed"):
            execute(2)
    assert (kept / "ckpt-2.index").stat().st_mtime_ns == before, "it trained again"
    model = execute(3)
    assert not (state / "state").exists()
    assert scores(path_utils.serving_model_dir(model.uri)).shape[0] == len(USERS)


def fail(*_: Any) -> None:
    raise RuntimeError("as if killed")


def run_executor(
    transformed: Transformed, node: pathlib.Path, execution: int
) -> standard_artifacts.Model:
    """Runs TwoTowerTrainer's executor as TFX does, each time into new folders."""
    inputs = {
        "examples": examples_of(transformed.interactions),
        "transform_graph": graph_of(transformed.interactions),
        "candidates": examples_of(transformed.candidates),
        "candidate_transform_graph": graph_of(transformed.candidates),
    }
    outputs = {
        "model": standard_artifacts.Model(),
        "model_run": standard_artifacts.ModelRun(),
    }
    for name, artifact in outputs.items():
        artifact.uri = str(node / name / str(execution))
    context = executor.Executor.Context(
        stateful_working_dir=str(
            node / ".system" / "stateful_working_dir" / f"uuid-{execution}"
        )
    )
    custom_config = {
        **IDS,
        "catalogue_id": "movie_id",
        "weight": None,
        "query_features": dump_features(USER),
        "candidate_features": dump_features(MOVIE),
        "has_valid_split": False,
        "model": {"embedding_dim": 4},
        "training": {"epochs": 2},
    }
    executor.Executor(context).Do(
        {name: [artifact] for name, artifact in inputs.items()},
        {name: [artifact] for name, artifact in outputs.items()},
        {
            "run_fn": "trainer.run.run_fn",
            "train_args": '{"splits": ["train"]}',
            "eval_args": '{"splits": ["train"]}',
            "custom_config": json.dumps(custom_config),
        },
    )
    return outputs["model"]


def examples_of(source: dict[str, str]) -> standard_artifacts.Examples:
    """Transformed rows as TFX has them, a folder a split."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(pathlib.Path(source["train"]).parents[1])
    artifact.split_names = artifact_utils.encode_split_names(["train"])
    split = pathlib.Path(artifact.uri, "Split-train")
    if not split.exists():
        split.symlink_to("train", target_is_directory=True)
    return artifact


def graph_of(source: dict[str, str]) -> standard_artifacts.TransformGraph:
    artifact = standard_artifacts.TransformGraph()
    artifact.uri = source["graph"]
    return artifact


# Distribution

WORKER = """
import json, pathlib, sys
from tests.component.test_trainer_component import Transformed, train
sides, folder = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2])
train(Transformed(**sides), folder, epochs=3, distribution="multi_worker")
"""


def test_two_workers_train_what_one_trains(transformed, tmp_path):
    sides = json.dumps(dataclasses.asdict(transformed))
    workers = [
        start(WORKER, sides, str(tmp_path / str(index)), TF_CONFIG=config)
        for index, config in enumerate(tf_configs(2))
    ]
    alone = train(transformed, tmp_path / "alone", epochs=3)
    finish(*workers)
    together = scores(str(tmp_path / "0" / "Format-Serving"))
    np.testing.assert_allclose(together, scores(alone), rtol=1e-3, atol=1e-5)
    expected = logged_losses(tmp_path / "alone" / "run")
    assert logged_losses(tmp_path / "0" / "run") == pytest.approx(expected, rel=1e-5)
    assert not (tmp_path / "1").exists(), "the first worker's files are kept"


def test_early_stopping_watches_the_valid_split(transformed, tmp_path):
    path = train(
        transformed, tmp_path, valid=True, epochs=60, early_stopping_patience=1
    )
    assert scores(path).shape == (len(USERS), len(MOVIES))
    with pytest.raises(UserError, match="early_stopping_patience needs a split"):
        train(transformed, tmp_path / "without", early_stopping_patience=1)


def test_what_was_trained_can_be_served(trained, tmp_path):
    # The towers meet the servable: no TFX is needed to build it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    towers = Towers(trained[1])
    vectors = towers.embed_candidate({"movie_id": tf.constant(MOVIES)}).numpy()
    flat = pa.array(vectors.reshape(-1))
    table = pa.table(
        {
            "candidate_id": MOVIES,
            "title": MOVIES,
            "embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )
    pq.write_table(table, tmp_path / "candidates.parquet")
    path = str(tmp_path / "model")
    build_servable(trained[1], str(tmp_path), IndexConfig(), path, {})
    model = Recommender(path)
    expected = scores(trained[1])
    for row, user in enumerate(USERS):
        found = model.recommend({"user_id": user}, len(MOVIES))
        order = [MOVIES[i] for i in np.argsort(-expected[row], kind="stable")]
        assert [one["candidate_id"] for one in found] == order


def test_names_of_transformed_features_are_the_models(transformed: Transformed):
    assert set(transformed.query_graph.transformed_feature_spec()) == {
        "user_id",
        "movie_id",
        QUERY_KEY,
    }
    assert set(transformed.candidate_graph.transformed_feature_spec()) == {
        CANDIDATE_INDEX
    }
