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
    # It is written whole, so two of its keys, one of them new, stand for all.
    if not isinstance(content, dict) or not {"pushed_version", "parts"} <= set(content):
        raise UserError(f"{layout.summary} is not a summary; run the pipeline again")
    return content


def refusals(summary: dict[str, Any]) -> list[str]:
    """Returns a sentence for each gate that refused the model."""
    return [g["sentence"] for g in summary["gates"] if not g["passed"]]


def as_table(summary: dict[str, Any], details: bool = False) -> str:
    """Returns a summary as text for a terminal.

    Args:
      summary: What a run measured and decided.
      details: Whether to show more of the quality than top-k accuracy.
    """
    protocol, shards = summary["protocol"], summary.get("shards", 1)
    lines = [
        f"{summary['pipeline']}: {summary['candidates']:,} candidates, "
        f"{protocol['interactions']:,} held-out interactions of "
        f"{protocol['queries']:,} queries, index {summary['index']['kind']}"
        + (f" in {shards} shards" if shards > 1 else ""),
        "",
        *_accuracy(summary),
        "",
        *(_details(summary) if details else _interval(summary)),
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


_MODEL, _PREVIOUS = "index", "previous"
_ORDER = ("scann", "previous", "popularity", "item_knn", "ease", "ials")


def _systems(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the figures of the index and what it is held against, by their names."""
    keys = ("top_k_accuracy", "top_k_accuracy_masked", "ranking", "ranking_masked")
    own = {
        name: {key: summary[key][kind] for key in keys}
        for name, kind in (("exact search", "exact"), (_MODEL, "scann"))
    }
    previous = {_PREVIOUS: summary["previous"]} if summary["previous"] else {}
    baselines = sorted(summary["baselines"].items(), key=lambda one: _place(one[0]))
    return {**own, **previous, **dict(baselines)}


def _place(name: str) -> int:
    """Returns where a system stands in the tables, as JSON sorts them by name."""
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _by_name(figures: dict[str, Any]) -> dict[str, Any]:
    """Calls what is kept by system as the tables do, in their order."""
    named = {"scann": _MODEL, "previous": _PREVIOUS}
    return {
        named.get(name, name): figures[name] for name in sorted(figures, key=_place)
    }


def _accuracy(summary: dict[str, Any]) -> list[str]:
    """Returns the rows of accuracy, model and baselines."""
    ks = ("10", "50", "100")
    lines = [
        f"{'top-k accuracy, by id':<24}{'seen left out':^27}{'seen kept':^27}",
        f"{'':<24}" + "".join(f"{'top-' + k:>9}" for k in ks) * 2,
    ]
    for name, found in _systems(summary).items():
        masked, kept = found["top_k_accuracy_masked"], found["top_k_accuracy"]
        figures = [masked[k] for k in ks] + [kept[k] for k in ks]
        lines.append(f"{name:<24}" + "".join(f"{figure:9.4f}" for figure in figures))
    return lines


def _interval(summary: dict[str, Any]) -> list[str]:
    """Returns the line of the gate's interval, if there is one."""
    intervals = summary["intervals"]
    if not intervals:
        return []
    k = intervals["k"]
    figure = intervals["figures"]["scann"][f"top_{k}_accuracy"]
    return [
        f"95% interval of the index's top-{k}, seen left out: {figure['low']:.4f} to "
        f"{figure['high']:.4f} (bootstrap over queries)",
        "",
    ]


def _details(summary: dict[str, Any]) -> list[str]:
    """Returns the tables of ranking metrics, of intervals, and of warm and cold."""
    lines = [*_ranking(summary), ""]
    if summary["intervals"]:
        lines += [*_intervals(summary["intervals"]), ""]
    return [*lines, *_parts(summary), "", *_filtered(summary)]


def _filtered(summary: dict[str, Any]) -> list[str]:
    """Returns a line for each filter that was tried."""
    lines = [
        f"{one['filter']:<40} {one['candidates']:>12,} {one['recall']:>12.4f}"
        for one in summary.get("filtered", [])
    ]
    head = f"{'native engine, filter':<40} {'candidates':>12} {'recall@10':>12}"
    return [head, *lines, ""] if lines else []


_RANKING = {
    "NDCG": "ndcg",
    "recall": "recall",
    "MRR": "mrr",
    "MAP": "map",
    "hits": "hit_rate",
    "cover": "coverage",
    "Gini": "gini",
    "popul": "popularity_bias",
    "novel": "novelty",
}
"""Metrics of the first ten by the heads of their columns."""


def _ranking(summary: dict[str, Any]) -> list[str]:
    """Returns the rows of ranking metrics, of single lists and of all together."""
    lines = [
        "first 10, seen left out, mean over queries; all lists together from cover on",
        f"{'':<15}" + "".join(f"{head:>7}" for head in _RANKING),
    ]
    for name, found in _systems(summary).items():
        figures = [found["ranking_masked"][f"{key}@10"] for key in _RANKING.values()]
        lines.append(f"{name:<15}" + "".join(map(_short, figures)))
    return lines


def _short(figure: float | None) -> str:
    """Returns a figure in seven columns; some are not defined."""
    return f"{'-':>7}" if figure is None else f"{figure:7.3f}"


def _intervals(intervals: dict[str, Any]) -> list[str]:
    """Returns the rows of intervals, of each system and of the differences."""
    metrics = {
        "NDCG@10": "ndcg@10",
        "recall@10": "recall@10",
        f"top-{intervals['k']}": f"top_{intervals['k']}_accuracy",
    }

    def rows(table: dict[str, Any], sign: str) -> list[str]:
        return [
            f"{name:<11}" + "".join(_bounded(one[m], sign) for m in metrics.values())
            for name, one in _by_name(table).items()
        ]

    return [
        "with 95% intervals, seen left out (bootstrap over queries)",
        f"{'':<11}" + "".join(f"{head:>23}" for head in metrics),
        *rows(intervals["figures"], ""),
        "the index minus",
        *rows(intervals["differences"], "+"),
    ]


def _bounded(figure: dict[str, float], sign: str) -> str:
    """Returns a figure and its interval in 23 columns."""
    value, low, high = (
        f"{figure[key]:{sign}.4f}".replace("0.", ".", 1)
        for key in ("value", "low", "high")
    )
    return f"{f'{value} ({low} {high})':>23}"


def _parts(summary: dict[str, Any]) -> list[str]:
    """Returns the rows of accuracy by what training has seen."""
    parts, k = summary["parts"], "100"
    names = ("warm", "cold_queries", "cold_candidates")

    def row(name: str, cells: list[str]) -> str:
        return f"{name:<24}" + "".join(f"{cell:>18}" for cell in cells)

    def accuracy(part: str, system: str) -> str:
        found = parts[part]["top_k_accuracy_masked"]
        return f"{found[system][k]:.4f}" if found else "-"

    filled = next(p for p in parts.values() if p["top_k_accuracy_masked"])
    systems = _by_name({name: name for name in filled["top_k_accuracy_masked"]})
    return [
        row(f"top-{k}, seen left out", [name.replace("_", " ") for name in names]),
        row("share of interactions", [f"{parts[n]['share']:.2%}" for n in names]),
        *(
            row(shown, [accuracy(n, key) for n in names])
            for shown, key in systems.items()
        ),
    ]


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
                ("single query, native engine", "native"),
            )
            if key in latency
        ),
    ]
