# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""FileExampleGen: the same rows from every format, compression, glob and span."""

import bz2
import csv
import datetime
import gzip
import io
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.columns import Column, Kind, dump_columns
from components.file_example_gen import driver, executor, files, readers
from components.file_example_gen.component import FileExampleGen
from serving.errors import UserError

Rows = list[dict[str, Any]]

COLUMNS = [
    Column("user", Kind.TEXT, required=True),
    Column("item", Kind.TEXT, required=True),
    Column("when", Kind.TIMESTAMP, required=True),
    Column("tags", Kind.TEXTS, separator="|"),
    Column("price", Kind.NUMBER),
    Column("picture", Kind.VECTOR, dimensions=2),
]
ALL = {"method": "none"}
HALVES = {
    "method": "random",
    "seed": 1,
    "fractions": {"train": 0.5, "eval": 0.5},
    "keys": ["user", "item", "when"],
}


def make_rows(count: int, first: int = 0) -> Rows:
    """Rows with ids that look like numbers, gaps, and text of many scripts."""
    return [
        {
            "user": f"{n:04d}",
            "item": ["007", "7", "1e3", "null", "élan", "東京, 🎬", 'a "quote"'][n % 7],
            "when": 1_600_000_000 + n,
            "tags": [["a", "b"], [], ["é"]][n % 3],
            "price": None if n % 5 == 0 else n / 4,
            "picture": None if n % 4 == 0 else [n, 0.5],
            "unused": f"line one\nline {n}",
        }
        for n in range(first, first + count)
    ]


def examples_of(rows: Rows) -> list[dict[str, list[Any]]]:
    """The features that each row should become, missing ones left out."""
    return [
        {
            name: values
            for name, values in {
                "user": [row["user"].encode()],
                "item": [row["item"].encode()],
                "when": [row["when"]],
                "tags": [tag.encode() for tag in row["tags"]],
                "price": [] if row["price"] is None else [row["price"]],
                "picture": row["picture"] or [],
            }.items()
            if values
        }
        for row in rows
    ]


def as_csv(rows: Rows, header: bool = True, **options: Any) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, **options)
    if header:
        writer.writerow(rows[0])
    for row in rows:
        flat = {
            **row,
            "tags": "|".join(row["tags"]),
            "picture": row["picture"] and ",".join(map(str, row["picture"])),
        }
        writer.writerow(["" if value is None else value for value in flat.values()])
    return text.getvalue().encode()


def as_parquet(rows: Rows) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=100)
    return buffer.getvalue().to_pybytes()


def as_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n\n" for row in rows).encode()


def write_tfrecord(path: pathlib.Path, rows: Rows) -> None:
    options = "GZIP" if path.suffix == ".gz" else ""
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for features in examples_of(rows):
            example = tf.train.Example()
            for name, values in features.items():
                feature = example.features.feature[name]
                if isinstance(values[0], bytes):
                    feature.bytes_list.value.extend(values)
                elif name == "when":
                    # As text: it is made what it is declared to be.
                    feature.bytes_list.value.append(str(values[0]).encode())
                else:
                    feature.float_list.value.extend(map(float, values))
            writer.write(example.SerializeToString())


@pytest.fixture
def read(new_artifact) -> Callable[..., dict[str, list[dict[str, list[Any]]]]]:
    """Runs the real component's executor; returns the features of each split's rows."""

    def run(
        pattern: str,
        split: dict[str, Any] = ALL,
        last_spans: int = 1,
        columns: list[Column] = COLUMNS,
        **file_format: Any,
    ) -> dict[str, list[dict[str, list[Any]]]]:
        artifact = new_artifact(standard_artifacts.Examples)
        component = FileExampleGen(pattern, file_format, columns, split, last_spans)
        executor.Executor().Do({}, {"examples": [artifact]}, component.exec_properties)
        return {
            name: rows_of(artifact.uri, name)
            for name in json.loads(artifact.split_names)
        }

    return run


def rows_of(uri: str, split: str) -> list[dict[str, list[Any]]]:
    found = sorted(str(path) for path in pathlib.Path(uri, f"Split-{split}").iterdir())
    rows = []
    for record in tf.data.TFRecordDataset(found, "GZIP").as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        rows.append(
            {
                name: list(getattr(feature, feature.WhichOneof("kind")).value)
                for name, feature in features.items()
                if feature.WhichOneof("kind")
            }
        )
    return rows


WRITERS = {"csv": as_csv, "parquet": as_parquet, "jsonl": as_jsonl}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: pack(data, "zstd"),
    ".lz4": lambda data: pack(data, "lz4"),
}


