# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a build is expected to take, and when it is refused."""

import math

import pytest

from serving import build, index_cost
from serving.errors import UserError
from serving.index_config import IndexConfig, IndexPlan, plan_index
from serving.index_cost import Cost, available_memory, estimate, refuse_too_large


def plan(candidates: int, **knobs) -> IndexPlan:
    return plan_index(IndexConfig(**knobs), candidates, 64)


def test_an_estimate_grows_with_the_catalogue_and_the_leaves():
    small, large = (estimate(plan(n), n, 64, 2) for n in (10**5, 10**7))
    assert large.memory_bytes > 20 * small.memory_bytes / 3
    assert large.seconds > 50 * small.seconds
    # Vectors twice is the least; 20 GB the aim for ten million.
    assert 2 * 10**7 * 64 * 4 < large.memory_bytes < 20e9
    more = estimate(plan(10**7, leaves=10_000), 10**7, 64, 2)
    assert more.seconds > 2 * large.seconds
    assert estimate(plan(10**7), 10**7, 64, 4).seconds < large.seconds


def test_soar_takes_a_second_code_for_each_candidate():
    without, with_it = (
        estimate(plan(10**6, soar_lambda=value), 10**6, 64, 2) for value in (0, 1.5)
    )
    # 32 codes of half a byte and a partition's number.
    assert with_it.memory_bytes - without.memory_bytes == 10**6 * (16 + 4)


def test_what_can_not_fit_is_refused_with_both_figures(monkeypatch):
    monkeypatch.setattr(index_cost, "available_memory", lambda: 8e9)
    refuse_too_large(Cost(7.9e9, 1), 10, 64)
    with pytest.raises(UserError) as caught:
        refuse_too_large(Cost(12e9, 1), 10_000_000, 64)
    assert str(caught.value).startswith(
        "an index of 10,000,000 candidates of 64 dimensions takes about 12.0 GB to "
        "build and 8.0 GB are available; take a machine with more memory"
    )


def test_a_build_that_can_not_fit_leaves_nothing(world, tmp_path, monkeypatch):
    monkeypatch.setattr(index_cost, "available_memory", lambda: 1e6)
    path = tmp_path / "model"
    with pytest.raises(UserError, match="takes about .* GB to build"):
        build.build_servable(world.towers, world.shards, IndexConfig(), str(path), {})
    assert not path.exists()


@pytest.mark.parametrize(("limit", "left"), [("max", math.inf), ("1000000", 600_000.0)])
def test_a_cgroup_limits_what_is_available(limit, left, tmp_path):
    assert index_cost._left_by_cgroup(str(tmp_path)) == math.inf
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert index_cost._left_by_cgroup(str(tmp_path)) == left


def test_there_is_memory_on_this_machine():
    assert 1e8 < available_memory() < 1e14
