# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The data components on cuts of the real data: what goes in, through and nowhere."""

import collections
import dataclasses
import hashlib
import itertools
import json
import logging
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from ml_metadata.metadata_store import metadata_store
from tfx.components.schema_gen.import_schema_gen import executor as import_schema_gen
from tfx.components.statistics_gen import executor as statistics_gen
from tfx.dsl.components.base import base_beam_executor
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner
from tfx.types import (
    artifact_utils,
    channel_utils,
    standard_artifacts,
    standard_component_specs,
)

from components import records, split_examples
from components.artifacts import DataFindings
from components.example_cleaner import component as cleaner_component
from components.example_cleaner import executor as cleaner
from components.example_validator import component as validator_component
from components.example_validator import executor as validator
from components.tfds_example_gen import component as gen_component
from components.tfds_example_gen import executor as gen
from components.tfds_example_gen import tfds_data
from serving.errors import UserError
from serving.process import child_environment

ROOT = pathlib.Path(__file__).parents[2]
RATINGS = "movielens/100k-ratings"
MOVIES = "movielens/100k-movies"
KEYS = ["user_id", "movie_id", "timestamp"]
RANDOM = {
    "method": "random",
    "seed": 42,
    "fractions": {"train": 0.8, "eval": 0.2},
    "keys": KEYS,
}
TIME = {
    "method": "time",
    "timestamp": "timestamp",
    "fractions": {"train": 0.6, "valid": 0.2, "eval": 0.2},
}
WITHIN = {
    "method": "within_query",
    "seed": 42,
    "fractions": {"train": 0.8, "valid": 0.1, "eval": 0.1},
    "query": "user_id",
    "keys": KEYS,
}
LAST_OUT = {
    "method": "leave_last_out",
    "query": "user_id",
    "keys": KEYS,
    "timestamp": "timestamp",
    "valid": True,
}
NONE = {"method": "none"}
TWO_WORKERS = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]


def artifact(type_: type, folder: pathlib.Path, split_names: list[str] | None = None):
    """Returns an artifact at a folder of its own."""
    result = type_()
    result.uri = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if split_names is not None:
        result.split_names = artifact_utils.encode_split_names(split_names)
    return result


def generate(
    data_dir: str,
    dataset: str,
    split: dict[str, Any],
    folder: pathlib.Path,
    beam_args: list[str] | None = None,
) -> standard_artifacts.Examples:
    """Runs TfdsExampleGen's executor."""
    component = gen_component.TfdsExampleGen(dataset, data_dir, split)
    output = artifact(standard_artifacts.Examples, folder)
    context = base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=beam_args)
    gen.Executor(context).Do(
        {}, {"examples": [output]}, dict(component.exec_properties)
    )
    return output


def read(examples: standard_artifacts.Examples) -> dict[str, list[bytes]]:
    """The records of each split, in order."""
    result: dict[str, list[bytes]] = {}
    for file in records.list_files(examples):
        batches = records.read_batches(file.path)
        result.setdefault(file.split, []).extend(itertools.chain(*batches))
    return result


def parse(record: bytes) -> dict[str, list]:
    """Every feature of a record, parsed by protobuf and not by the code under test."""
    features = tf.train.Example.FromString(record).features.feature
    return {
        name: list(getattr(feature, feature.WhichOneof("kind")).value)
        for name, feature in features.items()
    }


def rating_key(record: bytes) -> tuple:
    row = parse(record)
    return tuple(row[name][0] for name in KEYS)


def store_cut(data_dir: str, rows: int, shards: int, reverse: bool = False) -> str:
    """Stores the first ratings as a TFDS dataset `cut` of its own; returns its name."""
    builder = tfds.builder(RATINGS, data_dir=str(ROOT / "data"))
    rows_ = list(tfds.as_numpy(builder.as_dataset(split=f"train[:{rows}]")))
    features = builder.info.features
    decoded = [
        {
            name: value.decode("utf-8") if isinstance(value, bytes) else value
            for name, value in row.items()
        }
        for row in (reversed(rows_) if reverse else rows_)
    ]
    name = f"cut{rows}in{shards}{'reversed' if reverse else ''}"
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=features,
        split_datasets={"train": list(enumerate(decoded))},
        data_dir=data_dir,
        download_config=tfds.download.DownloadConfig(num_shards=shards),
        disable_shuffling=True,
    )
    return name