def pack(data: bytes, codec: str) -> bytes:
    buffer = pa.BufferOutputStream()
    with pa.CompressedOutputStream(buffer, codec) as stream:
        stream.write(data)
    return buffer.getvalue().to_pybytes()


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_text_formats_give_the_same_rows(name, packing, read, tmp_path):
    rows = make_rows(60)
    path = tmp_path / f"log.{name}{packing}"
    path.write_bytes(PACKERS[packing](WRITERS[name](rows)))
    assert read(str(path), name=name) == {"train": examples_of(rows)}


def test_parquet_gives_the_same_rows(read, tmp_path):
    rows = make_rows(450)
    (tmp_path / "log.parquet").write_bytes(as_parquet(rows))
    found = read(str(tmp_path / "log.parquet"), name="parquet")
    assert found == {"train": examples_of(rows)}


@pytest.mark.parametrize("name", ["log.tfrecord", "log.tfrecord.gz"])
def test_tfrecords_give_the_same_rows(name, read, tmp_path):
    rows = make_rows(60)
    write_tfrecord(tmp_path / name, rows)
    found = read(str(tmp_path / name), name="tfrecord")
    assert found == {"train": examples_of(rows)}


def test_features_of_tfrecords_that_are_not_declared_are_kept(read, tmp_path):
    rows = make_rows(20)
    write_tfrecord(tmp_path / "log", rows)
    found = read(str(tmp_path / "log"), columns=COLUMNS[:3], name="tfrecord")
    assert found == {"train": examples_of(rows)}


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_any_delimiter(delimiter, read, tmp_path):
    rows = [{**row, "tags": []} for row in make_rows(30)]
    (tmp_path / "log.csv").write_bytes(as_csv(rows, delimiter=delimiter))
    found = read(str(tmp_path / "log.csv"), name="csv", delimiter=delimiter)
    assert found == {"train": examples_of(rows)}


def test_another_encoding_and_no_header(read, tmp_path):
    rows = [{**row, "item": "Zürich"} for row in make_rows(30)]
    text = as_csv(rows, header=False).decode()
    (tmp_path / "log.csv").write_bytes(text.encode("latin-1"))
    found = read(
        str(tmp_path / "log.csv"),
        name="csv",
        encoding="latin-1",
        column_names=list(rows[0]),
    )
    assert found == {"train": examples_of(rows)}


RENAME = {"User ID": "user", "when": "item", "Größe/€": "when", "item": "price"}
"""New names by those in the files; two of them change places."""


@pytest.mark.parametrize("name", [*WRITERS, "tfrecord"])
def test_columns_go_by_other_names(name, read, tmp_path):
    rows = make_rows(60)
    in_file = {new: old for old, new in RENAME.items()}
    named = [{in_file.get(k, k): v for k, v in row.items()} for row in rows]
    path = tmp_path / f"log.{name}"
    if name == "csv":
        head, _, rest = as_csv(rows).partition(b"\r\n")
        names = [in_file.get(k, k) for k in head.decode().split(",")]
        path.write_bytes(",".join(names).encode() + b"\r\n" + rest)
    elif name == "tfrecord":
        write_tfrecord(path, rows)
        path.write_bytes(renamed_records(path, in_file))
    else:
        path.write_bytes(WRITERS[name](named))
    found = read(str(path), name=name, rename=RENAME)
    assert found == {"train": examples_of(rows)}


def renamed_records(path: pathlib.Path, new: dict[str, str]) -> bytes:
    """Rewrites a TFRecord file with other names of features."""
    whole = path.with_suffix(".renamed")
    with tf.io.TFRecordWriter(str(whole)) as writer:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            old, example = tf.train.Example.FromString(record), tf.train.Example()
            for name, feature in old.features.feature.items():
                example.features.feature[new.get(name, name)].CopyFrom(feature)
            writer.write(example.SerializeToString())
    return whole.read_bytes()


@pytest.mark.parametrize("name", WRITERS)
def test_a_column_to_rename_must_be_there(name, read, tmp_path):
    path = tmp_path / f"log.{name}"
    path.write_bytes(WRITERS[name](make_rows(10)))
    with pytest.raises(UserError) as error:
        read(str(path), name=name, rename={"User": "user"})
    assert str(error.value).startswith(
        f"{path} has no column 'User' that source.rename could rename: did you mean "
        "'user'?"
    )


@pytest.mark.parametrize("name", WRITERS)
def test_a_rename_that_nothing_reads_stops_nothing(name, read, tmp_path):
    rows = make_rows(10)
    path = tmp_path / f"log.{name}"
    path.write_bytes(WRITERS[name](rows))
    found = read(str(path), name=name, rename={"Color": "colour"})
    assert found == {"train": examples_of(rows)}


