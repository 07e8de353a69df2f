# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of `shortlist init`: sampling, profiles, times, names, roles, YAML."""

import datetime
import gzip
import io
import json
import random
import string
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli.main import main
from pipeline.config import PipelineConfig, load_config
from pipeline.init import dialect, files, names, sampling, tables, tfrecords, writer
from pipeline.init.features import guess
from pipeline.init.profile import determines, profile
from pipeline.init.questions import Asker, Guess, Undecided
from pipeline.init.times import recognise, seconds
from serving.errors import UserError


def as_csv(path, columns: dict[str, list[Any]], header: bool = True) -> str:
    """Writes columns without a delimiter in their values."""
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    lines = (",".join(map(str, row)) for row in rows[not header :])
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


@pytest.fixture
def init(tmp_path, capsys) -> Callable[..., PipelineConfig]:
    """Writes a config and loads it."""

    def run(*arguments: str) -> PipelineConfig:
        path = tmp_path / "own.yaml"
        code = main(["init", *arguments, "-o", str(path), "--yes", "--force"])
        assert code == 0, capsys.readouterr().err
        return load_config(str(path), check_sources=True)

    return run


@pytest.fixture
def refused(tmp_path, capsys) -> Callable[..., tuple[int, str]]:
    """Calls the command and returns its exit code and its one sentence."""

    def run(*arguments: str) -> tuple[int, str]:
        path = tmp_path / "own.yaml"
        code = main(["init", *arguments, "-o", str(path), "--yes"])
        captured = capsys.readouterr()
        assert captured.out == "" and not path.exists()
        (line,) = captured.err.splitlines()
        return code, line.removeprefix("shortlist init: ")

    return run


def a_log(rows: int = 2000, seed: int = 0, **more: list[Any]) -> dict[str, list[Any]]:
    draw = random.Random(seed)
    return {
        "user_id": [f"u{draw.randrange(80)}" for _ in range(rows)],
        "item_id": [f"i{draw.randrange(50)}" for _ in range(rows)],
        **more,
    }


# Sampling


@pytest.fixture
def small_pieces(monkeypatch):
    """Lets a file of kilobytes be a large one."""
    monkeypatch.setattr(files, "PIECE_BYTES", 2000)


def test_of_a_large_file_parts_are_read(tmp_path, small_pieces):
    path = as_csv(tmp_path / "log.csv", {"n": list(range(90_000)), "m": [7] * 90_000})
    sample = sampling.read(path)
    assert sample.share < 0.1
    assert sample.rows < 9000
    assert sample.total_rows == pytest.approx(90_000, rel=0.1)
    read = [int(value) for value in sample.columns["n"].to_pylist()]
    # From the first row to the last, each whole: no piece cuts a number.
    assert read == sorted(read) and len(set(read)) == len(read)
    assert (read[0], read[-1]) == (0, 89_999)
    assert set(sample.columns["m"].to_pylist()) == {"7"}


def test_of_a_large_packed_file_the_head_is_read(tmp_path, small_pieces):
    draw = random.Random(0)
    numbers = [draw.randrange(10**6) for _ in range(60_000)]
    plain = as_csv(tmp_path / "log.csv", {"n": list(range(60_000)), "m": numbers})
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(open(plain, "rb").read()))
    sample = sampling.read(str(path))
    assert sample.share < 0.2
    assert sample.total_rows == pytest.approx(60_000, rel=0.3)
    assert sample.columns["n"][0].as_py() == "0"


def test_line_breaks_in_values_stay_whole(tmp_path, small_pieces):
    text = "".join(f'{n},"a\n{n},b"\n' for n in range(20_000))
    (tmp_path / "log.csv").write_text(f"n,text\n{text}")
    sample = sampling.read(str(tmp_path / "log.csv"))
    read = [int(n) for n in sample.columns["n"].to_pylist()]
    assert read == list(range(len(read))) and len(read) > 50
    assert all(v.startswith("a\n") for v in sample.columns["text"].to_pylist())