@pytest.fixture(scope="session")
def cuts(movielens_data_dir, tmp_path_factory) -> dict[str, str]:
    """A data folder with the same 3,000 ratings in one shard and, reversed, in four."""
    folder = str(tmp_path_factory.mktemp("cuts"))
    return {
        "data_dir": folder,
        "one": store_cut(folder, 3000, 1),
        "four": store_cut(folder, 3000, 4, reverse=True),
        "tiny": store_cut(folder, 3, 1),
    }


@pytest.fixture(scope="session")
def cut_rows(cuts, tmp_path_factory) -> dict[str, list[bytes]]:
    """A few hundred ratings in splits train and eval."""
    folder = tmp_path_factory.mktemp("cut") / "examples"
    examples = generate(cuts["data_dir"], cuts["one"], RANDOM, folder)
    return {name: rows[:300] for name, rows in read(examples).items()}


# The data itself.


def test_movielens_is_the_original(movielens_data_dir):
    builder = tfds.builder(RATINGS, data_dir=movielens_data_dir)
    assert type(builder).__module__ == "tensorflow_datasets.structured.movielens"
    (path,) = builder.info.splits["train"].filepaths
    names = ("user_id", "movie_id", "movie_title", "user_occupation_text")
    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in names}
    spec |= {"timestamp": tf.io.FixedLenFeature([], tf.int64)}
    for name in ("user_rating", "bucketized_user_age"):
        spec[name] = tf.io.FixedLenFeature([], tf.float32)
    (batch,) = tf.data.TFRecordDataset(os.fspath(path)).batch(200_000)
    table = {k: v.numpy() for k, v in tf.io.parse_example(batch, spec).items()}
    assert collections.Counter(table["user_rating"].tolist()) == {
        1: 6110, 2: 11370, 3: 27145, 4: 34174, 5: 21201
    }  # fmt: skip
    assert len(set(table["user_id"])) == 943
    found = (table["user_id"] == b"196") & (table["movie_id"] == b"242")
    (row,) = np.flatnonzero(found)  # the first line of u.data
    assert table["movie_title"][row] == b"Kolya (1996)"
    assert table["timestamp"][row] == 881250949
    assert table["user_occupation_text"][row] == b"writer"
    assert table["bucketized_user_age"][row] == 45


def test_titles_are_the_originals(movielens_data_dir):
    builder = tfds.builder(MOVIES, data_dir=movielens_data_dir)
    (path,) = builder.info.splits["train"].filepaths
    rows = [parse(r) for b in records.read_batches(os.fspath(path)) for r in b]
    titles = {row["movie_id"][0]: row["movie_title"][0].decode("utf-8") for row in rows}
    assert len(titles) == 1682
    assert len(set(titles.values())) == 1664
    assert titles[b"1"] == "Toy Story (1995)"
    assert titles[b"267"] == "unknown"
    assert titles[b"543"] == "Misérables, Les (1995)"
    assert titles[b"1412"].endswith("the Great Giving (1995) (V)")


KILL_SCRIPT = """
import resource, sys
from components.tfds_example_gen import movielens, tfds_data

data_dir, folder, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
builder = movielens.builder_from_files("movielens/100k-ratings", data_dir, folder)
tfds_data._download_and_prepare(builder, folder)
"""


@pytest.fixture
def original_files(tmp_path) -> str:
    """Files of ml-100k.zip with many ratings, so that there is time to kill."""
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    lines = "".join(f"1\t1\t3\t{at}\n" for at in range(20_000))
    (folder / "u.data").write_text(lines)
    (folder / "u.item").write_text("1|Toy Story (1995)||||" + "0|" * 18 + "0\n")
    (folder / "u.user").write_text("1|24|M|technician|85711\n")
    return str(folder)


