# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Lineage: from a pushed version back to what it was made of."""

import json


def shown(home, *arguments: str) -> dict:
    said = home.shortlist(
        "lineage", *arguments, "--root", str(home.root), "--format", "json"
    )
    assert said.code == 0, said.stderr
    return json.loads(said.stdout)


def test_a_version_leads_back_to_its_data_schema_and_code(home, first_run):
    found = shown(home, first_run.versions[0])
    assert found["version"] == first_run.versions[0]
    assert found["pushed_to"] == str(home.serving / first_run.versions[0])
    steps = {step["node"]: step for step in found["steps"]}
    # All that led to the push, and nothing else: validators only let pass.
    assert set(steps) == {
        "ExampleGen.interactions", "ExampleGen.candidates",
        "StatisticsGen.interactions", "StatisticsGen.candidates",
        "SchemaGen.interactions", "SchemaGen.candidates",
        "ExampleCleaner", "Transform.interactions", "Transform.candidates", "Trainer",
        "CandidateEmbedder", "ScannIndexer", "Evaluator", "IndexEvaluator", "Pusher",
    }  # fmt: skip
    names = [step["node"] for step in found["steps"]]
    assert names.index("ExampleGen.interactions") < names.index("Trainer")
    assert names[-1] == "Pusher"
    assert steps["ExampleGen.interactions"]["properties"]["dataset"] == (
        "movielens/100k-ratings"
    )
    assert steps["Pusher"]["properties"]["fingerprint"]
    # The very artifacts of the run.
    towers = first_run.outputs["Trainer"]["model"]
    assert steps["Trainer"]["outputs"]["model"] == [
        {"id": towers.id, "type": "Model", "uri": towers.uri}
    ]
    assert steps["ScannIndexer"]["inputs"]["towers"] == [towers.id]
    assert found["config"]["model"]["embedding_dim"] == 64


def test_an_unknown_version_is_told_with_those_that_are_known(home, first_run):
    said = home.shortlist("lineage", "1", "--root", str(home.root))
    assert said.code == 1
    assert said.stderr.startswith(
        "shortlist lineage: ML Metadata knows no pushed version 1; it knows "
    )
    assert first_run.versions[0] in said.stderr
