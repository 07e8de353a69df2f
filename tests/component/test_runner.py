# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The local runner on a pipeline of two small nodes, and what a model is compared with.

What a whole run does is in tests/e2e; here are the ways in which a node can fail.
"""

import io
import json
import os
import pathlib
from typing import Any

import apache_beam as beam
import pytest
import tensorflow as tf
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.common.resolver import Resolver, ResolverStrategy
from tfx.orchestration import metadata, pipeline
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.resolver import (
    LatestBlessedTowersStrategy,
    LatestOtherBlessedModelStrategy,
)
from pipeline.layout import Layout, exclusive
from pipeline.progress import Progress
from pipeline.runners import local
from serving import manifest
from serving.errors import UserError

# Two nodes.


class _Refuse(beam.DoFn):
    """A worker that finds what the user must mend."""

    def process(self, row: str) -> list[str]:
        raise UserError(f"row {row} is wrong: mend it")


def _fail(how: str, folder: str) -> None:
    """Fails in the way asked for, with half of the output written."""
    if how == "user":
        raise UserError("the data is wrong: mend it")
    if how == "beam":
        with beam.Pipeline() as run:
            _ = run | beam.Create(["7"]) | "Check[all]" >> beam.ParDo(_Refuse())
    if how == "chained":
        try:
            raise UserError("the cause: mend it")
        except UserError as error:
            raise RuntimeError("what hides it") from error
    if how == "bug":
        raise KeyError("first line\nsecond line")
    if how == "silent bug":
        raise RuntimeError
    if how == "full disk":
        with open("/dev/full", "w") as file:
            file.write("more than fits")
    if how == "full disk, by TensorFlow":
        with tf.io.TFRecordWriter("/dev/full") as writer:
            writer.write(b"more than fits" * 100_000)
    if how == "folder taken away":
        os.listdir(os.path.join(folder, "nothing"))
    if how == "killed":
        # What no handler of Exception sees, as after a kill.
        raise KeyboardInterrupt


@component
def Maker(  # noqa: N802
    how: Parameter[str],
    text: Parameter[str],
    model: OutputArtifact[standard_artifacts.Model],
) -> None:
    """Writes a file, then another one unless it is to fail."""
    pathlib.Path(model.uri, "first").write_text(text)
    _fail(how, model.uri)
    pathlib.Path(model.uri, "second").write_text(text)


@component
def Taker(  # noqa: N802
    model: InputArtifact[standard_artifacts.Model],
    taken: OutputArtifact[standard_artifacts.Model],
) -> None:
    """Copies the second file."""
    text = pathlib.Path(model.uri, "second").read_text()
    pathlib.Path(taken.uri, "copy").write_text(text)


@pytest.fixture
def layout(tmp_path) -> Layout:
    return Layout(str(tmp_path), "small")


@pytest.fixture
def run(layout):
    """Runs the two nodes; returns what the runner returns and the lines it printed."""

    def run_once(
        how: str = "well",
        text: str = "a",
        lines: io.StringIO | None = None,
        **options: Any,
    ) -> list[local.NodeRun]:
        maker = Maker(how=how, text=text)
        taker = Taker(model=maker.outputs["model"])
        made = pipeline.Pipeline(
            pipeline_name="small",
            pipeline_root=layout.artifacts,
            components=[maker, taker],
            enable_cache=True,
            metadata_connection_config=connection(layout),
        )
        with exclusive(layout):
            progress = Progress(lines or io.StringIO())
            return local.run(made, layout, progress, **options)

    return run_once


def connection(layout: Layout) -> metadata_store_pb2.ConnectionConfig:
    return metadata.sqlite_metadata_connection_config(layout.metadata)


def states(layout: Layout) -> list[tuple[int, str]]:
    """Id and state of each execution, oldest first."""
    with metadata.Metadata(connection(layout)) as handle:
        found = sorted(handle.store.get_executions(), key=lambda one: one.id)
    name = metadata_store_pb2.Execution.State.Name
    return [(one.id, name(one.last_known_state)) for one in found]


def files(layout: Layout) -> set[str]:
    """Files that nodes wrote, relative to the artifacts."""
    root = pathlib.Path(layout.artifacts)
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and ".system" not in path.parts
    }


def test_a_line_a_node_and_what_it_made(run, layout):
    lines = io.StringIO()
    nodes = run(lines=lines)
    assert [(one.node, one.cached) for one in nodes] == [
        ("Maker", False),
        ("Taker", False),
    ]
    assert pathlib.Path(nodes[1].outputs["taken"].uri, "copy").read_text() == "a"
    first, second = lines.getvalue().splitlines()
    assert first.split()[2] == "Maker" and second.split()[2] == "Taker"
    assert first.endswith(" s")


def test_a_run_may_end_at_a_node_and_be_taken_up_again(run):
    assert [(one.node, one.cached) for one in run(until="Maker")] == [("Maker", False)]
    assert [(one.node, one.cached) for one in run()] == [
        ("Maker", True),
        ("Taker", False),
    ]


def test_a_run_may_end_by_what_a_node_has_made(run):
    asked = []

    def is_over(ran) -> bool:
        asked.append((ran.node, sorted(ran.outputs), sorted(ran.inputs)))
        return ran.node == "Taker"

    assert len(run(is_over=is_over)) == len(asked) == 2
    assert [node for node, _, _ in asked] == ["Maker", "Taker"]
    # What one has made is what the other took.
    assert asked[0][1] == asked[1][2] and not asked[0][2]


def test_the_same_again_is_cached_and_a_change_is_not(run, layout):
    first = run()
    lines = io.StringIO()
    again = run(lines=lines)
    assert [one.cached for one in again] == [True, True]
    assert again[1].outputs["taken"].uri == first[1].outputs["taken"].uri
    assert all(line.endswith("cached") for line in lines.getvalue().splitlines())
    changed = run(text="b")
    assert [one.cached for one in changed] == [False, False]
    assert pathlib.Path(changed[1].outputs["taken"].uri, "copy").read_text() == "b"


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("user", "Maker: the data is wrong: mend it"),
        ("beam", "Maker: row 7 is wrong: mend it"),
        ("chained", "Maker: the cause: mend it"),
        (
            "full disk",
            "Maker: can't write its output: No space left on device; make room or "
            "choose another --root",
        ),
        (
            "full disk, by TensorFlow",
            "Maker: can't write its output: No space left on device; make room or "
            "choose another --root",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(run, how, sentence):
    with pytest.raises(UserError) as caught:
        run(how)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("bug", r"Maker failed: KeyError: 'first line\nsecond line'"),
        ("silent bug", "Maker failed: RuntimeError"),
    ],
)
def test_what_the_user_cannot_mend_keeps_its_cause(run, how, sentence):
    with pytest.raises(local.NodeError) as caught:
        run(how)
    assert str(caught.value) == sentence
    assert isinstance(caught.value.__cause__, KeyError | RuntimeError)


def test_a_missing_file_is_not_taken_for_a_full_disk(run):
    with pytest.raises(local.NodeError, match="Maker failed: FileNotFoundError"):
        run("folder taken away")


def test_a_failed_node_stops_the_run_and_leaves_nothing(run, layout):
    lines = io.StringIO()
    with pytest.raises(UserError):
        run("user", lines=lines)
    (line,) = lines.getvalue().splitlines()
    assert line.split()[2] == "Maker" and line.endswith("failed")
    assert states(layout) == [(1, "FAILED")]
    assert files(layout) == set()
    assert [one.cached for one in run()] == [False, False]


def test_what_a_killed_run_left_is_put_away_by_the_next(run, layout):
    run(text="before")
    kept = files(layout)
    with pytest.raises(KeyboardInterrupt):
        run("killed")
    killed, state = states(layout)[-1]
    assert state == "RUNNING"
    assert files(layout) - kept == {f"Maker/model/{killed}/first"}

    nodes = run()
    assert [one.cached for one in nodes] == [False, False]
    assert dict(states(layout))[killed] == "FAILED"
    assert "RUNNING" not in dict(states(layout)).values()
    assert not pathlib.Path(layout.artifacts, "Maker", "model", str(killed)).exists()
    assert not list(pathlib.Path(layout.artifacts).glob(f"*/.system/*/{killed}"))
    # What was whole is still there, and still good.
    assert kept < files(layout)
    assert [one.cached for one in run(text="before")] == [True, True]


class _Broken(ResolverStrategy):
    """A strategy with a bug: its answer lacks what was asked for."""

    def resolve_artifacts(self, store: Any, input_dict: Any) -> dict[str, list]:
        return {}


def test_a_resolver_that_fails_is_not_passed_over(layout):
    maker = Maker(how="well", text="a")
    resolver = Resolver(strategy_class=_Broken, model=maker.outputs["model"])
    made = pipeline.Pipeline(
        pipeline_name="small",
        pipeline_root=layout.artifacts,
        components=[maker, resolver.with_id("Resolver")],
        metadata_connection_config=connection(layout),
    )
    lines = io.StringIO()
    with pytest.raises(local.NodeError, match="Resolver failed: "):
        local.run(made, layout, Progress(lines))
    assert lines.getvalue().splitlines()[-1].endswith("failed")


def test_a_home_is_held_by_one_run_at_a_time(layout, tmp_path):
    with exclusive(layout):
        with pytest.raises(UserError) as caught, exclusive(layout):
            pass
        assert str(caught.value) == (
            f"another run is going on in {tmp_path}/small; wait for it or choose "
            "another --root"
        )
        with exclusive(Layout(str(tmp_path), "other")):
            pass
    with pytest.raises(KeyError), exclusive(layout):
        raise KeyError
    with exclusive(layout):
        pass


# What a model is compared with.

DATA = {"interactions": {"split": "a"}, "candidates": {}}


@pytest.fixture
def new_model(new_artifact):
    """Makes a servable of some data, or the towers, which have no manifest."""

    def make(
        config: dict[str, Any] | None = DATA, version: int = manifest.FORMAT
    ) -> standard_artifacts.Model:
        model = new_artifact(standard_artifacts.Model)
        if config is not None:
            content = {"config": config, "index": {"kind": "exact"}, "format": version}
            manifest.write(path_utils.serving_model_dir(model.uri), content)
        return model

    return make


@pytest.fixture
def bless(new_artifact):
    """Makes Evaluator's verdict on a model."""

    def make(
        model: standard_artifacts.Model,
        blessed: bool = True,
        kind: type = standard_artifacts.ModelBlessing,
    ) -> Any:
        blessing = new_artifact(kind)
        blessing.set_int_custom_property("blessed", int(blessed))
        blessing.set_int_custom_property("current_model_id", model.id)
        return blessing

    return make