def _start_preparing(data_dir: str, folder: str, limit: int = 0) -> subprocess.Popen:
    command = [sys.executable, "-c", KILL_SCRIPT, data_dir, folder, str(limit)]
    environment = child_environment()
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_a_killed_preparation_leaves_nothing_taken_for_whole(tmp_path, original_files):
    data_dir = tmp_path / "data"
    process = _start_preparing(str(data_dir), original_files)
    deadline = time.monotonic() + 120
    while not list(data_dir.glob("movielens/100k-ratings/incomplete.*")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(data_dir.glob("movielens/100k-ratings/incomplete.*"))
    assert not tfds_data.find_builder(RATINGS, str(data_dir)).is_prepared()

    process = _start_preparing(str(data_dir), original_files)
    assert process.wait(timeout=300) == 0, process.stderr.read()
    builder = tfds_data.find_builder(RATINGS, str(data_dir))
    assert builder.is_prepared()
    assert builder.info.splits["train"].num_examples == 20_000


def test_a_full_data_folder_is_one_sentence(tmp_path, original_files):
    # A limit on the size of files fails writes just as a full disk does.
    process = _start_preparing(str(tmp_path / "data"), original_files, limit=100_000)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 1
    errors = [line for line in stderr.splitlines() if line.startswith("serving.errors")]
    assert len(errors) == 1, stderr
    assert errors[0].startswith("serving.errors.UserError: the data folder")
    assert "cannot take the dataset (File too large): make it writable" in errors[0]
    assert not tfds_data.find_builder(RATINGS, str(tmp_path / "data")).is_prepared()


# TfdsExampleGen.


def test_one_split_passes_records_through_in_their_order(movielens_data_dir, tmp_path):
    examples = generate(movielens_data_dir, MOVIES, NONE, tmp_path / "out")
    assert artifact_utils.decode_split_names(examples.split_names) == ["train"]
    builder = tfds.builder(MOVIES, data_dir=movielens_data_dir)
    (path,) = builder.info.splits["train"].filepaths
    stored = [r.numpy() for r in tf.data.TFRecordDataset(os.fspath(path))]
    assert read(examples) == {"train": stored}
    assert os.listdir(examples.uri) == ["Split-train"]
    assert examples.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"
    assert examples.get_string_custom_property("file_format") == "tfrecords_gzip"


def test_random_split_of_100k_ratings(movielens_data_dir, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger=split_examples.__name__)
    started = time.process_time()
    examples = generate(movielens_data_dir, RATINGS, RANDOM, tmp_path / "one")
    # It takes 4 s; one as_numpy at a time would take 200.
    assert time.process_time() - started < 20
    found = read(examples)
    assert {name: len(rows) for name, rows in found.items()} == {
        "train": len(found["train"]),
        "eval": 100_000 - len(found["train"]),
    }
    assert abs(len(found["train"]) - 80_000) < 4 * np.sqrt(100_000 * 0.8 * 0.2)
    assert f"train {len(found['train'])}" in caplog.text

    def belongs_to_train(record: bytes) -> bool:
        user, movie, timestamp = rating_key(record)
        text = b"".join(
            b"[1%c%d:%s" % (tag, len(value), value)
            for tag, value in zip(b"ssi", (user, movie, b"%d" % timestamp), strict=True)
        )
        key = (42).to_bytes(8, "big")
        digest = hashlib.blake2b(text, digest_size=8, key=key).digest()
        return int.from_bytes(digest, "big") / 2**64 < 0.8

    assert all(map(belongs_to_train, found["train"][::40]))
    assert not any(map(belongs_to_train, found["eval"][::10]))


@pytest.mark.parametrize(
    "split", [RANDOM, TIME, WITHIN, LAST_OUT], ids=lambda split: split["method"]
)
def test_split_ignores_order_shards_and_workers(cuts, tmp_path, split):
    found = [
        {
            rating_key(record): name
            for name, rows in read(
                generate(
                    cuts["data_dir"], dataset, split, tmp_path / dataset, beam_args
                )
            ).items()
            for record in rows
        }
        for dataset, beam_args in ((cuts["one"], None), (cuts["four"], TWO_WORKERS))
    ]
    assert len(found[0]) == 3000
    assert found[0] == found[1]


def test_files_are_the_same_in_every_run(cuts, tmp_path):
    runs = [
        generate(cuts["data_dir"], cuts["four"], RANDOM, tmp_path / run, arguments)
        for run, arguments in (("a", None), ("b", TWO_WORKERS))
    ]
    assert [file.files for file in records.list_files(runs[0])] == [4] * 8
    assert read(runs[0]) == read(runs[1])


def test_time_split_against_numpy(cuts, tmp_path):
    found = read(generate(cuts["data_dir"], cuts["four"], TIME, tmp_path / "out"))
    times = {
        name: np.array([rating_key(record)[2] for record in rows])
        for name, rows in found.items()
    }
    assert times["train"].max() < times["valid"].min()
    assert times["valid"].max() < times["eval"].min()
    everything = np.sort(np.concatenate(list(times.values())))
    width = -(-(everything[-1] - everything[0] + 1) // 2**16)
    largest = np.bincount((everything - everything[0]) // width).max()
    assert abs(len(times["train"]) - 1800) <= largest / 2
    assert abs(len(times["train"]) + len(times["valid"]) - 2400) <= largest / 2


@pytest.mark.parametrize("rows_per_piece", [1, 1 << 16])
def test_splits_within_queries_against_counting(
    cuts, tmp_path, rows_per_piece, monkeypatch
):
    monkeypatch.setattr(split_examples, "_ROWS_PER_PIECE", rows_per_piece)
    everything = read(generate(cuts["data_dir"], cuts["four"], NONE, tmp_path / "all"))
    for split in (WITHIN, LAST_OUT):
        folder = tmp_path / split["method"]
        found = read(generate(cuts["data_dir"], cuts["four"], split, folder))
        assert sorted(sum(found.values(), [])) == sorted(everything["train"])
        times: dict[str, dict[bytes, list[int]]] = {
            name: collections.defaultdict(list) for name in found
        }
        for name, rows in found.items():
            for user, _, timestamp in map(rating_key, rows):
                times[name][user].append(timestamp)
        for user, own in times["train"].items():
            held_out = [times[name][user] for name in ("valid", "eval")]
            total = len(own) + sum(map(len, held_out))
            share = max(total // 10, 1) if split is WITHIN else 1
            assert list(map(len, held_out)) == [share * (total >= 3)] * 2
            if split is LAST_OUT and total >= 3:
                assert max(own) <= held_out[0][0] <= held_out[1][0]


def test_shuffle_is_the_tutorials(movielens_data_dir, tmp_path):
    split = {
        "method": "shuffle",
        "seed": 42,
        "counts": {"train": 80_000, "eval": 20_000},
    }
    found = read(generate(movielens_data_dir, RATINGS, split, tmp_path / "out"))

    # As in the tutorial, but for the features that are kept.
    ratings = tfds.load(RATINGS, split="train", data_dir=movielens_data_dir)
    ratings = ratings.map(lambda x: tuple(x[name] for name in KEYS))
    tf.random.set_seed(42)
    shuffled = ratings.shuffle(100_000, seed=42, reshuffle_each_iteration=False)
    test = shuffled.skip(80_000).take(20_000).batch(20_000)
    expected = zip(*(c.numpy().tolist() for c in next(iter(test))), strict=True)
    assert {rating_key(record) for record in found["eval"]} == set(expected)
    assert len(found["train"]) == 80_000


def test_shuffle_counts_positions_over_all_shards(cuts, tmp_path):
    counts = {"train": 2000, "eval": 600}
    split = {"method": "shuffle", "seed": 3, "counts": counts}
    found = read(generate(cuts["data_dir"], cuts["four"], split, tmp_path / "out"))
    everything = read(generate(cuts["data_dir"], cuts["four"], NONE, tmp_path / "all"))
    tf.random.set_seed(3)
    positions = tf.data.Dataset.range(3000).shuffle(3000, 3, False).as_numpy_iterator()
    order = list(positions)
    for name, chosen in (("train", order[:2000]), ("eval", order[2000:2600])):
        assert found[name] == [everything["train"][at] for at in sorted(chosen)]


def test_an_empty_split_is_one_sentence(cuts, tmp_path):
    split = {**RANDOM, "fractions": {"train": 0.9999, "eval": 0.0001}}
    with pytest.raises(UserError) as caught:
        generate(cuts["data_dir"], cuts["tiny"], split, tmp_path / "out")
    assert str(caught.value) == (
        f"split 'eval' of {cuts['tiny']} is empty (3 rows in all): give it a larger "
        "share under split or take a larger dataset"
    )


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        (
            {**RANDOM, "keys": ["user"]},
            "without the feature 'user' that the split goes",
        ),
        ({**TIME, "timestamp": "when"}, "without the integer feature 'when'"),
        ({**WITHIN, "query": "user"}, "without the feature 'user' that the split"),
        ({**LAST_OUT, "keys": ["item"]}, "without the feature 'item' that the split"),
        ({**LAST_OUT, "timestamp": "user_rating"}, "integer feature 'user_rating'"),
        ({**TIME, "timestamp": "user_rating"}, "the integer feature 'user_rating'"),
        ({**TIME, "timestamp": "movie_genres"}, "the integer feature 'movie_genres'"),
    ],
)
def test_a_feature_that_is_not_there_is_named(cuts, tmp_path, split, sentence):
    with pytest.raises(UserError, match=sentence):
        generate(cuts["data_dir"], cuts["one"], split, tmp_path / "out")


@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "lose a record"])
def test_a_damaged_shard_is_named(cuts, tmp_path, damage):
    data_dir = tmp_path / "data"
    shutil.copytree(cuts["data_dir"], data_dir)
    shard = sorted((data_dir / cuts["four"]).rglob("*tfrecord*"))[2]
    content = shard.read_bytes()
    if damage == "cut":
        shard.write_bytes(content[:-7])
    elif damage == "flip":
        shard.write_bytes(content[:5000] + b"\xff\x00" + content[5002:])
    elif damage == "remove":
        shard.unlink()
    else:
        all_but_last = list(tf.data.TFRecordDataset(str(shard)))[:-1]
        with tf.io.TFRecordWriter(str(shard)) as writer:
            for record in all_but_last:
                writer.write(record.numpy())
    with pytest.raises(UserError, match="damaged or incomplete: delete") as caught:
        generate(str(data_dir), cuts["four"], RANDOM, tmp_path / "out")
    assert shard.name in str(caught.value)


