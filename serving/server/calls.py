# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A request as engines know it: a signature, a tensor for each input, and options."""

import dataclasses

from serving.servable import EXCLUDE, LEAVES_TO_SEARCH, OPTIONS, REORDER, K
from serving.server.failure import invalid
from serving.server.tensors import Signature, Tensors, as_text


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a request may ask at most."""

    k: int = 10_000
    rows: int = 1_000
    """Queries of a request."""
    results: int = 1_000_000
    """Rows times k."""
    excluded: int = 100_000
    """Candidates that a request leaves out."""


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """A checked request."""

    signature: Signature
    inputs: Tensors
    """A tensor for each input of the signature."""
    rows: int
    """Queries that it asks."""
    filter: str = ""
    """Restricts candidates, see `serving.filters`; only native engines know how."""

    @property
    def features(self) -> Tensors:
        """The inputs that are no options."""
        return {name: one for name, one in self.inputs.items() if name not in OPTIONS}

    @property
    def k(self) -> int | None:
        """Results wanted, None where the signature has its own number."""
        return self._number(K)

    @property
    def effort(self) -> tuple[int, int]:
        """Leaves to search and hits to rescore; 0: as the index was built."""
        return self._number(LEAVES_TO_SEARCH) or 0, self._number(REORDER) or 0

    @property
    def excludes(self) -> bool:
        """Whether any candidate is left out."""
        return EXCLUDE in self.inputs and bool(self.inputs[EXCLUDE].values)

    def excluded(self) -> list[list[str]]:
        """Returns the ids to leave out for each query."""
        if not self.excludes:
            return [[]] * self.rows
        given, (rows, width) = self.inputs[EXCLUDE].values, self.inputs[EXCLUDE].shape
        ids = [as_text(one) for one in given]
        lists = [ids[at * width : (at + 1) * width] for at in range(rows)]
        return lists * self.rows if rows == 1 else lists

    def _number(self, name: str) -> int | None:
        return int(self.inputs[name].values[0]) if name in self.inputs else None


def make_call(
    signature: Signature, given: Tensors, limits: Limits, filter: str = ""
) -> Call:
    """Checks a request against a signature and what is allowed.

    Args:
      signature: What is called.
      given: Its inputs; those with defaults may be missing.
      limits: What is allowed.
      filter: See `Call`.

    Raises:
      Failure: It does not fit, or asks for too much or too little.
    """
    inputs = signature.complete(given)
    features = [
        one for name, one in inputs.items() if name not in OPTIONS and one.shape
    ]
    sizes = {one.rows for one in features}
    if len(sizes) > 1:
        shapes = ", ".join(
            f"{name} {one.rows}"
            for name, one in inputs.items()
            if one.shape and name not in OPTIONS
        )
        raise invalid(f"the inputs have different numbers of rows: {shapes}")
    call = Call(signature, inputs, max(sizes, default=1), filter)
    _check_limits(call, limits)
    return call


def _check_limits(call: Call, limits: Limits) -> None:
    if call.rows > limits.rows:
        raise invalid(
            f"a request may have {limits.rows} rows, got {call.rows}; send several, or "
            "start the server with a larger --max-rows"
        )
    k = call.k
    if k is not None and not 1 <= k <= limits.k:
        more = "; start the server with a larger --max-k" if k > 1 else ""
        raise invalid(f"k must be from 1 to {limits.k}, got {k}{more}")
    if k is not None and call.rows * k > limits.results:
        raise invalid(
            f"a request may have {limits.results} results, got {call.rows} rows of {k};"
            " send several, or start the server with a larger --max-results"
        )
    if EXCLUDE in call.inputs:
        exclude = call.inputs[EXCLUDE]
        if exclude.rows not in (1, call.rows):
            raise invalid("exclude must have one row, or one row for each query")
        if len(exclude.values) > limits.excluded:
            raise invalid(
                f"exclude may have {limits.excluded} ids, got {len(exclude.values)}"
            )
