# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a benchmark: makes the workload, builds the version, measures each system."""

import dataclasses
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import serving.process
from serving.bench.systems import SYSTEMS
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


def run(bench: Bench) -> dict[str, Any]:
    """Measures all systems, each in a fresh process, one after the other.

    Returns:
      `vectors`, `candidates`, `dimensions`, `queries`, `threads`, `target_recall`,
      `build`, and `systems`, the results of `serving.bench.measure` by name.

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
        }
        made = _in_fresh_process(folder, {**request, "step": "make"})
        _log.info("building the servable")
        built = _in_fresh_process(folder, {**request, "step": "build"})
        results = {}
        for name in bench.systems:
            _log.info("measuring %s", name)
            results[name] = _in_fresh_process(
                folder, {**request, "step": "measure", "system": name}
            )
        return {
            "vectors": bench.vectors,
            **made,
            "threads": bench.threads,
            "target_recall": bench.target_recall,
            "build": built,
            "systems": results,
        }


def _in_fresh_process(folder: str, request: dict[str, Any]) -> dict[str, Any]:
    """Runs `serving.bench.measure` and returns its result."""
    paths = [os.path.join(folder, name) for name in ("request.json", "result.json")]
    with open(paths[0], "w", encoding="utf-8") as file:
        json.dump(request, file)
    done = subprocess.run(
        [sys.executable, "-m", "serving.bench.measure", *paths],
        env=serving.process.child_environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        what = request.get("system") or f"the step '{request['step']}'"
        raise UserError(f"{what} failed (exit code {done.returncode}): {last}")
    with open(paths[1], encoding="utf-8") as file:
        return json.load(file)


def check_names(names: Sequence[str]) -> list[str]:
    """Returns names of systems, all of them where none is given.

    Raises:
      UserError: One is unknown.
    """
    for name in names:
        if name not in SYSTEMS:
            raise UserError(
                f"unknown system '{name}'; there are {', '.join(map(repr, SYSTEMS))}"
            )
    return list(names or SYSTEMS)
