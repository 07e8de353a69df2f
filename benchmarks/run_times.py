# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""How long `shortlist` takes and how much memory, each verb as a fresh process.

A run of the pipeline without a cache, the same again from the cache, `--help`,
`recommend` and `metrics`. Measure on a quiet machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks import record

PROTOCOL = (
    "each figure a process of its own, wall time from its start to its end; run: "
    "interpreter, environment and data set installed, nothing of the pipeline cached; "
    "node by node as the run itself reports, the rest (imports, interpreter, graph) "
    "is the wall time beside them; peak memory: largest sum of the resident memory "
    "of the process and its descendants, sampled 20 times a second, memory that "
    "processes share counted in each; repeated figures: median, after one call "
    "unmeasured, of the number of calls that is given"
)
_SAMPLE_SECONDS = 0.05
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def resident_mib(pid: int) -> float:
    """Returns the resident memory of a process and its descendants, MiB."""
    folder = Path("/proc", str(pid))
    try:
        pages = int((folder / "statm").read_text(encoding="utf-8").split()[1])
        children = [
            int(child)
            for task in (folder / "task").iterdir()
            for child in (task / "children").read_text(encoding="utf-8").split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it has ended meanwhile
    return pages * _PAGE_MIB + sum(map(resident_mib, children))


class PeakMemory(threading.Thread):
    """Samples the resident memory of a process and its descendants."""

    def __init__(self, pid: int):
        """Starts sampling."""
        super().__init__(daemon=True)
        self.mib = 0.0
        self._pid, self._ended = pid, threading.Event()
        self.start()

    def run(self) -> None:
        """Samples until it is told to end."""
        while not self._ended.wait(_SAMPLE_SECONDS):
            self.mib = max(self.mib, resident_mib(self._pid))

    def end(self) -> float:
        """Ends the sampling and returns the peak, MiB."""
        self._ended.set()
        self.join()
        return self.mib


def call(*arguments: str) -> dict[str, Any]:
    """Runs `shortlist` with arguments.

    Returns:
      `seconds` (wall), `peak_mib`, `output`.

    Raises:
      SystemExit: It did not end with code 0.
    """
    program = os.path.join(os.path.dirname(sys.executable), "shortlist")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [program, *arguments], cwd=record.ROOT, stdout=output
        )
        memory = PeakMemory(process.pid)
        # Without a timeout: with one, subprocess looks only every 50 ms.
        code = process.wait()
        seconds = time.perf_counter() - started
        peak = memory.end()
        output.seek(0)
        told = output.read()
    if code:
        raise SystemExit(f"shortlist {' '.join(arguments)} ended with code {code}")
    return {"seconds": seconds, "peak_mib": peak, "output": told}


def measure_run(arguments: list[str]) -> dict[str, Any]:
    """Measures one run of the pipeline."""
    found = call("run", *arguments, "--format", "json")
    report = json.loads(found["output"])
    nodes = report["run"]["nodes"]
    rest = found["seconds"] - sum(node["seconds"] for node in nodes)
    return {
        "seconds": round(found["seconds"], 1),
        "peak_mib": round(found["peak_mib"]),
        "seconds_beside_nodes": round(rest, 1),
        "nodes": nodes,
    }


def measure_verb(calls: int, *arguments: str) -> dict[str, Any]:
    """Measures a quick verb, several times after one unmeasured call."""
    call(*arguments)
    found = [call(*arguments) for _ in range(calls)]
    seconds = [one["seconds"] for one in found]
    return {
        "seconds": round(statistics.median(seconds), 3),
        "all_seconds": [round(one, 3) for one in seconds],
        "peak_mib": round(max(one["peak_mib"] for one in found)),
    }


def measure(config: str, overrides: list[str], root: str) -> dict[str, Any]:
    """Measures everything in one root."""
    sets = [part for override in overrides for part in ("--set", override)]
    arguments = [config, "--root", root, *sets]
    fresh, cached = measure_run(arguments), measure_run(arguments)
    query = ("--query", "user_id=42", "-k", "3")
    return {
        "run": fresh,
        "run, cached": cached,
        "--help": measure_verb(10, "--help"),
        "recommend": measure_verb(3, "recommend", "--root", root, *query),
        "metrics": measure_verb(3, "metrics", "--root", root),
    }


def as_table(results: dict[str, Any]) -> str:
    """Returns the results as Markdown."""
    rows = [
        [
            f"shortlist {name}",
            f"{figures['seconds']:.2f}",
            f"{figures['peak_mib']:,}",
        ]
        for name, figures in results.items()
    ]
    runs = [results["run"], results["run, cached"]]
    nodes = [
        [fresh["node"], f"{fresh['seconds']:.1f}", _seconds(cached)]
        for fresh, cached in zip(*(run["nodes"] for run in runs), strict=True)
    ]
    rest = [f"{run['seconds_beside_nodes']:.1f}" for run in runs]
    nodes.append(["imports and the rest", *rest])
    return "\n\n".join(
        [
            record.table(["wall time", "s", "peak MiB"], rows),
            record.table(["node", "run, s", "run again, s"], nodes),
        ]
    )


def _seconds(node: dict[str, Any]) -> str:
    return f"{node['seconds']:.1f}" + ("" if node["cached"] else ", not cached")


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Measures everything; returns what the results file holds."""
    about = record.about("run_times")
    with tempfile.TemporaryDirectory(prefix="shortlist-") as root:
        results = measure(options.config, options.overrides, root)
    return {
        **about,
        "protocol": PROTOCOL,
        "config": options.config,
        "seeds": "as the config says",
        "results": results,
    }


def main() -> None:
    """Measures, unless it is only to show, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--config",
        default="configs/movielens-100k.yaml",
        metavar="FILE",
        help="what to run (default: %(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY.PATH=VALUE",
        help="override a config value; repeatable",
    )
    record.add_arguments(parser, "run_times")
    options = parser.parse_args()
    if not options.show:
        record.write(options.out, measure_all(options))
    print(as_table(record.read(options.out)["results"]))


if __name__ == "__main__":
    main()
