# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What was found in the data, in one form for all who look, and what comes of it."""

import dataclasses
import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from serving.errors import UserError

POLICY_KEY = "policy"
FINDINGS_KEY = "findings"

STRICT = "strict"

MAX_EXAMPLES = 5
"""Values that a finding names."""

_MAX_TOLD = 10
_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing about the data that its owner should know."""

    check: str
    """What was looked for, e.g. skew."""
    source: str
    """Where it was found: interactions, candidates."""
    feature: str
    """The feature that it is about; "" for the source as a whole."""
    splits: tuple[str, ...]
    """The splits that were looked at."""
    sentence: str
    """What was found, with counts and examples."""
    mend: str = ""
    """What to do about it."""
    count: int | None = None
    """Of how many rows it is true; None where nothing was counted."""
    total: int | None = None
    """Of so many."""
    examples: tuple[str, ...] = ()
    """Up to `MAX_EXAMPLES`, the same whatever the order of the rows."""
    stops: bool = True
    """Whether it stops a strict run; else it is only told."""

    @property
    def share(self) -> float | None:
        """`count` of `total`."""
        if self.count is None or not self.total:
            return None
        return self.count / self.total

    def to_json(self) -> dict[str, Any]:
        """Returns the finding as JSON-able values, its share among them."""
        return {**dataclasses.asdict(self), "share": self.share}


def dump_findings(findings: Iterable[Finding]) -> str:
    """Returns findings as JSON."""
    return json.dumps([one.to_json() for one in findings], indent=2) + "\n"


def load_findings(text: str) -> list[Finding]:
    """Reads what `dump_findings` wrote."""
    found = []
    for values in json.loads(text):
        del values["share"]
        values["splits"] = tuple(values["splits"])
        values["examples"] = tuple(values["examples"])
        found.append(Finding(**values))
    return found


@dataclasses.dataclass(frozen=True)
class Policy:
    """What findings do."""

    mode: str = STRICT
    """`strict`: they stop the run; `warn`: they are told."""
    ignore: tuple[str, ...] = ()
    """Features whose findings are told whatever the mode."""

    def dump(self) -> str:
        """Returns the policy as JSON, the same for equal policies."""
        return json.dumps({"mode": self.mode, "ignore": sorted(set(self.ignore))})

    @classmethod
    def load(cls, text: str) -> "Policy":
        """Reads what `dump` wrote."""
        values = json.loads(text)
        return cls(values["mode"], tuple(values["ignore"]))

    def stops(self, finding: Finding) -> bool:
        """Tells whether a finding stops the run."""
        return (
            finding.stops and self.mode == STRICT and finding.feature not in self.ignore
        )


def act(findings: Iterable[Finding], policy: Policy, intro: str = "") -> None:
    """Stops the run for the findings that stop it and logs the others.

    What would stop the run but for the policy is a warning; what is only ever told is
    logged as information.

    Args:
        findings: What was found.
        policy: What stops.
        intro: What the findings that stop have in common.

    Raises:
        UserError: A finding stops the run. It tells the first ten of these, the mend,
            and how to let them pass.
    """
    stopping = []
    for finding in findings:
        if policy.stops(finding):
            stopping.append(finding)
            continue
        level = logging.WARNING if finding.stops else logging.INFO
        _LOGGER.log(level, "%s: %s", finding.source, finding.sentence)
    if stopping:
        raise UserError(f"{intro}{_told(stopping)}; or let it pass: {_pass(stopping)}")


def _told(findings: Sequence[Finding]) -> str:
    """Returns what was found and the mend, told once if it is the same for all."""
    more = len(findings) - _MAX_TOLD
    told = findings[:_MAX_TOLD]
    mends = {one.mend for one in told}
    if len(mends) == 1:
        texts = [one.sentence for one in told]
        end = f": {mends.pop()}"
    else:
        texts, end = [f"{one.sentence}: {one.mend}" for one in told], ""
    if more > 0:
        texts.append(f"and {more} more")
    return "; ".join(texts) + end


def _pass(findings: Sequence[Finding]) -> str:
    """Says how to go on all the same."""
    if not all(one.feature for one in findings):
        return "set validation.mode to warn"
    names = sorted({one.feature for one in findings})
    what = f"{names[0]!r}" if len(names) == 1 else "the features"
    return f"add {what} to validation.ignore, or set validation.mode to warn"