def resolve(candidate, models, blessings) -> int | None:
    """Id of the model to compare with, None where there is none."""
    resolved = LatestOtherBlessedModelStrategy().resolve_artifacts(
        None,
        {"candidate": [candidate], "model": models, "model_blessing": blessings},
    )
    # TFX wants every key of the node in the answer.
    assert set(resolved) == {"candidate", "model", "model_blessing"}
    found = resolved["model"]
    assert len(found) == len(resolved["model_blessing"]) <= 1
    return found[0].id if found else None


def test_the_latest_blessed_model_is_taken(new_model, bless):
    first, second, third, candidate = (new_model() for _ in range(4))
    models = [candidate, first, third, second]
    verdicts = [bless(second), bless(first), bless(third, False)]
    assert resolve(candidate, models, verdicts) == second.id


def test_a_model_in_shards_is_found_by_its_only_blessing(new_model, bless):
    first, second, candidate = (new_model() for _ in range(3))
    infra = standard_artifacts.InfraBlessing
    verdicts = [bless(first, True, infra), bless(second, False, infra)]
    assert resolve(candidate, [first, second, candidate], verdicts) == first.id


def test_the_candidate_is_never_compared_with_itself(new_model, bless):
    old, candidate = new_model(), new_model()
    verdicts = [bless(old), bless(candidate)]
    assert resolve(candidate, [old, candidate], verdicts) == old.id
    assert resolve(candidate, [candidate], [bless(candidate)]) is None