def test_what_was_not_read_is_let_go_by_the_config(tmp_path, small_pieces, init):
    log = as_csv(tmp_path / "log.csv", a_log(20_000))
    items = {"item_id": [f"i{n}" for n in range(50)], "kind": ["a", "b"] * 25}
    config = init(log, as_csv(tmp_path / "items.csv", items))
    assert config.interactions.orphans == "drop"
    assert "of about" in (tmp_path / "own.yaml").read_text()


def test_tfrecords_are_read_as_tensorflow_wrote_them(tmp_path, init):
    import tensorflow as tf

    columns = a_log()
    path = str(tmp_path / "log.tfrecord.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as out:
        for row, (user, item) in enumerate(zip(*columns.values(), strict=True)):
            feature = {
                "user_id": tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[user.encode()])
                ),
                "item_id": tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[item.encode()])
                ),
                "when": tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[1_600_000_000 + row * 97])
                ),
                "score": tf.train.Feature(
                    float_list=tf.train.FloatList(value=[row % 5 + 0.5, 2.0])
                ),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            out.write(example.SerializeToString())
    found, share = tfrecords.read(files.find(path), 10_000)
    assert share == 1
    assert [v.decode() for v in found["user_id"].to_pylist()] == columns["user_id"]
    assert found["when"].to_pylist()[:2] == [1_600_000_000, 1_600_000_097]
    assert found["score"].to_pylist()[1] == [1.5, 2.0]
    config = init(path)
    assert config.interactions.source.tfrecord == path
    assert config.interactions.timestamp == "when"


def test_the_latest_span_is_read(tmp_path):
    for span, value in ((9, "old"), (10, "new")):
        as_csv(tmp_path / f"log-{span}.csv", {"a": [value], "b": [1]})
    assert files.find(f"{tmp_path}/log-{{SPAN}}.csv").paths == (
        f"{tmp_path}/log-10.csv",
    )
    for day in ("2023-12-31", "2024-01-02"):
        as_csv(tmp_path / f"day-{day}.csv", {"a": [day], "b": [1]})
    (found,) = files.find(f"{tmp_path}/day-{{YYYY}}-{{MM}}-{{DD}}.csv").paths
    assert found.endswith("day-2024-01-02.csv")


@given(
    st.lists(
        st.lists(
            st.text(string.ascii_letters + " .'", min_size=1), min_size=3, max_size=3
        ),
        min_size=3,
        max_size=30,
    ),
    st.sampled_from(",;\t|"),
)
def test_the_delimiter_is_found(rows, delimiter):
    head = ["user_id", "item_id", "text"]
    text = "".join(delimiter.join(row) + "\n" for row in [head, *rows])
    style = dialect.sniff(text.encode(), "log.csv")
    assert (style.delimiter, style.names) == (delimiter, tuple(head))
    assert style.has_header


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"a,b\nplain,1\n", "utf-8"),
        ("a,b\nGröße,1\n".encode(), "utf-8"),
        ("a,b\nGröße,1\n".encode("latin-1"), "latin-1"),
        ("a,b\n“Größe”,1\n".encode("cp1252"), "cp1252"),
        ("a,b\nGröße,1\n".encode("utf-16"), "utf-16"),
        ("a,b\nGröße,1\n".encode("utf-8-sig"), "utf-8"),
        ("a,b\nGröß".encode()[:-1], "utf-8"),  # cut within a letter
    ],
)
def test_encodings_are_found(data, encoding):
    assert dialect.find_encoding(data) == encoding
    assert dialect.sniff(data, "x").names == ("a", "b")


@pytest.mark.parametrize(
    ("first", "is_header"),
    [
        ("user_id,item_id,rating", True),
        ("u1,i1,5", False),  # a number
        ("u1,i1,2020-01-01", False),  # a date
        (",user,item", True),  # the index of pandas
        ("u2,i2,good", False),  # values that come again
        ("a,a,b", False),  # no name stands twice
    ],
)
def test_headers_are_told_from_rows(first, is_header):
    body = "u2,i2,good\n" * 3 + "u3,i2,bad\n"
    assert dialect.sniff(f"{first}\n{body}".encode(), "x").has_header is is_header


