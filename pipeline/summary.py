# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The summary of a run: what was measured, which gates held, what was pushed."""

import json
import os
import tempfile
from typing import Any

from pipeline.layout import Layout
from serving.errors import UserError

_MAX_FINDINGS = 10


def write(layout: Layout, summary: dict[str, Any]) -> None:
    """Writes a summary whole or not at all."""
    handle, path = tempfile.mkstemp(dir=layout.home, prefix=".summary-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(summary, file, indent=2, sort_keys=True)
        file.write("\n")
    os.replace(path, layout.summary)


def find(root: str, pipeline: str | None = None) -> Layout:
    """Returns the pipeline whose run ended last, or the one that is named.

    Args:
      root: Folder of all pipelines.
      pipeline: Name of one.

    Raises:
      UserError: There is no finished run.
    """
    names = [pipeline] if pipeline else sorted(os.listdir(root)) if _is(root) else []
    layouts = [Layout(root, name) for name in names]
    finished = [one for one in layouts if os.path.isfile(one.summary)]
    if not finished:
        what = f"pipeline {pipeline}" if pipeline else "any pipeline"
        raise UserError(
            f"no finished run of {what} in {root}; run 'shortlist run CONFIG' first or "
            "name another --root"
        )
    return max(finished, key=lambda one: os.path.getmtime(one.summary))


def _is(root: str) -> bool:
    return os.path.isdir(root)


def read(layout: Layout) -> dict[str, Any]:
    """Reads the summary of a pipeline's last run.

    Raises:
      UserError: It is not JSON, or not a summary.
    """
    try:
        with open(layout.summary, encoding="utf-8") as file:
            content = json.load(file)
    except ValueError:
        raise UserError(
            f"{layout.summary} is not valid JSON; run the pipeline again"
        ) from None
    # It is written whole, so one of its keys stands for all.
    if not isinstance(content, dict) or "pushed_version" not in content:
        raise UserError(f"{layout.summary} is not a summary; run the pipeline again")
    return content


def refusals(summary: dict[str, Any]) -> list[str]:
    """Returns a sentence for each gate that refused the model."""
    return [g["sentence"] for g in summary["gates"] if not g["passed"]]


def as_table(summary: dict[str, Any]) -> str:
    """Returns a summary as text for a terminal."""
    protocol = summary["protocol"]
    lines = [
        f"{summary['pipeline']}: {summary['candidates']:,} candidates, "
        f"{protocol['interactions']:,} held-out interactions of "
        f"{protocol['queries']:,} queries, index {summary['index']['kind']}",
        "",
        *_quality(summary),
        "",
        *_speed(summary),
        "",
        *(f"{'passed ' if g['passed'] else 'REFUSED'}  {g['sentence']}"
          for g in summary["gates"]),
    ]  # fmt: skip
    findings = summary.get("findings", [])
    if findings:
        lines += ["", *_findings(findings)]
    version = summary["pushed_version"]
    lines += ["", f"pushed version {version}" if version else "nothing was pushed"]
    return "\n".join(lines)


def _quality(summary: dict[str, Any]) -> list[str]:
    """Returns the rows of accuracy, model and baselines."""
    ks = ("10", "50", "100")
    rows = {
        "exact search": ("top_k_accuracy", "exact"),
        "index": ("top_k_accuracy", "scann"),
    }
    lines = [
        f"{'top-k accuracy, by id':<24}{'seen left out':^27}{'seen kept':^27}",
        f"{'':<24}" + "".join(f"{'top-' + k:>9}" for k in ks) * 2,
    ]

    def row(name: str, masked: dict[str, float], kept: dict[str, float]) -> str:
        figures = [masked[k] for k in ks] + [kept[k] for k in ks]
        return f"{name:<24}" + "".join(f"{figure:9.4f}" for figure in figures)

    for name, (metric, key) in rows.items():
        lines.append(row(name, summary[f"{metric}_masked"][key], summary[metric][key]))
    for name, figures in summary["baselines"].items():
        lines.append(
            row(name, figures["top_k_accuracy_masked"], figures["top_k_accuracy"])
        )
    interval = summary["intervals"]
    if interval:
        low, high = interval["top_k_accuracy_masked"]
        lines.append(
            f"95% interval of the index's top-{interval['k']}, seen left out: "
            f"{low:.4f} to {high:.4f} (bootstrap over queries)"
        )
    return lines


def _findings(findings: list[dict[str, Any]]) -> list[str]:
    """Returns a line for each finding that a run let pass, the first ten."""
    lines = [f"data: {one['source']}: {one['sentence']}" for one in findings]
    more = len(lines) - _MAX_FINDINGS
    if more <= 0:
        return lines
    return [*lines[:_MAX_FINDINGS], f"data: and {more} more, see --format json"]


def _speed(summary: dict[str, Any]) -> list[str]:
    """Returns the lines of recall and latency."""
    recall, latency = summary["recall"], summary["latency_ms"]
    return [
        f"recall against exact search   @10 {recall['10']:.4f}   "
        f"@100 {recall['100']:.4f}",
        *(
            f"{label:<29} p50 {latency[key]['p50']:.2f} ms   "
            f"p99 {latency[key]['p99']:.2f} ms"
            for label, key in (
                ("single query, exact search", "exact"),
                ("single query, index", "scann"),
            )
        ),
    ]
