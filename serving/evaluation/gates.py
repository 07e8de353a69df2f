# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The gates of a model: a bound, what was measured, and a sentence that says both."""

import dataclasses
from typing import Any, Literal

from serving.evaluation.config import GatesConfig


@dataclasses.dataclass(frozen=True)
class Gate:
    """One bound and whether it is kept."""

    name: str
    value: float
    bound: float
    side: Literal["at least", "at most", "above"]

    @property
    def passed(self) -> bool:
        """Tells whether the bound is kept; a value that is not a number is not."""
        if self.side == "at least":
            return self.value >= self.bound
        if self.side == "at most":
            return self.value <= self.bound
        return self.value > self.bound

    def sentence(self) -> str:
        """Says what was measured, what is wanted, and by how much it is missed."""
        told = f"{self.name}: {self.value:.4g}, must be {self.side} {self.bound:.4g}"
        if self.passed:
            return told
        return f"{told}, missed by {abs(self.value - self.bound):.4g}"

    def as_dict(self) -> dict[str, Any]:
        """Returns the gate as JSON-able values."""
        return {
            **dataclasses.asdict(self),
            "passed": self.passed,
            "sentence": self.sentence(),
        }


def index_gates(config: GatesConfig, report: dict[str, Any]) -> list[Gate]:
    """Holds IndexEvaluator's report to its bounds.

    Args:
      config: The bounds.
      report: `recall`, `native_recall`, `latency_ms`, `exact_signature_recall`,
        `top_k_accuracy_masked`, `baselines` and `intervals` as the report has them.

    Returns:
      One gate for each bound that is set. That the exact signature agrees with an
      independent exact search is always asked.
    """
    gates = [
        Gate(
            "exact_signature_recall",
            report["exact_signature_recall"],
            0.999,
            "at least",
        )
    ]
    if config.min_recall_at_10 is not None:
        recall = report["recall"]["10"]
        gates.append(Gate("recall@10", recall, config.min_recall_at_10, "at least"))
        if report["native_recall"]:
            native = report["native_recall"]["10"]
            gates.append(
                Gate("native recall@10", native, config.min_recall_at_10, "at least")
            )
    if config.max_p99_ms is not None:
        p99 = report["latency_ms"]["scann"]["p99"]
        gates.append(Gate("latency_p99_ms", p99, config.max_p99_ms, "at most"))
    if config.better_than_popularity:
        k = str(config.gate_k)
        gates.append(
            Gate(
                f"masked top-{k} accuracy against popularity",
                report["top_k_accuracy_masked"]["scann"][k],
                report["baselines"]["popularity"]["top_k_accuracy_masked"][k],
                "above",
            )
        )
    before = report["intervals"]["differences"].get("previous")
    if config.not_worse_than_blessed and before:
        gates.append(
            Gate(
                f"masked top-{config.gate_k} accuracy minus that of the last blessed "
                "model, upper end of its 95% interval",
                before[f"top_{config.gate_k}_accuracy"]["high"],
                0.0,
                "at least",
            )
        )
    return gates