# Names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CustomerID", ["customer", "id"]),
        ("userId", ["user", "id"]),
        ("user_id:token", ["user", "id"]),
        ("itemid", ["item", "id"]),
        ("transactionid", ["transaction", "id"]),
        ("movie_ids", ["movie", "id"]),
        ("is_valid", ["is", "valid"]),
        ("paid", ["paid"]),
        ("InvoiceNo", ["invoice", "no"]),
        ("Kategorien", ["kategorien"]),
        ("größe", ["gr", "öß", "e"]),
        ("categories", ["category"]),
        ("news", ["news"]),
    ],
)
def test_names_have_words(name, words):
    assert names.tokens(name) == words


# Profiles and times


@given(st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "007", " x "]))))
def test_a_profile_counts_values(values):
    found = profile("c", pa.array(values, pa.string()))
    present = [value.strip() for value in values if value is not None]
    assert found.rows == len(values)
    assert found.present == len(present)
    assert set(found.values) == set(present)
    counted = dict(zip(found.values, found.counts.tolist(), strict=True))
    assert counted == {value: present.count(value) for value in set(present)}


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["1", "2", "NA", None], [1, 2]),
        (["1", "x"], None),
        (["inf", "1"], None),
        ([1.0, 2.5, float("nan")], [1, 2.5]),
        ([1, 2, None], [1, 2]),
        (["", "null"], None),
    ],
)
def test_numbers_are_seen(values, numbers):
    found = profile("c", pa.array(values))
    assert (None if found.numbers is None else sorted(found.known_numbers)) == numbers


def test_what_determines_what():
    draw = np.random.default_rng(0)
    item = draw.integers(0, 50, 4000)
    rare = np.where(draw.random(4000) < 0.01, "yes", "no")
    columns = {
        name: profile(name, pa.array([str(v) for v in values]))
        for name, values in {
            "item": item,
            "genre": item % 6,
            "device": draw.integers(0, 3, 4000),
            "rare": rare,
            "same": np.zeros(4000, int),
            "order": np.arange(4000),
        }.items()
    }
    told = {name: determines(columns["item"], c) for name, c in columns.items()}
    assert told["genre"] == told["item"] == 1
    assert abs(told["device"]) < 0.05
    # Nearly all rows of an item agree, and would by chance.
    assert abs(told["rare"]) < 0.05
    assert told["same"] == 0
    assert determines(columns["order"], columns["item"]) == 0  # nothing comes twice
    assert determines(columns["genre"], columns["item"]) < 0.5


MOMENTS = st.datetimes(datetime.datetime(2001, 1, 1), datetime.datetime(2030, 1, 1))


@settings(deadline=None)
@given(
    st.lists(MOMENTS, min_size=50, max_size=60),
    st.sampled_from(
        ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%m/%d/%Y %H:%M", "%d.%m.%Y",
         "%Y/%m/%d", "%d %b %Y", "%Y%m%d", "%a %b %d %H:%M:%S +0000 %Y"]
    ),
)  # fmt: skip
def test_times_as_text_are_read_as_they_were_written(moments, form):
    texts = [moment.strftime(form) for moment in moments]
    column = profile("when", pa.array(texts))
    found = recognise(column)
    assert found is not None
    utc = datetime.timezone.utc
    written = [
        datetime.datetime.strptime(t, form).replace(tzinfo=utc).timestamp()
        for t in texts
    ]
    read = seconds(column, found, len(texts)).tolist()
    assert read == written or found.is_doubtful


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_units_of_times_are_found(unit):
    factor = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    column = profile("t", pa.array([str((1_500_000_000 + n) * factor) for n in (1, 9)]))
    found = recognise(column)
    assert found is not None and found.unit == unit
    assert seconds(column, found, 2).tolist() == [1_500_000_001, 1_500_000_009]
    # The same digits with a name such as isbn_id are ids.
    assert recognise(column, looks_like_id=True) is None


