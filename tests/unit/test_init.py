# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""`shortlist init` on files of many shapes: what it guesses, asks, and refuses."""

import csv
import gzip
import io
import json
import os
import pathlib
import pty
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.cli.main import main
from pipeline.config import PipelineConfig, load_config
from serving.process import child_environment

Rows = list[dict[str, Any]]
USERS, ITEMS, ROWS = 120, 60, 4000


def make_log(seed: int = 0) -> Rows:
    """Purchases: ids with zeros in front, times in order, a rating, a device."""
    draw = random.Random(seed)
    rows = []
    for n in range(ROWS):
        item = min(int(draw.expovariate(0.08)), ITEMS - 1)
        rows.append(
            {
                "customer": f"{draw.randrange(USERS):05d}",
                "product": f"p{item}",
                "bought_at": 1_600_000_000 + 977 * n,
                "rating": draw.choice([1, 2, 3, 4, 5]),
                "device": draw.choice(["phone", "web", "tablet"]),
                "category": f"group {item % 7}",  # the product's own
                "receipt": f"r{n:07d}",
                "shop": "main",
            }
        )
    return rows


def make_products() -> Rows:
    draw = random.Random(1)
    words = "blue red green chair table lamp large small wooden steel".split()
    prose = [f"{word}{end}" for word in words for end in ("", "ish", "ness", "ly")]
    return [
        {
            "product": f"p{n}",
            "label": f"{draw.choice(words)} {draw.choice(words)} {n}",
            "price": round(draw.lognormvariate(3, 1.5), 2),
            "tags": "|".join(draw.sample(["new", "sale", "eco", "gift"], 2)),
            "about": " ".join(draw.choice(prose) for _ in range(12)),
            "vector": json.dumps([round(draw.random(), 3) for _ in range(4)]),
        }
        for n in range(ITEMS)
    ]


def make_customers() -> Rows:
    draw = random.Random(2)
    return [
        {
            "customer": f"{n:05d}",
            "country": draw.choice(["DE", "FR", "PL"]),
            "age": draw.randrange(18, 80),
        }
        for n in range(USERS)
    ]


def write_csv(path: pathlib.Path, rows: Rows, **options: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=options.get("delimiter", ","))
    if options.get("header", True):
        writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    data = text.getvalue().encode(options.get("encoding", "utf-8"))
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


@pytest.fixture
def shop(tmp_path: pathlib.Path) -> dict[str, str]:
    """Three CSV files."""
    return {
        "log": write_csv(tmp_path / "orders.csv", make_log()),
        "products": write_csv(tmp_path / "products.csv", make_products()),
        "customers": write_csv(tmp_path / "customers.csv", make_customers()),
    }


@pytest.fixture
def init(tmp_path: pathlib.Path, capsys) -> Callable[..., tuple[PipelineConfig, str]]:
    """Writes a config and loads it; returns it and its text."""

    def run(*arguments: str) -> tuple[PipelineConfig, str]:
        path = str(tmp_path / "own.yaml")
        assert main(["init", *arguments, "-o", path, "--yes"]) == 0, capsys.readouterr()
        capsys.readouterr()
        return load_config(path), pathlib.Path(path).read_text()

    return run


# Guesses


@pytest.mark.parametrize(
    "order",
    [
        ("log", "products", "customers"),
        ("customers", "products", "log"),
        ("products", "log", "customers"),
    ],
)
def test_three_files_in_any_order(order, shop, init):
    config, text = init(*(shop[name] for name in order))
    log, queries, catalogue = config.interactions, config.queries, config.candidates
    assert (log.query_id, log.candidate_id) == ("customer", "product")
    assert log.source.csv == shop["log"]
    assert (log.timestamp, log.timestamp_unit) == ("bought_at", "s")
    assert log.signal.value == "rating"
    assert queries is not None and queries.source.csv == shop["customers"]
    assert queries.query_id == "customer"
    assert {n: f.type for n, f in queries.features.items()} == {
        "country": "category",
        "age": "number",
    }
    assert catalogue is not None and catalogue.source.csv == shop["products"]
    assert (catalogue.candidate_id, catalogue.title) == ("product", "label")
    kinds = {name: feature.type for name, feature in catalogue.features.items()}
    assert kinds["price"] == "number" and catalogue.features["price"].log
    assert kinds["tags"] == "categories"
    assert catalogue.features["tags"].separator == "|"
    assert kinds["about"] == "text"
    assert kinds["vector"] == "embedding"
    assert catalogue.features["vector"].dimensions == 4
    assert "each in products.csv" in text and "each in customers.csv" in text


