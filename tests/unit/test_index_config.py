# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Which index a config and a catalogue lead to, and what is said of each change."""

import logging
import math

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.index_config import IndexConfig, IndexPlan, plan_index


def plan(candidates: int, dimensions: int = 64, **knobs) -> IndexPlan:
    return plan_index(IndexConfig(**knobs), candidates, dimensions)


@pytest.mark.parametrize(
    ("candidates", "kind", "leaves", "reason"),
    [
        (1, "exact", None, "1 candidates are fewer than 20,000"),
        (19_999, "exact", None, "19,999 candidates are fewer than 20,000"),
        (20_000, "scann", 0, "20,000 candidates are at least 20,000"),
        (99_999, "scann", 0, "99,999 candidates are at least 20,000"),
        (100_000, "scann", 316, "100,000 candidates are at least 20,000"),
        (1_683_682, "scann", 1298, "1,683,682 candidates are at least 20,000"),
    ],
)
def test_auto_follows_scanns_rule_by_size(candidates, kind, leaves, reason):
    chosen = plan(candidates)
    assert (chosen.kind, chosen.reason) == (kind, reason)
    if leaves is not None:
        assert chosen.leaves == leaves


@pytest.mark.parametrize("kind", ["exact", "scann", "tfrs-scann", "tfrs-brute-force"])
def test_a_kind_that_is_asked_for_is_taken(kind):
    chosen = plan(1682, kind=kind)
    assert (chosen.kind, chosen.reason) == (kind, f"index.kind is {kind}")


@pytest.mark.parametrize(
    ("candidates", "leaves", "to_search"),
    [(50, 7, 7), (1682, 41, 10), (10_000, 100, 10), (1_000_000, 1000, 100)],
)
def test_scanns_defaults_grow_with_the_catalogue(candidates, leaves, to_search):
    chosen = plan(candidates, kind="scann")
    assert (chosen.leaves, chosen.leaves_to_search) == (leaves, to_search)
    assert chosen.leaves == round(math.sqrt(candidates))


def test_reorder_is_four_times_k_and_none_in_the_tfrs_layer():
    assert plan(10_000, kind="scann", k=10).reorder == 100
    assert plan(10_000, kind="scann", k=100).reorder == 400
    assert plan(300, kind="scann", k=100).reorder == 300
    assert plan(10_000, kind="tfrs-scann").reorder == 0
    assert plan(10_000, kind="tfrs-scann", reorder=50).reorder == 50


def test_the_tfrs_layer_keeps_its_own_default_of_100_leaves():
    chosen = plan(1682, kind="tfrs-scann")
    assert (chosen.leaves, chosen.leaves_to_search) == (100, 10)
    assert plan(60, kind="tfrs-scann").leaves == 60


@pytest.mark.parametrize(
    ("knobs", "field", "value", "sentence"),
    [
        (
            {"leaves": 100},
            "leaves",
            50,
            "index.leaves lowered from 100 to 50: there are 50 candidates",
        ),
        (
            {"leaves": 100, "leaves_to_search": 60},
            "leaves_to_search",
            50,
            "index.leaves_to_search lowered from 60 to 50: there are 50 leaves",
        ),
        (
            {"leaves_to_search": 30},
            "leaves_to_search",
            7,
            "index.leaves_to_search lowered from 30 to 7: there are 7 leaves",
        ),
        (
            {"reorder": 400},
            "reorder",
            50,
            "index.reorder lowered from 400 to 50: there are 50 candidates",
        ),
        (
            {"dimensions_per_block": 9},
            "dimensions_per_block",
            8,
            "index.dimensions_per_block lowered from 9 to 8: embeddings have 8 "
            "dimensions",
        ),
        (
            {"leaves": 1},
            "leaves",
            0,
            "index.leaves changed from 1 to 0: one leaf is no partition",
        ),
        (
            {"leaves": 1, "kind": "tfrs-scann"},
            "leaves",
            2,
            "index.leaves changed from 1 to 2: one leaf is no partition",
        ),
        (
            {"leaves": 0, "avq_eta": 2},
            "avq_eta",
            1,
            "index.avq_eta changed to 1: there are no partitions",
        ),
        (
            {"kind": "tfrs-scann", "avq_eta": 2},
            "avq_eta",
            1,
            "index.avq_eta changed to 1: TFRS's layer has none",
        ),
        (
            {"kind": "tfrs-scann", "soar_lambda": 1.5},
            "soar_lambda",
            0,
            "index.soar_lambda changed to 0: TFRS's layer has none",
        ),
        (
            {"leaves": 0, "soar_lambda": 1.5},
            "soar_lambda",
            0,
            "index.soar_lambda changed to 0: there are no partitions",
        ),
        (
            {"leaves": 20, "training_sample": 10},
            "training_sample",
            50,
            "index.training_sample raised from 10 to 50: there are 20 leaves to train",
        ),
    ],
)
def test_knobs_that_the_data_cannot_bear_are_changed_and_told(
    knobs, field, value, sentence, caplog
):
    with caplog.at_level(logging.INFO):
        chosen = plan(50, 8, **{"kind": "scann", **knobs})
    assert getattr(chosen, field) == value
    assert sentence in caplog.messages