@pytest.mark.parametrize(
    "values",
    [["1", "2"], ["1995", "2004"], ["a", "b"], ["12:30", "13:40"], ["0", "1600000000"],
     ["10115", "80331"], [None, None], ["2020-13-45", "2020-01-01"]],
)  # fmt: skip
def test_what_is_no_time(values):
    assert recognise(profile("x", pa.array(values, pa.string()))) is None


# Features


def feature_of(values: list[Any], name: str = "c", kind: Any = None):
    array = pa.array(values, kind)
    sample = sampling.Sample(files.FileSet("x", ()), {}, {name: array}, 1.0)
    return guess(tables.Table(sample, {name: profile(name, array)}), name)


DRAW = random.Random(5)
WORDS = ["red", "blue", "tall", "flat", "warm", "cold"]
CITIES = ["New York", "Los Angeles", "San Jose", "Las Vegas"]


@pytest.mark.parametrize(
    ("values", "declared"),
    [
        ([DRAW.choice("ab") for _ in range(100)], "category"),
        ([DRAW.choice(CITIES) for _ in range(100)], "category"),
        ([DRAW.choice("01") for _ in range(100)], "category"),
        ([f"{n % 40:03}" for n in range(100)], "category"),  # 007 is no number
        ([DRAW.random() for _ in range(100)], "number"),
        ([str(DRAW.randrange(1900, 2020)) for _ in range(100)], "number"),
        ([f"{10 ** (5 * DRAW.random()):.2f}" for _ in range(300)],
         {"type": "number", "log": True}),
        (["|".join(DRAW.sample(WORDS, 2)) for _ in range(100)],
         {"type": "categories", "separator": "|"}),
        ([", ".join(DRAW.sample(WORDS, 3)) for _ in range(100)],
         {"type": "categories", "separator": ","}),
        ([" ".join(DRAW.sample(WORDS, 3)) for _ in range(300)],
         {"type": "categories", "separator": " "}),
        ([DRAW.sample(WORDS, 2) for _ in range(100)], "categories"),
        ([f"{n} bottles of beer on the wall {n}" for n in range(100)], "text"),
        ([f"2020-01-{n % 28 + 1:02}" for n in range(100)], "timestamp"),
        ([[0.5, 0.25, n / 7] for n in range(100)],
         {"type": "embedding", "dimensions": 3}),
        ([f"[0.5, 0.25, {n / 7}]" for n in range(100)],
         {"type": "embedding", "dimensions": 3}),
        ([f"0.5 0.25 {n / 7} 1" for n in range(100)],
         {"type": "embedding", "dimensions": 4, "separator": " "}),
        # Nothing to learn from, or nothing that can be read.
        ([None] * 100, None),
        (["x"] * 100, None),
        (["x"] * 3000 + ["y"] * 3, None),
        ([f"http://a.example/{n}.jpg" for n in range(100)], None),
        ([f"{n:08x}f" for n in range(100)], None),
        ([f'["a", "b{n % 3}"]' for n in range(100)], None),
        ([[0.5] * (n % 3 + 1) for n in range(100)], None),
    ],
)  # fmt: skip
def test_types_of_features(values, declared):
    kind = pa.list_(pa.float64()) if isinstance(values[0], list) else None
    if kind and isinstance(values[0][0], str):
        kind = pa.list_(pa.string())
    assert feature_of(values, kind=kind).declaration == declared


def test_numbers_with_the_name_of_an_id_are_no_numbers():
    brands = [str(n % 40) for n in range(1000)]
    assert feature_of(brands, "brand_id").type == "id"
    assert feature_of(brands, "brightness").type == "number"
    assert feature_of([str(n) for n in range(1000)], "serial_no").type is None


# Roles and signals


