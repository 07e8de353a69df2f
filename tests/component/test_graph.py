# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The graph: which node follows which, and which of them a change of config touches."""

import json
import pathlib

import pytest
from tfx.dsl.compiler import compiler
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2

import pipeline.graph
from pipeline.config import PipelineConfig, load_config
from pipeline.fingerprint import fingerprint
from pipeline.layout import Layout

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
UPSTREAM = {
    "ExampleGen.candidates": set(),
    "ExampleGen.interactions": set(),
    "StatisticsGen.candidates": {"ExampleGen.candidates"},
    "StatisticsGen.interactions": {"ExampleGen.interactions"},
    "SchemaGen.candidates": {"StatisticsGen.candidates"},
    "SchemaGen.interactions": {"StatisticsGen.interactions"},
    "ExampleValidator.candidates": {"StatisticsGen.candidates", "SchemaGen.candidates"},
    "ExampleValidator.interactions": {
        "StatisticsGen.interactions",
        "SchemaGen.interactions",
    },
    # It waits for both validators: nothing follows an anomaly.
    "ExampleCleaner": {
        "ExampleGen.candidates",
        "ExampleGen.interactions",
        "ExampleValidator.candidates",
        "ExampleValidator.interactions",
    },
    "FeatureValidator": {"ExampleCleaner"},
    # Nor does anything learn from suspects.
    "Transform.candidates": {
        "ExampleCleaner",
        "FeatureValidator",
        "SchemaGen.candidates",
    },
    "Transform.interactions": {
        "ExampleCleaner",
        "FeatureValidator",
        "SchemaGen.interactions",
    },
    "Trainer": {"Transform.candidates", "Transform.interactions"},
    "CandidateEmbedder": {"ExampleCleaner", "Trainer"},
    "ScannIndexer": {"CandidateEmbedder", "Trainer"},
    "IndexEvaluator": {"ExampleCleaner", "LatestBlessedModel", "ScannIndexer"},
    "LatestBlessedModel": {"ScannIndexer"},
    "Evaluator": {
        "ExampleCleaner",
        "LatestBlessedModel",
        "ScannIndexer",
        "SchemaGen.interactions",
    },
    "Pusher": {"Evaluator", "IndexEvaluator", "ScannIndexer"},
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """A build that writes must not write into the repository."""
    monkeypatch.chdir(tmp_path)


def config(*overrides: str, name: str = "movielens-100k") -> PipelineConfig:
    return load_config(str(CONFIGS / f"{name}.yaml"), list(overrides))


def build(
    *overrides: str, name: str = "movielens-100k", root: str = "not-made"
) -> tfx_pipeline.Pipeline:
    return pipeline.graph.build_pipeline(
        config(*overrides, name=name), Layout(root, name)
    )


def parameters(built: tfx_pipeline.Pipeline) -> dict[str, dict[str, str]]:
    """What a node's cache goes by beside its inputs, by node."""
    graph = compiler.Compiler().compile(built)
    return {
        one.pipeline_node.node_info.id: {
            name: str(value)
            for name, value in one.pipeline_node.parameters.parameters.items()
        }
        for one in graph.nodes
    }


def test_each_node_follows_those_that_it_should():
    built = build()
    found = {
        node.id: {one.id for one in node.upstream_nodes} for node in built.components
    }
    assert found == UPSTREAM
    order = [node.id for node in built.components]
    assert all(
        order.index(one) < order.index(node) for node in UPSTREAM for one in found[node]
    )
    assert built.enable_cache


def test_a_warm_start_looks_for_the_last_blessed_model():
    built = build("training.warm_start=true")
    found = {
        node.id: {one.id for one in node.upstream_nodes} for node in built.components
    }
    with_it = {"Trainer": UPSTREAM["Trainer"] | {"WarmStart"}, "WarmStart": set()}
    assert found == {**UPSTREAM, **with_it}
    order = [node.id for node in built.components]
    assert order.index("WarmStart") < order.index("Trainer")
    graph = compiler.Compiler().compile(built)
    node = graph.nodes[order.index("WarmStart")].pipeline_node
    assert "LatestBlessedTowersStrategy" in str(node.inputs.input_graphs)


def test_a_tuner_stands_between_the_data_and_the_trainer():
    split = "interactions.split.fractions={train: 0.8, valid: 0.1, eval: 0.1}"
    built = build(split, "tuner.trials=5")
    found = {
        node.id: {one.id for one in node.upstream_nodes} for node in built.components
    }
    inputs = UPSTREAM["Trainer"]
    with_it = {"Trainer": inputs | {"Tuner"}, "Tuner": inputs}
    assert found == {**UPSTREAM, **with_it}
    node = next(node for node in built.components if node.id == "Tuner")
    config = json.loads(node.exec_properties["custom_config"])
    assert config["tuner"]["trials"] == 5
    assert config["has_valid_split"]
    assert "valid" in node.exec_properties["eval_args"]
    trainer = next(node for node in built.components if node.id == "Trainer")
    assert trainer.inputs["hyperparameters"].type_name == "HyperParameters"


def test_an_update_trains_nothing():
    built = pipeline.graph.build_pipeline(
        config("index.knobs=tuned", "tuner.trials=0"),
        Layout("not-made", "movielens-100k"),
        update=True,
    )
    nodes = {node.id: node for node in built.components}
    found = {
        name: {one.id for one in node.upstream_nodes} for name, node in nodes.items()
    }
    blessed = {"BlessedTowers", "BlessedServable"}
    trained = {"Trainer", "Transform.interactions", "Transform.candidates"}
    expected = {
        **{name: above for name, above in UPSTREAM.items() if name not in trained},
        **{name: set() for name in blessed},
        "CandidateEmbedder": {"ExampleCleaner"} | blessed,
        "ScannIndexer": {"CandidateEmbedder"} | blessed,
    }
    assert found == expected
    assert nodes["ExampleCleaner"].exec_properties["orphans"] == "drop"
    # What only reads the sources is taken from the cache of a run.
    before, after = parameters(build("index.knobs=tuned")), parameters(built)
    shared = set(before) & set(after) - {"ExampleCleaner"}
    assert {name for name in shared if before[name] != after[name]} == set()
    assert compiler.Compiler().compile(built)


@pytest.mark.parametrize(
    ("overrides", "split"),
    [
        ((), "train"),
        (
            ("interactions.split.fractions={train: 0.8, valid: 0.1, eval: 0.1}",),
            "valid",
        ),
    ],
)
def test_an_index_tuner_stands_between_the_embeddings_and_the_indexer(overrides, split):
    built = build("index.knobs=tuned", *overrides)
    found = {
        node.id: {one.id for one in node.upstream_nodes} for node in built.components
    }
    inputs = {"Trainer", "CandidateEmbedder"} | (
        UPSTREAM["IndexEvaluator"] - {"ScannIndexer", "LatestBlessedModel"}
    )
    with_it = {
        "ScannIndexer": UPSTREAM["ScannIndexer"] | {"IndexTuner"},
        "IndexTuner": inputs,
    }
    assert found == {**UPSTREAM, **with_it}
    node = next(node for node in built.components if node.id == "IndexTuner")
    assert node.exec_properties["split"] == split
    assert node.exec_properties["fingerprint"]


def test_a_catalogue_in_shards_is_judged_by_index_evaluator_alone(caplog):
    built = build("index.shards=3", "training.warm_start=true")
    found = {
        node.id: {one.id for one in node.upstream_nodes} for node in built.components
    }
    expected = {
        **UPSTREAM,
        "WarmStart": set(),
        "Trainer": UPSTREAM["Trainer"] | {"WarmStart"},
        "Pusher": {"IndexEvaluator", "ScannIndexer"},
    }
    del expected["Evaluator"]
    assert found == expected
    (told,) = caplog.messages
    assert told.startswith("evaluation.slices is left out: Evaluator, which slices, ")
    nodes = {node.id: node for node in built.components}
    assert nodes["CandidateEmbedder"].exec_properties["shards"] == 3
    assert json.loads(nodes["ScannIndexer"].exec_properties["index"])["shards"] == 3
    assert nodes["Pusher"].inputs.keys() == {"model", "infra_blessing", "evaluation"}
    # What was good before is found by the same blessing.
    for resolver in ("WarmStart", "LatestBlessedModel"):
        blessing = nodes[resolver].inputs["model_blessing"]
        assert blessing.type_name == "InfraBlessing"
    assert compiler.Compiler().compile(built)


@pytest.mark.parametrize("name", ["movielens-100k", "tutorial"])
def test_building_touches_nothing(name, tmp_path):
    root = tmp_path / "runs"
    first, second = (
        compiler.Compiler().compile(build(name=name, root=str(root))) for _ in range(2)
    )
    assert list(tmp_path.iterdir()) == []
    assert first == second
    assert first.pipeline_info.id == name


def test_everything_lies_below_the_pipelines_home(tmp_path):
    built = build(root=str(tmp_path))
    home = tmp_path / "movielens-100k"
    assert built.pipeline_info.pipeline_root == str(home / "artifacts")
    metadata = built.metadata_connection_config.sqlite.filename_uri
    assert metadata == str(home / "metadata.db")
    destination = parameters(built)["Pusher"]["push_destination"]
    assert str(home / "serving") in destination


ABOUT = "ScannIndexer"  # Its manifest tells of the whole recipe.


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("training.epochs=3", {"Trainer", ABOUT}),
        ("model.embedding_dim=8", {"Trainer", ABOUT}),
        ("index.leaves_to_search=3", {"ScannIndexer"}),
        ("index.shards=1", set()),
        ("evaluation.latency_queries=7", {"IndexEvaluator"}),
        ("evaluation.slices=[]", {"IndexEvaluator", "Evaluator"}),
        ("evaluation.gates.min_top_k_accuracy=0.1", {"IndexEvaluator", "Evaluator"}),
        ("interactions.split.seed=7", {"ExampleGen.interactions", ABOUT}),
        ("interactions.orphans=drop", {"ExampleCleaner", ABOUT}),
        ("candidates.duplicates=keep_one", {"ExampleCleaner", ABOUT}),
        (
            "candidates.title=null",
            {
                "ExampleGen.candidates",
                "SchemaGen.candidates",
                "CandidateEmbedder",
                ABOUT,
            },
        ),
        ("embedding_batch_size=5", {"CandidateEmbedder"}),
        ("data_dir=/other", {"ExampleGen.candidates", "ExampleGen.interactions"}),
    ],
)
def test_a_change_of_config_touches_its_own_nodes_only(override, changed):
    before, after = parameters(build()), parameters(build(override))
    assert set(before) == set(after) == set(UPSTREAM)
    assert {node for node in before if before[node] != after[node]} == changed