def test_an_unknown_split_of_the_dataset_is_named(cuts):
    builder = tfds.builder(cuts["one"], data_dir=cuts["data_dir"])
    with pytest.raises(UserError, match="no split 'test'.*one of train"):
        gen.list_shards(builder, "train+test")


def test_positions_run_on_over_shards(cuts):
    shards = gen.list_shards(
        tfds.builder(cuts["four"], data_dir=cuts["data_dir"]), "train"
    )
    assert [shard.index for shard in shards] == [0, 1, 2, 3]
    ends = [shard.start + shard.rows for shard in shards]
    assert [shard.start for shard in shards] == [0, *ends[:-1]]
    assert {shard.rows_total for shard in shards} == {ends[-1]} == {3000}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"dataset": ""}, "dataset is ''"),
        ({"data_dir": " "}, "data_dir is ' '"),
        ({"dataset_split": ""}, "dataset_split is ''"),
        ({"split": {"method": "by hand"}}, r"split\.method is 'by hand'"),
    ],
)
def test_wrong_use_fails_at_construction(arguments, sentence):
    right = {"dataset": RATINGS, "data_dir": "data", "split": RANDOM}
    with pytest.raises(UserError, match=sentence):
        gen_component.TfdsExampleGen(**{**right, **arguments})


def test_the_cache_goes_by_the_settings_and_not_by_files(cuts, tmp_path):
    database = str(tmp_path / "metadata.db")
    shards = list(pathlib.Path(cuts["data_dir"], cuts["one"]).rglob("*tfrecord*"))

    def executions_after(fingerprint: str, split: dict[str, Any]) -> dict[str, int]:
        for shard in shards:
            os.utime(shard, None)
        component = gen_component.TfdsExampleGen(
            cuts["one"], cuts["data_dir"], split, fingerprint
        )
        local_dag_runner.LocalDagRunner().run(
            pipeline.Pipeline(
                pipeline_name="cache",
                pipeline_root=str(tmp_path / "root"),
                components=[component],
                enable_cache=True,
                metadata_connection_config=(
                    metadata.sqlite_metadata_connection_config(database)
                ),
            )
        )
        config = metadata.sqlite_metadata_connection_config(database)
        executions = metadata_store.MetadataStore(config).get_executions()
        states = (execution.last_known_state for execution in executions)
        return dict(collections.Counter(states))

    complete, cached = 3, 5  # ml_metadata.proto.Execution.State
    one = {**RANDOM, "fractions": {"train": 0.5, "eval": 0.5}}
    same = {key: one[key] for key in reversed(one)}
    assert executions_after("a", one) == {complete: 1}
    assert executions_after("a", same) == {complete: 1, cached: 1}
    assert executions_after("b", one) == {complete: 2, cached: 1}
    assert executions_after("b", NONE) == {complete: 3, cached: 1}