def test_rows_close_in_time_tell_users_from_items_without_a_name(tmp_path, init):
    draw = random.Random(6)
    rows, clock = [], 1_600_000_000
    for user in range(150):
        clock += 4000
        for step in range(draw.randrange(10, 30)):
            rows.append((f"x{draw.randrange(90)}", f"y{user}", clock + 20 * step))
    columns = dict(zip("abc", map(list, zip(*rows, strict=True)), strict=True))
    config = init(as_csv(tmp_path / "log.csv", columns, header=False))
    log = config.interactions
    assert log.source.column_names == ["item_id", "user_id", "timestamp"]
    assert (log.query_id, log.candidate_id) == ("user_id", "item_id")


def test_a_session_gives_way_to_its_user(tmp_path, init):
    draw = random.Random(7)
    rows = []
    for session in range(600):
        user = session % 60
        for _ in range(4):
            rows.append((session, f"c{user}", f"p{draw.randrange(40)}"))
    named = ("order_id", "customer_id", "product_id")
    columns = dict(zip(named, map(list, zip(*rows, strict=True)), strict=True))
    path = as_csv(tmp_path / "log.csv", columns)
    assert init(path).interactions.query_id == "customer_id"
    assert "it might be order_id too" in (tmp_path / "own.yaml").read_text()
    log = init(path, "--query-id", "order_id").interactions
    assert not log.learn_id
    # Whose order it is, is known before.
    assert {n: f.type for n, f in log.features.items()} == {
        "history": "history",
        "customer_id": "id",
    }


def test_a_user_with_gaps_can_be_no_query(tmp_path, init):
    columns = a_log()
    columns["order_no"] = [f"o{n // 5}" for n in range(2000)]
    columns["user_id"][7] = ""
    log = init(as_csv(tmp_path / "log.csv", columns)).interactions
    assert log.query_id == "order_no"
    text = (tmp_path / "own.yaml").read_text()
    assert "user_id has no value in 1 rows" in " ".join(text.replace("#", "").split())


def test_a_finer_item_wins_over_what_it_belongs_to(tmp_path, init):
    columns = a_log(artist_id=[])
    columns["track_id"] = [f"t{item[1:]}" for item in columns.pop("item_id")]
    columns["artist_id"] = [f"a{int(track[1:]) % 12}" for track in columns["track_id"]]
    config = init(as_csv(tmp_path / "plays.csv", columns))
    assert config.interactions.candidate_id == "track_id"
    assert config.candidates is not None
    assert {n: f.type for n, f in config.candidates.features.items()} == {
        "artist_id": "id"
    }


def test_of_a_catalogue_in_the_log_a_title_counts_by_candidate(tmp_path, init):
    columns = a_log()
    columns["description"] = [f"Warm hat nr {item}" for item in columns["item_id"]]
    config = init(as_csv(tmp_path / "log.csv", columns))
    assert config.candidates is not None
    assert config.candidates.title == "description"
    assert config.candidates.features["description"].type == "text"


def test_repeated_pairs_are_let_go(tmp_path, init):
    columns = a_log(4000)  # of 80 x 50 pairs
    path = as_csv(tmp_path / "log.csv", columns)
    assert init(path).interactions.signal.deduplicate == "first"
    columns["ts"] = [str(1_600_000_000 + n) for n in range(4000)]
    path = as_csv(tmp_path / "log.csv", columns)
    assert init(path).interactions.signal.deduplicate == "last"
    columns["event"] = ["view", "buy"] * 2000
    path = as_csv(tmp_path / "log.csv", columns)
    assert init(path).interactions.signal.deduplicate == "sum"


