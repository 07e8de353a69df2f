# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""How time and memory grow with the log: files to embedded candidates, node by node.

For each size: `shortlist synth` in a process of its own, then the pipeline of the
config that it wrote, in a fresh process without a cache, up to CandidateEmbedder.
Measure on a quiet machine.
"""

import argparse
import bisect
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from benchmarks import record
from benchmarks.run_times import call, resident_mib

PROTOCOL = (
    "each size a fresh process, nothing cached, up to CandidateEmbedder; a node's time "
    "is its wall time as the runner sees it; its memory is the largest sum of the "
    "resident memory of the process and its descendants while it runs, sampled 10 "
    "times a second, beside what was resident when it began: one process runs all "
    "nodes, and what an earlier one has left, imports included, counts; rows per "
    "second are interactions, or candidates for nodes that read these alone; growth "
    "is the figure over that of the size before"
)
LAST_NODE = "CandidateEmbedder"
_SAMPLE_SECONDS = 0.1


class MemoryLog(threading.Thread):
    """Samples the resident memory of a process and its descendants over time."""

    def __init__(self, pid: int):
        """Starts sampling."""
        super().__init__(daemon=True)
        self._times: list[float] = []
        self._mib: list[float] = []
        self._pid, self._ended = pid, threading.Event()
        self.start()

    def run(self) -> None:
        """Samples until it is told to end."""
        while not self._ended.wait(_SAMPLE_SECONDS):
            self._mib.append(resident_mib(self._pid))
            self._times.append(time.monotonic())

    def end(self) -> None:
        """Ends the sampling."""
        self._ended.set()
        self.join()

    def between(self, start: float, end: float) -> list[float]:
        """Returns the samples of a stretch of time and the last before it, MiB."""
        first = bisect.bisect_left(self._times, start)
        last = bisect.bisect_right(self._times, end)
        return self._mib[max(first - 1, 0) : max(last, 1)]


def run_nodes(config: str, overrides: list[str], root: str) -> dict[str, Any]:
    """Runs a config up to the last node.

    Returns:
      `seconds` (wall, of the process), `peak_mib` and `nodes`.

    Raises:
      SystemExit: It failed.
    """
    sets = [part for override in overrides for part in ("--set", override)]
    command = [sys.executable, "-m", "benchmarks.nodes", config, root, LAST_NODE, *sets]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=record.ROOT, stdout=output)
        memory = MemoryLog(process.pid)
        code = process.wait()
        ended = time.monotonic()
        memory.end()
        if code:
            raise SystemExit(f"the run of {config} ended with code {code}")
        output.seek(0)
        nodes = json.loads(output.read().splitlines()[-1])
    return {
        "seconds": round(ended - started, 1),
        "peak_mib": round(max(memory.between(started, ended))),
        "nodes": [_node(one, memory) for one in nodes],
    }


def _node(node: dict[str, Any], memory: MemoryLog) -> dict[str, Any]:
    mib = memory.between(node["start"], node["end"])
    return {
        "node": node["node"],
        "seconds": round(node["end"] - node["start"], 2),
        "peak_mib": round(max(mib)),
        "mib_before": round(mib[0]),
        "output_mib": round(node["bytes"] / 2**20, 1),
    }


def measure(interactions: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measures one size in a folder of its own, which is deleted afterwards."""
    candidates = interactions // 10
    with tempfile.TemporaryDirectory(prefix="shortlist-", dir=options.scratch) as top:
        data, root = os.path.join(top, "data"), os.path.join(top, "runs")
        size = [f"--interactions={interactions}", f"--candidates={candidates}"]
        made = call("synth", "-o", data, *size)
        config = os.path.join(data, "config.yaml")
        found = run_nodes(config, options.overrides, root)
    return {
        "interactions": interactions,
        "candidates": candidates,
        "synth": {
            "seconds": round(made["seconds"], 1),
            "peak_mib": round(made["peak_mib"]),
        },
        **found,
    }


def as_table(results: list[dict[str, Any]]) -> str:
    """Returns the results as Markdown: time, its growth, memory, rows a second."""
    sizes = [f"{one['interactions']:,}" for one in results]
    grown = [f"× to {size}" for size in sizes[1:]]
    names = [node["node"] for node in results[0]["nodes"]]
    by_node = [{n["node"]: n for n in one["nodes"]} for one in results]
    seconds, memory = [], []
    for name in names:
        nodes = [one[name] for one in by_node]
        times = [node["seconds"] for node in nodes]
        seconds.append(
            [name, *map(_time, times), *_growth(times), _rate(name, results[-1], times)]
        )
        peaks = [node["peak_mib"] for node in nodes]
        more = [node["peak_mib"] - node["mib_before"] for node in nodes]
        memory.append(
            [name, *(f"{p:,} (+{m:,})" for p, m in zip(peaks, more, strict=True))]
        )
    whole = [one["seconds"] for one in results]
    seconds.append(["all, imports too", *map(_time, whole), *_growth(whole), ""])
    memory.append(["all", *(f"{one['peak_mib']:,}" for one in results)])
    return "\n\n".join(
        [
            record.table(
                ["seconds", *sizes, *grown, f"rows/s at {sizes[-1]}"], seconds
            ),
            record.table(["peak MiB (above its start)", *sizes], memory),
        ]
    )


def _time(seconds: float) -> str:
    return f"{seconds:,.1f}"


def _growth(values: list[float]) -> list[str]:
    """Returns each value over the one before; tenths of a second tell nothing."""
    pairs = zip(values, values[1:], strict=False)
    return [f"{after / before:.1f}" if before >= 0.5 else "" for before, after in pairs]


def _rate(name: str, size: dict[str, Any], times: list[float]) -> str:
    if times[-1] < 0.5:
        return ""
    of_candidates = name.endswith(".candidates") or name == LAST_NODE
    rows = size["candidates" if of_candidates else "interactions"]
    return f"{rows / times[-1]:,.0f}"


def main() -> None:
    """Measures, unless it is only to show, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[10**5, 10**6, 10**7],
        metavar="N",
        help="interactions; candidates are a tenth (default: 10^5 10^6 10^7)",
    )
    parser.add_argument(
        "--scratch",
        metavar="DIR",
        help="folder for files and runs, deleted afterwards (default: the system's)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY.PATH=VALUE",
        help="override a config value; repeatable",
    )
    record.add_arguments(parser, "scale")
    options = parser.parse_args()
    if not options.show:
        content = {
            **record.about("scale"),
            "protocol": PROTOCOL,
            "seeds": "shortlist synth's and its config's own: 42",
        }
        content["results"] = [measure(size, options) for size in options.sizes]
        record.write(options.out, content)
    print(as_table(record.read(options.out)["results"]))


if __name__ == "__main__":
    main()