# ExampleCleaner.


def example(**features: Any) -> bytes:
    """A serialized tf.Example of bytes and integers."""
    result = tf.train.Example()
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        if values and isinstance(values[0], int):
            result.features.feature[name].int64_list.value.extend(values)
        else:
            result.features.feature[name].bytes_list.value.extend(values)
    return result.SerializeToString(deterministic=True)


def write_examples(
    folder: pathlib.Path, files: dict[str, list[list[bytes]]]
) -> standard_artifacts.Examples:
    """Writes records into files of splits."""
    result = artifact(standard_artifacts.Examples, folder, list(files))
    for split, contents in files.items():
        for index, rows in enumerate(contents):
            with records.SplitWriter(result.uri, split, index, len(contents)) as writer:
                writer.write(rows)
    records.finish_examples(result, list(files))
    return result


@dataclasses.dataclass
class Cleaned:
    interactions: dict[str, list[bytes]]
    candidates: dict[str, list[bytes]]
    report: dict[str, Any]


def clean(
    folder: pathlib.Path,
    interactions: standard_artifacts.Examples,
    candidates: standard_artifacts.Examples,
    **properties: str,
) -> Cleaned:
    """Runs ExampleCleaner's executor with the names of MovieLens."""
    component = cleaner_component.ExampleCleaner(
        interactions=channel_utils.as_channel([interactions]),
        candidates=channel_utils.as_channel([candidates]),
        **{
            "query_id": "user_id",
            "candidate_id": "movie_id",
            "catalogue_id": "movie_id",
            **properties,
        },
    )
    outputs = {
        key: [artifact(spec.type, folder / key)]
        for key, spec in cleaner_component.ExampleCleanerSpec.OUTPUTS.items()
    }
    cleaner.Executor().Do(
        {"interactions": [interactions], "candidates": [candidates]},
        outputs,
        dict(component.exec_properties),
    )
    report = pathlib.Path(outputs["report"][0].uri, cleaner.REPORT_FILE)
    return Cleaned(
        read(outputs["cleaned_interactions"][0]),
        read(outputs["cleaned_candidates"][0]),
        json.loads(report.read_text()),
    )