@pytest.mark.parametrize(
    ("column", "values", "least"),
    [
        ("rating", [1, 2, 3, 4, 5], None),
        ("clicked", [0, 1], 1),  # 0 is no interaction
        ("quantity", [1, 2, 40, -1], 1),  # nor is a return
        ("quantity", [1, 2, 40], None),
    ],
)
def test_values_that_are_no_interactions(column, values, least, tmp_path, init):
    draw = random.Random(8)
    columns = a_log(**{column: [draw.choice(values) for _ in range(2000)]})
    signal = init(as_csv(tmp_path / "log.csv", columns)).interactions.signal
    assert (signal.value, signal.min_value, signal.scale) == (column, least, "none")


def test_what_speaks_against_a_candidate_is_no_interaction(tmp_path, init):
    events = ["view", "remove_from_cart", "addToCart", "purchase"] * 500
    signal = init(
        as_csv(tmp_path / "log.csv", a_log(action=events))
    ).interactions.signal
    assert signal.event_weights == {"view": 1, "addToCart": 3, "purchase": 5}


def test_there_may_be_no_such_column(tmp_path, init):
    columns = a_log(
        rating=[1, 2, 3, 4] * 500, event=["view", "buy"] * 1000,
        ts=[1_600_000_000 + n for n in range(2000)],
    )  # fmt: skip
    path = as_csv(tmp_path / "log.csv", columns)
    flags = [
        part for f in ("value", "event", "timestamp") for part in (f"--{f}", "none")
    ]
    log = init(path, *flags).interactions
    assert (log.signal.value, log.signal.event, log.timestamp) == (None, None, None)


def test_what_is_told_only_later_is_no_feature(tmp_path, init):
    users = {
        "user_id": [f"u{n}" for n in range(80)],
        "signed_up": [f"2019-01-{n % 28 + 1:02}" for n in range(80)],
        "last_seen": [f"2023-01-{n % 28 + 1:02}" for n in range(80)],
    }
    columns = a_log(ts=[1_600_000_000 + n for n in range(2000)])
    config = init(
        as_csv(tmp_path / "users.csv", users), as_csv(tmp_path / "log.csv", columns)
    )
    assert config.queries is not None
    assert set(config.queries.features) == {"signed_up"}
    assert "later than the interaction in 2,000 of 2,000 rows" in " ".join(
        (tmp_path / "own.yaml").read_text().replace("#", "").split()
    )


@pytest.mark.parametrize("name", ["k", "exclude", "self", "interaction_weight"])
def test_names_that_are_taken_are_renamed(name, tmp_path, init):
    items = {"item_id": [f"i{n}" for n in range(50)], name: ["a", "b"] * 25}
    log = as_csv(tmp_path / "log.csv", a_log())
    config = init(log, as_csv(tmp_path / "items.csv", items))
    assert config.candidates is not None
    assert list(config.candidates.features) == [f"{name}_2"]


def test_a_name_that_differs_in_letter_case_alone_is_left_out(tmp_path, init):
    items = {"item_id": [f"i{n}" for n in range(50)], "ITEM_id": ["a", "b"] * 25}
    log = as_csv(tmp_path / "log.csv", a_log())
    config = init(log, as_csv(tmp_path / "items.csv", items))
    assert config.candidates is not None and not config.candidates.features


def test_a_small_catalogue_is_judged_by_few_results(tmp_path, init):
    config = init(as_csv(tmp_path / "log.csv", a_log()))
    assert config.evaluation.gates.gate_k == 5  # of 50 candidates


# YAML


@given(st.text(min_size=1), st.text(), st.text())
def test_any_text_is_written_so_that_yaml_reads_it(key, value, comment):
    printable = all(c.isprintable() or c in "\t\n\r" for c in key + value)
    if not printable:  # YAML has no such characters but escaped
        return
    text = f"top:\n{writer.line(1, key, value, comment)}\n"
    assert yaml.safe_load(text) == {"top": {key: value}}
    assert all(len(line) <= 88 or " # " not in line for line in text.splitlines())


@given(st.lists(st.text(string.printable, min_size=1), min_size=1))
def test_lists_are_written_so_that_yaml_reads_them(values):
    assert yaml.safe_load(f"a: {writer.scalar(values)}") == {"a": values}


