# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The checks: what is a finding, and how it is told.

All but `constant` look at the interactions; leakage is looked for in train alone.
"""

import datetime
from collections.abc import Iterator, Mapping

import numpy as np

from components.feature_validator.agreement import Agreement, Sample, agreement
from components.feature_validator.columns import to_text
from components.feature_validator.scan import (
    EVAL,
    INTERACTIONS,
    TRAIN,
    NewValues,
    Plan,
    Summary,
)
from components.findings import MAX_EXAMPLES, Finding

CONSTANT = "constant"
NEW_VALUES = "new_values"
OWN_VALUES = "own_values"
LATER = "later"
DETERMINED = "determined_by_candidate"

MIN_CANDIDATE_ALPHA = 0.95
"""From here on a candidate determines a feature."""
MAX_QUERY_ALPHA = 0.8
"""Up to here a feature varies within queries."""
MIN_EXPECTED = 30
"""Disagreements that chance must let expect. That at most a twentieth of thirty are
there by chance has a probability below 1e-11 if they are independent (Poisson)."""
MAX_LATER_SHARE = 0.01
"""Above it instants after the interaction are no slips of a clock."""
MIN_LATER_ROWS = 5
MIN_OWN_SHARE = 0.9
"""From here on nearly every row has a value of its own."""
MIN_OWN_ROWS = 30


def find(
    plan: Plan, summary: Summary, values: Mapping[str, NewValues]
) -> list[Finding]:
    """Returns what there is to be told of the features.

    Args:
        plan: Which columns there are.
        summary: What is known of all files.
        values: New values by looked up column.
    """
    findings = [*_constant(summary), *_later(summary)]
    own = [
        finding
        for name in plan.context
        if name in values
        for finding in _own_values(name, values[name])
    ]
    findings += own
    told = {finding.feature for finding in own}
    for name in plan.looked_up:
        if name in values and name not in told:
            findings += _new_values(plan, summary, name, values[name])
    return [*findings, *_determined(plan, summary)]


def _constant(summary: Summary) -> Iterator[Finding]:
    """Finds features that have the same value, or none, in every row of train."""
    for (source, name), values in sorted(summary.distinct.items()):
        rows = summary.rows[source, TRAIN]
        if len(values) > 1 or rows < 2:
            continue
        (text,) = values.values()
        what = f"has the same value, {text!r}, in" if text else "has no value in any of"
        yield Finding(
            check=CONSTANT,
            source=source,
            feature=name,
            splits=(TRAIN,),
            sentence=f"feature {name!r} {what} {'all ' if text else ''}{rows:,} rows "
            f"of train",
            mend="nothing can be learned from it: leave it out of the features or "
            "mend the column",
            count=rows,
            total=rows,
            examples=(text,) if text else (),
        )


def _new_values(
    plan: Plan, summary: Summary, name: str, values: NewValues
) -> Iterator[Finding]:
    """Tells of values that eval has and train does not."""
    if not values.new_total:
        return
    several = plan.query_features.get(name) == "categories"
    total = values.eval_total if several else summary.rows[INTERACTIONS, EVAL]
    share = values.new_total / total
    most = plan.max_new_values
    stops = most is not None and share > most
    above = f", above validation.max_new_values {most:g}" if stops else ""
    what = "values" if several else "rows"
    yield Finding(
        check=NEW_VALUES,
        source=INTERACTIONS,
        feature=name,
        splits=(TRAIN, EVAL),
        sentence=f"{values.new_total:,} of {total:,} {what} of {name!r} in eval "
        f"({share:.2%}{above}) are new: train does not have them, "
        f"such as {_examples(values)}",
        mend="train on more data or raise the limit",
        count=values.new_total,
        total=total,
        examples=tuple(map(to_text, values.examples)),
        stops=stops,
    )


def _examples(values: NewValues) -> str:
    return ", ".join(
        f"{to_text(value)!r} ({count:,} {'row' if count == 1 else 'rows'})"
        for value, count in values.examples.items()
    )


def _own_values(name: str, values: NewValues) -> Iterator[Finding]:
    """Finds columns with a value of its own in nearly every row, such as an order id.

    Both must hold: train has nearly as many distinct values as values, and nearly all
    of eval's are new. A day as a category is new in every row of a split by time, but
    it is no value of the row's own.
    """
    if min(values.train_total, values.eval_total) < MIN_OWN_ROWS:
        return
    share = values.new_total / values.eval_total
    distinct = values.train_distinct / values.train_total
    if min(share, distinct) < MIN_OWN_SHARE:
        return
    yield Finding(
        check=OWN_VALUES,
        source=INTERACTIONS,
        feature=name,
        splits=(TRAIN, EVAL),
        sentence=f"feature {name!r} has a value of its own in nearly every row, like "
        f"the number of an order: {values.train_distinct:,} different ones among "
        f"{values.train_total:,} in train, and {values.new_total:,} of "
        f"{values.eval_total:,} ({share:.2%}) in eval are new, such as "
        f"{_examples(values)}",
        mend="nothing learned from it holds for another row: leave it out of the "
        "features, or declare it as text or number if it is one",
        count=values.new_total,
        total=values.eval_total,
        examples=tuple(map(to_text, values.examples)),
    )


def _later(summary: Summary) -> Iterator[Finding]:
    """Finds instants that often lie after the very interaction."""
    for name, found in sorted(summary.later.items()):
        if found.later < MIN_LATER_ROWS or found.later <= MAX_LATER_SHARE * found.rows:
            continue
        examples = tuple(
            f"{_instant(instant)} of an interaction at {_instant(own)}"
            for instant, own in found.examples
        )
        yield Finding(
            check=LATER,
            source=INTERACTIONS,
            feature=name,
            splits=(TRAIN,),
            sentence=f"feature {name!r} lies after the interaction itself in "
            f"{found.later:,} of {found.rows:,} rows of train "
            f"({found.later / found.rows:.2%}), such as {examples[0]}",
            mend="a request can't know it: leave it out of the features or take what "
            "was known at that time",
            count=found.later,
            total=found.rows,
            examples=examples,
        )


def _instant(seconds: int) -> str:
    """Returns an instant as ISO 8601, or as its number where that has no name."""
    try:
        instant = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):
        return str(seconds)
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def _determined(plan: Plan, summary: Summary) -> Iterator[Finding]:
    """Finds features of the query that the candidate determines, such as its genre.

    That is so if rows of the same candidate and different queries agree, and rows of
    the same query and different candidates do not; see `agreement`. What the query
    determines, such as a country, is never found: its rows agree. Nor is a feature of
    queries with one row each, of which can't be told what determines it.
    """
    candidates, queries = summary.by_candidate, summary.by_query
    if candidates is None or queries is None:
        return
    for at, name in enumerate(plan.context, 2):
        found = agreement(candidates.rows[:, 0], candidates.rows[:, at])
        within = agreement(queries.rows[:, 0], queries.rows[:, at])
        if not found or not within or not _is_suspect(found, within):
            continue
        examples = _usual_values(candidates, summary, at)
        yield Finding(
            check=DETERMINED,
            source=INTERACTIONS,
            feature=name,
            splits=(TRAIN,),
            sentence=f"feature {name!r} of the query tells of the candidate: in "
            f"{found.usual:,} of {found.rows:,} sampled rows that share a candidate "
            f"with another query ({found.usual / found.rows:.2%}) it has the "
            f"candidate's usual value (by chance {found.chance:.2%} of pairs agree), "
            + (f"such as {', '.join(examples)}, " if examples else "")
            + "and it changes from row to row of a query",
            mend="a request can't know it: declare it under candidates.features",
            count=found.usual,
            total=found.rows,
            examples=examples,
        )


def _is_suspect(found: Agreement, within: Agreement) -> bool:
    return (
        found.alpha >= MIN_CANDIDATE_ALPHA
        and within.alpha <= MAX_QUERY_ALPHA
        and min(found.expected, within.expected) >= MIN_EXPECTED
    )


def _usual_values(sample: Sample, summary: Summary, at: int) -> tuple[str, ...]:
    """Returns the usual values of some candidates that have several rows."""
    examples: list[str] = []
    units, starts = np.unique(sample.rows[:, 0], return_index=True)
    ends = np.append(starts[1:], len(sample.rows))
    for unit, start, end in zip(units.tolist(), starts, ends, strict=True):
        if len(examples) == MAX_EXAMPLES or unit not in summary.labels:
            break
        values, counts = np.unique(sample.rows[start:end, at], return_counts=True)
        row, (candidate, *texts) = summary.labels[unit]
        if end - start > 1 and values[np.argmax(counts)] == row[at]:
            examples.append(f"{texts[at - 2]!r} of candidate {candidate!r}")
    return tuple(examples)