def test_before_anything_was_blessed_there_is_none(new_model, bless):
    old, candidate = new_model(), new_model()
    assert resolve(candidate, [old, candidate], []) is None
    assert resolve(candidate, [old, candidate], [bless(old, False)]) is None
    assert resolve(candidate, [candidate], []) is None


def test_a_model_of_other_data_is_not_compared_with(new_model, bless):
    old, newer = new_model(), new_model({**DATA, "interactions": {"split": "b"}})
    towers, candidate = new_model(None), new_model()
    models = [old, newer, towers, candidate]
    verdicts = [bless(model) for model in models]
    assert resolve(candidate, models, verdicts) == old.id


def test_a_model_of_another_format_is_not_compared_with(new_model, bless):
    old, newer = new_model(), new_model(version=manifest.FORMAT + 1)
    candidate = new_model()
    verdicts = [bless(old), bless(newer)]
    assert resolve(candidate, [old, newer, candidate], verdicts) == old.id


def test_a_manifest_is_told_apart_by_content_not_by_its_file(new_model, bless):
    old, candidate = new_model(), new_model()
    path = pathlib.Path(
        path_utils.serving_model_dir(old.uri), "assets.extra", "manifest.json"
    )
    content = json.loads(path.read_text())
    path.write_text(json.dumps({"measured": {}, **content}, indent=7))
    assert resolve(candidate, [old, candidate], [bless(old)]) == old.id


