# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Mistakes in a config, each with what is told; `python -m benchmarks.bad_input` too.

Each case changes one thing in a config that is right, or in the files that it names.
More of them, by `--set`, are in tests/unit/test_config.py.
"""

import pathlib
from collections.abc import Mapping

from pipeline.config import load_config
from tests.bad_input import CONFIG, BadInput

RIGHT = """\
name: shop

interactions:
  source: {csv: orders.csv}
  query_id: customer
  candidate_id: product
  timestamp: at

candidates:
  source: {csv: products.csv}
  candidate_id: product
  title: label
  features:
    category: category
    price: number
"""
ORDERS = "customer,product,at\n17,p1,2024-01-31\n"
PRODUCTS = "product,label,category,price\np1,Cup,kitchen,3.5\n"
RIGHT_FILES = {CONFIG: RIGHT, "orders.csv": ORDERS, "products.csv": PRODUCTS}


def bad(
    wrong: str,
    message: str,
    old: str = "",
    new: str = "",
    config: str | bytes = RIGHT,
    files: Mapping[str, str] | None = None,
    without_config: bool = False,
) -> BadInput:
    """A mistake: what is wrong, what is told, and what to write instead of what."""
    if old:
        assert RIGHT.count(old) >= 1, wrong
        config = RIGHT.replace(old, new, 1)
    contents = {**RIGHT_FILES, CONFIG: config, **(files or {})}
    if without_config:
        del contents[CONFIG]
    return BadInput(wrong, message, contents)


def provoke(case: BadInput, folder: pathlib.Path) -> None:
    """Makes the mistake: reads the config as `shortlist run` does."""
    load_config(str(case.write(folder)), check_sources=True)


CASES = [
    # The file
    bad(
        "config that is not there",
        "can't read config shop.yaml: No such file or directory",
        without_config=True,
    ),
    bad(
        "config that is a folder",
        "can't read config shop.yaml: Is a directory",
        without_config=True,
        files={"shop.yaml/x": ""},
    ),
    bad(
        "empty config",
        "shop.yaml holds no keys; start from one of configs/",
        config="",
    ),
    bad(
        "list instead of keys",
        "shop.yaml holds no keys; start from one of configs/",
        config="- shop\n",
    ),
    bad(
        "tab as indentation",
        "shop.yaml, line 5: not valid YAML: found character '\\t' that cannot start "
        "any token; indent with blanks, not tabs",
        "  query_id: customer",
        "\tquery_id: customer",
    ),
    bad(
        "line indented too little",
        "shop.yaml, line 5: not valid YAML: expected <block end>, but found '<block "
        "mapping start>'; indent the line like those beside it",
        "  query_id: customer",
        " query_id: customer",
    ),
    bad(
        "line indented too much",
        "shop.yaml, line 15: not valid YAML: expected <block end>, but found '<block "
        "mapping start>'; indent the line like those beside it",
        "    category: category",
        "      category: category",
    ),
    bad(
        "quote that does not close",
        "shop.yaml, line 5: not valid YAML: found unexpected end of stream; close "
        "the quote that opens there",
        "query_id: customer",
        'query_id: "customer',
    ),
    bad(
        "bracket that does not close",
        "shop.yaml, line 5: not valid YAML: expected ',' or '}', but got ':'; close "
        "the bracket, or put a text with brackets in quotes",
        "{csv: orders.csv}",
        "{csv: orders.csv",
    ),
    bad(
        "colon without a blank",
        "shop.yaml, line 5: not valid YAML: could not find expected ':'; write 'key: "
        "value', with a blank after the colon",
        "query_id: customer",
        "query_id:customer",
    ),
    bad(
        "key without a colon",
        "shop.yaml, line 5: not valid YAML: could not find expected ':'; write 'key: "
        "value', with a blank after the colon",
        "query_id: customer",
        "query_id customer",
    ),
    bad(
        "second colon in a line",
        "shop.yaml, line 5: not valid YAML: mapping values are not allowed here; "
        "mend the indentation, or put a text with ': ' in quotes",
        "query_id: customer",
        "query_id: customer: id",
    ),
    bad(
        "text that begins with @",
        "shop.yaml, line 5: not valid YAML: found character '@' that cannot start "
        "any token; put the text in quotes",
        "query_id: customer",
        "query_id: @customer",
    ),
    bad(
        "text that begins with *",
        "shop.yaml, line 5: not valid YAML: found undefined alias 'customer'; put a "
        "text that starts with '*' in quotes",
        "query_id: customer",
        "query_id: *customer",
    ),
    bad(
        "brace of a span outside of quotes",
        "shop.yaml, line 4: not valid YAML: expected ',' or '}', but got '{'; close "
        "the bracket, or put a text with brackets in quotes",
        "{csv: orders.csv}",
        "{csv: orders-{SPAN}.csv}",
    ),
    bad(
        "config that is not UTF-8",
        "shop.yaml is not UTF-8 text; save it as UTF-8",
        config=RIGHT.replace("shop", "café").encode("latin-1"),
    ),
    # Keys
    bad(
        "key twice",
        "shop.yaml, line 6: the key 'interactions.query_id' is there twice (first on "
        "line 5); take one out",
        "query_id: customer",
        "query_id: customer\n  query_id: buyer",
    ),
    bad(
        "misspelt section",
        "shop.yaml, line 9: unknown key 'candidate'; did you mean 'candidates'?",
        "candidates:",
        "candidate:",
    ),
    bad(
        "misspelt key",
        "shop.yaml, line 12: unknown key 'candidates.titel'; did you mean "
        "'candidates.title'?",
        "title:",
        "titel:",
    ),
    bad(
        "key of other tools",
        "shop.yaml, line 5: unknown key 'interactions.user_id'; did you mean "
        "'interactions.query_id'?",
        "query_id: customer",
        "user_id: customer",
    ),
    bad(
        "key that is nowhere",
        "shop.yaml, line 2: unknown key 'colour'; the keys here are beam, candidates, "
        "containers, data_dir, embedding_batch_size, evaluation, index, interactions, "
        "kubeflow, metadata, model, name, queries, registry, statistics, training, "
        "tuner, validation, vertex",
        "name: shop",
        "name: shop\ncolour: blue",
    ),
    bad(
        "key of another kind of source",
        "shop.yaml, line 4: unknown key 'interactions.source.delimiter'; it does not "
        "go with this kind of source, take it out",
        "{csv: orders.csv}",
        "{parquet: orders.parquet, delimiter: ','}",
    ),
    bad(
        "option of another type of feature",
        "shop.yaml, line 8: unknown key 'interactions.features.tags.separator'; it "
        "does not go with this kind of features, take it out",
        "  timestamp: at",
        "  timestamp: at\n  features: {tags: {type: category, separator: '|'}}",
    ),
    bad(
        "missing key",
        "shop.yaml, line 3: the key 'interactions.query_id' is missing; add it",
        "  query_id: customer\n",
        "",
    ),
    bad(
        "missing name",
        "shop.yaml: the key 'name' is missing; add it",
        "name: shop\n",
        "",
    ),
    bad(
        "number as a key",
        "shop.yaml, line 8: the key 007 is a number to YAML; put it in quotes",
        "  timestamp: at",
        "  timestamp: at\n  features: {007: category}",
    ),
    bad(
        "yes as a key",
        "shop.yaml, line 8: the key yes is true or false to YAML; put it in quotes",
        "  timestamp: at",
        "  timestamp: at\n  features: {yes: category}",
    ),
    bad(
        "null as a key",
        "shop.yaml, line 8: the key null is nothing to YAML; put it in quotes",
        "  timestamp: at",
        "  timestamp: at\n  features: {null: category}",
    ),
    bad(
        "list as a key",
        "shop.yaml, line 2: a key is a list or has keys of its own; write a text",
        "name: shop",
        "name: shop\n? [a, b]\n: c",
    ),
    # Values
    bad(
        "number where text is wanted",
        "shop.yaml, line 5: interactions.query_id: input should be text, got 7, "
        "which YAML takes for no text; put it in quotes",
        "query_id: customer",
        "query_id: 7",
    ),
    bad(
        "date where text is wanted",
        "shop.yaml, line 5: interactions.query_id: input should be text, got "
        "2024-01-31, which YAML takes for no text; put it in quotes",
        "query_id: customer",
        "query_id: 2024-01-31",
    ),
    bad(
        "yes where text is wanted",
        "shop.yaml, line 12: candidates.title: input should be text, got True, which "
        "YAML takes for no text; put it in quotes",
        "title: label",
        "title: yes",
    ),
    bad(
        "list where text is wanted",
        "shop.yaml, line 5: interactions.query_id: input should be text, got "
        "['customer']; give one text",
        "query_id: customer",
        "query_id: [customer]",
    ),
    bad(
        "nothing where text is wanted",
        "shop.yaml, line 5: interactions.query_id: input should be text, got None; "
        "give it a value or take the key out",
        "query_id: customer",
        "query_id:",
    ),
    bad(
        "empty text",
        "shop.yaml, line 5: interactions.query_id: input should not be empty, got ''",
        "query_id: customer",
        "query_id: ''",
    ),
    bad(
        "text where keys are wanted",
        "shop.yaml, line 8: interactions.signal: input should be keys with values, "
        "got 'plays'",
        "  timestamp: at",
        "  timestamp: at\n  signal: plays",
    ),
    bad(
        "list where keys are wanted",
        "shop.yaml, line 8: interactions.features: input should be keys with values, "
        "got ['country']",
        "  timestamp: at",
        "  timestamp: at\n  features: [country]",
    ),
    bad(
        "text where a list is wanted",
        "shop.yaml, line 2: evaluation.slices: input should be a valid list, got "
        "'country'",
        "name: shop",
        "name: shop\nevaluation: {slices: country}",
    ),
    bad(
        "text where a number is wanted",
        "shop.yaml, line 2: training.epochs: input should be a valid integer, unable "
        "to parse string as an integer, got 'many'",
        "name: shop",
        "name: shop\ntraining: {epochs: many}",
    ),
    bad(
        "number with a comma",
        "shop.yaml, line 2: training.learning_rate: input should be a valid number, "
        "unable to parse string as a number, got '0,005'",
        "name: shop",
        "name: shop\ntraining: {learning_rate: '0,005'}",
    ),
    bad(
        "number with a percent sign",
        "shop.yaml, line 7: interactions.split.fractions.train: input should be a "
        "valid number, unable to parse string as a number, got '80%'",
        "  timestamp: at",
        "  split: {method: random, fractions: {train: 80%, eval: 20%}}",
    ),
    bad(
        "negative number",
        "shop.yaml, line 2: training.learning_rate: input should be greater than 0, "
        "got -0.1",
        "name: shop",
        "name: shop\ntraining: {learning_rate: -0.1}",
    ),
    bad(
        "zero where more is wanted",
        "shop.yaml, line 2: training.epochs: input should be greater than 0, got 0",
        "name: shop",
        "name: shop\ntraining: {epochs: 0}",
    ),
    bad(
        "name with blanks",
        "shop.yaml, line 1: name: input should be small letters, digits, '.', '_' "
        "and '-', a letter or digit first, got 'My Shop'",
        "name: shop",
        "name: My Shop",
    ),
    bad(
        "name with a slash",
        "shop.yaml, line 1: name: input should be small letters, digits, '.', '_' "
        "and '-', a letter or digit first, got 'shop/eu'",
        "name: shop",
        "name: shop/eu",
    ),
    bad(
        "choice that there is not",
        "shop.yaml, line 8: interactions.orphans: input should be 'stop' or 'drop', "
        "got 'ignore'",
        "  timestamp: at",
        "  timestamp: at\n  orphans: ignore",
    ),
    bad(
        "off, which YAML takes for false",
        "shop.yaml, line 2: validation.mode: input should be 'strict' or 'warn', got "
        "False",
        "name: shop",
        "name: shop\nvalidation: {mode: off}",
    ),
    # Sources
    bad(
        "two kinds of source",
        "shop.yaml, line 4: interactions.source needs exactly one of the keys csv, "
        "parquet, jsonl, tfrecord, tfds, bigquery, got csv, parquet",
        "{csv: orders.csv}",
        "{csv: a.csv, parquet: b.parquet}",
    ),
    bad(
        "no kind of source",
        "shop.yaml, line 4: interactions.source needs exactly one of the keys csv, "
        "parquet, jsonl, tfrecord, tfds, bigquery, got none",
        "{csv: orders.csv}",
        "{}",
    ),
    bad(
        "path instead of a source",
        "shop.yaml, line 4: interactions.source needs exactly one of the keys csv, "
        "parquet, jsonl, tfrecord, tfds, bigquery, got 'orders.csv'",
        "{csv: orders.csv}",
        "orders.csv",
    ),
    bad(
        "misspelt kind of source",
        "shop.yaml, line 4: interactions.source needs exactly one of the keys csv, "
        "parquet, jsonl, tfrecord, tfds, bigquery, got cvs",
        "{csv: orders.csv}",
        "{cvs: orders.csv}",
    ),
    bad(
        "several paths",
        "shop.yaml, line 4: interactions.source.csv: input should be text, got "
        "['a.csv', 'b.csv']; give one text",
        "{csv: orders.csv}",
        "{csv: [a.csv, b.csv]}",
    ),
    bad(
        "file that is not there",
        "shop.yaml, line 4: no file matches sales.csv: did you mean orders.csv?",
        "{csv: orders.csv}",
        "{csv: sales.csv}",
    ),
    bad(
        "misspelt file name",
        "shop.yaml, line 4: no file matches order.csv: did you mean orders.csv?",
        "{csv: orders.csv}",
        "{csv: order.csv}",
    ),
    bad(
        "folder that is not there",
        "shop.yaml, line 4: no file matches logs/orders.csv: there is no folder logs",
        "{csv: orders.csv}",
        "{csv: logs/orders.csv}",
    ),
    bad(
        "glob that matches nothing",
        "shop.yaml, line 4: no file matches orders-*.csv: did you mean orders.csv?",
        "{csv: orders.csv}",
        "{csv: 'orders-*.csv'}",
    ),
    bad(
        "folder instead of files",
        "shop.yaml, line 4: logs is a folder: name the files in it, as logs/*.csv",
        "{csv: orders.csv}",
        "{csv: logs}",
        files={"logs/orders.csv": ORDERS},
    ),
    bad(
        "home folder as ~",
        "shop.yaml, line 4: no file matches ~/orders.csv: paths are taken as they "
        "stand, write ~ and variables out",
        "{csv: orders.csv}",
        "{csv: ~/orders.csv}",
    ),
    bad(
        "variable in a path",
        "shop.yaml, line 4: no file matches $DATA/orders.csv: paths are taken as "
        "they stand, write ~ and variables out",
        "{csv: orders.csv}",
        "{csv: $DATA/orders.csv}",
    ),
    bad(
        "address on the web",
        "shop.yaml, line 4: interactions.source: https://example.com/orders.csv is "
        "an address on the web; fetch the file and give its path",
        "{csv: orders.csv}",
        "{csv: 'https://example.com/orders.csv'}",
    ),
    bad(
        "spans that match nothing",
        "shop.yaml, line 4: no file matches orders-{SPAN}.csv: did you mean "
        "orders.csv?",
        "{csv: orders.csv}",
        "{csv: 'orders-{SPAN}.csv'}",
    ),
    bad(
        "number and date of a span",
        "shop.yaml, line 4: interactions.source: the path "
        "{SPAN}/{YYYY}-{MM}-{DD}.csv has a number and a date; take out {SPAN}, or "
        "{YYYY}, {MM} and {DD}",
        "{csv: orders.csv}",
        "{csv: '{SPAN}/{YYYY}-{MM}-{DD}.csv'}",
    ),
    bad(
        "span twice",
        "shop.yaml, line 4: interactions.source: the path {SPAN}/orders-{SPAN}.csv "
        "has a span twice; use each of {SPAN}, {YYYY}, {MM} and {DD} once",
        "{csv: orders.csv}",
        "{csv: '{SPAN}/orders-{SPAN}.csv'}",
    ),
    bad(
        "date without a day",
        "shop.yaml, line 4: interactions.source: the path orders-{YYYY}-{MM}.csv has "
        "a part of a date; a span is {YYYY}, {MM} and {DD} together",
        "{csv: orders.csv}",
        "{csv: 'orders-{YYYY}-{MM}.csv'}",
    ),
    bad(
        "version without a span",
        "shop.yaml, line 4: interactions.source: the path orders-{VERSION}.csv has a "
        "version of no span; put {SPAN} or {YYYY}, {MM} and {DD} into it",
        "{csv: orders.csv}",
        "{csv: 'orders-{VERSION}.csv'}",
    ),
    bad(
        "unknown span",
        "shop.yaml, line 4: interactions.source: the path orders-{DAY}.csv has a "
        "brace that is no span; use {SPAN}, {VERSION}, or {YYYY}, {MM} and {DD}",
        "{csv: orders.csv}",
        "{csv: 'orders-{DAY}.csv'}",
    ),
    bad(
        "last_spans without spans",
        "shop.yaml, line 4: interactions.source: last_spans is 7, but the path "
        "orders.csv has no spans; put {SPAN} or {YYYY}, {MM} and {DD} into it",
        "{csv: orders.csv}",
        "{csv: orders.csv, last_spans: 7}",
    ),
    bad(
        "last_spans of 0",
        "shop.yaml, line 4: interactions.source.last_spans: input should be greater "
        "than 0, got 0",
        "{csv: orders.csv}",
        "{csv: 'orders-{SPAN}.csv', last_spans: 0}",
    ),
    bad(
        "delimiter of two characters",
        "shop.yaml, line 4: interactions.source.delimiter: '||' can't delimit "
        'fields; give one character, a tab as "\\t" in double quotes',
        "{csv: orders.csv}",
        "{csv: orders.csv, delimiter: '||'}",
    ),
    bad(
        "tab that is none",
        "shop.yaml, line 4: interactions.source.delimiter: '\\\\t' can't delimit "
        'fields; give one character, a tab as "\\t" in double quotes',
        "{csv: orders.csv}",
        "{csv: orders.csv, delimiter: '\\t'}",
    ),
    bad(
        "quote as delimiter",
        "shop.yaml, line 4: interactions.source.delimiter: '\"' can't delimit "
        'fields; give one character, a tab as "\\t" in double quotes',
        "{csv: orders.csv}",
        "{csv: orders.csv, delimiter: '\"'}",
    ),
    bad(
        "unknown encoding",
        "shop.yaml, line 4: interactions.source.encoding: no encoding 'utf8000'; "
        "name one that Python knows, such as utf-8 or latin-1",
        "{csv: orders.csv}",
        "{csv: orders.csv, encoding: utf8000}",
    ),
    bad(
        "no names of columns",
        "shop.yaml, line 4: interactions.source.column_names: input should not be "
        "empty, got []",
        "{csv: orders.csv}",
        "{csv: orders.csv, column_names: []}",
    ),
    bad(
        "column that column_names lacks",
        "shop.yaml, line 7: orders.csv has no column 'at'; it has 'customer', "
        "'product': mend the name in the config or in the file",
        "{csv: orders.csv}",
        "{csv: orders.csv, column_names: [customer, product]}",
    ),
    bad(
        "column_names and a header",
        "shop.yaml, line 4: orders.csv, line 1: the names of the columns: take "
        "source.column_names out",
        "{csv: orders.csv}",
        "{csv: orders.csv, column_names: [customer, product, at]}",
    ),
    bad(
        "column to rename that the header lacks",
        "shop.yaml, line 5: orders.csv has no column 'Customer' that source.rename "
        "could rename: did you mean 'customer'?",
        "{csv: orders.csv}\n  query_id: customer",
        "{csv: orders.csv, rename: {Customer: who}}\n  query_id: who",
    ),
    bad(
        "two columns renamed to one",
        "shop.yaml, line 4: interactions.source.rename: 'customer' and 'product' both "
        "become 'who'; give each a name of its own",
        "{csv: orders.csv}",
        "{csv: orders.csv, rename: {customer: who, product: who}}",
    ),
    bad(
        "column renamed to one that is there",
        "shop.yaml, line 6: orders.csv has 2 columns of the name 'product': give each "
        "a name of its own",
        "{csv: orders.csv}",
        "{csv: orders.csv, rename: {at: product}}",
    ),
    bad(
        "column that the header lacks",
        "shop.yaml, line 5: orders.csv has no column 'customer'; did you mean "
        "'custmer'? It has 'custmer', 'product', 'at': mend the name in the config "
        "or in the file",
        files={"orders.csv": ORDERS.replace("customer", "custmer")},
    ),
    bad(
        "title that the header lacks",
        "shop.yaml, line 12: products.csv has no column 'name'; it has 'product', "
        "'label', 'category', 'price': mend the name in the config or in the file",
        "title: label",
        "title: name",
    ),
    bad(
        "slice that the header lacks",
        "shop.yaml, line 2: orders.csv has no column 'country'; it has 'customer', "
        "'product', 'at': mend the name in the config or in the file",
        "name: shop",
        "name: shop\nevaluation: {slices: [country]}",
    ),
    bad(
        "column twice in the header",
        "shop.yaml, line 7: orders.csv has 2 columns of the name 'at': give each a "
        "name of its own",
        files={"orders.csv": "customer,product,at,at\n17,p1,2024-01-31,1\n"},
    ),
    bad(
        "other delimiter than the file's",
        "shop.yaml, line 4: orders.csv, line 1: one field, 'customer;product;at': "
        "set source.delimiter to ';'",
        files={"orders.csv": ORDERS.replace(",", ";")},
    ),
    bad(
        "empty file",
        "shop.yaml, line 4: orders.csv is empty: give it a header and rows, or "
        "remove it",
        files={"orders.csv": ""},
    ),
    bad(
        "CSV named as Parquet",
        "shop.yaml, line 4: orders.csv is no Parquet file: name it in the source "
        "under the key of its format",
        "{csv: orders.csv}",
        "{parquet: orders.csv}",
    ),
    bad(
        "dataset name that is empty",
        "shop.yaml, line 4: interactions.source.tfds: input should not be empty, got "
        "''",
        "{csv: orders.csv}",
        "{tfds: ''}",
    ),
    bad(
        "BigQuery dataset instead of a table",
        "shop.yaml, line 4: interactions.source.bigquery: 'shop' is no table or "
        "query: give a table as project.dataset.table, or a query that starts with "
        "SELECT or WITH",
        "{csv: orders.csv}",
        "{bigquery: shop}",
    ),
    bad(
        "BigQuery query with a semicolon",
        "shop.yaml, line 4: interactions.source.bigquery: the query ends with ';': "
        "leave that out",
        "{csv: orders.csv}",
        "{bigquery: SELECT * FROM shop.sales.orders;}",
    ),
    bad(
        "BigQuery without a project",
        "shop.yaml: beam.args: BigQuery needs --project; write [--project=ID, "
        "--temp_location=gs://BUCKET/FOLDER]",
        "{csv: orders.csv}",
        "{bigquery: shop.sales.orders}",
    ),
    bad(
        "schema that is not there",
        "shop.yaml, line 13: candidates.schema names products.pbtxt, which is not "
        "there; mend the path or set it to null to infer one",
        "title: label",
        "title: label\n  schema: products.pbtxt",
    ),
    bad(
        "schema that is none",
        "shop.yaml, line 13: candidates.schema names products.csv, which is no "
        'schema (1:1 : Message type "tensorflow.metadata.v0.Schema" has no field '
        'named "product".); write it as TFX\'s schema.pbtxt, or set it to null to '
        "infer one",
        "title: label",
        "title: label\n  schema: products.csv",
    ),
    # Columns and features
    bad(
        "query and candidate in one column",
        "shop.yaml, line 6: interactions.candidate_id: 'product' is the query_id "
        "already; name the column that says what was chosen",
        "query_id: customer",
        "query_id: product",
    ),
    bad(
        "column of two types",
        "shop.yaml, line 3: interactions: the column 'product' can't be text and "
        "timestamp at once; declare it once, or copy the column",
        "  timestamp: at",
        "  timestamp: product",
    ),
    bad(
        "id declared as a number",
        "shop.yaml, line 3: interactions: the column 'customer' can't be text and "
        "number at once; declare it once, or copy the column",
        "  timestamp: at",
        "  timestamp: at\n  features: {customer: number}",
    ),
    bad(
        "candidate as a feature of the query",
        "shop.yaml, line 8: interactions.features.product: it is candidate_id too, "
        "which is known only after the interaction, so that a request can't carry "
        "it; take it out of the features",
        "  timestamp: at",
        "  timestamp: at\n  features: {product: category}",
    ),
    bad(
        "unknown type of feature",
        "shop.yaml, line 8: interactions.features.country.type: input should be one "
        "of 'id', 'category', 'categories', 'text', 'number', 'timestamp', "
        "'embedding', 'history', got 'string'",
        "  timestamp: at",
        "  timestamp: at\n  features: {country: string}",
    ),
    bad(
        "feature without a type",
        "shop.yaml, line 8: the key 'interactions.features.country.type' is missing; "
        "add it",
        "  timestamp: at",
        "  timestamp: at\n  features: {country: {min_count: 2}}",
    ),
    bad(
        "feature without a value",
        "shop.yaml, line 8: interactions.features.country: input should be keys with "
        "values, got None",
        "  timestamp: at",
        "  timestamp: at\n  features: {country: }",
    ),
    bad(
        "embedding without dimensions",
        "shop.yaml, line 8: the key 'interactions.features.picture.dimensions' is "
        "missing; add it",
        "  timestamp: at",
        "  timestamp: at\n  features: {picture: embedding}",
    ),
    bad(
        "embedding of 0 dimensions",
        "shop.yaml, line 8: interactions.features.picture.dimensions: input should "
        "be greater than 0, got 0",
        "  timestamp: at",
        "  timestamp: at\n  features: {picture: {type: embedding, dimensions: 0}}",
    ),
    bad(
        "empty separator",
        "shop.yaml, line 8: interactions.features.tags.separator: input should not "
        "be empty, got ''",
        "  timestamp: at",
        "  timestamp: at\n  features: {tags: {type: categories, separator: ''}}",
    ),
    bad(
        "unknown unit",
        "shop.yaml, line 8: interactions.features.born.unit: input should be 's', "
        "'ms', 'us' or 'ns', got 'h'",
        "  timestamp: at",
        "  timestamp: at\n  features: {born: {type: timestamp, unit: h}}",
    ),
    bad(
        "unknown directive of a time format",
        "shop.yaml, line 8: interactions.timestamp_format: '%Q' is no format of "
        "times ('Q' is a bad directive in format '%Q'); write it as strptime takes "
        "it, e.g. '%Y-%m-%d %H:%M:%S'",
        "  timestamp: at",
        "  timestamp: at\n  timestamp_format: '%Q'",
    ),
    bad(
        "time format of other tools",
        "shop.yaml, line 8: interactions.timestamp_format: 'YYYY-MM-DD' is no format "
        "of times (it says no year); write it as strptime takes it, e.g. '%Y-%m-%d "
        "%H:%M:%S'",
        "  timestamp: at",
        "  timestamp: at\n  timestamp_format: YYYY-MM-DD",
    ),
    bad(
        "time format without a year",
        "shop.yaml, line 8: interactions.timestamp_format: '%d %b' is no format of "
        "times (it says no year); write it as strptime takes it, e.g. '%Y-%m-%d "
        "%H:%M:%S'",
        "  timestamp: at",
        "  timestamp: at\n  timestamp_format: '%d %b'",
    ),
    bad(
        "history of candidates",
        "shop.yaml, line 15: candidates.features.price: a candidate has no history; "
        "declare it under interactions",
        "    price: number",
        "    price: history",
    ),
    bad(
        "history in a table of queries",
        "shop.yaml, line 2: queries.features.recent: a table holds no history; "
        "declare it under interactions",
        "name: shop",
        "name: shop\nqueries: {source: {csv: customers.csv}, query_id: customer, "
        "features: {recent: history}}",
    ),
    bad(
        "history named like a column",
        "shop.yaml, line 8: interactions.features.at: a history is made from the log "
        "and 'at' is a column of it; give the history another name",
        "  timestamp: at",
        "  timestamp: at\n  features: {at: history}",
    ),
    bad(
        "table of queries without features",
        "shop.yaml, line 2: queries.features: input should not be empty, got {}",
        "name: shop",
        "name: shop\nqueries: {source: {csv: customers.csv}, query_id: customer, "
        "features: {}}",
    ),
    bad(
        "feature in the log and in the table of queries",
        "shop.yaml, line 8: queries.features.at: the interactions have a column or "
        "feature of that name too; rename one, or declare it once",
        "  timestamp: at",
        "  timestamp: at\nqueries: {source: {csv: customers.csv}, query_id: "
        "customer, features: {at: timestamp}}",
    ),
    bad(
        "feature whose name has a blank",
        "shop.yaml, line 8: interactions.features.home country: a request can't name "
        "a feature 'home country'; give the column a name of letters, digits and "
        "'_', a letter first, by source.rename",
        "  timestamp: at",
        "  timestamp: at\n  features: {'home country': category}",
    ),
    bad(
        "feature whose name has a slash",
        "shop.yaml, line 15: candidates.features.price/eur: a request can't name a "
        "feature 'price/eur'; give the column a name of letters, digits and '_', a "
        "letter first, by source.rename",
        "    price: number",
        "    price/eur: number",
    ),
    bad(
        "feature whose name requests use",
        "shop.yaml, line 8: interactions.features.k: requests have a use of their "
        "own for 'k'; give the column another name by source.rename",
        "  timestamp: at",
        "  timestamp: at\n  features: {k: category}",
    ),
    bad(
        "feature to ignore that there is not",
        "shop.yaml, line 2: validation.ignore: no source has a feature 'prise'; did "
        "you mean 'price'?",
        "name: shop\n",
        "name: shop\nvalidation: {ignore: [prise]}\n",
    ),
    bad(
        "names that differ in letter case alone",
        "shop.yaml, line 15: candidates.features.Category: a request can't tell "
        "'Category' from 'category'; rename one",
        "    price: number",
        "    Category: number",
    ),
    bad(
        "name that is computed",
        "shop.yaml, line 3: interactions: the name 'interaction_weight' is kept for "
        "what an interaction counts; rename the column",
        "  timestamp: at",
        "  timestamp: at\n  features: {interaction_weight: number}",
    ),
    bad(
        "nothing to learn from",
        "shop.yaml, line 8: interactions.learn_id: it is false and there are no "
        "features; declare some",
        "  timestamp: at",
        "  timestamp: at\n  learn_id: false",
    ),
    # Rules that need each other
    bad(
        "split by time without a timestamp",
        "shop.yaml, line 7: interactions.split.method: time needs a timestamp; name "
        "the column that holds it",
        "  timestamp: at",
        "  split: {method: time}",
    ),
    bad(
        "last interaction held out without a timestamp",
        "shop.yaml, line 7: interactions.split.method: leave_last_out needs a "
        "timestamp; name the column that holds it",
        "  timestamp: at",
        "  split: {method: leave_last_out}",
    ),
    bad(
        "shares of what is one interaction a query",
        "shop.yaml, line 8: unknown key 'interactions.split.fractions'; it does not go "
        "with this kind of split, take it out",
        "  timestamp: at",
        "  timestamp: at\n"
        "  split: {method: leave_last_out, fractions: {train: 0.8, eval: 0.2}}",
    ),
    bad(
        "unknown way to draw a split",
        "shop.yaml, line 7: interactions.split.by: input should be 'interaction', "
        "'query' or 'within_query', got 'user'",
        "  timestamp: at",
        "  split: {method: random, by: user}",
    ),
    bad(
        "early stopping without an interaction to validate",
        "shop.yaml, line 2: training.early_stopping_patience: there is no valid split "
        "to watch; set interactions.split.valid to true, or set this to 0",
        "name: shop\n\ninteractions:",
        "name: shop\ntraining: {early_stopping_patience: 3}\n\ninteractions:\n"
        "  split: {method: leave_last_out}",
    ),
    bad(
        "a search without an interaction to choose by",
        "shop.yaml, line 2: tuner.trials: there is no valid split to choose by; give "
        "interactions.split a share for valid, or set this to 0",
        "name: shop",
        "name: shop\ntuner: {trials: 9}",
    ),
    bad(
        "a search for the best seed",
        "shop.yaml, line 2: tuner.space.training.seed: it is no key to tune; take one "
        "of model and training, e.g. training.learning_rate, but none of seed, "
        "checkpoint, distribution, warm_start",
        "name: shop",
        "name: shop\ntuner: {space: {training.seed: [1, 2]}}",
    ),
    bad(
        "a search for what is no key",
        "shop.yaml, line 2: tuner.space.learning_rate: it is no key to tune; take one "
        "of model and training, e.g. training.learning_rate, but none of seed, "
        "checkpoint, distribution, warm_start",
        "name: shop",
        "name: shop\ntuner: {space: {learning_rate: [1, 2]}}",
    ),
    bad(
        "a search with a value that its key can't have",
        "shop.yaml, line 2: tuner.space.training.batch_size: input should be greater "
        "than or equal to 2, got 1",
        "name: shop",
        "name: shop\ntuner: {space: {training.batch_size: [64, 1]}}",
    ),
    bad(
        "a search over an option of other rows",
        "shop.yaml, line 2: tuner.space.training.hard_negatives: hard_negatives: 50 is "
        "for rows: interaction, and this is rows: query, got 50",
        "name: shop",
        "name: shop\ntuner: {space: {training.hard_negatives: [50]}}",
    ),
    bad(
        "a range without an end",
        "shop.yaml, line 2: tuner.space.model.dropout: give a list of values or "
        "{min: …, max: …} of numbers, with log: true if need be, got {'min': 0.1}",
        "name: shop",
        "name: shop\ntuner: {space: {model.dropout: {min: 0.1}}}",
    ),
    bad(
        "a range upside down",
        "shop.yaml, line 2: tuner.space.model.dropout: min 0.5 is not below max 0.1",
        "name: shop",
        "name: shop\ntuner: {space: {model.dropout: {min: 0.5, max: 0.1}}}",
    ),
    bad(
        "a range in orders of magnitude from 0",
        "shop.yaml, line 2: tuner.space.model.dropout: with log: true, min must be "
        "above 0, got 0",
        "name: shop",
        "name: shop\ntuner: {space: {model.dropout: {min: 0, max: 0.1, log: true}}}",
    ),
    bad(
        "n-grams of words and of letters",
        "shop.yaml, line 14: candidates.features.label.ngrams: 2 are of words, and "
        "characters: 3 parts them; take one of them out",
        "    category: category",
        "    label: {type: text, ngrams: 2, characters: 3}",
    ),
    bad(
        "least count of words that are hashed",
        "shop.yaml, line 14: candidates.features.label.min_count: with buckets there "
        "is no vocabulary to choose from; take one of them out",
        "    category: category",
        "    label: {type: text, buckets: 100, min_count: 5}",
    ),
    bad(
        "unknown method of splitting",
        "shop.yaml, line 7: interactions.split.method: input should be one of "
        "'random', 'time', 'leave_last_out', 'shuffle', got 'by_user'",
        "  timestamp: at",
        "  split: {method: by_user}",
    ),
    bad(
        "fractions that are no shares",
        "shop.yaml, line 7: interactions.split.fractions.train: input should be less "
        "than or equal to 1, got 80",
        "  timestamp: at",
        "  split: {method: random, fractions: {train: 80, eval: 20}}",
    ),
    bad(
        "fractions that do not add up",
        "shop.yaml, line 7: interactions.split: the fractions add up to 0.9; make "
        "them add up to 1",
        "  timestamp: at",
        "  split: {method: random, fractions: {train: 0.8, eval: 0.1}}",
    ),
    bad(
        "nothing held out",
        "shop.yaml, line 7: interactions.split: the split 'eval' is empty; give it a "
        "share above 0",
        "  timestamp: at",
        "  split: {method: random, fractions: {train: 1.0, eval: 0.0}}",
    ),
    bad(
        "split that there is not",
        "shop.yaml, line 7: interactions.split.fractions.test: input should be "
        "'train', 'valid' or 'eval', got 'test'",
        "  timestamp: at",
        "  split: {method: random, fractions: {train: 0.8, test: 0.2}}",
    ),
    bad(
        "negative seed of a split",
        "shop.yaml, line 7: interactions.split.seed: input should be greater than or "
        "equal to 0, got -1",
        "  timestamp: at",
        "  split: {method: random, seed: -1}",
    ),
    bad(
        "shuffle of files",
        "shop.yaml, line 7: interactions.split.method: shuffle goes by the order of "
        "a TFDS dataset; choose random or time for this source",
        "  timestamp: at",
        "  split: {method: shuffle, counts: {train: 80, eval: 20}}",
    ),
    bad(
        "unit without a timestamp",
        "shop.yaml, line 7: interactions.timestamp_unit: there is no timestamp; name "
        "the column that holds it, or take this out",
        "  timestamp: at",
        "  timestamp_unit: ms",
    ),
    bad(
        "half life without a timestamp",
        "shop.yaml, line 7: interactions.signal.half_life_days: it needs a "
        "timestamp; name the column that holds it",
        "  timestamp: at",
        "  signal: {half_life_days: 30}",
    ),
    bad(
        "least value without a value",
        "shop.yaml, line 8: interactions.signal: min_value and scale need a value; "
        "name its column",
        "  timestamp: at",
        "  timestamp: at\n  signal: {min_value: 4}",
    ),
    bad(
        "event without weights",
        "shop.yaml, line 8: interactions.signal: event and event_weights go "
        "together; give both or none",
        "  timestamp: at",
        "  timestamp: at\n  signal: {event: kind}",
    ),
    bad(
        "weights without an event",
        "shop.yaml, line 8: interactions.signal: event and event_weights go "
        "together; give both or none",
        "  timestamp: at",
        "  timestamp: at\n  signal: {event_weights: {view: 1}}",
    ),
    bad(
        "event that weighs nothing",
        "shop.yaml, line 8: interactions.signal.event_weights.view: input should be "
        "greater than 0, got 0",
        "  timestamp: at",
        "  timestamp: at\n  signal: {event: kind, event_weights: {view: 0}}",
    ),
    bad(
        "early stopping without a valid split",
        "shop.yaml, line 2: training.early_stopping_patience: there is no valid "
        "split to watch; give interactions.split a share for valid, or set this to 0",
        "name: shop",
        "name: shop\ntraining: {early_stopping_patience: 3}",
    ),
    bad(
        "optimizer that is none",
        "shop.yaml, line 2: training.optimizer: input should be 'auto', 'adam', "
        "'lazy_adam', 'adamw', 'adagrad', 'adafactor', 'ftrl', 'lion', 'rmsprop' or "
        "'sgd', got 'adamax'",
        "name: shop",
        "name: shop\ntraining: {optimizer: adamax}",
    ),
    bad(
        "adamw without a decay",
        "shop.yaml, line 2: training.optimizer: adamw needs a weight_decay, e.g. "
        "0.004; without one it is adam",
        "name: shop",
        "name: shop\ntraining: {optimizer: adamw}",
    ),
    bad(
        "hard negatives where rows are queries",
        "shop.yaml, line 2: training.hard_negatives: 50 is for rows: interaction, and "
        "this is rows: query",
        "name: shop",
        "name: shop\ntraining: {hard_negatives: 50}",
    ),
    bad(
        "streaming frequencies where rows are queries",
        "shop.yaml, line 2: training.logq: streaming is for rows: interaction, and "
        "this is rows: query",
        "name: shop",
        "name: shop\ntraining: {logq: streaming}",
    ),
    bad(
        "softmax over the catalogue where rows are interactions",
        "shop.yaml, line 2: training.softmax: catalogue is for rows: query, and this "
        "is rows: interaction",
        "name: shop",
        "name: shop\ntraining: {rows: interaction, softmax: catalogue}",
    ),
    bad(
        "schedule that is none",
        "shop.yaml, line 2: training.schedule: input should be 'constant' or "
        "'cosine', got 'linear'",
        "name: shop",
        "name: shop\ntraining: {schedule: linear}",
    ),
    bad(
        "warm-up in steps",
        "shop.yaml, line 2: training.warmup: input should be less than 1, got 500",
        "name: shop",
        "name: shop\ntraining: {warmup: 500}",
    ),
    bad(
        "gradients clipped to nothing",
        "shop.yaml, line 2: training.gradient_clip_norm: input should be greater "
        "than 0, got 0",
        "name: shop",
        "name: shop\ntraining: {gradient_clip_norm: 0}",
    ),
    bad(
        "average that never moves",
        "shop.yaml, line 2: training.ema: input should be less than 1, got 1",
        "name: shop",
        "name: shop\ntraining: {ema: 1}",
    ),
    bad(
        "decay of more than all",
        "shop.yaml, line 2: training.weight_decay: input should be less than 1, got 4",
        "name: shop",
        "name: shop\ntraining: {weight_decay: 4}",
    ),
    bad(
        "warm start from what evaluates now",
        "shop.yaml, line 2: training.warm_start: with a split by within_query, new "
        "interactions move old ones from train to eval, which the last model has "
        "learned; choose another interactions.split, or set this to false",
        "name: shop\n\ninteractions:",
        "name: shop\ntraining: {warm_start: true}\n\n"
        "interactions:\n  split: {by: within_query}",
    ),
    bad(
        "distribution that is none",
        "shop.yaml, line 2: training.distribution: input should be 'none', "
        "'mirrored' or 'multi_worker', got 'tpu'",
        "name: shop",
        "name: shop\ntraining: {distribution: tpu}",
    ),
    bad(
        "precision that is none",
        "shop.yaml, line 2: training.mixed_precision: input should be 'none', "
        "'bfloat16' or 'float16', got 'int8'",
        "name: shop",
        "name: shop\ntraining: {mixed_precision: int8}",
    ),
    bad(
        "batches of one interaction",
        "shop.yaml, line 2: training.batch_size: input should be greater than or "
        "equal to 2, got 1",
        "name: shop",
        "name: shop\ntraining: {batch_size: 1}",
    ),
    bad(
        "more leaves to search than leaves",
        "shop.yaml, line 2: index: leaves_to_search (20) is more than leaves (10); "
        "lower it",
        "name: shop",
        "name: shop\nindex: {leaves: 10, leaves_to_search: 20}",
    ),
    bad(
        "gate at a k that is not measured",
        "shop.yaml, line 2: evaluation.gates.gate_k: input should be 1, 5, 10, 50 or "
        "100, got 7",
        "name: shop",
        "name: shop\nevaluation: {gates: {gate_k: 7}}",
    ),
]
