# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Validators in their place: drift over spans, skew, features; what stops, what waits.

The graph is that of a config, as far as the validators, run by the real runner on CSV
files of a few hundred rows.
"""

import dataclasses
import io
import json
import pathlib
from typing import Any

import numpy as np
import pytest
import yaml
from tfx.dsl.compiler import compiler
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import channel_utils, standard_artifacts

from components.artifacts import DataFindings, read_findings
from components.feature_validator import executor as feature_executor
from components.feature_validator.component import FeatureValidator
from components.feature_validator.scan import Plan
from components.findings import Finding, Policy
from components.resolver import EarlierSpanStrategy
from components.shift_validator.executor import CHECKED_PROPERTY, SOURCE_PROPERTY
from pipeline.config import load_config
from pipeline.graph import build_pipeline
from pipeline.layout import Layout, exclusive
from pipeline.progress import Progress
from pipeline.run import _findings
from pipeline.runners import local
from serving.errors import UserError

ROWS = 300


class _CompilerUpTo(compiler.Compiler):
    """Compiles a pipeline and leaves out what a node does not need."""

    def __init__(self, upto: str):
        super().__init__()
        self._upto = upto

    def compile(self, pipeline: tfx_pipeline.Pipeline) -> pipeline_pb2.Pipeline:
        graph = super().compile(pipeline)
        nodes = {one.pipeline_node.node_info.id: one for one in graph.nodes}
        wanted = [self._upto]
        for name in wanted:
            upstream = nodes[name].pipeline_node.upstream_nodes
            wanted += [one for one in upstream if one not in wanted]
        del graph.nodes[:]
        graph.nodes.extend(node for name, node in nodes.items() if name in wanted)
        return graph


@dataclasses.dataclass
class Shop:
    """A log in CSV files, a span a day, and the pipeline that reads it."""

    folder: pathlib.Path

    def __post_init__(self) -> None:
        items = "".join(f"{n},c{n % 4}\n" for n in range(20))
        (self.folder / "items.csv").write_text("item,kind\n" + items)
        self.write()

    def write(self, **changes: Any) -> None:
        """Writes the config."""
        interactions = {
            "source": {"csv": "log-{SPAN}.csv"},
            "query_id": "user",
            "candidate_id": "item",
            "timestamp": "at",
            "features": {"device": "category", "price": "number"},
        }
        content = {
            "name": "shop",
            "interactions": {**interactions, **changes},
            "candidates": {
                "source": {"csv": "items.csv"},
                "candidate_id": "item",
                "features": {"kind": "category"},
            },
        }
        (self.folder / "shop.yaml").write_text(yaml.safe_dump(content))

    def add(self, span: int, phones: float, price: float = 10.0) -> None:
        """Writes a day's log."""
        rng = np.random.default_rng(span)
        lines = ["user,item,at,device,price"]
        for row in range(ROWS):
            device = "phone" if rng.random() < phones else "desk"
            paid = price + rng.normal()
            lines.append(f"{row % 30},{rng.integers(20)},{row},{device},{paid:.3f}")
        (self.folder / f"log-{span}.csv").write_text("\n".join(lines))

    def run(self, upto: str, *overrides: str) -> dict[str, local.NodeRun]:
        """Runs a node, after those that it needs."""
        config = load_config(str(self.folder / "shop.yaml"), list(overrides))
        with exclusive(self.layout), pytest.MonkeyPatch.context() as patch:
            patch.setattr(local.compiler, "Compiler", lambda: _CompilerUpTo(upto))
            pipeline = build_pipeline(config, self.layout)
            nodes = local.run(pipeline, self.layout, Progress(io.StringIO()))
        return {node.node: node for node in nodes}

    @property
    def layout(self) -> Layout:
        return Layout(str(self.folder / "runs"), "shop")


@pytest.fixture
def shop(tmp_path) -> Shop:
    return Shop(tmp_path)


DRIFT = "DriftValidator.interactions"


def found(nodes: dict[str, local.NodeRun]) -> list[Finding]:
    return _findings(list(nodes.values()))


