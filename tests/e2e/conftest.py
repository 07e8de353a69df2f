# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Runs that follow the session's first one in the same home, each made once.

Every run builds on the one before it, as a user's would, so that a test asked for on
its own runs just those that it needs.
"""

import pathlib
import re
import shutil

import pytest

MORE_LEAVES = "index.leaves_to_search=30"
FEWER_LEAVES = "index.leaves_to_search=29"
# What takes time and is looked at in the first runs already.
BRIEF = (
    "evaluation.confidence_intervals=false",
    "evaluation.ease_up_to=0",
    "evaluation.ials_up_to=0",
)


@pytest.fixture(scope="session")
def second_run(home, first_run):
    """The first run over again."""
    return home.run(output_format="json")


@pytest.fixture(scope="session")
def changed_run(home, second_run):
    """Another index over the same towers."""
    return home.run(MORE_LEAVES)


@pytest.fixture(scope="session")
def repeated_run(home, changed_run):
    """The changed run over again."""
    return home.run(MORE_LEAVES)


@pytest.fixture(scope="session")
def refused_run(home, repeated_run):
    """A good model and a bound for Evaluator that it cannot reach."""
    bound = "evaluation.gates.min_top_k_accuracy=0.99"
    return home.run(MORE_LEAVES, bound, *BRIEF)


@pytest.fixture(scope="session")
def bad_run(home, refused_run):
    """Embeddings that are as random as when training began."""
    return home.run("training.learning_rate=1.0e-9", "training.epochs=1", *BRIEF)


@pytest.fixture(scope="session")
def unfit_run(home, bad_run, tmp_path_factory):
    """A schema that the ratings do not fit: no one may give five stars."""
    schemas = home.config.parent / "schemas" / "movielens-100k"
    text = (schemas / "interactions.pbtxt").read_text()
    feature = re.compile(r'(name: "user_rating".*?max: )5.0', re.DOTALL)
    lowered, count = feature.subn(r"\g<1>4.0", text, count=1)
    assert count == 1
    path: pathlib.Path = tmp_path_factory.mktemp("schema") / "interactions.pbtxt"
    path.write_text(lowered)
    return home.run(f"interactions.schema={path}")


@pytest.fixture(scope="session")
def idle_update(home, restored_run):
    """An update of what was pushed last, to the same catalogue."""
    return home.run(MORE_LEAVES, *BRIEF, verb="update")


@pytest.fixture(scope="session")
def updated_run(home, idle_update):
    """An update to another number of leaves to search: the catalogue is the same."""
    return home.run(FEWER_LEAVES, *BRIEF, verb="update")


@pytest.fixture(scope="session")
def repeated_update(home, updated_run):
    """That update over again."""
    return home.run(FEWER_LEAVES, *BRIEF, verb="update", output_format="json")


@pytest.fixture(scope="session")
def sharded_run(home, repeated_update):
    """The first model's towers with a catalogue in exact shards."""
    return home.run("index.shards=2", "index.kind=exact", *BRIEF)


@pytest.fixture(scope="session")
def restored_run(home, unfit_run):
    """The changed run over again, after what it had pushed was deleted."""
    shutil.rmtree(home.serving)
    return home.run(MORE_LEAVES)
