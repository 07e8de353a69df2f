# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""MovieLens for the tests of components: prepared once, kept in the data folder."""

import pathlib

import pytest

from components.tfds_example_gen import tfds_data


@pytest.fixture(scope="session")
def movielens_data_dir() -> str:
    """The repository's data folder, with both MovieLens 100K datasets in it."""
    folder = str(pathlib.Path(__file__).parents[2] / "data")
    for dataset in ("movielens/100k-movies", "movielens/100k-ratings"):
        tfds_data.prepare(dataset, folder)
    return folder