def test_two_features_of_tfrecords_do_not_get_one_name(read, tmp_path):
    write_tfrecord(tmp_path / "log", make_rows(10))
    with pytest.raises(UserError) as error:
        read(str(tmp_path / "log"), name="tfrecord", rename={"user": "item"})
    assert "column 'item' is there already, and source.rename" in str(error.value)


def test_a_byte_order_mark_is_no_part_of_a_name(read, tmp_path):
    rows = make_rows(10)
    (tmp_path / "log.csv").write_bytes(b"\xef\xbb\xbf" + as_csv(rows))
    assert read(str(tmp_path / "log.csv"), name="csv") == {"train": examples_of(rows)}


def test_types_do_not_depend_on_the_file(read, tmp_path):
    """In one file every id looks like a number, in the other none does."""
    for name, ids in (("a", ["1", "02"]), ("b", ["x", "y"])):
        lines = "".join(f"{user},7,1600000000\n" for user in ids)
        (tmp_path / f"{name}.csv").write_text(f"user,item,when\n{lines}")
    found = read(str(tmp_path / "*.csv"), columns=COLUMNS[:3], name="csv")
    users = [row["user"] for row in found["train"]]
    assert users == [[b"1"], [b"02"], [b"x"], [b"y"]]


def test_a_glob_is_all_files_in_their_order(read, tmp_path):
    for part in range(3):
        path = tmp_path / f"part-{part}.csv.gz"
        path.write_bytes(gzip.compress(as_csv(make_rows(10, 10 * part))))
    found = read(str(tmp_path / "part-*.csv.gz"), name="csv")
    assert found == {"train": examples_of(make_rows(30))}


def test_large_files_are_read_in_batches(read, tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "_BLOCK_BYTES", 4096)
    monkeypatch.setattr(readers, "_ROWS_PER_BATCH", 64)
    rows = make_rows(500)
    for name, write in WRITERS.items():
        path = tmp_path / f"log.{name}"
        path.write_bytes(write(rows))
        assert read(str(path), name=name) == {"train": examples_of(rows)}


def test_a_split_goes_by_the_row_and_not_by_the_file(read, tmp_path):
    rows = make_rows(200)
    (tmp_path / "one.csv").write_bytes(as_csv(rows))
    for part in range(4):
        path = tmp_path / f"many-{part}.jsonl"
        path.write_bytes(as_jsonl(rows[part::4]))
    one = read(str(tmp_path / "one.csv"), HALVES, name="csv")
    many = read(str(tmp_path / "many-*.jsonl"), HALVES, name="jsonl")
    for split in ("train", "eval"):
        assert 70 < len(one[split]) < 130
        ordered = sorted(many[split], key=lambda row: row["user"])
        assert ordered == one[split]


# Spans


@pytest.fixture
def days(tmp_path) -> pathlib.Path:
    """A file a day, but for the fourth, each with its day's number as user."""
    for day in (1, 2, 3, 5, 6):
        (tmp_path / f"2024-02-{day:02d}.csv").write_bytes(as_csv(make_rows(1, day)))
    return tmp_path


def users_of(found: dict[str, list[dict[str, list[Any]]]]) -> list[int]:
    return [int(row["user"][0]) for row in found["train"]]


@pytest.mark.parametrize(
    ("last", "expected"),
    [(1, [6]), (2, [5, 6]), (3, [5, 6]), (4, [3, 5, 6]), (99, [1, 2, 3, 5, 6])],
)
def test_a_window_of_days_ends_with_the_latest(last, expected, read, days):
    pattern = f"{days}/{{YYYY}}-{{MM}}-{{DD}}.csv"
    assert users_of(read(pattern, last_spans=last, name="csv")) == expected


@pytest.mark.parametrize(
    ("last", "expected"), [(1, [10]), (2, [9, 10]), (5, [8, 9, 10])]
)
def test_a_window_of_numbered_spans(last, expected, read, tmp_path):
    for span in (1, 8, 9, 10):
        folder = tmp_path / f"span-{span}"
        folder.mkdir()
        (folder / "log.csv").write_bytes(as_csv(make_rows(1, span)))
    pattern = f"{tmp_path}/span-{{SPAN}}/*.csv"
    assert users_of(read(pattern, last_spans=last, name="csv")) == expected