def test_drift_over_spans(shop):
    shop.add(1, phones=0.5)
    assert found(shop.run(DRIFT)) == []

    # The same span again is not compared with itself: its check comes from the cache.
    again = shop.run(DRIFT)
    assert again[DRIFT].cached
    assert "earlier" not in again["EarlierSpan.interactions"].outputs

    shop.add(2, phones=0.55)
    assert found(shop.run(DRIFT)) == []

    shop.add(3, phones=0.98, price=20.0)
    told = []
    for _ in range(2):  # Nor does it pass because it was seen before.
        with pytest.raises(UserError) as caught:
            shop.run(DRIFT)
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert told[0].startswith(
        f"{DRIFT}: feature 'device' differs between span 3 and span 2: share of a "
        "value by 0."
    )
    assert "above validation.max_drift 0.3; 'desk' is " in told[0]
    assert "feature 'price' differs between span 3 and span 2: Jensen" in told[0]
    assert told[0].endswith(
        "or let it pass: add the features to validation.ignore, or set validation.mode "
        "to warn"
    )

    # A span that failed is nothing to compare with: the next one is held against 2.
    shop.add(4, phones=0.97, price=20.0)
    with pytest.raises(UserError, match="between span 4 and span 2"):
        shop.run(DRIFT)
    with pytest.raises(UserError, match="feature 'price' differs") as caught:
        shop.run(DRIFT, "validation.ignore=[device]")
    assert "'device'" not in str(caught.value)

    # Let pass, it is told, in every run of it.
    for _ in range(2):
        passed = found(shop.run(DRIFT, "validation.mode=warn"))
        assert [(one.check, one.feature) for one in passed] == [
            ("drift", "device"),
            ("drift", "price"),
        ]
    with pytest.raises(UserError, match="between span 4 and span 2"):
        shop.run(DRIFT)

    # And then the next one is held against it.
    shop.add(5, phones=0.96, price=20.0)
    assert found(shop.run(DRIFT)) == []


def test_skew_in_a_split_by_time(shop):
    shop.write(split={"method": "time"}, source={"csv": "log-1.csv"})
    rows = [
        f"{row % 30},{row % 20},{row},{'desk' if row < 240 else 'phone'},1"
        for row in range(ROWS)
    ]
    lines = ["user,item,at,device,price", *rows]
    (shop.folder / "log-1.csv").write_text("\n".join(lines))
    skew = "SkewValidator.interactions"
    with pytest.raises(UserError) as caught:
        shop.run(skew)
    assert str(caught.value).startswith(
        f"{skew}: feature 'device' differs between eval and train: share of a value by "
        "1, above validation.max_skew 0.3; 'desk' is 0.0% of 60 values and was 100.0% "
        "of 240: "
    )
    assert "price" not in str(caught.value)
    (one,) = found(shop.run(skew, "validation.ignore=[device]"))
    assert (one.check, one.feature, one.count, one.total) == ("skew", "device", 0, 60)
    assert found(shop.run(skew, "validation.max_skew=1")) == []


def test_a_suspect_stops_before_transform_and_a_warning_makes_nothing_anew(shop):
    shop.add(1, phones=0.5)
    lines = (shop.folder / "log-1.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    text = "\n".join(
        [lines[0] + ",kind_seen", *(",".join([*r, f"c{int(r[1]) % 4}"]) for r in rows)]
    )
    (shop.folder / "log-1.csv").write_text(text)
    features = {"device": "category", "kind_seen": "category"}
    shop.write(features=features, source={"csv": "log-1.csv"})
    with pytest.raises(UserError) as caught:
        shop.run("Transform.interactions")
    assert str(caught.value).startswith(
        "FeatureValidator: feature 'kind_seen' of the query tells of the candidate: in "
    )
    assert "add 'kind_seen' to validation.ignore" in str(caught.value)
    made = pathlib.Path(shop.layout.artifacts)
    assert not list(made.glob("Transform*"))
    # What stopped is no finding of a finished node.
    assert not list(made.glob("FeatureValidator/findings/*"))

    nodes = shop.run("Transform.interactions", "validation.mode=warn")
    (one,) = [one for one in found(nodes) if one.stops]
    assert (one.check, one.feature) == ("determined_by_candidate", "kind_seen")
    nodes = shop.run("Transform.interactions", "validation.ignore=[kind_seen]")
    ran = {name for name, node in nodes.items() if not node.cached}
    assert ran == {
        "ExampleValidator.interactions",
        "ExampleValidator.candidates",
        "FeatureValidator",
    }


def test_nodes_are_there_only_where_there_is_something_to_compare(shop):
    def nodes(*overrides: str, **changes: Any) -> set[str]:
        shop.write(**changes)
        config = load_config(str(shop.folder / "shop.yaml"), list(overrides))
        every = {node.id for node in build_pipeline(config, shop.layout).components}
        kinds = ("SkewValidator", "DriftValidator", "EarlierSpan")
        return {node for node in every if node.startswith(kinds)}

    one_file = {"csv": "log.csv"}
    spans = {"EarlierSpan.interactions", "DriftValidator.interactions"}
    assert nodes() == spans
    assert nodes("validation.max_drift=null") == set()
    assert nodes(source=one_file) == set()
    assert nodes(features={"seen": "timestamp", "past": "history"}) == set()
    by_time = {"method": "time"}
    assert nodes(source=one_file, split=by_time) == {"SkewValidator.interactions"}
    assert nodes("validation.max_skew=null", source=one_file, split=by_time) == set()
    assert nodes("candidates.source.csv=items-{YYYY}-{MM}-{DD}.csv") == spans | {
        "EarlierSpan.candidates",
        "DriftValidator.candidates",
    }


