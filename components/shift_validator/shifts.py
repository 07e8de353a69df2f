# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Tells how distributions differ, in the figures of their statistics."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from components.findings import MAX_EXAMPLES, Finding

SKEW, DRIFT = "skew", "drift"

_MENDS = {
    SKEW: "what is learned from train may not hold any more: find out what changed, "
    "leave the feature out, or raise validation.max_skew",
    DRIFT: "find out what changed, or raise validation.max_drift; a run that lets it "
    "pass makes this span the one that later ones are compared with",
}
_LIMITS = {SKEW: "validation.max_skew", DRIFT: "validation.max_drift"}
_L_INFTY = 1  # DriftSkewInfo.Measurement.Type, as is the other.
_MEASURES = {_L_INFTY: "share of a value", 2: "Jensen-Shannon divergence"}


@dataclasses.dataclass(frozen=True)
class Side:
    """One of two sets of rows that are compared."""

    name: str
    """What to call it."""
    split: str
    statistics: Any
    """Its DatasetFeatureStatistics."""

    def feature(self, name: str) -> Any:
        """Returns the FeatureNameStatistics of a feature, None where there is none."""
        for feature in self.statistics.features:
            if (feature.path.step or [feature.name])[0] == name:
                return feature
        return None

    def rows(self, name: str) -> int:
        """Returns how many rows have a value."""
        feature = self.feature(name)
        return int(_common(feature).num_non_missing) if feature else 0

    @property
    def total(self) -> int:
        """Returns the number of rows."""
        return int(self.statistics.num_examples)


def _common(feature: Any) -> Any:
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def describe(
    anomalies: Any, now: Side, was: Side, source: str, check: str
) -> list[Finding]:
    """Returns a finding for each feature that differs more than it may.

    Args:
        anomalies: TFDV's Anomalies of the comparison, which hold its measurements.
        now: The rows that are looked at.
        was: The rows that they are held against.
        source: What the data is called.
        check: `skew` or `drift`.
    """
    measured = {
        info.path.step[0]: info.drift_measurements[0]
        for info in anomalies.drift_skew_info
    }
    names = sorted(info.path.step[0] for info in anomalies.anomaly_info.values())
    return [
        finding
        for name in names
        for finding in _describe(name, measured.get(name), now, was, source, check)
    ]


def _describe(
    name: str, measured: Any, now: Side, was: Side, source: str, check: str
) -> Iterator[Finding]:
    """Yields the finding of one feature, if it is one."""
    count, total = now.rows(name), now.total
    stops = True
    if not count and not was.rows(name):
        return  # FeatureValidator tells of a column without values.
    examples: tuple[str, ...] = ()
    if not count or not was.rows(name):
        what = (
            f"is in {count:,} of {total:,} rows of {now.name}, but was in "
            f"{was.rows(name):,} of {was.total:,} of {was.name}"
        )
    elif measured is None:
        stops = False
        what = f"can't be compared between {now.name} and {was.name}"
    else:
        if measured.type == _L_INFTY:
            count, total, examples = _shares(name, now, was)
        else:
            examples = _moments(name, now, was)
        what = (
            f"differs between {now.name} and {was.name}: "
            f"{_MEASURES[measured.type]} by {measured.value:.3g}, above "
            f"{_LIMITS[check]} {measured.threshold:g}; {examples[0]}"
        )
    yield Finding(
        check=check,
        source=source,
        feature=name,
        splits=tuple(dict.fromkeys((was.split, now.split))),
        sentence=f"feature {name!r} {what}",
        mend=_MENDS[check],
        count=count,
        total=total,
        examples=examples,
        stops=stops,
    )


def _shares(name: str, now: Side, was: Side) -> tuple[int, int, tuple[str, ...]]:
    """Returns how often the value whose share differs most is there, and examples."""
    counts, totals = [], []
    for side in (now, was):
        feature = side.feature(name)
        buckets = feature.string_stats.rank_histogram.buckets
        counts.append({one.label: int(one.sample_count) for one in buckets})
        totals.append(int(_common(feature).tot_num_values))

    def share(label: str, side: int) -> float:
        return counts[side].get(label, 0) / totals[side]

    labels = sorted(
        {*counts[0], *counts[1]},
        key=lambda label: (-abs(share(label, 0) - share(label, 1)), label),
    )
    examples = tuple(
        f"{label!r} is {share(label, 0):.1%} of {totals[0]:,} values and was "
        f"{share(label, 1):.1%} of {totals[1]:,}"
        for label in labels[:MAX_EXAMPLES]
    )
    return counts[0].get(labels[0], 0), totals[0], examples


def _moments(name: str, now: Side, was: Side) -> tuple[str, ...]:
    """Returns a text with means and medians."""
    new, old = now.feature(name).num_stats, was.feature(name).num_stats
    return (
        f"its mean is {new.mean:.4g} and was {old.mean:.4g}, its median "
        f"{new.median:.4g} and was {old.median:.4g}, in {now.rows(name):,} and "
        f"{was.rows(name):,} rows",
    )