def test_of_several_versions_of_a_span_the_latest_counts(read, tmp_path):
    for span, version in ((1, 0), (1, 3), (2, 1)):
        path = tmp_path / f"{span}-v{version}.csv"
        path.write_bytes(as_csv(make_rows(1, 10 * span + version)))
    pattern = f"{tmp_path}/{{SPAN}}-v{{VERSION}}.csv"
    assert users_of(read(pattern, last_spans=2, name="csv")) == [13, 21]


def test_a_run_may_be_told_another_path_and_the_last_day_to_read(days, new_artifact):
    """As Kubeflow and Vertex do, by parameters."""

    def users(**parameters: str) -> list[int]:
        node = FileExampleGen("/nowhere/*.csv", {"name": "csv"}, COLUMNS, ALL)
        artifact = new_artifact(standard_artifacts.Examples)
        executor.Executor().Do(
            {},
            {"examples": [artifact]},
            {**node.exec_properties, "last_spans": 2, **parameters},
        )
        return users_of({"train": rows_of(artifact.uri, "train")})

    path = f"{days}/{{YYYY}}-{{MM}}-{{DD}}.csv"
    assert users(path=path, until="") == [5, 6]
    assert users(path=path, until="2024-02-03") == [2, 3]
    with pytest.raises(UserError, match="no file matches"):
        users(path=path, until="2024-02-04")
    with pytest.raises(UserError, match="until is 3: give a date such as 2026-11-25"):
        users(path=path, until="3")
    with pytest.raises(UserError, match="until is 2024-02-03, but .* has no spans"):
        users(path=f"{days}/*.csv", until="2024-02-03")


def test_spans_are_numbers_or_dates():
    assert files.parse_span("", "x.csv") is None
    assert files.parse_span("17", "{SPAN}.csv") == 17
    assert files.parse_span("1970-01-03", "{YYYY}/{MM}/{DD}.csv") == 2
    with pytest.raises(UserError, match="until is 1970-01-03: give a number"):
        files.parse_span("1970-01-03", "{SPAN}.csv")


def properties(pattern: str, last_spans: int = 1) -> dict[str, Any]:
    component = FileExampleGen(pattern, {"name": "csv"}, COLUMNS, ALL, last_spans)
    return driver.Driver(None).resolve_exec_properties(dict(component.exec_properties))


def test_what_is_cached_by_follows_every_file_of_the_window(days):
    pattern = f"{days}/{{YYYY}}-{{MM}}-{{DD}}.csv"
    before = properties(pattern, 3)
    day = (datetime.date(2024, 2, 6) - datetime.date(1970, 1, 1)).days
    assert before["span"] == day
    assert properties(pattern, 3) == before
    os.utime(days / "2024-02-01.csv", (1, 1))  # outside of the window
    assert properties(pattern, 3) == before
    os.utime(days / "2024-02-05.csv", (1, 1))
    assert properties(pattern, 3)["input_fingerprint"] != before["input_fingerprint"]
    (days / "2024-02-07.csv").write_bytes(as_csv(make_rows(1)))
    assert properties(pattern, 3)["span"] == day + 1


def test_without_spans_the_span_is_zero(days):
    assert properties(f"{days}/*.csv")["span"] == 0


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("/data/log.csv", ("/data", "log.csv")),
        ("/data/a*/log.csv", ("/data", "a*/log.csv")),
        ("gs://bucket/{SPAN}/x.csv", ("gs://bucket", "{SPAN}/x.csv")),
        ("log.csv", (".", "log.csv")),
        ("/log-{SPAN}.csv", ("/", "log-{SPAN}.csv")),
    ],
)
def test_a_pattern_is_parted_where_it_stops_being_plain(pattern, parts):
    assert files.split_pattern(pattern) == parts


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"file_format": {"name": "xml"}},
            "no format 'xml': choose one of csv, parquet, jsonl, tfrecord",
        ),
        ({"last_spans": 0}, "last_spans is 0: give a number of at least 1"),
        (
            {"last_spans": 2},
            "last_spans is 2, but a.csv has no spans: put {SPAN} or {YYYY}, {MM} and "
            "{DD} into the path",
        ),
    ],
)
def test_wrong_use_fails_when_the_component_is_made(change, sentence):
    arguments: dict[str, Any] = {
        "pattern": "a.csv",
        "file_format": {"name": "csv"},
        "columns": COLUMNS,
        "split": ALL,
    }
    with pytest.raises(UserError) as error:
        FileExampleGen(**{**arguments, **change})
    assert str(error.value) == sentence


def test_declared_columns_can_be_stored_with_the_run():
    component = FileExampleGen("a.csv", {"name": "csv"}, COLUMNS, ALL)
    assert component.exec_properties["columns"] == dump_columns(COLUMNS)
