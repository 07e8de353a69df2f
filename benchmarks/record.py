# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What every results file says of itself: command, machine, date, versions."""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from pipeline.fingerprint import fingerprint

ROOT = Path(__file__).parents[1]
"""The repository; benchmarks run in it, so that data/ and configs/ are found."""

_PACKAGES = (
    "tensorflow",
    "tf-keras",
    "tensorflow-recommenders",
    "tensorflow-datasets",
    "scann",
    "tfx",
    "apache-beam",
    "numpy",
    "scipy",
)
_ROOMS = ("pipeline", "components", "trainer", "serving")


def machine() -> dict[str, Any]:
    """Describes the machine, without its name, and how busy it is."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    about = {key.strip(): value.strip() for key, _, value in (
        line.partition(":") for line in lines
    )}  # fmt: skip
    page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    flags = set(about.get("flags", "").split())
    return {
        "cpu": about.get("model name", platform.machine()),
        "cpu_flags": sorted(flags & {"avx", "avx2", "fma", "avx512f", "avx512_vnni"}),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(page * pages / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average_1min": round(os.getloadavg()[0], 2),
    }


def about(module: str) -> dict[str, Any]:
    """Returns what makes a run of a benchmark repeatable; call it at the start.

    Args:
      module: Name of the benchmark in this package.
    """
    # Absolute paths say where somebody's files lie, nothing about the benchmark.
    arguments = [re.sub("(^|=)/.*", r"\1DIR", one) for one in sys.argv[1:]]
    return {
        "command": shlex.join(["python", "-m", f"benchmarks.{module}", *arguments]),
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        # Other code than this may give other figures.
        "code_fingerprint": fingerprint(*_ROOMS),
    }


def add_arguments(parser: argparse.ArgumentParser, module: str) -> None:
    """Adds the options that every benchmark has."""
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path(__file__).parent / "results" / f"{module}.json",
        metavar="FILE",
        help=f"results file (default: benchmarks/results/{module}.json)",
    )
    parser.add_argument(
        "--show",
        action="store_true",
        help="print the tables of the results file and measure nothing",
    )


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes a results file whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Reads a results file."""
    return json.loads(path.read_text(encoding="utf-8"))


def table(header: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table with aligned columns, the first to the left."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(
        "| " + " | ".join([
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(
                line[1:], widths[1:], strict=True
            )),
        ]) + " |"
        for line in (header, rule, *rows)
    )  # fmt: skip