def catalogue(*ids: bytes) -> list[bytes]:
    return [example(movie_id=id_, movie_title=b"title of " + id_) for id_ in ids]


def ratings_of(*ids: Any, user: Any = b"7") -> list[bytes]:
    return [example(user_id=user, movie_id=id_, timestamp=3) for id_ in ids]


def test_clean_data_comes_out_as_it_went_in(cuts, movielens_data_dir, tmp_path):
    interactions = generate(cuts["data_dir"], cuts["four"], TIME, tmp_path / "i")
    candidates = generate(movielens_data_dir, MOVIES, NONE, tmp_path / "c")
    cleaned = clean(tmp_path / "out", interactions, candidates)
    assert cleaned.interactions == read(interactions)
    assert cleaned.candidates == read(candidates)
    assert cleaned.report["interactions"]["dropped"] == 0
    assert cleaned.report["interactions"]["without_id"] == {"movie_id": 0, "user_id": 0}
    assert sum(cleaned.report["interactions"]["rows"].values()) == 3000
    assert cleaned.report["candidates"]["kept"] == {"train": 1682}


@pytest.fixture
def with_orphans(tmp_path):
    interactions = write_examples(
        tmp_path / "i",
        {
            "train": [ratings_of(b"1", b"9", b"2"), ratings_of(b"8", b"9")],
            "eval": [ratings_of(b"1", b"6", b"5", b"4", b"3")],
        },
    )
    candidates = write_examples(tmp_path / "c", {"train": [catalogue(b"1", b"2")]})
    return tmp_path / "out", interactions, candidates


def test_orphans_stop_the_run(with_orphans):
    with pytest.raises(UserError) as caught:
        clean(*with_orphans)
    assert str(caught.value) == (
        "7 of 10 rows (70.00%) of the interactions name a candidate that is not in "
        "the catalogue, such as '3' (1 row), '4' (1 row), '5' (1 row), '6' (1 row), "
        "'8' (1 row): complete the catalogue or set interactions.orphans to drop"
    )


def test_orphans_are_dropped_with_a_warning(with_orphans, caplog):
    caplog.set_level(logging.WARNING, logger=cleaner.__name__)
    cleaned = clean(*with_orphans, orphans="drop")
    assert cleaned.interactions == {
        "train": ratings_of(b"1", b"2"),
        "eval": ratings_of(b"1"),
    }
    report = cleaned.report["interactions"]
    assert report["rows"] == {"train": 5, "eval": 5}
    assert report["kept"] == {"train": 2, "eval": 1}
    assert report["dropped"] == 7 and report["share"] == 0.7
    (warning,) = [r for r in caplog.records if r.name == cleaner.__name__]
    assert warning.levelno == logging.WARNING
    assert "7 of 10 rows (70.00%)" in warning.getMessage()


def test_a_split_that_becomes_empty_stops_the_run(tmp_path):
    interactions = write_examples(
        tmp_path / "i", {"train": [ratings_of(b"1")], "eval": [ratings_of(b"2", b"3")]}
    )
    candidates = write_examples(tmp_path / "c", {"train": [catalogue(b"1", b"9")]})
    with pytest.raises(
        UserError, match="'eval' of the interactions has no rows left of 2"
    ):
        clean(tmp_path / "out", interactions, candidates, orphans="drop")


def _duplicated() -> list[bytes]:
    twins = [example(movie_id=b"2", movie_title=t) for t in (b"c", b"a", b"b")]
    same = catalogue(b"3") * 2
    return [*catalogue(b"1"), *twins, *same]


def test_duplicates_stop_the_run(tmp_path):
    interactions = write_examples(tmp_path / "i", {"train": [ratings_of(b"1")]})
    candidates = write_examples(tmp_path / "c", {"train": [_duplicated()]})
    with pytest.raises(UserError) as caught:
        clean(tmp_path / "out", interactions, candidates)
    assert str(caught.value) == (
        "3 of 6 rows (50.00%) of the candidates repeat an id of another row, such as "
        "'2' (3 rows), '3' (2 rows): mend the catalogue or set candidates.duplicates "
        "to keep_one"
    )