# The resolver.


def statistics(id_: int, span: int) -> standard_artifacts.ExampleStatistics:
    made = standard_artifacts.ExampleStatistics()
    made.id, made.span = id_, span
    return made


def checked(id_: int, source: str = "interactions") -> DataFindings:
    made = DataFindings()
    made.set_int_custom_property(CHECKED_PROPERTY, id_)
    made.set_string_custom_property(SOURCE_PROPERTY, source)
    return made


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        ([], []),
        ([checked(1)], [1]),
        ([checked(1), checked(2)], [2]),
        # Of two runs of a span the last one that was let pass.
        ([checked(1), checked(2), checked(3)], [3]),
        # Neither the same span nor later ones, nor those of another source.
        ([checked(4), checked(5), checked(6), checked(3, "candidates")], []),
        ([DataFindings()], []),
    ],
)
def test_the_latest_earlier_span_that_was_let_pass(passed, expected):
    every = [(1, 5), (2, 6), (3, 6), (4, 7), (5, 7), (6, 8)]
    known = {id_: statistics(id_, span) for id_, span in every}
    found = EarlierSpanStrategy("interactions").resolve_artifacts(
        None,
        {"current": [known[4]], "earlier": list(known.values()), "checked": passed},
    )
    assert [one.id for one in found["earlier"]] == expected
    assert set(found) == {"current", "earlier", "checked"}


# FeatureValidator's executor.


def validate(
    new_artifact: Any, interactions: Any, candidates: Any, policy: Policy, **limits: Any
) -> DataFindings:
    """Runs the executor on ids u and i, a feature f, and a catalogue of i."""
    plan = Plan(
        "u", "i", "i", None, {"u": "id", "f": "category"}, {"i": "id"}, **limits
    )
    component = FeatureValidator(
        channel_utils.as_channel([interactions]),
        channel_utils.as_channel([candidates]),
        plan,
        policy,
    )
    findings = new_artifact(DataFindings)
    feature_executor.Executor().Do(
        {"interactions": [interactions], "candidates": [candidates]},
        {"findings": [findings]},
        dict(component.exec_properties),
    )
    return findings


def test_the_executor_counts_over_files_and_acts(new_artifact, new_examples):
    def row(user: int, item: int, text: bytes | None = b"x") -> dict[str, bytes]:
        made = {"u": b"%d" % user, "i": b"%d" % item}
        return made if text is None else {**made, "f": text}

    candidates = new_examples({"train": [[{"i": b"%d" % n}] for n in range(4)]})
    interactions = new_examples(
        {
            "train": [[row(1, 1), row(2, 2)], [], [row(1, 3)]],
            "valid": [[row(9, 9, b"y")]],
            "eval": [[row(1, 0), row(3, 1)], [row(3, 0, b"z")]],
        }
    )
    with pytest.raises(UserError, match="'f' has the same value, 'x', in all 3 rows"):
        validate(new_artifact, interactions, candidates, Policy())
    artifact = validate(new_artifact, interactions, candidates, Policy("warn"))
    findings = read_findings(artifact.uri)
    told = {(one.check, one.feature): one for one in findings}
    assert set(told) == {
        ("constant", "f"),
        ("new_values", "u"),
        ("new_values", "i"),
        ("new_values", "f"),
    }
    users = told["new_values", "u"]
    assert (users.count, users.total, users.examples) == (2, 3, ("3",))
    assert "such as '3' (2 rows)" in users.sentence
    assert told["new_values", "i"].examples == ("0",)
    assert told["new_values", "f"].examples == ("z",)
    assert [one.stops for one in findings].count(True) == 1
    names = [path.name for path in pathlib.Path(artifact.uri).iterdir()]
    assert names == ["findings.json"]
    with pytest.raises(UserError, match="above validation.max_new_values 0.5"):
        validate(
            new_artifact, interactions, candidates, Policy(ignore=("f",)),
            max_new_values=0.5,
        )  # fmt: skip


def test_the_plan_and_the_policy_are_what_the_cache_goes_by(new_examples):
    examples = channel_utils.as_channel([new_examples({"train": [[]]})])
    plans = [
        Plan("u", "i", "i", None, {"u": kind}, {"i": "id"}) for kind in ("id", "text")
    ]
    properties = [
        json.dumps(FeatureValidator(examples, examples, plan, policy).exec_properties)
        for plan in plans
        for policy in (None, Policy(), Policy("warn"), Policy(ignore=("u",)))
    ]
    assert properties[0] == properties[1]
    assert len(set(properties)) == 6
