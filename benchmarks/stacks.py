# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The two stacks side by side: the pipeline, its model, and a server of that.

Each is measured by its own Python, and the results file keeps both:

    .venv/bin/python -m benchmarks.stacks --junit tests.xml
    python3 requirements/debian.py .venv/bin/python -m benchmarks.stacks
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

from benchmarks import record, run_times
from serving import stacks

CONFIG = "configs/movielens-100k.yaml"
PROTOCOL = (
    "one run of the pipeline with nothing cached, its data prepared; quality and "
    "single queries (k = 10) as its own IndexEvaluator reports them; then "
    "benchmarks.serving --sizes small --parts load over what it pushed: the median of "
    "three peaks, beside the plain baseline's; tests: pytest's own report"
)
_REST, _BASELINE = "REST predict, native", "baseline"


def measure(root: str) -> dict[str, Any]:
    """Measures the stack of this process.

    Args:
      root: An empty folder.
    """
    run = run_times.measure_run([CONFIG, "--root", root])
    (pipeline,) = os.listdir(root)
    summary = json.loads(Path(root, pipeline, "summary.json").read_text("utf-8"))
    versions = Path(root, pipeline, "serving")
    (version,) = versions.iterdir()
    found = Path(root, "serving.json")
    load = ["--sizes", "small", "--parts", "load", "--small", str(version)]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.serving", *load, "-o", str(found)],
        cwd=record.ROOT,
        check=True,
        stdout=sys.stderr,
    )
    served = record.read(found)["results"]["small"]["load"]
    return {
        "run": run,
        "quality": {
            "top_100_accuracy_masked": summary["top_k_accuracy_masked"]["scann"]["100"],
            "ndcg@10_masked": summary["ranking_masked"]["scann"]["ndcg@10"],
            "recall@10_against_exact": summary["recall"]["10"],
        },
        "latency_ms": summary["latency_ms"],
        "peaks_per_second": {
            name: sorted(served[name]["peaks"])[1] for name in (_REST, _BASELINE)
        },
    }


def tests_of(path: str) -> dict[str, int]:
    """Returns how many tests passed, failed and were skipped, of a JUnit file."""
    (suite,) = xml.etree.ElementTree.parse(path).getroot()
    count = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors")}
    skipped = int(suite.attrib["skipped"])
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - skipped
    return {"passed": passed, "failed": failed, "skipped": skipped}


def as_table(results: dict[str, Any]) -> str:
    """Returns the results as Markdown, the newest stack first."""
    rows = []
    for name in (one.name for one in stacks.STACKS if one.name in results):
        found = results[name]
        latency, peaks = found["latency_ms"], found["peaks_per_second"]
        tests = found.get("tests")
        rows.append(
            [
                f"{name}, Python {found['about']['versions']['python']}",
                f"{tests['passed']:,}, {tests['failed']}" if tests else "-",
                f"{found['run']['seconds']:.0f}",
                f"{found['quality']['top_100_accuracy_masked']:.4f}",
                f"{found['quality']['ndcg@10_masked']:.4f}",
                f"{latency['native']['p50']:.3f}; {latency['native']['p99']:.3f}",
                f"{latency['scann']['p50']:.3f}; {latency['scann']['p99']:.3f}",
                f"{peaks[_REST]:,.0f}",
                f"{peaks[_REST] / peaks[_BASELINE]:.1f}",
            ]
        )
    header = ["stack", "tests passed, failed", "pipeline s", "top-100", "NDCG@10"]
    header += ["native p50; p99 ms", "SavedModel p50; p99 ms", "REST/s", "× baseline"]
    return record.table(header, rows)


def main() -> None:
    """Measures, unless it is only to show, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--junit",
        metavar="FILE",
        help="report of the tests (`make test ARGS=--junitxml=FILE`), whose counts are "
        "kept; nothing else is measured",
    )
    record.add_arguments(parser, "stacks")
    options = parser.parse_args()
    name, results = stacks.RUNNING.name, {}
    if options.out.exists():
        results = record.read(options.out)["results"]
    if options.junit:
        results.setdefault(name, {})["tests"] = tests_of(options.junit)
    elif not options.show:
        about = record.about("stacks")
        with tempfile.TemporaryDirectory(prefix="shortlist-") as root:
            found = {"about": about, **measure(root)}
        with contextlib.suppress(KeyError):
            found["tests"] = results[name]["tests"]
        results[name] = found
    if not options.show:
        record.write(options.out, {"protocol": PROTOCOL, "results": results})
    print(as_table({key: one for key, one in results.items() if "run" in one}))


if __name__ == "__main__":
    main()