def test_what_a_request_can_not_know_is_no_feature_of_the_query(shop, init):
    config, text = init(*shop.values())
    declared = set(config.interactions.features)
    assert "device" in declared
    # The rating comes after the choice, the category with the product, a receipt is
    # another one each time, and the shop is always the same.
    assert not declared & {"rating", "category", "receipt", "shop"}
    for name in ("category", "receipt", "shop"):
        assert f"# {name}: left out" in text


def test_of_one_file_the_log_is_the_catalogue_too(shop, init):
    config, text = init(shop["log"])
    assert config.queries is None
    assert config.interactions.query_id == "customer"
    assert config.interactions.candidate_id == "product"
    # It knows the category of each product.
    assert config.candidates is not None
    assert config.candidates.source.csv == shop["log"]
    assert set(config.candidates.features) == {"category"}
    assert config.candidates.duplicates == "keep_one"


def test_of_pairs_alone_the_catalogue_is_what_was_interacted_with(tmp_path, init):
    rows = [{k: row[k] for k in ("customer", "product")} for row in make_log()]
    config, _ = init(write_csv(tmp_path / "pairs.csv", rows))
    assert config.candidates is None and config.queries is None


def test_sessions_are_known_by_their_history(tmp_path, init):
    draw = random.Random(3)
    rows, clock = [], 1_600_000_000_000
    for session in range(900):
        start = draw.randrange(40)
        for step in range(draw.choice([1, 2, 3, 4])):
            clock += draw.randrange(1000, 60_000)
            rows.append(
                {"session_id": f"s{session}", "page": f"/p/{start + step}", "ts": clock}
            )
    config, text = init(write_csv(tmp_path / "clicks.csv", rows))
    log = config.interactions
    assert (log.query_id, log.candidate_id) == ("session_id", "page")
    assert (log.timestamp, log.timestamp_unit) == ("ts", "ms")
    assert not log.learn_id
    assert [feature.type for feature in log.features.values()] == ["history"]
    assert log.split.method == "random" and log.split.by == "query"
    assert "never" in text or "session" in text


def test_events_get_weights(tmp_path, init):
    rows = [
        {**row, "action": draw}
        for row, draw in zip(
            make_log(), random.Random(4).choices(["view", "cart", "purchase"], k=ROWS),
            strict=True,
        )
    ]  # fmt: skip
    config, _ = init(write_csv(tmp_path / "log.csv", rows))
    weights = config.interactions.signal.event_weights
    assert config.interactions.signal.event == "action"
    assert set(weights) == {"view", "cart", "purchase"}
    assert weights["view"] < weights["cart"] < weights["purchase"]


def test_what_does_not_fit_together_is_let_go_with_a_comment(tmp_path, init):
    products = make_products()
    log = write_csv(tmp_path / "log.csv", make_log())
    some = write_csv(tmp_path / "some.csv", [*products[3:], products[10]])
    config, text = init(log, some)
    assert config.interactions.orphans == "drop"
    assert config.candidates is not None and config.candidates.duplicates == "keep_one"
    assert "1 " in text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found(delimiter, tmp_path, init):
    rows = [{k: r[k] for k in ("customer", "product", "rating")} for r in make_log()]
    path = write_csv(tmp_path / "log.csv", rows, delimiter=delimiter)
    config, _ = init(path)
    assert config.interactions.source.delimiter == delimiter
    assert config.interactions.query_id == "customer"


def test_latin_1_is_found(tmp_path, init):
    products = [
        {**row, "label": f"Stühle {n}"} for n, row in enumerate(make_products())
    ]
    path = write_csv(tmp_path / "products.csv", products, encoding="latin-1")
    config, _ = init(write_csv(tmp_path / "log.csv", make_log()), path)
    assert config.candidates is not None
    assert config.candidates.source.encoding in ("latin-1", "iso-8859-1", "cp1252")
    assert config.candidates.title == "label"


