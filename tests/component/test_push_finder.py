# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What was pushed is written down, and found again by nodes that run in containers."""

import json
import pathlib
from typing import Any

import pytest
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components import pushes
from components.artifacts import found
from components.push_finder import executor
from serving import manifest
from serving.errors import UserError

LIKE = {"interactions": {"source": "a", "split": {"seed": 1}}}


@pytest.fixture
def push(tmp_path):
    """Pushes a version of a servable with a manifest; returns the servable's URI."""

    def run(version: int, config: dict[str, Any], **more: Any) -> str:
        uri = str(tmp_path / f"model-{version}")
        content = {"index": {"kind": "exact"}, "format": manifest.FORMAT}
        manifest.write(
            path_utils.serving_model_dir(uri), {**content, "config": config, **more}
        )
        told = {"uri": f"s-{version}", "span": version, "split_names": "[]"}
        pushes.write(
            str(tmp_path / "pushes"),
            pushes.Push(str(version), uri, f"towers-{version}", {"interactions": told}),
        )
        return uri

    return run


@pytest.fixture
def find(tmp_path, new_artifact):
    def run(kind: str = "servable", required: int = 0, candidate: str = ""):
        model = new_artifact(standard_artifacts.Model)
        before = model.uri
        inputs = {}
        if candidate:
            given = new_artifact(standard_artifacts.Model)
            given.uri = candidate
            inputs = {"candidate": [given]}
        executor.ModelExecutor().Do(
            inputs,
            {"model": [model]},
            {
                "pushes": str(tmp_path / "pushes"), "kind": kind, "required": required,
                "like": json.dumps(LIKE),
            },
        )  # fmt: skip
        assert bool(found([model])) == (model.uri != before)
        return model.uri if found([model]) else None

    return run


def test_the_last_push_of_the_same_data_is_found(push, find):
    same = {"interactions": {"source": "a", "split": {"seed": 1}, "query_id": "u"}}
    push(9, same)
    last = push(10, {**same, "model": {}})
    push(11, {"interactions": {"source": "b", "split": {"seed": 1}}})
    push(12, {"interactions": {"source": "a", "split": {"seed": 2}}})
    assert find() == last
    assert find("towers") == "towers-10"


def test_a_model_is_not_compared_with_itself_nor_with_another_format(push, find):
    old = push(1, LIKE)
    push(2, LIKE, format=manifest.FORMAT - 1)
    this = push(3, LIKE)
    assert find(candidate=this) == old
    # An update takes what there is, and builds it anew if it has to.
    assert find() == this


def test_what_was_deleted_is_not_found(push, find):
    kept = push(1, LIKE)
    gone = push(2, LIKE)
    pathlib.Path(
        path_utils.serving_model_dir(gone), "assets.extra/manifest.json"
    ).unlink()
    assert find() == kept


def test_nothing_is_found_before_the_first_push(find):
    assert find() is None
    with pytest.raises(UserError, match="no model of the same interactions was pushed"):
        find(required=1)


def test_a_push_is_read_as_it_was_written(tmp_path):
    folder = str(tmp_path / "deep" / "pushes")
    assert pushes.read_all(folder) == []
    made = [
        pushes.Push(str(number), f"m{number}", "t", {"candidates": {"uri": "x"}})
        for number in (9, 10, 100)
    ]
    for one in made:
        pushes.write(folder, one)
    # By number, and not as text.
    assert pushes.read_all(folder) == made[::-1]
    (tmp_path / "deep" / "pushes" / ".101").write_text("half of a pu")
    assert pushes.read_all(folder) == made[::-1]


@pytest.mark.parametrize(("span", "expected"), [(12, "s-11"), (11, "s-10"), (10, None)])
def test_the_span_before_is_found(push, tmp_path, new_artifact, span, expected):
    for version in (11, 10):
        push(version, LIKE)
    current = new_artifact(standard_artifacts.ExampleStatistics)
    current.span = span
    earlier = new_artifact(standard_artifacts.ExampleStatistics)
    executor.SpanExecutor().Do(
        {"current": [current]},
        {"earlier": [earlier]},
        {"pushes": str(tmp_path / "pushes"), "source": "interactions"},
    )
    assert [one.uri for one in found([earlier])] == ([expected] if expected else [])
    if expected:
        assert earlier.span == int(expected[2:])