# What a training begins with.


@pytest.fixture
def lineage():
    """ML Metadata with servables and the towers that they were made of."""
    config = metadata_store_pb2.ConnectionConfig()
    config.fake_database.SetInParent()
    store = metadata_store.MetadataStore(config)
    model = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Model"))
    indexer = store.put_execution_type(
        metadata_store_pb2.ExecutionType(name="ScannIndexer")
    )

    def record(*pairs: tuple[Any, Any]) -> metadata_store.MetadataStore:
        """Has each servable be made of its towers; both must be numbered in order."""
        for artifact in sorted((one for pair in pairs for one in pair), key=_id):
            put = metadata_store_pb2.Artifact(type_id=model, uri=artifact.uri)
            assert store.put_artifacts([put]) == [artifact.id]
        for towers, servable in pairs:
            execution = metadata_store_pb2.Execution(type_id=indexer)
            (made_by,) = store.put_executions([execution])
            for artifact, kind in (
                (towers, metadata_store_pb2.Event.INPUT),
                (servable, metadata_store_pb2.Event.OUTPUT),
            ):
                event = metadata_store_pb2.Event(
                    artifact_id=artifact.id, execution_id=made_by, type=kind
                )
                store.put_events([event])
        return store

    return record


def _id(artifact: Any) -> int:
    return artifact.id


def resolve_towers(store, models, blessings, wanted=DATA) -> int | None:
    """Id of the towers to begin with, None where there are none."""
    strategy = LatestBlessedTowersStrategy(json.dumps(wanted["interactions"]))
    resolved = strategy.resolve_artifacts(
        store, {"model": models, "model_blessing": blessings}
    )
    assert set(resolved) == {"model", "model_blessing"}
    found = resolved["model"]
    assert len(found) == len(resolved["model_blessing"]) <= 1
    return found[0].id if found else None


def test_a_warm_start_begins_with_the_towers_of_the_latest_blessed_model(
    new_model, bless, lineage
):
    pairs = [(new_model(None), new_model()) for _ in range(3)]
    store, models = lineage(*pairs), [one for pair in pairs for one in pair]
    (_, first), (towers, second), (_, third) = pairs
    verdicts = [bless(second), bless(first), bless(third, False)]
    assert resolve_towers(store, models, verdicts) == towers.id


def test_a_warm_start_never_begins_with_a_model_of_another_split(
    new_model, bless, lineage
):
    # It may have been trained on what now evaluates.
    other = {**DATA, "interactions": {"split": "b"}}
    pairs = [(new_model(None), new_model()), (new_model(None), new_model(other))]
    store, models = lineage(*pairs), [one for pair in pairs for one in pair]
    verdicts = [bless(servable) for _, servable in pairs]
    assert resolve_towers(store, models, verdicts) == pairs[0][0].id
    assert resolve_towers(store, models, verdicts, other) == pairs[1][0].id


def test_a_first_run_has_nothing_to_begin_with(new_model, bless, lineage):
    pair = (new_model(None), new_model())
    store = lineage(pair)
    assert resolve_towers(store, [], []) is None
    assert resolve_towers(store, list(pair), []) is None
    assert resolve_towers(store, list(pair), [bless(pair[1], False)]) is None
