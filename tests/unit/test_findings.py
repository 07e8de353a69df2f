# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Findings: which of them stop a run, what is said then, and what is kept of them."""

import json
import logging

import pytest

from components.findings import Finding, Policy, act, dump_findings, load_findings
from pipeline import summary
from serving.errors import UserError

LOGGER = "components.findings"


def finding(feature: str, mend: str = "mend it", **changes) -> Finding:
    """A finding about a feature."""
    return Finding(
        **{
            "check": "constant",
            "source": "interactions",
            "feature": feature,
            "splits": ("train",),
            "sentence": f"feature {feature!r} is odd" if feature else "all is odd",
            "mend": mend,
            **changes,
        }
    )


def raised(findings: list[Finding], policy: Policy = Policy(), intro: str = "") -> str:  # noqa: B008
    with pytest.raises(UserError) as caught:
        act(findings, policy, intro)
    return str(caught.value)


def test_nothing_found_stops_nothing():
    act([], Policy())


def test_one_finding_is_told_with_its_mend_and_how_to_let_it_pass():
    assert raised([finding("a")], intro="bad data: ") == (
        "bad data: feature 'a' is odd: mend it; or let it pass: add 'a' to "
        "validation.ignore, or set validation.mode to warn"
    )


def test_a_mend_that_all_share_is_told_once():
    told = raised([finding("a"), finding("b")])
    assert told.startswith("feature 'a' is odd; feature 'b' is odd: mend it; or let it")
    assert "add the features to validation.ignore" in told
    told = raised([finding("a", "mend a"), finding("b", "mend b")])
    assert told.startswith("feature 'a' is odd: mend a; feature 'b' is odd: mend b; or")


def test_what_is_about_no_feature_can_only_be_let_pass_by_the_mode():
    told = raised([finding("a"), finding("")])
    assert told.endswith("or let it pass: set validation.mode to warn")


@pytest.mark.parametrize(("count", "more"), [(10, ""), (11, "; and 1 more: mend it")])
def test_ten_are_told(count, more):
    told = raised([finding(f"f{number:02}") for number in range(count)])
    assert told.count("is odd") == 10
    assert more in told
    assert ("more" in told) == bool(more)


@pytest.mark.parametrize(
    "policy", [Policy("warn"), Policy("strict", ("a",)), Policy("warn", ("a",))]
)
def test_what_is_let_pass_is_a_warning(policy, caplog):
    with caplog.at_level(logging.INFO, LOGGER):
        act([finding("a")], policy)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", "interactions: feature 'a' is odd")
    ]


def test_an_ignored_feature_does_not_let_others_pass(caplog):
    told = raised([finding("a"), finding("b")], Policy("strict", ("a",)))
    assert "'a'" not in told and told.startswith("feature 'b' is odd")
    assert "feature 'a' is odd" in caplog.text


def test_what_is_only_told_never_stops(caplog):
    with caplog.at_level(logging.INFO, LOGGER):
        act([finding("a", stops=False)], Policy())
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_findings_and_policies_come_back_from_json():
    findings = [
        finding("a", count=1, total=4, examples=("x", "y"), stops=False),
        finding(""),
    ]
    text = dump_findings(findings)
    assert load_findings(text) == findings
    assert [one["share"] for one in json.loads(text)] == [0.25, None]
    policy = Policy("warn", ("b", "a", "b"))
    assert Policy.load(policy.dump()) == Policy("warn", ("a", "b"))
    assert policy.dump() == Policy("warn", ("a", "b")).dump()


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 1), (10, 10), (12, 11)])
def test_the_summary_has_a_line_a_finding(count, expected):
    found = [finding(f"f{number}").to_json() for number in range(count)]
    lines = summary._findings(found)
    assert len(lines) == expected
    if count:
        assert lines[0] == "data: interactions: feature 'f0' is odd"
    if count > 10:
        assert lines[-1] == "data: and 2 more, see --format json"
