# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""InteractionPreparer on small examples, through Beam, in one part and in many."""

import collections
import json
import logging
import pathlib
from typing import Any

import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.columns import WEIGHT_FEATURE
from components.interaction_preparer import executor
from components.interaction_preparer.preparation import Preparation
from serving.errors import UserError

DAY_S = 86_400
Values = dict[str, list[Any]]


@pytest.fixture
def prepare(new_artifact, monkeypatch):
    """Runs the executor; returns the features of the rows of each split."""

    def run(
        interactions: Any, queries: Any = None, parts: int = 3, **rules: Any
    ) -> dict[str, list[Values]]:
        # As many parts as a log of that many times 8 MiB.
        monkeypatch.setattr(executor, "_part_count", lambda paths: parts)
        prepared = new_artifact(standard_artifacts.Examples)
        preparation = Preparation("user", "item", **rules)
        executor.Executor().Do(
            {"interactions": [interactions], "queries": [queries] if queries else []},
            {"prepared_interactions": [prepared]},
            {"preparation": json.dumps(preparation.to_json())},
        )
        assert not list(pathlib.Path(prepared.uri).glob(".*")), "only splits are left"
        return {
            split: rows_of(prepared.uri, split)
            for split in json.loads(prepared.split_names)
        }

    return run


def rows_of(uri: str, split: str) -> list[Values]:
    files = sorted(str(path) for path in pathlib.Path(uri, f"Split-{split}").iterdir())
    rows = []
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        rows.append(
            {
                name: list(getattr(feature, feature.WhichOneof("kind")).value)
                for name, feature in features.items()
                if feature.WhichOneof("kind")
            }
        )
    return rows


def row(user: str, item: str, **others: Any) -> dict[str, Any]:
    return {"user": user.encode(), "item": item.encode(), **others}


def pairs(rows: list[Values]) -> list[tuple[str, str]]:
    return sorted((r["user"][0].decode(), r["item"][0].decode()) for r in rows)


LOG = {
    "train": [
        [row("a", "x", time=1 * DAY_S, stars=5.0), row("b", "x", time=2 * DAY_S)],
        [row("a", "y", time=3 * DAY_S, stars=2.0), row("c", "z", time=9 * DAY_S)],
    ],
    "eval": [[row("a", "z", time=4 * DAY_S, stars=4.0), row("b", "y", time=DAY_S)]],
}
USERS = {
    "train": [
        [{"id": b"a", "age": 30.0, "tags": [b"s", b"t"], "secret": b"no"}],
        [{"id": b"b", "age": 40.0}, {"id": b"nobody", "age": 1.0}],
    ]
}
TABLE = {"table_id": "id", "table_features": ["age", "tags"]}


@pytest.mark.parametrize("parts", [1, 7])
def test_a_table_is_joined_by_id(prepare, new_examples, parts):
    splits = prepare(new_examples(LOG), new_examples(USERS), parts, **TABLE)
    assert pairs(splits["train"]) == [("a", "x"), ("a", "y"), ("b", "x"), ("c", "z")]
    assert pairs(splits["eval"]) == [("a", "z"), ("b", "y")]
    for found in splits["train"] + splits["eval"]:
        known = {b"a": ([30.0], [b"s", b"t"]), b"b": ([40.0], None)}
        age, tags = known.get(found["user"][0], (None, None))
        assert (found.get("age"), found.get("tags")) == (age, tags)
        assert not {"id", "secret"} & set(found)
        assert "time" in found, "what was there before stays"


def test_interactions_that_the_table_does_not_know_are_told(
    prepare, new_examples, caplog
):
    with caplog.at_level(logging.WARNING, logger=executor.__name__):
        prepare(new_examples(LOG), new_examples(USERS), **TABLE)
    (record,) = caplog.records
    assert record.getMessage() == (
        "1 of 6 interactions (16.67%) have no row among the queries, such as those of "
        "'c' (1 row); they are without its features"
    )


def test_of_one_time_what_is_held_out_comes_last(prepare, new_examples):
    """Files of eval are read before those of train; no history may tell of them."""
    at_once = {
        split: [[row("a", item, time=7 * DAY_S)]]
        for split, item in (("train", "x"), ("valid", "y"), ("eval", "z"))
    }
    splits = prepare(
        new_examples(at_once),
        timestamp="time",
        histories={"before": 5},
        history_of_all_splits=True,
    )
    histories = {split: rows[0].get("before", []) for split, rows in splits.items()}
    assert histories == {"train": [], "valid": [b"x"], "eval": [b"x", b"y"]}


TWICE = {"train": [[{"id": b"a", "age": 2.0}, {"id": b"b"}, {"id": b"a", "age": 1.0}]]}


