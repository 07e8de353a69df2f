# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The index against faiss, hnswlib, usearch and voyager, each tuned for the same time.

Over the vectors of benchmarks/index.py. Two hours for both workloads with the default
budget, and the last rounds; measure on a quiet machine. The libraries are installed in
.tools/peers; vectors and indexes are kept in build/peers.
"""

import argparse
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import serving.process
from benchmarks import record, workloads
from benchmarks.peers import frontier, report
from benchmarks.peers.systems import OURS, SYSTEMS
from serving.errors import UserError

PROTOCOL = (
    "the vectors of benchmarks/index.py, float32 as they are; highest inner products; "
    "single queries, k = 10, by the library's Python interface, on one core; recall@10 "
    "by id against exact search; tuning: the same seconds for each system, of building "
    "(by all cores) and of trying efforts on half of the queries, drawn at random, the "
    "build that is begun within them finished; first the library's own advice and some "
    "others, then neighbours of what was cheapest at some target; of all that was "
    "tried, the cheapest at each target, and with a margin of a quarter and a half of "
    "what it leaves to 1, are asked the other half of the queries in fresh processes, "
    "system after system in several rounds: median of the rounds' medians and 99th "
    "percentiles; memory: by which loading a saved index and asking it raised the "
    "resident memory, median of the rounds"
)
_PEERS_PYTHON = record.ROOT / ".tools" / "peers" / "bin" / "python"
_WORK = record.ROOT / "build" / "peers"
_NUMBERS = {
    "minutes": (float, 10.0, "M", "to tune each system for, on each workload"),
    "rounds": (int, 5, "N", "over what is measured in the end"),
}
_SAME = ("replicate", "minutes")
"""Options that a measurement goes on with."""


def main() -> None:
    """Measures, unless it is only to show, and prints the tables."""
    options = _options()
    try:
        if not options.show:
            _measure_all(options)
        content = record.read(options.out)
    except UserError as error:
        sys.exit(f"benchmarks.peers: {error}")
    for name, found in content["results"].items():
        report.plot(found, name, options.out.with_name(f"peers-{name}.svg"))
        print(report.as_text(found, name) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=(__doc__ or "").splitlines()[0],
    )
    workloads.add_arguments(parser)
    parser.add_argument(
        "--system",
        action="append",
        choices=list(SYSTEMS),
        metavar="NAME",
        help=f"only this one; repeatable ({', '.join(SYSTEMS)}; default: all)",
    )
    for name, (kind, default, letter, text) in _NUMBERS.items():
        parser.add_argument(
            f"--{name}",
            type=kind,
            default=default,
            metavar=letter,
            help=f"{text} (default: %(default)s)",
        )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with what the results file and build/peers hold",
    )
    record.add_arguments(parser, "peers")
    return parser.parse_args()


def _measure_all(options: argparse.Namespace) -> None:
    """Measures what is wanted and not yet in the results file."""
    peers_python()
    content = _begun(options)
    names = options.system or list(SYSTEMS)
    for workload in options.workload or workloads.WORKLOADS:
        if workload not in content["results"]:
            content["results"][workload] = _make(workload, options)
            record.write(options.out, content)
        measurement = Measurement(workload, content, options)
        for name in names:
            measurement.tune(name)
        for number in range(options.rounds):
            for name in names:
                measurement.ask(name, number)


def peers_python() -> Path:
    """Installs the libraries, where they are not, and returns their interpreter.

    Raises:
      UserError: They can't be installed.
    """
    install = [sys.executable, "requirements/install.py", "peers"]
    if subprocess.run(install, cwd=record.ROOT).returncode:
        raise UserError("the libraries could not be installed; the reason is above")
    return _PEERS_PYTHON


def _begun(options: argparse.Namespace) -> dict[str, Any]:
    """Returns what the results file holds, or the beginning of a new one."""
    chosen = {name: getattr(options, name) for name in _SAME}
    if not options.resume:
        about = {**record.about("peers"), "protocol": PROTOCOL, **chosen}
        return {**about, "results": {}}
    if not options.out.exists():
        raise UserError(f"{options.out} is not there; leave out --resume")
    content = record.read(options.out)
    for name, value in chosen.items():
        if content[name] != value:
            raise UserError(
                f"{options.out} was measured with --{name} {content[name]}, not "
                f"{value}; resume with the same"
            )
    return content


def _make(workload: str, options: argparse.Namespace) -> dict[str, Any]:
    """Writes the vectors of a workload, and what exact search finds.

    Returns:
      `candidates`, `dimensions`, `queries`, and `systems`, still empty.
    """
    folder = _WORK / workload
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = workloads.make(workload, options, str(folder))
    return {**made, "systems": {}}


class Measurement:
    """Tunes systems on one workload and measures what came out."""

    def __init__(
        self, workload: str, content: dict[str, Any], options: argparse.Namespace
    ):
        """Takes all results so far, which it adds to and writes."""
        self._workload, self._content, self._options = workload, content, options
        self._folder = _WORK / workload
        self._found = content["results"][workload]
        if not (self._folder / "truth.npy").exists():
            raise UserError(
                f"{self._folder} no longer holds the vectors that {options.out} was "
                "measured with; leave out --resume"
            )

    def tune(self, name: str) -> None:
        """Builds and tries a system until its time is over or nothing is left."""
        found = self._found["systems"].setdefault(name, {"builds": [], "ended": None})
        knobs = SYSTEMS[name].knobs(self._found["candidates"])
        while not found["ended"]:
            builds = found["builds"]
            config = frontier.next_config(
                knobs.values,
                knobs.default,
                knobs.first,
                [one["config"] for one in builds],
                frontier.winners(points_of(builds)),
            )
            if config is None:
                found["ended"] = "nothing was left to try"
            elif report.seconds(builds) >= self._options.minutes * 60:
                found["ended"] = "the time was over"
            else:
                self._build(name, config, builds)
            record.write(self._options.out, self._content)

    def _build(
        self, name: str, config: frontier.Config, builds: list[dict[str, Any]]
    ) -> None:
        """Builds one index, tries efforts, and drops indexes that are beaten by it."""
        number = len(builds)
        folder = self._index(name, number)
        shutil.rmtree(folder, ignore_errors=True)  # of an interrupted run
        best = frontier.best_times(points_of(builds))
        request = {
            "step": "tune",
            "config": config,
            # JSON knows no infinity.
            "best": {str(t): us for t, us in best.items() if us < math.inf},
        }
        builds.append({"config": config, **self._child(name, number, request)})
        one, spent = builds[-1], report.seconds(builds)
        _tell(
            f"{self._workload}, {name}: {report.config_text(config)}: built in "
            f"{one['build_seconds']:.1f} s, {one['efforts']} efforts in "
            f"{one['sweep_seconds']:.1f} s; {spent:.0f} of "
            f"{self._options.minutes * 60:.0f} s"
        )
        kept = {point.build for point in frontier.chosen(points_of(builds))}
        for at in set(range(len(builds))) - kept:
            shutil.rmtree(self._index(name, at), ignore_errors=True)

    def ask(self, name: str, number: int) -> None:
        """Asks the chosen builds of a system fresh queries, for the given round."""
        found = self._found["systems"][name]
        if "fresh" not in found:
            found["fresh"] = [
                {**one._asdict(), "recall": [], "us": [], "p99_us": [], "memory": []}
                for one in frontier.chosen(points_of(found["builds"]))
            ]
        left = [one for one in found["fresh"] if len(one["us"]) <= number]
        if not left:
            return
        for build in sorted({one["build"] for one in left}):
            points = [one for one in left if one["build"] == build]
            request = {
                "step": "ask",
                "config": found["builds"][build]["config"],
                "efforts": [[one["search"], one["rescored"]] for one in points],
            }
            answer = self._child(name, build, request)
            found |= {key: answer[key] for key in ("version", "detail")}
            for point, one in zip(points, answer["points"], strict=True):
                for key, value in one.items():
                    point[key].append(value)
                point["memory"].append(answer["memory_bytes"])
            record.write(self._options.out, self._content)
        _tell(f"{self._workload}, {name}: round {number + 1} of {self._options.rounds}")

    def _index(self, name: str, number: int) -> Path:
        return self._folder / name / str(number)

    def _child(self, name: str, number: int, request: dict[str, Any]) -> dict[str, Any]:
        """Runs a step in a fresh process of the system's own environment."""
        places = {
            "system": name,
            "workload": str(self._folder),
            "folder": str(self._index(name, number)),
        }
        return serving.process.ask_module(
            "benchmarks.peers.measure",
            {**request, **places},
            f"{name} with {report.config_text(request['config'])}",
            sys.executable if name == OURS else str(_PEERS_PYTHON),
        )


def points_of(builds: list[dict[str, Any]]) -> list[frontier.Point]:
    """Returns the points of all builds, with the builds' numbers."""
    return [
        frontier.Point(recall, us, number, search, rescored)
        for number, build in enumerate(builds)
        for recall, us, search, rescored in build["points"]
    ]


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