@given(st.text())
def test_a_comment_says_nothing_to_yaml(text):
    written = writer.remark(1, text)
    assert yaml.safe_load(f"a: 1\n{written}\nb: 2\n") == {"a": 1, "b": 2}


# Questions


def asked(answers: str, **guess_: Any) -> tuple[str | None, str]:
    prompts = io.StringIO()
    asker = Asker(True, io.StringIO(answers), prompts)
    guess = Guess(**{"value": "b", "choices": ("a", "b"), **guess_})
    return asker.choose("Which?", "--flag", guess, True), prompts.getvalue()


@pytest.mark.parametrize(
    ("answers", "chosen"),
    [("\n", "b"), ("a\n", "a"), ("1\n", "a"), ("none\n", None), ("9\nx\n2\n", "b")],
)
def test_answers(answers, chosen):
    assert asked(answers)[0] == chosen


def test_no_guess_means_none(tmp_path):
    assert asked("\n", value=None)[0] is None


def test_when_the_answers_end_nothing_is_made_up():
    with pytest.raises(UserError, match="the answers ended"):
        asked("")


def test_what_nobody_can_be_asked_is_told_with_the_flag():
    guess = Guess("a", "", ("a", "b", "c"), "a and b may both be it")
    with pytest.raises(Undecided) as caught:
        Asker().choose("Which?", "--flag", guess)
    assert str(caught.value) == "a and b may both be it; give --flag: a, b or c"


# What it refuses


def test_ids_without_names_or_times_are_not_guessed(tmp_path, refused):
    path = as_csv(tmp_path / "log.csv", a_log(), header=False)
    assert refused(path) == (
        2,
        f"column_1 and column_2 of {path} may both be what says who; give --query-id: "
        "column_1 or column_2",
    )


def test_files_of_the_same_columns_are_parts_of_one(tmp_path, refused):
    first = as_csv(tmp_path / "a.csv", a_log())
    second = as_csv(tmp_path / "b.csv", a_log(seed=1))
    assert refused(first, second) == (
        1,
        f"{first} and {second} have the same columns; if they are parts of one log, "
        "give them as one pattern in quotes, such as 'logs/*.csv'",
    )


def test_a_table_that_goes_with_nothing(tmp_path, refused):
    log = as_csv(tmp_path / "log.csv", a_log())
    other = {"code": [f"z{n}" for n in range(40)], "name": [f"n{n}" for n in range(40)]}
    table = as_csv(tmp_path / "other.csv", other)
    sentence = (
        f"{table} does not go with {log}: no column of it has a row for each of the "
        "ids that a column repeats; leave it out, or mend the ids"
    )
    assert refused(log, "--candidates", table, "--interactions", log) == (1, sentence)


def test_a_table_that_might_be_of_either(tmp_path, refused, init):
    columns = {
        "left": [f"l{n % 70}" for n in range(2000)],
        "right": [f"r{n * 7 % 50}" for n in range(2000)],
    }
    log = as_csv(tmp_path / "log.csv", columns)
    table = as_csv(
        tmp_path / "t.csv",
        {"right": [f"r{n}" for n in range(50)], "x": [n % 5 for n in range(50)]},
    )
    code, sentence = refused(log, table)
    assert code == 2
    assert sentence == (
        f"whether {table} is about users or about items can't be told; give --queries "
        f"{table} or --candidates {table}"
    )
    config = init(log, table, "--query-id", "left")
    assert config.candidates is not None and config.queries is None
    assert config.interactions.candidate_id == "right"
    config = init(log, "--queries", table, "--candidate-id", "left")
    assert config.queries is not None and config.interactions.query_id == "right"


