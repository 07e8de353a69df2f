# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The search for a better recipe, on real trainings, through TFX's own artifacts."""

import json
import logging
import pathlib
from typing import Any

import pytest
import tensorflow as tf
from tfx.types import artifact_utils, standard_artifacts

from components.tuner import executor
from serving.errors import UserError
from serving.towers import Towers, read_recipe
from tests.component.test_trainer_component import (
    IDS,
    MOVIE,
    MOVIES,
    USER,
    Transformed,
    examples_of,
    graph_of,
    run_transform,
    train,
)
from trainer.feature_config import dump_features
from trainer.tuner import RecipeTuner

LEARNS = {"training.learning_rate": [1e-9, 0.05]}
"""Without learning, and with it."""


@pytest.fixture(scope="module")
def transformed(tmp_path_factory) -> Transformed:
    """Users of two kinds, each with one movie of their four that is held out."""
    pairs = [
        (f"user {user}", MOVIES[4 * (user % 2) + movie])
        for user in range(16)
        for movie in range(4)
    ]
    held_out = [pairs[4 * user + user // 2 % 4] for user in range(16)]
    known = [pair for pair in pairs if pair not in held_out]
    folder = tmp_path_factory.mktemp("tuner")
    return run_transform(folder, "[1]", known, valid=held_out)


def search(
    transformed: Transformed,
    node: pathlib.Path,
    tuner: dict[str, Any],
    execution: int = 1,
    model: dict[str, Any] | None = None,
    **training: Any,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Runs the executor as TFX does; returns what is best and what was tried."""
    examples = examples_of(transformed.interactions)
    examples.split_names = artifact_utils.encode_split_names(["train", "valid"])
    valid = pathlib.Path(examples.uri, "Split-valid")
    if not valid.exists():
        valid.symlink_to("valid", target_is_directory=True)
    inputs = {
        "examples": examples,
        "transform_graph": graph_of(transformed.interactions),
        "candidates": examples_of(transformed.candidates),
        "candidate_transform_graph": graph_of(transformed.candidates),
    }
    outputs = {
        "best_hyperparameters": standard_artifacts.HyperParameters(),
        "tuner_results": standard_artifacts.TunerResults(),
    }
    for name, artifact in outputs.items():
        artifact.uri = str(node / name / str(execution))
    context = executor.Executor.Context(
        stateful_working_dir=str(node / "state_of" / f"uuid-{execution}")
    )
    custom_config = {
        **IDS,
        "catalogue_id": "movie_id",
        "weight": None,
        "query_features": dump_features(USER),
        "candidate_features": dump_features(MOVIE),
        "has_valid_split": True,
        "model": {"embedding_dim": 4, "temperature": 0.3, **(model or {})},
        "training": {
            "rows": "interaction", "epochs": 20, "batch_size": 16,
            "learning_rate": 1e-9, **training,
        },
        "tuner": {"k": 2, **tuner},
    }  # fmt: skip
    executor.Executor(context).Do(
        {name: [artifact] for name, artifact in inputs.items()},
        {name: [artifact] for name, artifact in outputs.items()},
        {
            "tuner_fn": "trainer.tuner.tuner_fn",
            "train_args": '{"splits": ["train"]}',
            "eval_args": '{"splits": ["valid"]}',
            "custom_config": json.dumps(custom_config),
        },
    )
    best, tried = (
        json.loads((pathlib.Path(outputs[name].uri) / file).read_text())
        for name, file in (
            ("best_hyperparameters", "best_hyperparameters.txt"),
            ("tuner_results", "tuner_results.json"),
        )
    )
    return best, tried


def test_the_best_recipe_is_found_and_then_trained(transformed, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    node = tmp_path / "Tuner"
    space = {**LEARNS, "model.hidden_layers": [[3]], "model.embedding_dim": [4, 5]}
    best, tried = search(transformed, node, {"trials": 6, "space": space})
    assert best["values"]["training.learning_rate"] == "0.05"
    assert len(tried) == 6
    first = next(one for one in tried if one["trial_id"] == "0")
    own = {key: first[key] for key in space}
    assert own == {
        "training.learning_rate": "1e-09",
        "model.hidden_layers": "[]",
        "model.embedding_dim": "4",
    }, "the first trial is the recipe that was given"
    assert max(one["score"] for one in tried) > first["score"] + 0.1
    assert f"trial 1 of 6: NDCG@2 {first['score']:.4f}, best" in caplog.text
    assert not (node / "state_of" / "state").exists()

    path = train(transformed, tmp_path / "towers", epochs=1, hyperparameters=best)
    recipe = read_recipe(path)
    assert recipe["training"]["learning_rate"] == 0.05
    assert recipe["training"]["epochs"] == 1
    dimensions = json.loads(best["values"]["model.embedding_dim"])
    assert recipe["model"]["embedding_dim"] == dimensions
    embedding = Towers(path).embed_query({"user_id": tf.constant(["user 1"])})
    assert embedding.shape == (1, dimensions + 1)  # and the bias


def test_a_range_is_searched_within_its_ends(transformed, tmp_path):
    space = {
        "training.learning_rate": {"min": 0.01, "max": 0.1, "log": True},
        "training.batch_size": {"min": 16, "max": 20},
    }
    _, tried = search(transformed, tmp_path, {"trials": 7, "space": space}, epochs=1)
    others = [one for one in tried if one["trial_id"] != "0"]
    assert len(others) == 6  # 2 at random, 4 by the Gaussian process
    assert all(0.01 <= one["training.learning_rate"] <= 0.1 for one in others)
    assert len({one["training.learning_rate"] for one in others}) > 3
    sizes = [one["training.batch_size"] for one in others]
    assert set(sizes) <= set(range(16, 21))
    assert all(isinstance(size, int) for size in sizes)


def test_a_killed_search_goes_on_where_it_was(
    transformed, tmp_path, caplog, monkeypatch, capsys
):
    caplog.set_level(logging.INFO)
    options = {"trials": 3, "space": {"training.learning_rate": [0.01, 0.02, 0.05]}}
    score, scored = RecipeTuner._score, []

    def killed_in_the_third(self: RecipeTuner, values: dict[str, Any]) -> float:
        if len(scored) == 2:
            raise KeyboardInterrupt
        scored.append(values)
        return score(self, values)

    monkeypatch.setattr(RecipeTuner, "_score", killed_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        search(transformed, tmp_path, options, model={"temperature": None})
    monkeypatch.undo()
    caplog.clear()
    _, tried = search(transformed, tmp_path, options, 2, model={"temperature": None})
    assert "the search goes on after 3 trials" in caplog.text
    assert len(tried) == 3
    assert caplog.text.count("NDCG@2") == 1, "what was done is not done again"
    assert capsys.readouterr().out == ""


def test_no_trial_starts_after_the_minutes_are_over(transformed, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    options = {"trials": 50, "minutes": 1e-6, "space": LEARNS}
    _, tried = search(transformed, tmp_path, options)
    assert [one["trial_id"] for one in tried] == ["00"]
    assert "the 1e-06 minutes of tuner.minutes are over" in caplog.text


DIVERGES = {"learning_rate": 1e30, "optimizer": "sgd", "schedule": "constant"}


def test_a_recipe_that_cannot_be_trained_loses(transformed, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    options = {"trials": 5, "space": {"training.learning_rate": [0.05, 0.1]}}
    best, tried = search(
        transformed, tmp_path, options, model={"normalize": False}, **DIVERGES
    )
    assert "trial 1 of 5: NDCG@2 failed, best none" in caplog.text
    assert len(tried) == 2, "none is tried twice, and there are no more"
    assert best["values"]["training.learning_rate"] in ("0.05", "0.1")


def test_a_search_in_which_nothing_can_be_trained_says_why(transformed, tmp_path):
    options = {"trials": 2, "space": {"model.embedding_dim": [5, 6]}}
    expected = (
        "none of the 2 recipes of tuner.space could be trained, the last because the "
        r"training diverged, .* lower training.learning_rate \(1e\+30\)"
    )
    with pytest.raises(UserError, match=expected):
        search(transformed, tmp_path, options, model={"normalize": False}, **DIVERGES)


def test_any_other_failure_ends_the_search(transformed, tmp_path, monkeypatch):
    def broken(*_: Any) -> float:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(RecipeTuner, "_score", broken)
    with pytest.raises(ZeroDivisionError, match="of ours"):
        search(transformed, tmp_path, {"trials": 3, "space": LEARNS})
