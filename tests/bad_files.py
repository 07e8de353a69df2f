# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Mistakes in files, each with what is told; `python -m benchmarks.bad_input` too.

Each case changes one thing in files that are right. They are read by the executors of
the very nodes that a pipeline is built of, up to the last one that judges the data by
itself; what statistics show is judged in tests/component/test_validation.py.
"""

import gzip
import json
import os
import pathlib
import re
import tempfile
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from pipeline.config import load_config
from pipeline.graph import build_pipeline
from pipeline.layout import Layout
from pipeline.runners import local
from tests.bad_input import CONFIG, BadInput

RIGHT = """\
name: shop
interactions:
  source: {csv: log.csv}
  query_id: user
  candidate_id: item
  timestamp: when
candidates:
  source: {csv: items.csv}
  candidate_id: item
  title: title
  features:
    price: number
    tags: {type: categories, separator: "|"}
    vector: {type: embedding, dimensions: 2}
"""
QUERIES = """\
queries:
  source: {csv: users.csv}
  query_id: user
  features: {country: category}
"""
ROWS = [(f"u{n % 20:02}", f"i{n % 10}", 1_600_000_000 + n) for n in range(200)]
COLUMNS: dict[str, list[Any]] = dict(
    zip(("user", "item", "when"), map(list, zip(*ROWS, strict=True)), strict=True)
)
OBJECTS = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
LOG = "user,item,when\n" + "".join(f"{u},{i},{w}\n" for u, i, w in ROWS)
ITEMS = "item,title,price,tags,vector\n" + "".join(
    f'i{n},Item {n},{n}.5,a|b,"0.1,{n}"\n' for n in range(10)
)
USERS = "user,country\n" + "".join(f"u{n:02},FR\n" for n in range(20))
RIGHT_FILES = {CONFIG: RIGHT, "log.csv": LOG, "items.csv": ITEMS}

_NODES = (
    "ExampleGen.interactions",
    "ExampleGen.candidates",
    "ExampleCleaner",
    "ExampleGen.queries",
    "InteractionPreparer",
)


def provoke(case: BadInput, folder: pathlib.Path) -> None:
    """Makes the mistake: runs the nodes that read data, as far as they get.

    Raises:
        UserError: What `shortlist run` would print.
    """
    config = load_config(str(case.write(folder)))
    pipeline = build_pipeline(config, Layout(str(folder / "runs"), config.name))
    nodes = {node.id: node for node in pipeline.components}
    made: dict[tuple[str, str], list[Any]] = {}
    for node in (nodes[name] for name in _NODES if name in nodes):
        inputs = {
            key: made[channel.producer_component_id, channel.output_key]
            for key, channel in node.inputs.items()
            if (channel.producer_component_id, channel.output_key) in made
        }
        outputs = {}
        for key, channel in node.outputs.items():
            artifact = channel.type()
            artifact.uri = str(folder / "artifacts" / node.id / key)
            os.makedirs(artifact.uri)
            made[node.id, key] = outputs[key] = [artifact]
        executor = node.executor_spec.executor_class()
        try:
            executor.Do(inputs, outputs, dict(node.exec_properties))
        except Exception as error:  # noqa: BLE001  (told as the runner tells it)
            raise local._told(node.id, error) from error


def line(text: str, number: int, content: str) -> str:
    """Returns a text with another line, counted from 1."""
    lines = text.splitlines()
    lines[number - 1] = content
    return "\n".join(lines) + "\n"


def jsonl(*changes: tuple[int, dict[str, Any]]) -> str:
    """Returns the log as JSON lines, with other values in some."""
    rows = [dict(row) for row in OBJECTS]
    for number, values in changes:
        rows[number - 1].update(values)
    return "".join(json.dumps(row) + "\n" for row in rows)


def parquet(**columns: Any) -> bytes:
    """Returns the log as Parquet, with other columns; None leaves one out."""
    values = {k: v for k, v in {**COLUMNS, **columns}.items() if v is not None}
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(values), buffer)
    return buffer.getvalue().to_pybytes()


def tfrecord(rows: list[dict[str, Any] | bytes]) -> bytes:
    """Returns TFRecords of tf.Examples, or of bytes that are none."""
    records = []
    for row in rows:
        if isinstance(row, bytes):
            records.append(row)
            continue
        example = tf.train.Example()
        for name, value in row.items():
            feature = example.features.feature[name]
            if isinstance(value, str):
                feature.bytes_list.value.append(value.encode())
            elif isinstance(value, int):
                feature.int64_list.value.append(value)
            else:
                feature.float_list.value.append(value)
        records.append(example.SerializeToString())
    with tempfile.NamedTemporaryFile() as file:
        with tf.io.TFRecordWriter(file.name) as writer:
            for record in records:
                writer.write(record)
        return pathlib.Path(file.name).read_bytes()


def bad(
    wrong: str,
    message: str,
    log: str | bytes = LOG,
    items: str = ITEMS,
    path: str = "csv: log.csv",
    config: tuple[str, str] | None = None,
    end: str = "",
    files: Mapping[str, str | bytes] | None = None,
) -> BadInput:
    """A mistake: what is wrong, what is told, and what differs from what is right.

    Args:
        wrong: In a few words.
        message: With paths relative to the folder.
        log: The interactions.
        items: The candidates.
        path: The source of the interactions.
        config: What to write instead of what in the config.
        end: What to add to the config.
        files: More files; where the path is none of `log`, these are the log.
    """
    text = RIGHT.replace("csv: log.csv", path) + end
    if config:
        assert config[0] in text, wrong
        text = text.replace(*config)
    name = path.split()[1].strip(",'\"")
    is_file = re.fullmatch(r"log[\w.]*\.\w+", name)
    logs = {name: log} if is_file else {}
    contents = {CONFIG: text, "items.csv": items, **logs, **(files or {})}
    return BadInput(wrong, message, contents)


WITH_STARS = LOG.replace("\n", ",3\n").replace("when,3", "when,stars", 1)
WITH_NOTES = LOG.replace("\n", ",good\n").replace("when,good", "when,note", 1)
_PACKED = gzip.compress(LOG.encode())
DAMAGED_GZIP = _PACKED[:30] + bytes(8) + _PACKED[38:]

CASES = [
    # CSV
    bad(
        "empty file",
        "ExampleGen.interactions: log.csv is empty: give it a header and rows, or "
        "remove it",
        log="",
    ),
    bad(
        "header and no rows",
        "ExampleGen.interactions: log.csv has no rows: name a source that has some",
        log="user,item,when\n",
    ),
    bad(
        "column that is not there",
        "ExampleGen.interactions: log.csv has no column 'user'; did you mean 'usr'? "
        "It has 'usr', 'item', 'when': mend the name in the config or in the file",
        log=LOG.replace("user", "usr", 1),
    ),
    bad(
        "column with a blank before its name",
        "ExampleGen.interactions: log.csv has no column 'item'; did you mean ' "
        "item'? It has 'user', ' item', 'when': mend the name in the config or in "
        "the file",
        log=LOG.replace(",item", ", item", 1),
    ),
    bad(
        "two columns of one name",
        "ExampleGen.interactions: log.csv has 2 columns of the name 'user': give "
        "each a name of its own",
        log=LOG.replace("when\n", "when,user\n", 1),
    ),
    bad(
        "title that is not there",
        "ExampleGen.candidates: items.csv has no column 'title'; it has 'item', "
        "'name', 'price', 'tags', 'vector': mend the name in the config or in the "
        "file",
        items=ITEMS.replace("title", "name", 1),
    ),
    bad(
        "interactions and candidates swapped",
        "ExampleGen.interactions: log.csv has no column 'user'; it has 'item', "
        "'title', 'price', 'tags', 'vector': mend the name in the config or in the "
        "file",
        log=ITEMS,
        items=LOG,
    ),
    bad(
        "too few fields in a line",
        "ExampleGen.interactions: log.csv, line 50: 2 fields where the first line "
        "has 3: mend the line, close its quotes, quote fields that hold the "
        "delimiter, or set source.delimiter",
        log=line(LOG, 50, "u01,i1"),
    ),
    bad(
        "too many fields in a line",
        "ExampleGen.interactions: log.csv, line 50: 4 fields where the first line "
        "has 3: mend the line, close its quotes, quote fields that hold the "
        "delimiter, or set source.delimiter",
        log=line(LOG, 50, "u01,i1,1600000000,5"),
    ),
    bad(
        "more fields than column_names",
        "ExampleGen.interactions: log.csv, line 1: 3 fields where "
        "source.column_names has 2: mend the line, close its quotes, quote fields "
        "that hold the delimiter, or set source.delimiter",
        log=LOG,
        path="csv: log.csv, column_names: [user, item]",
        config=("  timestamp: when\n", ""),
    ),
    bad(
        "header although column_names are given",
        "ExampleGen.interactions: log.csv, line 1: the names of the columns: take "
        "source.column_names out",
        path="csv: log.csv, column_names: [user, item, when]",
    ),
    bad(
        "semicolons between fields",
        "ExampleGen.interactions: log.csv, line 1: one field, 'user;item;when': set "
        "source.delimiter to ';'",
        log=LOG.replace(",", ";"),
    ),
    bad(
        "quote that does not close",
        "ExampleGen.interactions: log.csv, line 50: 1 field where the first line has "
        "3: mend the line, close its quotes, quote fields that hold the delimiter, "
        "or set source.delimiter",
        log=line(LOG, 50, '"u01,i1,1600000000'),
    ),
    bad(
        "quote that does not close in the last column",
        "ExampleGen.queries: users.csv, line 5: a quote opens there and does not "
        "close: close it, or write a quote that is part of a text twice",
        end=QUERIES,
        files={"users.csv": line(USERS, 5, 'u03,"FR')},
    ),
    bad(
        "quote that does not close in a column that is not read",
        "ExampleGen.interactions: log.csv, line 50: a quote opens there and does not "
        "close: close it, or write a quote that is part of a text twice",
        log=line(WITH_NOTES, 50, 'u01,i1,1600000000,"good'),
    ),
    bad(
        "text that is not UTF-8",
        "ExampleGen.interactions: log.csv, line 50: not utf-8 text: set "
        "source.encoding to what it is, such as latin-1",
        log=line(LOG, 50, "zoë,i1,1600000000").encode("latin-1"),
    ),
    bad(
        "UTF-16",
        "ExampleGen.interactions: log.csv is UTF-16 text: save it as UTF-8",
        log=LOG.encode("utf-16"),
    ),
    bad(
        "another encoding than the declared one",
        "ExampleGen.interactions: log.csv: not utf-16 text: set source.encoding to "
        "what it is, such as latin-1",
        path="csv: log.csv, encoding: utf-16",
    ),
    bad(
        "NUL in an id",
        "ExampleGen.interactions: log.csv, line 50: column 'user' holds 'u\\x00', "
        "but an id is one line of text: mend the value",
        log=line(LOG, 50, "u\0,i1,1600000000"),
    ),
    bad(
        "line break in an id",
        "ExampleGen.interactions: log.csv, line 50: column 'user' holds 'u\\n01', "
        "but an id is one line of text: mend the value",
        log=line(LOG, 50, '"u\n01",i1,1600000000'),
    ),
    bad(
        "id that is blank",
        "ExampleGen.interactions: log.csv, line 50: column 'user' has no value: fill "
        "it in or remove the row",
        log=line(LOG, 50, ",i1,1600000000"),
    ),
    bad(
        "candidate id of blanks",
        "ExampleGen.interactions: log.csv, line 50: column 'item' has no value: fill "
        "it in or remove the row",
        log=line(LOG, 50, "u01,  ,1600000000"),
    ),
    # Files of another kind
    bad(
        "Parquet named as CSV",
        "ExampleGen.interactions: log.csv is a Parquet file: name it in the source "
        "under the key of its format",
        log=parquet(),
    ),
    bad(
        "CSV named as Parquet",
        "ExampleGen.interactions: log.parquet is no Parquet file: name it in the "
        "source under the key of its format",
        path="parquet: log.parquet",
    ),
    bad(
        "JSON named as CSV",
        "ExampleGen.interactions: log.csv is JSON: name it under source.jsonl",
        log=jsonl(),
    ),
    bad(
        "CSV named as JSON lines",
        "ExampleGen.interactions: log.jsonl, line 1: not valid JSON (Expecting value "
        "at character 1): mend the line, or write an object a line",
        path="jsonl: log.jsonl",
    ),
    bad(
        "CSV named as TFRecord",
        "ExampleGen.interactions: log.tfrecord can't be read as tfrecord after 0 "
        "rows (corrupted record at 0 (Is this even a TFRecord file?)): mend the file "
        "or write it anew",
        path="tfrecord: log.tfrecord",
    ),
    bad(
        "page of an error instead of data",
        "ExampleGen.interactions: log.csv is a page of the web or XML: get the data "
        "itself",
        log="<!DOCTYPE html>\n<html><body>404</body></html>\n",
    ),
    bad(
        "workbook named as CSV",
        "ExampleGen.interactions: log.csv is a ZIP archive or a workbook: unpack it, "
        "or save the sheet as CSV",
        log=b"PK\x03\x04\x14\x00\x06\x00" + bytes(50),
    ),
    bad(
        "gzip without .gz",
        "ExampleGen.interactions: log.csv is packed: let its name end in .gz",
        log=gzip.compress(LOG.encode()),
    ),
    bad(
        ".gz that is not gzip",
        "ExampleGen.interactions: log.csv.gz is not packed as .gz: give it another "
        "name, or pack it",
        path="csv: log.csv.gz",
    ),
    bad(
        ".zst that is not Zstandard",
        "ExampleGen.interactions: log.csv.zst is not packed as .zst: give it another "
        "name, or pack it",
        path="csv: log.csv.zst",
    ),
    bad(
        "TFRecord packed with Zstandard",
        "ExampleGen.interactions: log.tfrecord.zst is packed as .zst: pack TFRecords "
        "with gzip",
        path="tfrecord: log.tfrecord.zst",
    ),
    bad(
        "gzip that is cut short",
        "ExampleGen.interactions: log.csv.gz can't be read as csv after 0 rows "
        "(Compressed file ended before the end-of-stream marker was reached): mend "
        "the file or write it anew",
        log=gzip.compress(LOG.encode())[:-20],
        path="csv: log.csv.gz",
    ),
    bad(
        "gzip with a damaged byte",
        "ExampleGen.interactions: log.csv.gz can't be read as csv after 0 rows "
        "(Error -3 while decompressing data: invalid bit length repeat): mend the "
        "file or write it anew",
        log=DAMAGED_GZIP,
        path="csv: log.csv.gz",
    ),
    # Parquet
    bad(
        "Parquet that is cut short",
        "ExampleGen.interactions: log.parquet can't be read as parquet after 0 rows "
        "(Parquet magic bytes not found in footer. Either the file is corrupted or "
        "this is not a parquet file.): mend the file or write it anew",
        log=parquet()[:-30],
        path="parquet: log.parquet",
    ),
    bad(
        "Parquet of 0 bytes",
        "ExampleGen.interactions: log.parquet can't be read as parquet after 0 rows "
        "(Parquet file size is 0 bytes): mend the file or write it anew",
        log=b"",
        path="parquet: log.parquet",
    ),
    bad(
        "Parquet without rows",
        "ExampleGen.interactions: log.parquet has no rows: name a source that has some",
        log=parquet(
            user=pa.array([], pa.string()),
            item=pa.array([], pa.string()),
            when=pa.array([], pa.int64()),
        ),
        path="parquet: log.parquet",
    ),
    bad(
        "Parquet that lacks a column",
        "ExampleGen.interactions: log.parquet has no column 'when'; it has 'user', "
        "'item': mend the name in the config or in the file",
        log=parquet(when=None),
        path="parquet: log.parquet",
    ),
    bad(
        "struct where text is wanted",
        "ExampleGen.interactions: log.parquet, row 1: column 'user' holds struct<id: "
        "int64> where text is wanted: flatten it into columns",
        log=parquet(user=[{"id": 7}] * 200),
        path="parquet: log.parquet",
    ),
    bad(
        "list where one id is wanted",
        "ExampleGen.interactions: log.parquet, row 1: column 'user' holds 2 values "
        "where one is wanted: mend the row, or declare a feature as categories",
        log=parquet(user=[["a", "b"]] * 200),
        path="parquet: log.parquet",
    ),
    bad(
        "fraction as an id",
        "ExampleGen.interactions: log.parquet, row 1: column 'user' holds 0.5, but "
        "ids and categories are text or whole numbers: declare it as a number or "
        "mend the value",
        log=parquet(user=[0.5] * 200),
        path="parquet: log.parquet",
    ),
    bad(
        "struct where a time is wanted",
        "ExampleGen.interactions: log.parquet, row 1: column 'when' holds struct<s: "
        "int64> where numbers are wanted: declare another type",
        log=parquet(when=[{"s": 7}] * 200),
        path="parquet: log.parquet",
    ),
    bad(
        "time that is infinite",
        "ExampleGen.interactions: log.parquet, row 1: column 'when' is infinite: "
        "mend the value",
        log=parquet(when=[float("inf")] * 200),
        path="parquet: log.parquet",
    ),
    # JSON lines
    bad(
        "JSON array instead of lines",
        "ExampleGen.interactions: log.jsonl is one JSON array: write an object a line",
        log=json.dumps(OBJECTS),
        path="jsonl: log.jsonl",
    ),
    bad(
        "JSON object over several lines",
        "ExampleGen.interactions: log.jsonl has a JSON object over several lines: "
        "write an object a line",
        log=json.dumps(OBJECTS[0], indent=2),
        path="jsonl: log.jsonl",
    ),
    bad(
        "line that is not JSON",
        "ExampleGen.interactions: log.jsonl, line 50: not valid JSON (Expecting "
        "value at character 26): mend the line, or write an object a line",
        log=line(jsonl(), 50, '{"user": "u01", "item": '),
        path="jsonl: log.jsonl",
    ),
    bad(
        "line that is no object",
        "ExampleGen.interactions: log.jsonl, line 50: not a JSON object: write an "
        "object a line",
        log=line(jsonl(), 50, '"u01"'),
        path="jsonl: log.jsonl",
    ),
    bad(
        "line that is not UTF-8",
        "ExampleGen.interactions: log.jsonl, line 50: not UTF-8 text: save the file "
        "as UTF-8",
        log=line(jsonl(), 50, '{"user": "zoë"}').encode("latin-1"),
        path="jsonl: log.jsonl",
    ),
    bad(
        "key that is in no line",
        "ExampleGen.interactions: log.jsonl has no column 'user'; did you mean "
        "'usr'? It has 'item', 'usr', 'when': mend the name in the config or in the "
        "file",
        log=jsonl().replace('"user"', '"usr"'),
        path="jsonl: log.jsonl",
    ),
    bad(
        "key that a line lacks",
        "ExampleGen.interactions: log.jsonl, line 50: column 'user' has no value: "
        "fill it in or remove the row",
        log=line(jsonl(), 50, '{"item": "i1", "when": 7}'),
        path="jsonl: log.jsonl",
    ),
    bad(
        "null as an id",
        "ExampleGen.interactions: log.jsonl, line 50: column 'user' has no value: "
        "fill it in or remove the row",
        log=jsonl((50, {"user": None})),
        path="jsonl: log.jsonl",
    ),
    bad(
        "object where text is wanted",
        "ExampleGen.interactions: log.jsonl, line 50: column 'user' holds an object: "
        "flatten it into columns",
        log=jsonl((50, {"user": {"id": 7}})),
        path="jsonl: log.jsonl",
    ),
    bad(
        "list in one line only",
        "ExampleGen.interactions: log.jsonl, line 50: column 'user' is a list here "
        "but not in other lines: mend one",
        log=jsonl((50, {"user": ["a", "b"]})),
        path="jsonl: log.jsonl",
    ),
    bad(
        "half of a character",
        "ExampleGen.interactions: log.jsonl, line 50: column 'user' holds half a "
        "character: mend the text",
        log=jsonl((50, {"user": "\ud800"})),
        path="jsonl: log.jsonl",
    ),
    bad(
        "JSON lines without a line",
        "ExampleGen.interactions: log.jsonl has no rows: name a source that has some",
        log="\n",
        path="jsonl: log.jsonl",
    ),
    # TFRecord
    bad(
        "TFRecord that is cut short",
        "ExampleGen.interactions: log.tfrecord can't be read as tfrecord after 0 "
        "rows (truncated record at 13930' failed with Read less bytes than "
        "requested): mend the file or write it anew",
        log=tfrecord(OBJECTS)[:-7],
        path="tfrecord: log.tfrecord",
    ),
    bad(
        "TFRecord without records",
        "ExampleGen.interactions: log.tfrecord has no rows: name a source that has "
        "some",
        log=b"",
        path="tfrecord: log.tfrecord",
    ),
    bad(
        "records that are no tf.Examples",
        "ExampleGen.interactions: log.tfrecord, row 50: no tf.Example: write the "
        "file anew",
        log=tfrecord([*OBJECTS[:49], b"\xff\xff"]),
        path="tfrecord: log.tfrecord",
    ),
    bad(
        "tf.Examples without the id",
        "ExampleGen.interactions: log.tfrecord, row 1: column 'item' is not there, "
        "but 'movie', 'user', 'when': mend the name in the config",
        log=tfrecord(
            [
                {"movie": r["item"], "user": r["user"], "when": r["when"]}
                for r in OBJECTS
            ]
        ),
        path="tfrecord: log.tfrecord",
    ),
    bad(
        "one tf.Example without the id",
        "ExampleGen.interactions: log.tfrecord, row 50: column 'user' has no value: "
        "fill it in or remove the row",
        log=tfrecord([*OBJECTS[:49], {"item": "i1", "when": 7}]),
        path="tfrecord: log.tfrecord",
    ),
    bad(
        "feature that changes its type",
        "ExampleGen.interactions: log.tfrecord, row 50: column 'item' is of type "
        "int64_list, but bytes_list in rows before: write one type",
        log=tfrecord([*OBJECTS[:49], {**OBJECTS[0], "item": 7}]),
        path="tfrecord: log.tfrecord",
    ),
    # Numbers and vectors
    bad(
        "word where a number is wanted",
        "ExampleGen.candidates: items.csv, line 5: column 'price' holds 'cheap', "
        "which is no number: mend it, or declare another type",
        items=line(ITEMS, 5, 'i3,Item 3,cheap,a,"0.1,3"'),
    ),
    bad(
        "decimal comma",
        "ExampleGen.candidates: items.csv, line 5: column 'price' holds '3,5', which "
        "is no number: mend it, or declare another type",
        items=line(ITEMS, 5, 'i3,Item 3,"3,5",a,"0.1,3"'),
    ),
    bad(
        "number with a currency",
        "ExampleGen.candidates: items.csv, line 5: column 'price' holds '$3.50', "
        "which is no number: mend it, or declare another type",
        items=line(ITEMS, 5, 'i3,Item 3,$3.50,a,"0.1,3"'),
    ),
    bad(
        "infinite number",
        "ExampleGen.candidates: items.csv, line 5: column 'price' is infinite: mend "
        "the value",
        items=line(ITEMS, 5, 'i3,Item 3,inf,a,"0.1,3"'),
    ),
    bad(
        "number too large for a float",
        "ExampleGen.candidates: items.csv, line 5: column 'price' holds 1e+39, which "
        "is too large: mend the value",
        items=line(ITEMS, 5, 'i3,Item 3,1e39,a,"0.1,3"'),
    ),
    bad(
        "vector that is too short",
        "ExampleGen.candidates: items.csv, line 5: column 'vector' has a length of "
        "1, but its dimensions are 2: mend the row or the config",
        items=line(ITEMS, 5, "i3,Item 3,1,a,0.1"),
    ),
    bad(
        "vector that is too long",
        "ExampleGen.candidates: items.csv, line 5: column 'vector' has a length of "
        "3, but its dimensions are 2: mend the row or the config",
        items=line(ITEMS, 5, 'i3,Item 3,1,a,"1,2,3"'),
    ),
    bad(
        "vector of words",
        "ExampleGen.candidates: items.csv, line 5: column 'vector' holds '0.1,x', "
        "which are no numbers between ',': mend the row or say the separator",
        items=line(ITEMS, 5, 'i3,Item 3,1,a,"0.1,x"'),
    ),
    bad(
        "vector with a gap",
        "ExampleGen.candidates: items.csv, line 5: column 'vector' lacks one of its "
        "numbers: mend the row",
        items=line(ITEMS, 5, 'i3,Item 3,1,a,"0.1,nan"'),
    ),
    bad(
        "vector between blanks",
        "ExampleGen.candidates: items.csv, line 5: column 'vector' holds '0.1 0.2', "
        "which are no numbers between ',': mend the row or say the separator",
        items=line(ITEMS, 5, "i3,Item 3,1,a,0.1 0.2"),
    ),
    # Times
    bad(
        "word where a time is wanted",
        "ExampleGen.interactions: log.csv, line 50: column 'when' holds 'yesterday', "
        "which is no time: give ISO 8601 or a whole number, or set timestamp_format "
        "(format of a feature)",
        log=line(LOG, 50, "u01,i1,yesterday"),
    ),
    bad(
        "date of another format",
        "ExampleGen.interactions: log.csv, line 50: column 'when' holds "
        "'31/12/2020', which is no time: give ISO 8601 or a whole number, or set "
        "timestamp_format (format of a feature)",
        log=line(LOG, 50, "u01,i1,31/12/2020"),
    ),
    bad(
        "date that there is not",
        "ExampleGen.interactions: log.csv, line 50: column 'when' holds "
        "'2021-02-30', which is no time: give ISO 8601 or a whole number, or set "
        "timestamp_format (format of a feature)",
        log=line(LOG, 50, "u01,i1,2021-02-30"),
    ),
    bad(
        "time that is not of its format",
        "ExampleGen.interactions: log.csv, line 2: column 'when' holds '1600000000', "
        "which is no time of the format '%d.%m.%Y': mend one of them",
        config=(
            "  timestamp: when\n",
            '  timestamp: when\n  timestamp_format: "%d.%m.%Y"\n',
        ),
    ),
    bad(
        "milliseconds taken for seconds",
        "ExampleGen.interactions: log.csv, line 2: column 'when' holds "
        "1600000000000, which is a time in ms and not in s: set timestamp_unit (unit "
        "of a feature) to ms",
        log=LOG.replace(",1600000", ",1600000000"),
    ),
    bad(
        "seconds taken for milliseconds",
        "ExampleGen.interactions: log.csv, line 2: column 'when' holds 1600000000, "
        "which is a time in s and not in ms: set timestamp_unit (unit of a feature) "
        "to s",
        config=("  timestamp: when\n", "  timestamp: when\n  timestamp_unit: ms\n"),
    ),
    bad(
        "dates written as numbers",
        "ExampleGen.interactions: log.csv, line 2: column 'when' holds 20240101, "
        "which is a date: set timestamp_format (format of a feature) to '%Y%m%d', in "
        "quotes",
        log="user,item,when\n"
        + "".join(
            f"{u},{i},202401{n % 28 + 1:02}\n" for n, (u, i, _) in enumerate(ROWS)
        ),
    ),
    bad(
        "one time in milliseconds",
        "ExampleGen.interactions: log.csv, line 50: column 'when' holds "
        "1600000000000, which is no time in s of the years 1 to 9999: mend the value",
        log=line(LOG, 50, "u01,i1,1600000000000"),
    ),
    bad(
        "time of too many digits",
        "ExampleGen.interactions: log.csv, line 50: column 'when' holds "
        "100000000000000000000, which is no time in s of the years 1 to 9999: mend "
        "the value",
        log=line(LOG, 50, "u01,i1,99999999999999999999"),
    ),
    bad(
        "time that is missing",
        "ExampleGen.interactions: log.csv, line 50: column 'when' has no value: fill "
        "it in or remove the row",
        log=line(LOG, 50, "u01,i1,"),
    ),
    # Several files
    bad(
        "no file of that name",
        "ExampleGen.interactions: no file matches logs/*.csv: mend the path in the "
        "config",
        path="csv: logs/*.csv",
        log="",
    ),
    bad(
        "folder instead of files",
        "ExampleGen.interactions: logs is a folder: name the files in it, as logs/*",
        path="csv: logs",
        files={"logs/a.csv": LOG},
    ),
    bad(
        "folder among files",
        "ExampleGen.interactions: logs/old is a folder: name the files in it, as "
        "logs/old/*",
        path="csv: logs/*",
        files={"logs/a.csv": LOG, "logs/old/b.csv": LOG},
    ),
    bad(
        "empty file among others",
        "ExampleGen.interactions: logs/_SUCCESS is empty: give it a header and rows, "
        "or remove it",
        path="csv: logs/*",
        files={"logs/a.csv": LOG, "logs/_SUCCESS": ""},
    ),
    bad(
        "another header in one of the files",
        "ExampleGen.interactions: logs/b.csv has no column 'user'; did you mean "
        "'usr'? It has 'usr', 'item', 'when': mend the name in the config or in the "
        "file",
        path="csv: logs/*",
        files={"logs/a.csv": LOG, "logs/b.csv": LOG.replace("user", "usr", 1)},
    ),
    bad(
        "file without a number for its span",
        "ExampleGen.interactions: the path log-{SPAN}.csv: the file log-new.csv has "
        "no number or date where the path has a span",
        path="csv: 'log-{SPAN}.csv'",
        files={"log-new.csv": LOG},
    ),
    bad(
        "file with a date that there is not",
        "ExampleGen.interactions: the path {YYYY}-{MM}-{DD}.csv: the file "
        "2024-13-45.csv has no number or date where the path has a span",
        path="csv: '{YYYY}-{MM}-{DD}.csv'",
        files={"2024-13-45.csv": LOG},
    ),
    bad(
        "file system that there is not",
        "ExampleGen.interactions: can't look for b2://bucket/log.csv (File system "
        "scheme 'b2' not implemented (file: 'b2://bucket/log.csv')): mend the path, "
        "or check network and credentials",
        path="csv: b2://bucket/log.csv",
    ),
    # Ids
    bad(
        "orphans",
        "ExampleCleaner: 1 of 200 rows (0.50%) of the interactions name a candidate "
        "that is not in the catalogue, such as 'i99' (1 row): complete the catalogue "
        "or set interactions.orphans to drop",
        log=line(LOG, 50, "u01,i99,1600000000"),
    ),
    bad(
        "ids padded with zeros on one side",
        "ExampleCleaner: 200 of 200 rows (100.00%) of the interactions name a "
        "candidate that is not in the catalogue, such as '000' (20 rows), '001' (20 "
        "rows), '002' (20 rows), '003' (20 rows), '004' (20 rows): '000' is '0' "
        "there, write both alike; or complete the catalogue or set "
        "interactions.orphans to drop",
        log=LOG.replace(",i", ",00").replace(",00tem", ",item"),
        items=ITEMS.replace("\ni", "\n"),
    ),
    bad(
        "ids in other letter case on one side",
        "ExampleCleaner: 200 of 200 rows (100.00%) of the interactions name a "
        "candidate that is not in the catalogue, such as 'I0' (20 rows), 'I1' (20 "
        "rows), 'I2' (20 rows), 'I3' (20 rows), 'I4' (20 rows): 'I0' is 'i0' there, "
        "write both alike; or complete the catalogue or set interactions.orphans to "
        "drop",
        log=LOG.replace(",i", ",I").replace(",Item", ",item"),
    ),
    bad(
        "ids that pandas made floats on one side",
        "ExampleCleaner: 200 of 200 rows (100.00%) of the interactions name a "
        "candidate that is not in the catalogue, such as '0.0' (20 rows), '1.0' (20 "
        "rows), '2.0' (20 rows), '3.0' (20 rows), '4.0' (20 rows): '0.0' is '0' "
        "there, write both alike; or complete the catalogue or set "
        "interactions.orphans to drop",
        log=LOG.replace(",i", ",").replace(",tem", ",item").replace(",16", ".0,16"),
        items=ITEMS.replace("\ni", "\n"),
    ),
    bad(
        "candidate twice",
        "ExampleCleaner: 1 of 11 rows (9.09%) of the candidates repeat an id of "
        "another row, such as 'i3' (2 rows): mend the catalogue or set "
        "candidates.duplicates to keep_one",
        items=ITEMS + 'i3,Again,1,a,"0.1,3"\n',
    ),
    bad(
        "catalogue without rows",
        "ExampleGen.candidates: items.csv has no rows: name a source that has some",
        items="item,title,price,tags,vector\n",
    ),
    bad(
        "catalogue of one candidate",
        "ExampleCleaner: the catalogue has one candidate and leaves nothing to "
        "choose: add others",
        log="user,item,when\n" + "".join(f"{u},i0,{w}\n" for u, _, w in ROWS),
        items="".join(ITEMS.splitlines(True)[:2]),
    ),
    bad(
        "orphans alone, to be dropped",
        "ExampleCleaner: split 'eval' of the interactions has no rows left of 44: "
        "check the ids of both sources",
        log=LOG.replace(",i", ",x").replace(",xtem", ",item"),
        config=("  timestamp: when\n", "  timestamp: when\n  orphans: drop\n"),
    ),
    bad(
        "one interaction",
        "ExampleGen.interactions: split 'eval' of log.csv is empty (1 row in all): "
        "give it a larger share under split or take a larger dataset",
        log="user,item,when\nu1,i1,1600000000\n",
    ),
    # Events, weights and the table of queries
    bad(
        "column of ratings that is not there",
        "ExampleGen.interactions: log.csv has no column 'stars'; it has 'user', "
        "'item', 'when': mend the name in the config or in the file",
        config=(
            "  timestamp: when\n",
            "  timestamp: when\n  signal: {value: stars, min_value: 4}\n",
        ),
    ),
    bad(
        "no rating that is high enough",
        "InteractionPreparer: split 'train' of the interactions has no rows left of "
        "158: loosen the rules under interactions.signal",
        log=WITH_STARS,
        config=(
            "  timestamp: when\n",
            "  timestamp: when\n  signal: {value: stars, min_value: 4}\n",
        ),
    ),
    bad(
        "no event of the types that are weighed",
        "InteractionPreparer: split 'train' of the interactions has no rows left of "
        "158: loosen the rules under interactions.signal",
        log=WITH_STARS,
        config=(
            "  timestamp: when\n",
            "  timestamp: when\n  signal: {event: stars, event_weights: {buy: 5}}\n",
        ),
    ),
    bad(
        "no query with enough interactions",
        "InteractionPreparer: split 'train' of the interactions has no rows left of "
        "158: loosen the rules under interactions.signal",
        config=(
            "  timestamp: when\n",
            "  timestamp: when\n  signal: {min_query_interactions: 1000}\n",
        ),
    ),
    bad(
        "weights that are all below 0",
        "InteractionPreparer: every interaction of the training split weighs 0: "
        "interactions.signal needs values above 0, or scale none",
        log=WITH_STARS.replace(",3\n", ",-3\n"),
        config=(
            "  timestamp: when\n",
            "  timestamp: when\n  signal: {value: stars, scale: linear}\n",
        ),
    ),
    bad(
        "table of queries without the id",
        "ExampleGen.queries: users.csv has no column 'user'; it has 'uid', "
        "'country': mend the name in the config or in the file",
        end=QUERIES,
        files={"users.csv": USERS.replace("user", "uid", 1)},
    ),
    bad(
        "row of the table of queries without an id",
        "ExampleGen.queries: users.csv, line 22: column 'user' has no value: fill it "
        "in or remove the row",
        end=QUERIES,
        files={"users.csv": USERS + ",DE\n"},
    ),
    bad(
        "query twice in the table",
        "InteractionPreparer: ids of the queries with several rows: 1, such as 'u01' "
        "(2 rows): mend the table or set queries.duplicates to keep_one",
        end=QUERIES,
        files={"users.csv": USERS + "u01,DE\n"},
    ),
    bad(
        "table of other queries",
        "InteractionPreparer: none of the 200 interactions has a row among the "
        "queries, such as those of 'u00' (10 rows), 'u01' (10 rows), 'u02' (10 "
        "rows), 'u03' (10 rows), 'u04' (10 rows): write the ids of both alike",
        end=QUERIES,
        files={"users.csv": USERS.replace("\nu", "\nx")},
    ),
    # Datasets
    bad(
        "dataset that there is not",
        "ExampleGen.interactions: TensorFlow Datasets has no dataset 'movielnes': "
        "did you mean 'movielens'?",
        path="tfds: movielnes/100k-ratings",
    ),
    bad(
        "config of a dataset that there is not",
        "ExampleGen.interactions: TensorFlow Datasets cannot load "
        "'movielens/101k-ratings': it has no config '101k-ratings', did you mean "
        "'100k-ratings'?",
        path="tfds: movielens/101k-ratings",
    ),
]