@pytest.mark.parametrize("seed", range(3))
def test_one_of_each_is_kept_whatever_the_order(tmp_path, seed, caplog):
    caplog.set_level(logging.WARNING, logger=cleaner.__name__)
    rows = _duplicated()
    random.Random(seed).shuffle(rows)
    cut = 1 + seed
    interactions = write_examples(tmp_path / "i", {"train": [ratings_of(b"1", b"2")]})
    candidates = write_examples(tmp_path / "c", {"train": [rows[:cut], rows[cut:]]})
    cleaned = clean(tmp_path / "out", interactions, candidates, duplicates="keep_one")
    found = sorted(
        map(parse, cleaned.candidates["train"]), key=lambda row: row["movie_id"]
    )
    assert found == [
        {"movie_id": [b"1"], "movie_title": [b"title of 1"]},
        {"movie_id": [b"2"], "movie_title": [b"a"]},
        {"movie_id": [b"3"], "movie_title": [b"title of 3"]},
    ]
    assert cleaned.report["candidates"]["examples"] == {"2": 3, "3": 2}
    assert "3 of 6 rows (50.00%) of the candidates repeat" in caplog.text


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (
            ratings_of(b""),
            "1 of 3 rows (33.33%) of the interactions do not have exactly",
        ),
        (ratings_of(b"  "), "one non-empty id in 'movie_id'"),
        (ratings_of([b"1", b"2"]), "one non-empty id in 'movie_id'"),
        ([example(user_id=b"7")], "one non-empty id in 'movie_id'"),
        (ratings_of(b"1", user=b""), "one non-empty id in 'user_id'"),
    ],
)
def test_rows_without_ids_stop_the_run(tmp_path, bad, sentence):
    rows = [*ratings_of(b"1", b"2"), *bad]
    interactions = write_examples(tmp_path / "i", {"train": [rows]})
    candidates = write_examples(tmp_path / "c", {"train": [catalogue(b"1", b"2")]})
    with pytest.raises(UserError) as caught:
        clean(tmp_path / "out", interactions, candidates, orphans="drop")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("query_id", "the interactions have no feature 'nowhere' with ids in it"),
        ("candidate_id", "the interactions have no feature 'nowhere' with ids in it"),
        ("catalogue_id", "the candidates have no feature 'nowhere' with ids in it"),
    ],
)
def test_a_missing_id_column_is_named(tmp_path, key, sentence):
    interactions = write_examples(tmp_path / "i", {"train": [ratings_of(b"1")]})
    candidates = write_examples(tmp_path / "c", {"train": [catalogue(b"1")]})
    with pytest.raises(UserError, match=sentence):
        clean(
            tmp_path / "out",
            interactions,
            candidates,
            orphans="drop",
            **{key: "nowhere"},
        )


def test_integer_ids_are_the_text_of_their_digits(tmp_path):
    rows = ratings_of(1, 2, user=5)
    interactions = write_examples(tmp_path / "i", {"train": [rows]})
    candidates = write_examples(tmp_path / "c", {"train": [catalogue(b"1", b"2")]})
    cleaned = clean(tmp_path / "out", interactions, candidates)
    assert cleaned.interactions == {"train": rows}


def test_the_cleaner_refuses_unknown_choices(tmp_path):
    examples = channel_utils.as_channel([write_examples(tmp_path / "i", {"train": []})])
    with pytest.raises(
        UserError, match="interactions.orphans is 'ignore': choose stop"
    ):
        cleaner_component.ExampleCleaner(
            examples, examples, "user_id", "movie_id", "movie_id", orphans="ignore"
        )


# Schemas and SchemaValidator.


def validate(
    folder: pathlib.Path, examples: standard_artifacts.Examples, source: str
) -> standard_artifacts.ExampleAnomalies:
    """Runs StatisticsGen, ImportSchemaGen and SchemaValidator's executors."""
    statistics = artifact(standard_artifacts.ExampleStatistics, folder / "statistics")
    statistics_gen.Executor().Do(
        {"examples": [examples]}, {"statistics": [statistics]}, {}
    )
    schema = artifact(standard_artifacts.Schema, folder / "schema")
    file = ROOT / "configs" / "schemas" / "movielens-100k" / f"{source}.pbtxt"
    import_schema_gen.Executor().Do(
        {}, {"schema": [schema]}, {"schema_file": str(file)}
    )
    component = validator_component.SchemaValidator(
        statistics=channel_utils.as_channel([statistics]),
        schema=channel_utils.as_channel([schema]),
        source=source,
    )
    anomalies = artifact(standard_artifacts.ExampleAnomalies, folder / "anomalies")
    validator.Executor().Do(
        {"statistics": [statistics], "schema": [schema]},
        {
            "anomalies": [anomalies],
            "findings": [artifact(DataFindings, folder / "findings")],
        },
        dict(component.exec_properties),
    )
    return anomalies