@pytest.mark.parametrize("kind", ["scann", "tfrs-scann"])
def test_scann_is_not_tried_on_fewer_candidates_than_it_can_hash(kind, caplog):
    reason = "ScaNN needs 16 candidates and there are 15"
    assert plan(15, kind=kind).kind == "exact"
    assert plan(15, kind=kind).reason == reason
    assert f"index.kind changed from {kind} to exact: {reason}" in caplog.messages
    assert plan(16, kind=kind).kind == kind


def test_nothing_is_said_where_nothing_is_changed(caplog):
    plan(1682, kind="scann", leaves=40, leaves_to_search=20, reorder=400)
    plan(1682, kind="tfrs-scann", leaves=100, leaves_to_search=10)
    plan(1682)
    assert caplog.messages == []


@given(
    candidates=st.integers(1, 3_000_000),
    dimensions=st.integers(1, 300),
    kind=st.sampled_from(["auto", "exact", "scann", "tfrs-scann", "tfrs-brute-force"]),
    k=st.integers(1, 2000),
    leaves=st.none() | st.integers(1, 100_000),
    leaves_to_search=st.none() | st.integers(1, 100_000),
    reorder=st.none() | st.integers(1, 100_000),
    block=st.integers(1, 400),
    sample=st.integers(1, 10_000_000),
)
def test_a_plan_never_asks_for_more_than_there_is(
    candidates, dimensions, kind, k, leaves, leaves_to_search, reorder, block, sample
):
    if leaves and leaves_to_search:
        leaves_to_search = min(leaves, leaves_to_search)
    chosen = plan(
        candidates,
        dimensions,
        kind=kind,
        k=k,
        leaves=leaves,
        leaves_to_search=leaves_to_search,
        reorder=reorder,
        dimensions_per_block=block,
        training_sample=sample,
    )
    assert 0 <= chosen.leaves_to_search <= chosen.leaves <= candidates
    assert (chosen.leaves_to_search == 0) == (chosen.leaves == 0)
    assert 0 <= chosen.reorder <= candidates
    assert 1 <= chosen.dimensions_per_block <= dimensions
    assert 1 <= chosen.training_sample <= candidates
    assert chosen.k == k
    if "scann" in chosen.kind:
        assert candidates >= 16
        assert chosen.leaves != 1
        assert chosen.training_sample >= min(40 * chosen.leaves, candidates)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"kind": "hnsw"}, "Input should be 'auto', 'exact', 'scann'"),
        ({"leafs": 3}, "Extra inputs are not permitted"),
        ({"k": 0}, "Input should be greater than 0"),
        ({"anisotropic_threshold": 1}, "Input should be less than 1"),
        ({"anisotropic_threshold": -0.1}, "greater than or equal to 0"),
        ({"avq_eta": 0.5}, "greater than or equal to 1"),
        (
            {"leaves": 10, "leaves_to_search": 11},
            r"leaves_to_search \(11\) is more than leaves \(10\); lower it",
        ),
    ],
)
def test_wrong_knobs_are_refused(knobs, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        IndexConfig(**knobs)


def test_shards_have_the_leaves_of_the_whole():
    whole = plan_index(IndexConfig(), 1_000_000, 8)
    shard = plan_index(IndexConfig(shards=5), 200_000, 8)
    assert shard.leaves == whole.leaves == 1000
    assert shard.leaves_to_search == whole.leaves_to_search
    assert plan_index(IndexConfig(kind="scann", shards=9), 4, 8).kind == "exact"
    assert plan_index(IndexConfig(leaves=7, shards=5), 200_000, 8).leaves == 7