def test_files_without_a_header(tmp_path, init):
    rows = [
        {"a": r["customer"], "b": r["product"], "c": r["bought_at"]} for r in make_log()
    ]
    path = write_csv(tmp_path / "u.data", rows, header=False, delimiter="\t")
    config, _ = init(path, "--query-id", "column_1", "--candidate-id", "column_2")
    log = config.interactions
    assert log.source.column_names == [log.query_id, log.candidate_id, log.timestamp]


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv.gz"])
def test_other_formats(kind, tmp_path, init):
    path = tmp_path / f"log.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(make_log()), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in make_log()))
    else:
        write_csv(path, make_log())
    config, _ = init(str(path))
    assert getattr(config.interactions.source, kind.partition(".")[0]) == str(path)
    assert config.interactions.timestamp == "bought_at"


def test_patterns_and_spans_stay_patterns(tmp_path, init):
    rows = make_log()
    for day in (1, 2, 3):
        part = rows[day * 1000 : (day + 1) * 1000]
        write_csv(tmp_path / f"log-2024-05-0{day}.csv", part)
    for name in ("log-*.csv", "log-{YYYY}-{MM}-{DD}.csv"):
        (tmp_path / "own.yaml").unlink(missing_ok=True)
        config, _ = init(str(tmp_path / name))
        assert config.interactions.source.csv == str(tmp_path / name)


ODD_NAMES = {
    "who: he?": "who_he",
    "was # das": "was_das",
    "größe": "gro_e",
    "a 'b'": "a_b",
    'c "d"': "c_d",
    "- e": "e",
    "2nd kind": "column_2nd_kind",
    "種類": "column_2",
    "self": "self_2",
    "kind:token": "kind",
}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_column_that_no_request_can_name_is_renamed(name, tmp_path, init):
    rows = [{"product": f"p{n}", name: f"kind {n % 4}"} for n in range(ITEMS)]
    log = write_csv(tmp_path / "log.csv", make_log())
    config, _ = init(log, write_csv(tmp_path / "products.csv", rows))
    assert config.candidates is not None
    new = ODD_NAMES[name]
    assert config.candidates.source.rename == {name: new}
    assert config.candidates.features[new].type == "category"


@pytest.mark.parametrize("name", ["yes", "null", "on", "No"])
def test_a_name_that_yaml_takes_for_something_else_survives(name, tmp_path, init):
    rows = [{"product": f"p{n}", name: f"kind {n % 4}"} for n in range(ITEMS)]
    log = write_csv(tmp_path / "log.csv", make_log())
    config, _ = init(log, write_csv(tmp_path / "products.csv", rows))
    assert config.candidates is not None
    assert list(config.candidates.features) == [name]


def test_an_id_goes_by_a_name_that_requests_can_use(tmp_path, init):
    rows = [
        {"User ID": r["customer"], "Item": r["product"], "k": r["bought_at"]}
        for r in make_log()
    ]
    log = write_csv(tmp_path / "log.csv", rows)
    for options in ((), ("--query-id", "User ID", "--timestamp", "k")):
        (tmp_path / "own.yaml").unlink(missing_ok=True)
        interactions = init(log, *options)[0].interactions
        assert interactions.source.rename == {"User ID": "User_ID", "k": "k_2"}
        assert interactions.query_id == "User_ID"
        assert interactions.timestamp == "k_2"


# Flags, questions, output


def test_flags_win(shop, init):
    config, _ = init(
        shop["log"], "--query-id", "device", "--candidate-id", "category",
        "--name", "mine", "--timestamp", "bought_at",
    )  # fmt: skip
    log = config.interactions
    assert (log.query_id, log.candidate_id) == ("device", "category")
    assert (config.name, log.timestamp) == ("mine", "bought_at")


def test_paths_start_from_the_config(shop, tmp_path, capsys):
    folder = tmp_path / "deeper"
    arguments = ["init", shop["log"], "-o", str(folder / "own.yaml"), "--yes"]
    assert main(arguments) == 0
    written = yaml.safe_load((folder / "own.yaml").read_text())
    assert written["interactions"]["source"]["csv"] == "../orders.csv"


def test_a_config_that_is_there_stays(shop, tmp_path, capsys):
    path = tmp_path / "own.yaml"
    path.write_text("mine")
    assert main(["init", shop["log"], "-o", str(path), "--yes"]) == 1
    assert capsys.readouterr().err == (
        f"shortlist init: {path} is there already; choose another -o, or give --force "
        "to write over it\n"
    )
    assert path.read_text() == "mine"
    assert main(["init", shop["log"], "-o", str(path), "--yes", "--force"]) == 0
    assert load_config(str(path)).interactions.query_id == "customer"


