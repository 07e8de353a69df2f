# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Every type of feature: what Transform makes of it, and that serving asks the same.

A model is only as good as training and serving agree: what the towers learn from is
compared with what the saved towers make of the same raw values by name.
"""

import dataclasses
import functools
import math
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2

from components.columns import Column, Kind
from components.schema_gen.executor import declare
from pipeline.config import feature_columns
from serving.servable import missing_value, parse_examples
from serving.towers import Towers
from tests.component.transforming import transform
from trainer import data
from trainer.config import ModelConfig, TrainingConfig
from trainer.export import Side, TwoTowers
from trainer.feature_config import Features, dump_features, load_features
from trainer.features import CANDIDATE_INDEX, raw_specs, vocabulary_name
from trainer.model import Catalogue, TwoTowerModel
from trainer.preprocessing import preprocess_candidates, preprocess_interactions

DAY_S = 86_400
QUERY = load_features(
    {
        "user": "id",
        "device": "category",
        "rare": {"type": "category", "min_count": 2},
        "top": {"type": "category", "max_values": 1},
        "interests": "categories",
        "search": {"type": "text", "min_count": 1},
        "phrase": {"type": "text", "ngrams": 2, "min_count": 1},
        "spelt": {"type": "text", "characters": 4, "buckets": 1000},
        "age": "number",
        "spent": {"type": "number", "log": True},
        "level": {"type": "number", "buckets": 4},
        "at": "timestamp",
        "mood": {"type": "embedding", "dimensions": 3},
        "before": {"type": "history", "length": 5},
    }
)
CANDIDATE = load_features(
    {
        "item": "id",
        "genres": {"type": "categories", "separator": "|"},
        "title": "text",
        "price": "number",
        "released": "timestamp",
        "picture": {"type": "embedding", "dimensions": 2},
    }
)
ITEMS = ["007", "7", "two words", "東京", "1e3", "never bought"]


def make_queries(count: int = 80) -> list[dict[str, Any]]:
    """Interactions with all of the query's features; every value lacks somewhere."""
    generator = np.random.default_rng(4)

    def maybe(value: Any) -> Any:
        return None if generator.random() < 0.2 else value

    rows = []
    for row in range(count):
        rows.append(
            {
                "user": f"u{row % 7}",
                "item": ITEMS[row % 5],
                "device": maybe(["phone", "web"][row % 2]),
                "rare": maybe("once" if row == 3 else f"often {row % 2}"),
                "top": maybe(["most", "most", "least"][row % 3]),
                "interests": maybe([["a", "b"], ["b"], ["a", "c", "b"]][row % 3]),
                "search": maybe(["Red SHOES!", "shoes, 靴", "blue"][row % 3]),
                "phrase": maybe(["big Red shoes", "red!", None][row % 3]),
                "spelt": maybe(["Shoes", "shoe 靴", "a"][row % 3]),
                "age": maybe(float(20 + row % 50)),
                "spent": maybe(float(np.exp(row / 10))),
                "level": maybe(float(row % 17)),
                "at": maybe(1_600_000_000 + row * DAY_S // 3),
                "mood": maybe([float(row), 0.5, -1.0]),
                "before": maybe([ITEMS[(row + n) % 6] for n in range(row % 4)] or None),
            }
        )
    return rows


CANDIDATES = [
    {
        "item": item,
        "genres": [["x", "y"], ["y"], None][row % 3],
        "title": ["Big red", "Big Blue", None][row % 3],
        "price": [None, 3.0, 5.0][row % 3],
        "released": None if row == 2 else 1_500_000_000 + row,
        "picture": None if row == 4 else [row / 2, 1.0],
    }
    for row, item in enumerate(ITEMS)
]


def schema_of(features: Features, *others: Column) -> schema_pb2.Schema:
    """The schema as DeclaredSchemaGen derives it from the declarations."""
    columns = [
        c for name, feature in features.items() for c in columns_of(name, feature)
    ]
    return declare(schema_pb2.Schema(), [*columns, *others])


def columns_of(name: str, feature: Any) -> list[Column]:
    if feature.type == "id":
        return [Column(name, Kind.TEXT, required=True)]
    return feature_columns(name, feature) or [Column(name, Kind.TEXTS)]


@dataclasses.dataclass(frozen=True)
class Both:
    """Both sources after Transform."""

    rows: list[dict[str, Any]]
    interactions: dict[str, str]
    candidates: dict[str, str]

    @property
    def query_graph(self) -> tft.TFTransformOutput:
        return tft.TFTransformOutput(self.interactions["graph"])

    @property
    def candidate_graph(self) -> tft.TFTransformOutput:
        return tft.TFTransformOutput(self.candidates["graph"])

    def vocabulary(self, feature: str) -> list[str]:
        names = self.query_graph.vocabulary_by_name(vocabulary_name(feature))
        return [name.decode() for name in names]


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Both:
    folder = tmp_path_factory.mktemp("features")
    rows = make_queries()
    return Both(
        rows,
        transform(
            folder / "interactions",
            functools.partial(
                preprocess_interactions,
                custom_config={
                    "query_id": "user",
                    "candidate_id": "item",
                    "features": dump_features(QUERY),
                    "weight": None,
                },
            ),
            {"train": rows},
            schema_of(QUERY, Column("item", Kind.TEXT, required=True)),
        ),
        transform(
            folder / "candidates",
            functools.partial(
                preprocess_candidates,
                custom_config={
                    "candidate_id": "item",
                    "features": dump_features(CANDIDATE),
                },
            ),
            {"train": CANDIDATES},
            schema_of(CANDIDATE),
        ),
    )


@pytest.fixture(scope="module")
def trained_on(both: Both) -> dict[str, Any]:
    """The query features as the Trainer reads them; lists for ragged ones."""
    lookup = data.CandidateLookup(both.candidate_graph)
    found = data.read_interactions(
        [both.interactions["train"]], both.query_graph, QUERY, "item", lookup, None
    )
    return {
        name: values.to_list() if hasattr(values, "to_list") else values.numpy()
        for name, values in found.query.items()
    }


# What Transform makes of each type, against NumPy


def test_ids_and_categories_are_positions(both, trained_on):
    for name in ("user", "device"):
        words = both.vocabulary(name)
        expected = [words.index(r[name]) if r[name] else -1 for r in both.rows]
        assert trained_on[name].tolist() == expected


def test_a_rare_value_is_an_unknown_one(both, trained_on):
    assert both.vocabulary("rare") in (["often 0", "often 1"], ["often 1", "often 0"])
    (once,) = (n for n, row in enumerate(both.rows) if row["rare"] == "once")
    assert trained_on["rare"][once] == -1


def test_of_the_values_only_the_most_frequent_may_count(both, trained_on):
    assert both.vocabulary("top") == ["most"]
    expected = [0 if row["top"] == "most" else -1 for row in both.rows]
    assert trained_on["top"].tolist() == expected


def test_several_categories_are_several_positions(both, trained_on):
    words = both.vocabulary("interests")
    expected = [[words.index(w) for w in row["interests"] or []] for row in both.rows]
    assert trained_on["interests"] == expected


def test_text_is_words_in_lower_case_of_any_script(both, trained_on):
    words = both.vocabulary("search")
    assert sorted(words) == ["blue", "red", "shoes", "靴"]
    spoken = {"Red SHOES!": ["red", "shoes"], "shoes, 靴": ["shoes", "靴"]}
    expected = [
        [words.index(w) for w in spoken.get(row["search"], [row["search"]]) if w]
        for row in both.rows
    ]
    assert trained_on["search"] == expected


def test_rows_of_words_may_count_beside_the_words(both, trained_on):
    words = both.vocabulary("phrase")
    assert sorted(words) == ["big", "big red", "red", "red shoes", "shoes"]
    for row, found in zip(both.rows, trained_on["phrase"], strict=True):
        spoken = {None: [], "red!": ["red"]}.get(row["phrase"], words)
        assert sorted(words[at] for at in found) == sorted(spoken)


def test_letters_in_a_row_are_hashed(both, trained_on):
    grams = {
        None: [],
        "Shoes": ["<sho", "shoe", "hoes", "oes>"],
        "shoe 靴": ["<sho", "shoe", "hoe>", "<靴>"],  # a short word as a whole
        "a": ["<a>"],
    }
    for row, found in zip(both.rows, trained_on["spelt"], strict=True):
        expected = grams[row["spelt"]]
        if expected:
            hashed = tf.strings.to_hash_bucket_fast(expected, 1000)
            assert found == hashed.numpy().tolist()
        else:
            assert found == []
    sizes = data.vocabulary_sizes(
        both.query_graph, QUERY, data.CandidateLookup(both.candidate_graph)
    )
    assert sizes["spelt"] == 1000


@pytest.mark.parametrize(("name", "change"), [("age", float), ("spent", math.log1p)])
def test_numbers_are_scaled_and_missing_ones_told(name, change, both, trained_on):
    known = np.array([row[name] is not None for row in both.rows])
    values = np.array([change(row[name]) for row in both.rows if row[name] is not None])
    found = trained_on[name]
    assert found.shape == (len(both.rows), 2)
    scaled = (values - values.mean()) / values.std()
    np.testing.assert_allclose(found[known, 0], scaled, rtol=1e-3, atol=1e-4)
    assert (found[~known, 0] == 0).all()
    np.testing.assert_array_equal(found[:, 1], ~known)


def test_buckets_part_the_values_evenly(both, trained_on):
    found = trained_on["level"]
    for row, bucket in zip(both.rows, found, strict=True):
        assert (row["level"] is None) == (bucket == -1)
    known = found[found >= 0]
    assert set(known) == {0, 1, 2, 3}
    assert np.bincount(known).min() > len(known) / 8
    levels = [row["level"] for row in both.rows]
    pairs = sorted((v, b) for v, b in zip(levels, found, strict=True) if b >= 0)
    assert [bucket for _, bucket in pairs] == sorted(bucket for _, bucket in pairs)


def test_timestamps_are_an_age_and_points_on_circles(both, trained_on):
    found = trained_on["at"]
    known = np.array([row["at"] is not None for row in both.rows])
    seconds = np.array([row["at"] for row in both.rows if row["at"] is not None])
    assert (found[~known] == [0, 1, 0, 0, 0, 0, 0, 0]).all()
    scaled = (seconds - seconds.mean()) / seconds.std()
    np.testing.assert_allclose(found[known, 0], scaled, atol=0.01)
    for at, circle in enumerate((DAY_S, 7 * DAY_S, 365.2425 * DAY_S)):
        turn = 2 * math.pi * (seconds % circle) / circle
        points = found[known, 2 + 2 * at : 4 + 2 * at]
        expected = np.stack([np.sin(turn), np.cos(turn)], axis=1)
        np.testing.assert_allclose(points, expected, atol=1e-4)


def test_vectors_are_themselves_and_missing_ones_zero(both, trained_on):
    expected = [row["mood"] or [0.0, 0.0, 0.0] for row in both.rows]
    np.testing.assert_array_equal(trained_on["mood"], np.float32(expected))


def test_histories_are_positions_in_the_catalogue(both, trained_on):
    lookup = data.CandidateLookup(both.candidate_graph)
    place = dict(zip(ITEMS, lookup(tf.constant(ITEMS)).numpy(), strict=True))
    assert sorted(place.values()) == list(range(len(ITEMS)))
    expected = [[place[i] for i in row["before"] or []] for row in both.rows]
    assert trained_on["before"] == expected


# Training and serving agree


@pytest.fixture(scope="module")
def model(both: Both) -> TwoTowerModel:
    """Towers with random weights, built by a first batch."""
    tf.keras.utils.set_random_seed(3)
    lookup = data.CandidateLookup(both.candidate_graph)
    catalogue = data.read_catalogue(
        [both.candidates["train"]],
        both.candidate_graph,
        CANDIDATE,
        "item",
        data.candidate_counts(both.query_graph, lookup),
    )
    others = {name: f for name, f in CANDIDATE.items() if name != "item"}
    sizes = data.vocabulary_sizes(both.candidate_graph, others, lookup)
    made = TwoTowerModel(
        ModelConfig(embedding_dim=8, hidden_layers=[16], temperature=0.3),
        TrainingConfig(),
        QUERY,
        data.vocabulary_sizes(both.query_graph, QUERY, lookup),
        catalogue,
        {**sizes, "item": lookup.size},
        "user",
    )
    made.embed_catalogue()
    for bias in made.candidate_tower.biases.values():
        for weight in bias.weights:
            weight.assign(tf.random.normal(weight.shape))
    return made


@pytest.fixture(scope="module")
def towers(both: Both, model: TwoTowerModel, tmp_path_factory) -> Towers:
    path = str(tmp_path_factory.mktemp("towers") / "model")
    queries = data.read_interactions(
        [both.interactions["train"]],
        both.query_graph,
        QUERY,
        "item",
        data.CandidateLookup(both.candidate_graph),
        None,
    )
    model.query_tower(queries.query)
    TwoTowers(
        Side(model.query_tower, both.query_graph, QUERY, "user"),
        Side(model.candidate_tower, both.candidate_graph, CANDIDATE, "item"),
        data.CandidateLookup(both.candidate_graph),
    ).save(path)
    return Towers(path)


def by_name(rows: list[dict[str, Any]], features: Features) -> dict[str, tf.Tensor]:
    """Raw values as a request gives them, missing ones as the servable says."""
    request = {}
    for name, spec in raw_specs(features).items():
        values = [row[name] for row in rows]
        if spec.shape.rank == 2 and spec.dtype == tf.string:
            lists = tf.ragged.constant([v or [] for v in values], tf.string, 1)
            request[name] = lists.to_tensor("")
        else:
            missing = missing_value(spec)
            filled = [missing if value is None else value for value in values]
            request[name] = tf.constant(filled, spec.dtype)
    return request


def test_saved_towers_embed_raw_queries_as_training_embedded_them(both, model, towers):
    lookup = data.CandidateLookup(both.candidate_graph)
    read = data.read_interactions(
        [both.interactions["train"]], both.query_graph, QUERY, "item", lookup, None
    )
    expected = model.query_tower(read.query).numpy()
    found = towers.embed_query(by_name(both.rows, QUERY)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert len(np.unique(expected.round(4), axis=0)) > 70, "they differ"


def test_saved_towers_embed_raw_candidates_as_training_embedded_them(
    model, towers, both
):
    found = towers.embed_candidate(by_name(CANDIDATES, CANDIDATE)).numpy()
    order = data.CandidateLookup(both.candidate_graph)(tf.constant(ITEMS)).numpy()
    expected = model.embed_catalogue()[order]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert len(np.unique(expected.round(4), axis=0)) == len(ITEMS)


def test_tf_examples_are_read_as_the_same_queries(both, towers):
    """Evaluator and the embedder send tf.Examples where a client sends names."""
    serialized = []
    for row in both.rows:
        example = tf.train.Example()
        for name, value in row.items():
            if value is None or name == "item":
                continue
            values = value if isinstance(value, list) else [value]
            feature = example.features.feature[name]
            if isinstance(values[0], str):
                feature.bytes_list.value.extend(v.encode() for v in values)
            elif isinstance(values[0], int):
                feature.int64_list.value.extend(values)
            else:
                feature.float_list.value.extend(values)
        serialized.append(example.SerializeToString())
    features = parse_examples(tf.constant(serialized), dict(towers.query_features))
    np.testing.assert_allclose(
        towers.embed_query(features),
        towers.embed_query(by_name(both.rows, QUERY)),
        rtol=1e-6,
        atol=1e-7,
    )


def test_signatures_take_what_is_declared(towers):
    assert dict(towers.query_features) == raw_specs(QUERY)
    assert dict(towers.candidate_features) == raw_specs(CANDIDATE)


def test_an_answer_does_not_depend_on_its_neighbours_in_a_batch(both, towers):
    """Longer histories beside it pad a row with what must count for nothing."""
    together = towers.embed_query(by_name(both.rows, QUERY)).numpy()
    for row in (0, 1, 2, 7):
        alone = towers.embed_query(by_name(both.rows[row : row + 1], QUERY)).numpy()
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-5, atol=1e-6)


def test_what_training_never_saw_counts_for_nothing(both, towers):
    row = dict.fromkeys(QUERY)
    unseen = {
        **row,
        "user": "stranger",
        "device": "toaster",
        "interests": ["zzz"],
        "search": "unheard",
        "before": ["no such item"],
    }
    nobody = {**row, "user": ""}
    embedded = towers.embed_query(by_name([unseen, nobody], QUERY)).numpy()
    np.testing.assert_allclose(embedded[0], embedded[1], rtol=1e-6, atol=1e-7)


def test_who_is_known_by_id_or_history_is_known(both, towers):
    row = {**dict.fromkeys(QUERY), "user": "stranger"}
    rows = [
        {**row, "user": "u1"},
        {**row, "before": ["007"]},
        {**row, "before": ["no such item"]},
        {**row, "device": "phone"},
    ]
    known = towers.is_known_query(by_name(rows, QUERY)).numpy()
    assert known.tolist() == [True, True, False, False]


def test_histories_share_the_candidates_own_embeddings(model):
    shared = model.query_tower.encoders["before"].candidates
    assert shared is model.candidate_tower.encoders["item"]
    assert CANDIDATE_INDEX not in model.query_tower.encoders
    assert isinstance(model._catalogue(), Catalogue)


def test_the_files_of_vocabularies_have_names_a_file_may_have():
    names = [vocabulary_name(n) for n in ("a b", "a/b", "ä", "..", "a_b")]
    assert len(set(names)) == 5
    for name in names:
        assert pathlib.PurePath(name).name == name