def test_beam_arguments_invalidate_nothing():
    assert parameters(build()) == parameters(
        build("beam.args=[--direct_num_workers=2]")
    )


def test_a_valid_split_is_transformed_and_watched():
    plain = parameters(build())
    fractions = "interactions.split.fractions={train: 0.7, valid: 0.1, eval: 0.2}"
    for override in (
        fractions,
        "interactions.split={method: shuffle, counts: {train: 9, valid: 1, eval: 2}}",
        "interactions.split={method: leave_last_out, valid: true}",
    ):
        watched = parameters(build(override))
        for node, key in (
            ("Transform.interactions", "splits_config"),
            ("Trainer", "eval_args"),
        ):
            assert "valid" not in plain[node][key]
            assert "valid" in watched[node][key]
        assert "eval" not in watched["Trainer"]["eval_args"]
        # Only train is looked at for vocabularies, and eval for nothing at all.
        config_ = watched["Transform.interactions"]["splits_config"]
        assert config_.count("train") == 2 and config_.count("valid") == 1
        assert "eval" not in config_


BIGQUERY = (
    "interactions.source={bigquery: shop.sales.orders}",
    "candidates.source={bigquery: SELECT * FROM shop.sales.products}",
    "beam.args=[--project=shop, --temp_location=gs://bucket/tmp]",
)