def test_all_of_movielens_fits_its_schemas(movielens_data_dir, tmp_path):
    for source, dataset, split in (
        ("interactions", RATINGS, RANDOM),
        ("candidates", MOVIES, NONE),
    ):
        examples = generate(movielens_data_dir, dataset, split, tmp_path / source / "e")
        anomalies = validate(tmp_path / source, examples, source)
        names = artifact_utils.decode_split_names(anomalies.split_names)
        assert anomalies.get_json_value_custom_property("blessed") == dict.fromkeys(
            names, 1
        )


def _change(name: str, kind: str | None, *values: Any):
    """A function that replaces a feature of a record, or removes it."""

    def change(record: bytes) -> bytes:
        example_ = tf.train.Example.FromString(record)
        example_.features.feature.pop(name, None)
        if kind:
            getattr(example_.features.feature[name], kind).value.extend(values)
        return example_.SerializeToString()

    return change


RATING, TIME_OF_IT = "user_rating", "timestamp"


@pytest.mark.parametrize(
    ("feature", "change", "text"),
    [
        (RATING, _change(RATING, None), "Column dropped (Column is completely missing"),
        (
            RATING,
            _change(RATING, "bytes_list", b"5"),
            "Unexpected data type (Expected data of type: FLOAT but got STRING",
        ),
        (
            RATING,
            _change(RATING, "float_list", 9.0),
            "Out-of-range values (Unexpectedly high value: 9>5",
        ),
        (
            TIME_OF_IT,
            _change(TIME_OF_IT, "int64_list", 881250949000),
            "Out-of-range values (Unexpectedly large value: 881250949000",
        ),
        (
            "user_id",
            _change("user_id", "int64_list", 7),
            "Unexpected data type (Expected data of type: BYTES but got INT",
        ),
        (
            "user_occupation_text",
            _change("user_occupation_text", "bytes_list", b"astronaut"),
            "Unexpected string values (Examples contain values missing from the schema"
            ": astronaut",
        ),
        ("surprise", _change("surprise", "int64_list", 1), "New column"),
    ],
    ids=["missing", "type", "range", "milliseconds", "integer id", "domain", "new"],
)
def test_a_broken_cut_is_refused(cut_rows, tmp_path, feature, change, text):
    broken = write_examples(
        tmp_path / "broken",
        {"train": [cut_rows["train"]], "eval": [list(map(change, cut_rows["eval"]))]},
    )
    with pytest.raises(UserError) as caught:
        validate(tmp_path, broken, "interactions")
    message = str(caught.value)
    assert message.startswith(
        f"the interactions do not fit their schema: feature {feature!r} in eval: {text}"
    )
    assert "\n" not in message
    assert (tmp_path / "anomalies" / "Split-eval" / "SchemaDiff.pb").exists()


def test_several_anomalies_are_one_sentence(cut_rows, tmp_path):
    lower = _change(RATING, "float_list", 0.0)
    remove = _change("user_zip_code", None)
    broken = write_examples(
        tmp_path / "broken",
        {
            name: [[lower(remove(row)) for row in part]]
            for name, part in cut_rows.items()
        },
    )
    with pytest.raises(UserError) as caught:
        validate(tmp_path, broken, "interactions")
    message = str(caught.value)
    assert "feature 'user_rating' in train, eval: Out-of-range values" in message
    assert "feature 'user_zip_code' in train, eval: Column dropped" in message
    assert "\n" not in message


def test_the_validator_keeps_the_standard_spec():
    standard = standard_component_specs.ExampleValidatorSpec
    ours = validator_component.SchemaValidatorSpec
    assert standard.PARAMETERS.items() <= ours.PARAMETERS.items()
    assert standard.OUTPUTS.items() <= ours.OUTPUTS.items()
    assert ours.INPUTS == standard.INPUTS
    assert set(ours.OUTPUTS) - set(standard.OUTPUTS) == {"findings"}
    assert set(ours.PARAMETERS) - set(standard.PARAMETERS) == {
        "source",
        "policy",
        "fingerprint",
    }