def test_a_file_too_many(tmp_path, refused):
    columns = a_log(shop_id=[f"s{n % 30}" for n in range(2000)])
    log = as_csv(tmp_path / "log.csv", columns)
    paths = [
        as_csv(
            tmp_path / f"{key}s.csv",
            {
                key: sorted(set(columns[key])),
                f"of_{key}": ["x"] * len(set(columns[key])),
            },
        )
        for key in columns
    ]
    code, sentence = refused(log, *paths)
    assert code == 1
    assert sentence == (
        f"{paths[2]} is one file too many: there are a log, a catalogue and a table of "
        "queries already; leave it out"
    )


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--query-id", "nope"], "has no column 'nope'; it has user_id, item_id, word"),
        (["--value", "nope"], "has no column 'nope'; it has user_id, item_id, word"),
        (["--title", "nope"], "has no column 'nope'; it has user_id, item_id, word"),
        (["--value", "word"], "holds other things than numbers; give another --value"),
        (["--timestamp", "word"], "is no time that is known; give a number of seconds"),
        (
            ["--query-id", "user_id", "--candidate-id", "user_id"],
            "user_id can't be the query and the candidate at once; give --query-id and "
            "--candidate-id two columns",
        ),
        (["--name", "Böse Name"], "name: input should be small letters"),
    ],
)
def test_flags_that_do_not_fit(flags, sentence, tmp_path, refused):
    words = ["good", "bad"] * 1000
    path = as_csv(tmp_path / "log.csv", a_log(word=words))
    code, told = refused(path, *flags)
    assert code == 1 and sentence in told


def test_an_id_with_gaps_is_told_though_it_was_asked_for(tmp_path, refused):
    columns = a_log()
    columns["user_id"][3] = ""
    path = as_csv(tmp_path / "log.csv", columns)
    assert refused(path, "--query-id", "user_id", "--candidate-id", "item_id") == (
        1,
        f"{path}: column 'user_id' has no value: fill it in or remove the row",
    )


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"u,i\n1,2\n1,2,3\n", "can't be read as CSV"),
        ("a.csv.gz", gzip.compress(b"u,i\n1,2\n" * 99, mtime=0)[:-20], "can't be read"),
        ("a.jsonl", b'{"u": 1}\n{"u": \n', "row 2: not valid JSON"),
        ("a.jsonl", b'{"u": 1}\n[1]\n', "row 2: not a JSON object; mend the line"),
        ("a.parquet", b"PAR1 and nothing more", "can't be read as Parquet"),
        ("a.tfrecord", b"nothing of the sort", "can't be read as TFRecord"),
        ("a.csv", b"\x00\x01\x02\x03" * 9, "is no text, Parquet or TFRecord file"),
        ("a.csv", b"user,item\n", "holds no rows; give it a header and rows"),
    ],
)
def test_damaged_files(name, content, sentence, tmp_path, refused):
    path = tmp_path / name
    path.write_bytes(content)
    code, told = refused(str(path))
    assert code == 1 and told.startswith(str(path)) and sentence in told


def test_files_elsewhere_are_not_read(refused):
    assert refused("gs://bucket/log.csv") == (
        1,
        "gs://bucket/log.csv is not on this machine; copy one file of it here, run "
        "init on that, and put the path into the config",
    )


def test_columns_of_parquet_and_json_that_can_not_be_read(tmp_path, init):
    items = pa.table(
        {
            "item_id": [f"i{n}" for n in range(50)],
            "nested": [{"a": n} for n in range(50)],
            "kind": pa.array(["a", "b"] * 25).dictionary_encode(),
        }
    )
    pq.write_table(items, tmp_path / "items.parquet")
    rows = zip(*a_log().values(), strict=True)
    lines = (json.dumps({"user_id": u, "item_id": i, "at": {"x": 1}}) for u, i in rows)
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    config = init(str(tmp_path / "log.jsonl"), str(tmp_path / "items.parquet"))
    assert config.candidates is not None
    assert {n: f.type for n, f in config.candidates.features.items()} == {
        "kind": "category"
    }
    text = (tmp_path / "own.yaml").read_text()
    assert "# nested: left out, holds objects; flatten them into columns" in text
    assert "# at: left out, holds objects; flatten them into columns" in text