def test_bigquery_is_tfxs_own_component_and_nothing_else_changes():
    built = build(*BIGQUERY)
    found = {
        node.id: {one.id for one in node.upstream_nodes} for node in built.components
    }
    assert found == UPSTREAM
    graph = compiler.Compiler().compile(built)
    nodes = {one.pipeline_node.node_info.id: one.pipeline_node for one in graph.nodes}
    for source, splits, table in (
        ("interactions", ["train", "eval"], "shop.sales.orders"),
        ("candidates", ["train"], "shop.sales.products"),
    ):
        node = nodes[f"ExampleGen.{source}"]
        assert node.node_info.type.name == (
            "tfx.extensions.google_cloud_big_query.example_gen.component."
            "BigQueryExampleGen"
        )
        given = node.parameters.parameters["input_config"].field_value.string_value
        queries = json.loads(given)["splits"]
        assert [one["name"] for one in queries] == splits
        assert all(table in one["pattern"] for one in queries)
    spec = pipeline_pb2.IntermediateDeploymentConfig()
    graph.deployment_config.Unpack(spec)
    beam = executable_spec_pb2.BeamExecutableSpec()
    spec.executor_specs["ExampleGen.interactions"].Unpack(beam)
    assert beam.python_executor_spec.class_path == (
        "tfx.extensions.google_cloud_big_query.example_gen.executor.Executor"
    )
    assert "--project=shop" in beam.beam_pipeline_args


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("{method: random, by: query}", {"keys": ["user_id"], "seed": 42}),
        (
            "{method: random, by: within_query, seed: 7}",
            {
                "method": "within_query",
                "query": "user_id",
                "keys": ["user_id", "movie_id", "timestamp"],
                "seed": 7,
            },
        ),
        (
            "{method: leave_last_out}",
            {
                "query": "user_id",
                "keys": ["user_id", "movie_id", "timestamp"],
                "timestamp": "timestamp",
                "valid": False,
            },
        ),
    ],
)
def test_a_split_is_told_the_features_that_it_goes_by(split, expected):
    found = parameters(build(f"interactions.split={split}"))
    text = found["ExampleGen.interactions"]["split"]
    quoted = text[text.index('"{') : text.rindex('"') + 1]
    told = json.loads(json.loads(quoted))
    assert {**told, **expected} == told
    assert "by" not in told


