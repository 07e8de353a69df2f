# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""BatchStatisticsGen beside TFX's own executor on the same examples."""

import pathlib

import pytest
import tensorflow_data_validation as tfdv
from tfx.components.statistics_gen import executor as standard
from tfx.types import channel_utils, standard_artifacts

from components import records
from components.statistics_gen import component, executor
from serving.errors import UserError


@pytest.fixture
def compute(new_artifact):
    """Runs an executor as the component would have it run; statistics by split."""

    def run(examples, with_executor=executor.Executor, **options) -> dict:
        node = component.BatchStatisticsGen(
            channel_utils.as_channel([examples]), **options
        )
        output = new_artifact(standard_artifacts.ExampleStatistics)
        properties = dict(node.exec_properties)
        with_executor().Do(
            {"examples": [examples]}, {"statistics": [output]}, properties
        )
        run.artifact = output
        return {
            folder.name.removeprefix("Split-"): tfdv.load_stats_binary(
                str(folder / "FeatureStats.pb")
            ).datasets[0]
            for folder in pathlib.Path(output.uri).iterdir()
        }

    return run


@pytest.fixture
def examples(new_examples):
    """Two shards of train and one of eval; a feature that is missing at times."""
    rows = [
        {
            "user": b"u%d" % (at % 97),
            "price": float(at),
            **({"ages": [at] * (at % 3)} if at % 3 else {}),
        }
        for at in range(9000)
    ]
    artifact = new_examples(
        {"train": [rows[:5000], rows[5000:8000]], "eval": [rows[8000:]]}
    )
    records.finish_examples(artifact, ["train", "eval"])
    artifact.span = 7
    return artifact


def simple(feature) -> dict:
    """What is exact whatever the order of the rows."""
    numbers, texts = feature.num_stats, feature.string_stats
    common = (numbers if feature.HasField("num_stats") else texts).common_stats
    return {
        "missing": common.num_missing,
        "present": common.num_non_missing,
        "values": common.tot_num_values,
        "mean": pytest.approx(numbers.mean),
        "range": (numbers.min, numbers.max),
        "unique": texts.unique,
        "top": sorted((one.value, one.frequency) for one in texts.top_values),
        "ranks": len(texts.rank_histogram.buckets),
    }


def test_statistics_are_those_of_tfx(compute, examples):
    found = compute(examples)
    artifact = compute.artifact
    expected = compute(examples, standard.Executor)
    assert set(found) == set(expected) == {"train", "eval"}
    assert (artifact.split_names, artifact.span) == ('["train", "eval"]', 7)
    for split in found:
        assert found[split].num_examples == expected[split].num_examples
        features, wanted = (
            {one.path.step[0]: simple(one) for one in part[split].features}
            for part in (found, expected)
        )
        assert features == wanted
    assert features["user"]["unique"] == 97


def test_a_sample_is_evenly_spread_and_the_same_in_every_run(compute, examples):
    first = compute(examples, sample_rate=0.1)
    assert {split: part.num_examples for split, part in first.items()} == {
        "train": 800,
        "eval": 100,
    }
    (price,) = (f for f in first["train"].features if f.path.step[0] == "price")
    assert (price.num_stats.min, price.num_stats.max) == (0, 7990)
    again = compute(examples, sample_rate=0.1)
    assert [f.num_stats.mean for f in again["train"].features] == [
        f.num_stats.mean for f in first["train"].features
    ]


def test_the_smallest_sample_still_sees_a_row_of_each_file(compute, examples):
    found = compute(examples, sample_rate=1e-9)
    assert {split: part.num_examples for split, part in found.items()} == {
        "train": 2,
        "eval": 1,
    }


def test_how_much_is_kept_of_values_can_be_said(compute, examples):
    found = compute(examples, num_top_values=3, num_rank_histogram_buckets=5)
    (user,) = (f for f in found["train"].features if f.path.step[0] == "user")
    assert len(user.string_stats.top_values) == 3
    assert len(user.string_stats.rank_histogram.buckets) == 5


@pytest.mark.parametrize("rate", [0, -0.5, 1.5])
def test_a_rate_that_is_no_share_is_refused(rate, examples):
    with pytest.raises(UserError, match="give a share above 0"):
        component.BatchStatisticsGen(
            channel_utils.as_channel([examples]), sample_rate=rate
        )
