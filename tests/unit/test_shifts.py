# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""How differences between distributions are told, from TFDV's own messages."""

from typing import Any

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from components.findings import Finding
from components.shift_validator.shifts import DRIFT, SKEW, Side, describe


def texts(name: str, counts: dict[str, int], rows: int | None = None) -> Any:
    """Statistics of a feature of text, one value a row."""
    total = sum(counts.values())
    feature = statistics_pb2.FeatureNameStatistics(type="STRING")
    feature.path.step.append(name)
    common = feature.string_stats.common_stats
    common.num_non_missing, common.tot_num_values = total, total
    for label, count in counts.items():
        feature.string_stats.rank_histogram.buckets.add(label=label, sample_count=count)
    return statistics_pb2.DatasetFeatureStatistics(
        num_examples=rows or total, features=[feature]
    )


def numbers(name: str, rows: int, mean: float, median: float) -> Any:
    """Statistics of a feature of numbers, one value a row."""
    feature = statistics_pb2.FeatureNameStatistics(type="FLOAT")
    feature.path.step.append(name)
    feature.num_stats.mean, feature.num_stats.median = mean, median
    common = feature.num_stats.common_stats
    common.num_non_missing, common.tot_num_values = rows, rows
    return statistics_pb2.DatasetFeatureStatistics(
        num_examples=rows, features=[feature]
    )


def anomaly(name: str, kind: str = "", value: float = 0.0) -> Any:
    """What TFDV says of a feature; without a measurement where there is no kind."""
    anomalies = anomalies_pb2.Anomalies()
    anomalies.anomaly_info[name].path.step.append(name)
    if kind:
        info = anomalies.drift_skew_info.add()
        info.path.step.append(name)
        info.drift_measurements.add(type=kind, value=value, threshold=0.3)
    return anomalies


def told(anomalies: Any, now: Any, was: Any, check: str = SKEW) -> list[Finding]:
    return describe(
        anomalies, Side("eval", "eval", now), Side("train", "train", was), "log", check
    )


def test_a_text_is_told_with_the_values_that_differ_most():
    now = texts("device", {"phone": 60, "desk": 30, "tv": 10})
    was = texts("device", {"phone": 100, "desk": 850, "tablet": 50})
    (one,) = told(anomaly("device", "L_INFTY", 0.55), now, was)
    assert one.sentence == (
        "feature 'device' differs between eval and train: share of a value by 0.55, "
        "above validation.max_skew 0.3; 'desk' is 30.0% of 100 values and was 85.0% of "
        "1,000"
    )
    assert (one.count, one.total, one.stops) == (30, 100, True)
    assert [text.split()[0] for text in one.examples] == [
        "'desk'", "'phone'", "'tv'", "'tablet'"
    ]  # fmt: skip
    assert (one.check, one.source, one.feature) == ("skew", "log", "device")
    assert one.splits == ("train", "eval")
    assert "raise validation.max_skew" in one.mend


def test_a_number_is_told_with_its_mean_and_median():
    (one,) = told(
        anomaly("price", "JENSEN_SHANNON_DIVERGENCE", 0.4843),
        numbers("price", 200, 2.5, 2.0),
        numbers("price", 3000, 1.25, 1.0),
        DRIFT,
    )
    assert one.sentence == (
        "feature 'price' differs between eval and train: Jensen-Shannon divergence by "
        "0.484, above validation.max_drift 0.3; its mean is 2.5 and was 1.25, its "
        "median 2 and was 1, in 200 and 3,000 rows"
    )
    assert "raise validation.max_drift" in one.mend


def test_a_feature_that_one_side_lacks_stops():
    none = statistics_pb2.DatasetFeatureStatistics(num_examples=7)
    some = texts("device", {"phone": 3}, rows=5)
    for now, was, text in (
        (some, none, "is in 3 of 5 rows of eval, but was in 0 of 7 of train"),
        (none, some, "is in 0 of 7 rows of eval, but was in 3 of 5 of train"),
    ):
        (one,) = told(anomaly("device"), now, was)
        assert one.sentence == f"feature 'device' {text}"
        assert one.stops


@pytest.mark.parametrize("known", [False, True])
def test_a_feature_without_values_on_either_side_is_no_shift(known):
    none = statistics_pb2.DatasetFeatureStatistics(num_examples=7)
    empty = texts("device", {}, rows=7)
    now = empty if known else none
    assert told(anomaly("device"), now, none) == []


def test_what_cant_be_compared_is_told_only():
    now, was = texts("device", {"1": 3}), numbers("device", 5, 1.0, 1.0)
    (one,) = told(anomaly("device"), now, was)
    assert one.sentence == "feature 'device' can't be compared between eval and train"
    assert not one.stops


def test_nothing_found_is_nothing_told():
    some = texts("device", {"phone": 3})
    assert told(anomalies_pb2.Anomalies(), some, some) == []