@pytest.mark.parametrize(
    ("split", "before"),
    [
        ("{method: random}", False),
        ("{method: random, by: within_query}", False),
        ("{method: random, by: query}", True),
        ("{method: leave_last_out}", True),
        ("{method: time}", True),
    ],
)
def test_a_history_holds_what_came_before_where_later_ones_are_held_out(split, before):
    found = parameters(
        build(
            f"interactions.split={split}",
            "interactions.features={seen_before: {type: history}}",
        )
    )
    rules = found["InteractionPreparer"]["preparation"]
    assert f'history_of_all_splits\\": {str(before).lower()}' in rules


def test_without_a_schema_one_is_inferred():
    files = {
        node: parameters(build("interactions.schema=null"))[node]["schema_file"]
        for node in ("SchemaGen.interactions", "SchemaGen.candidates")
    }
    assert ".pbtxt" not in files["SchemaGen.interactions"]
    assert "candidates.pbtxt" in files["SchemaGen.candidates"]


def test_a_written_schema_goes_to_its_node_by_its_text(tmp_path):
    path = tmp_path / "schema.pbtxt"
    path.write_text('feature { name: "user_id" type: BYTES }')
    found = parameters(build(f"interactions.schema={path}"))
    assert "user_id" in found["SchemaGen.interactions"]["schema_text"]
    path.write_text('feature { name: "other" type: BYTES }')
    found = parameters(build(f"interactions.schema={path}"))
    assert "other" in found["SchemaGen.interactions"]["schema_text"]


def test_every_node_with_code_of_ours_goes_by_its_fingerprint(monkeypatch):
    before = parameters(build())

    def other(*packages: str) -> str:
        return "other code"

    monkeypatch.setattr(pipeline.graph, "fingerprint", other)
    after = parameters(build())
    # TFX's own nodes run TFX's own code.
    expected = {node for node in UPSTREAM if node != "LatestBlessedModel"}
    assert {node for node in before if before[node] != after[node]} == expected


def test_statistics_are_computed_as_the_config_says():
    found = parameters(build("statistics.sample_rate=0.25"))
    for node in ("StatisticsGen.interactions", "StatisticsGen.candidates"):
        assert "double_value: 0.25" in found[node]["sample_rate"]


def test_each_nodes_fingerprint_covers_the_code_that_it_runs(monkeypatch):
    covered: set[str] = set()

    def note(*packages: str) -> str:
        covered.update(packages)
        return "+".join(packages)

    monkeypatch.setattr(pipeline.graph, "fingerprint", note)
    found = parameters(build())

    def covers(node: str, *packages: str) -> bool:
        told = json.dumps(found[node])
        return all(package in told for package in packages)

    assert covers("ExampleGen.interactions", "components.tfds_example_gen")
    assert covers("Transform.interactions", "trainer")
    assert covers("Transform.candidates", "trainer")
    assert covers("Trainer", "trainer", "components.trainer")
    for node in ("StatisticsGen.interactions", "StatisticsGen.candidates"):
        assert covers(node, "components.statistics_gen", "components.records")
    assert covers("CandidateEmbedder", "serving", "components.candidate_embedder")
    for node in ("ScannIndexer", "IndexEvaluator", "Evaluator", "Pusher"):
        assert covers(node, "serving", "components"), node


def test_a_fingerprint_changes_with_any_source_below_a_package(tmp_path, monkeypatch):
    package = tmp_path / "some_room" / "inner"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package / "module.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def now(*packages: str) -> str:
        fingerprint.cache_clear()
        return fingerprint(*packages)

    first = now("some_room")
    assert now("some_room") == first
    (package / "notes.txt").write_text("no code")
    assert now("some_room") == first
    (package / "module.py").write_text("A = 2\n")
    second = now("some_room")
    assert second != first
    (package / "module.py").rename(package / "renamed.py")
    assert now("some_room") not in (first, second)
    assert now("serving", "trainer") == now("trainer", "serving")
    with pytest.raises(ModuleNotFoundError, match="no_such_room"):
        now("no_such_room")