def test_json_says_what_was_chosen(shop, tmp_path, capsys):
    path = str(tmp_path / "own.yaml")
    assert main(["init", *shop.values(), "-o", path, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"] == path
    assert (told["query_id"], told["candidate_id"]) == ("customer", "product")
    assert (told["interactions"], told["queries"]) == (shop["log"], shop["customers"])
    assert {"receipt", "shop"} <= set(told["left_out"])


def on_a_terminal(arguments: list[str], answers: str) -> tuple[int, str]:
    """Runs the command with a terminal as its standard streams."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from pipeline.cli.main import main; "
         "sys.exit(main(sys.argv[1:]))", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env=child_environment(),
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, answers.encode())
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # what Linux says at the end of a terminal
            break
        if not part:
            break
        seen += part
    os.close(ours)
    return process.wait(), seen.decode()


def test_on_a_terminal_enter_takes_the_guesses(shop, tmp_path):
    path = tmp_path / "own.yaml"
    code, seen = on_a_terminal(["init", *shop.values(), "-o", str(path)], "\n" * 20)
    assert code == 0, seen
    config = load_config(str(path))
    assert (config.interactions.query_id, config.interactions.timestamp) == (
        "customer",
        "bought_at",
    )
    assert f"[{shop['log']}]" in seen and "[bought_at]" in seen


def test_on_a_terminal_another_answer_counts(shop, tmp_path):
    path = tmp_path / "own.yaml"
    arguments = ["init", shop["log"], "-o", str(path)]
    code, seen = on_a_terminal(arguments, "nonsense\ndevice\n" + "\n" * 20)
    assert code == 0, seen
    assert "nonsense is none of" in seen
    assert load_config(str(path)).interactions.query_id == "device"


def test_it_starts_without_tensorflow_and_tfx(shop, tmp_path, run_python):
    script = (
        "import sys; from pipeline.cli.main import main; code = main(sys.argv[1:]); "
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'tfx_bsl'} & set(sys.modules); "
        "sys.exit(3 if heavy else code)"
    )
    path = str(tmp_path / "own.yaml")
    done = run_python("-c", script, "init", *shop.values(), "-o", path, "--yes")
    assert done.returncode == 0, done.stderr


# What it refuses


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "{path} is empty; give it a header and rows"),
        (
            b"user\n1\n2\n",
            "{path} has one column only, by any of the delimiters comma, semicolon, "
            "tab and |; an interaction needs two ids",
        ),
        (
            b'[{"user": 1}, {"user": 2}]\n',
            "{path} is one JSON array; write one object a line instead, such as by: "
            "jq -c '.[]' {path}",
        ),
        (
            b"1::2::5\n" * 9,
            "{path} has '::' between its fields, and a delimiter is one character; "
            "replace it, such as by: sed 's/::/\\t/g'",
        ),
        (
            b"PK\x03\x04rest",
            "{path} is a zip archive or a spreadsheet; unpack it, or save it as CSV",
        ),
    ],
)
def test_files_that_are_no_log(content, sentence, tmp_path, capsys):
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    output = str(tmp_path / "own.yaml")
    assert main(["init", str(path), "-o", output, "--yes"]) == 1
    told = capsys.readouterr()
    assert told.err == f"shortlist init: {sentence.format(path=path)}\n"
    assert not os.path.exists(output)


def test_a_folder_is_no_file(tmp_path, capsys):
    folder = tmp_path / "logs"
    folder.mkdir()
    write_csv(folder / "a.csv", make_log())
    assert main(["init", str(folder), "-o", str(tmp_path / "x.yaml"), "--yes"]) == 1
    assert capsys.readouterr().err == (
        f"shortlist init: {folder} is a folder; name its files, in quotes if by a "
        f"pattern: '{folder}/*.csv'\n"
    )


def test_a_pattern_that_matches_nothing(tmp_path, capsys):
    pattern = f"{tmp_path}/*.csv"
    assert main(["init", pattern, "--yes"]) == 1
    assert capsys.readouterr().err == (
        f"shortlist init: no file matches {pattern}; mend the path\n"
    )


def test_no_file_is_wrong_use(capsys):
    assert main(["init", "--yes"]) == 2
    assert capsys.readouterr().err == (
        "shortlist init: no file is given; name the log, and the catalogue if any\n"
    )
