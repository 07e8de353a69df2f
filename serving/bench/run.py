# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a benchmark: makes the workload, builds the version, measures each system."""

import dataclasses
import logging
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import serving.process
from serving.bench.systems import STREAMING, SYSTEMS
from serving.errors import UserError

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Bench:
    """What to measure."""

    vectors: dict[str, Any]
    """Arguments of `workload.from_model` or `synthetic`, but for the folder."""
    index: dict[str, Any]
    """An IndexConfig as values."""
    systems: Sequence[str]
    threads: int
    target_recall: float
    pairs: dict[str, Any]
    """`count` of pairs to measure accuracy on, and the `file` of their ids or None."""
    streaming_seconds: float
    """For which TFRS's exact layer is asked a sample of them; 0: all."""


def run(bench: Bench) -> dict[str, Any]:
    """Measures all systems, each in a fresh process, one after the other.

    Returns:
      `vectors`, `candidates`, `dimensions`, `queries`, `threads`, `target_recall`,
      `build`, and `systems`, the results of `serving.bench.measure` by name; under
      `accuracy` what the pairs are and, by system, the results of
      `serving.bench.accuracy`, None without pairs.

    Raises:
      UserError: A system could not be measured.
    """
    with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
        _log.info("making the vectors and what exact search finds of them")
        request = {
            "vectors": bench.vectors,
            "workload": folder,
            "version": os.path.join(folder, "version"),
            "index": bench.index,
            "threads": bench.threads,
            "target_recall": bench.target_recall,
            "pairs": bench.pairs,
            "streaming_seconds": bench.streaming_seconds,
        }
        made = _measure("making vectors", {**request, "step": "make"})
        _log.info("building the servable")
        built = _measure("building the servable", {**request, "step": "build"})
        results = {}
        pairs = made.pop("pairs")
        for name in bench.systems:
            if name not in SYSTEMS and not pairs:
                continue
            _log.info("measuring %s", name)
            results[name] = _measure(
                f"measuring {name}", {**request, "step": "measure", "system": name}
            )
        return {
            "vectors": bench.vectors,
            **made,
            "threads": bench.threads,
            "target_recall": bench.target_recall,
            "build": built,
            "systems": {name: results[name] for name in results if name in SYSTEMS},
            "accuracy": pairs
            and {
                **pairs,
                "systems": {
                    name: one.pop("accuracy")
                    for name, one in results.items()
                    if "accuracy" in one
                },
            },
        }


def _measure(what: str, request: dict[str, Any]) -> dict[str, Any]:
    return serving.process.ask_module("serving.bench.measure", request, what)


def check_names(names: Sequence[str]) -> list[str]:
    """Returns names of systems, all of them where none is given.

    Raises:
      UserError: One is unknown.
    """
    every = [STREAMING, *SYSTEMS]
    for name in names:
        if name not in every:
            raise UserError(
                f"unknown system '{name}'; there are {', '.join(map(repr, every))}"
            )
    return list(names or every)