def test_an_id_twice_in_the_table_stops(prepare, new_examples):
    with pytest.raises(UserError) as error:
        prepare(new_examples(LOG), new_examples(TWICE), **TABLE)
    assert str(error.value) == (
        "ids of the queries with several rows: 1, such as 'a' (2 rows): mend the table "
        "or set queries.duplicates to keep_one"
    )


def test_of_an_id_twice_in_the_table_one_is_kept_whatever_the_order(
    prepare, new_examples
):
    ages = []
    for rows in (TWICE["train"][0], TWICE["train"][0][::-1]):
        table = new_examples({"train": [rows]})
        splits = prepare(new_examples(LOG), table, table_duplicates="keep_one", **TABLE)
        ages.append({r["age"][0] for r in splits["train"] if r["user"] == [b"a"]})
    assert ages[0] == ages[1] and len(ages[0]) == 1


def test_a_row_of_the_table_without_an_id_is_told(prepare, new_examples):
    table = new_examples({"train": [[{"id": b"a"}, {"age": 3.0}, {"id": b" "}]]})
    with pytest.raises(UserError) as error:
        prepare(new_examples(LOG), table, **TABLE)
    assert str(error.value) == (
        "2 rows of the queries do not have exactly one non-empty id in 'id': remove or "
        "complete them"
    )


@pytest.mark.parametrize("parts", [1, 5])
def test_rules_apply_across_files_and_parts(prepare, new_examples, parts):
    splits = prepare(
        new_examples(LOG), None, parts, value="stars", min_value=3.0, timestamp="time"
    )
    assert pairs(splits["train"]) == [("a", "x")]
    assert pairs(splits["eval"]) == [("a", "z")]
    assert splits["train"][0] == {
        "user": [b"a"],
        "item": [b"x"],
        "time": [DAY_S],
        "stars": [5.0],
    }


@pytest.mark.parametrize("parts", [1, 5])
def test_rare_candidates_then_rare_queries_are_left_out(prepare, new_examples, parts):
    splits = prepare(
        new_examples(LOG),
        None,
        parts,
        min_candidate_interactions=2,
        min_query_interactions=2,
    )
    # Each candidate has two interactions; of the queries c has one only.
    assert pairs(splits["train"]) == [("a", "x"), ("a", "y"), ("b", "x")]


def test_weights_count_from_the_latest_training_interaction(prepare, new_examples):
    splits = prepare(
        new_examples(LOG), timestamp="time", half_life_days=2.0, value="stars",
        scale="linear",
    )  # fmt: skip
    weights = {
        (r["user"][0], r["item"][0]): r[WEIGHT_FEATURE][0]
        for rows in splits.values()
        for r in rows
    }
    assert weights[b"c", b"z"] == 1
    assert weights[b"a", b"x"] == pytest.approx(5 / 2**4)
    assert weights[b"b", b"y"] == pytest.approx(1 / 2**4)


def test_histories_are_in_the_order_of_time(prepare, new_examples):
    splits = prepare(
        new_examples(LOG), timestamp="time", histories={"before": 2},
        history_of_all_splits=True,
    )  # fmt: skip
    before = {
        (r["user"][0], r["item"][0]): r.get("before", [])
        for rows in splits.values()
        for r in rows
    }
    assert before[b"a", b"x"] == []
    assert before[b"a", b"y"] == [b"x"]
    assert before[b"a", b"z"] == [b"x", b"y"]
    assert before[b"b", b"x"] == [b"y"]


def test_a_split_that_is_left_empty_is_told(prepare, new_examples):
    with pytest.raises(UserError) as error:
        prepare(new_examples(LOG), value="stars", min_value=4.5)
    assert str(error.value) == (
        "split 'eval' of the interactions has no rows left of 2: loosen the rules "
        "under interactions.signal"
    )


def test_any_number_of_parts_gives_the_same_rows(prepare, new_examples):
    log = {
        "train": [
            [row(f"u{n % 13}", f"i{n % 7}", time=n) for n in range(shard, 200, 3)]
            for shard in range(3)
        ],
        "eval": [[row(f"u{n}", "i1", time=n) for n in range(13)]],
    }
    found = []
    for parts in (1, 4, 60):
        splits = prepare(
            new_examples(log), None, parts, timestamp="time", deduplicate="sum",
            histories={"before": 4},
        )  # fmt: skip
        rows = [
            json.dumps(r, default=bytes.decode, sort_keys=True) for r in splits["train"]
        ]
        found.append(collections.Counter(rows))
    assert found[0] == found[1] == found[2]
    # Of 91 pairs each is kept once; the earliest of 13 is held out, but for two that
    # train has at the same time.
    assert sum(found[0].values()) == 91 - 11


def test_small_logs_are_one_part_and_large_ones_many(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"x")
    with large.open("wb") as file:
        file.truncate(100 << 20)
    assert executor._part_count([str(small)]) == 1
    assert executor._part_count([str(small), str(large)]) == 12
