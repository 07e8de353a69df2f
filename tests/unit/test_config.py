# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What a config may say, and the one sentence for each thing that it may not."""

import pathlib
import re

import pydantic
import pytest
import yaml

from pipeline.config import all_keys, load_config
from pipeline.fingerprint import fingerprint
from pipeline.layout import Layout
from serving.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
DEFAULT = str(ROOT / "configs" / "movielens-100k.yaml")
TUTORIAL = str(ROOT / "configs" / "tutorial.yaml")

SMALL = """
name: small
interactions:
  source: {tfds: movielens/100k-ratings}
  query_id: user_id
  candidate_id: movie_id
candidates:
  source: {tfds: movielens/100k-movies}
  candidate_id: movie_id
"""


@pytest.fixture
def small(tmp_path) -> pathlib.Path:
    """The least that a config may say."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def told(path: object, *overrides: str) -> str:
    """What is said of a config, held to be one line and no traceback."""
    with pytest.raises(UserError) as caught:
        load_config(str(path), list(overrides))
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


def sentence(path: object, *overrides: str) -> str:
    """What is said of a config, but for the line of the file."""
    return re.sub(
        rf"^({re.escape(str(path))}), line \d+", r"\1", told(path, *overrides)
    )


# What loads


def test_the_configs_of_the_repository_are_known():
    names = ["epinions", "insteval", "movielens-100k", "movielens-latest", "pictures"]
    assert [path.stem for path in CONFIGS] == [*names, "sessions", "tutorial"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_the_repository_loads(path):
    config = load_config(str(path))
    assert config.name == path.stem
    if config.name in ("movielens-100k", "tutorial"):
        for section in (config.interactions, config.candidates):
            assert section.schema_file and pathlib.Path(section.schema_file).is_file()


def test_the_tutorials_config_is_the_tutorials():
    config = load_config(TUTORIAL)
    assert config.candidates.candidate_id == "movie_title"
    assert config.interactions.candidate_id == "movie_title"
    assert config.interactions.split.model_dump() == {
        "method": "shuffle",
        "seed": 42,
        "counts": {"train": 80_000, "eval": 20_000},
    }
    model, training = config.model, config.training
    assert (model.embedding_dim, model.temperature) == (32, 1.0)
    assert not (model.normalize or model.candidate_bias)
    assert (training.rows, training.logq) == ("interaction", "none")
    assert not training.remove_accidental_hits and training.schedule == "constant"
    assert (training.optimizer, training.learning_rate) == ("adagrad", 0.1)
    assert (training.epochs, training.batch_size) == (3, 8192)
    assert config.index.kind == "tfrs-scann"
    assert (config.index.leaves, config.index.leaves_to_search) == (100, 10)


def test_the_default_config_runs_scann_on_the_recipe_of_the_library(small):
    config = load_config(DEFAULT)
    assert config.index.kind == "scann"
    assert config.model == load_config(str(small)).model
    assert config.training == load_config(str(small)).training


def test_the_least_config_has_working_defaults(small):
    config = load_config(str(small))
    assert config.index.kind == "auto"
    assert config.interactions.split.model_dump() == {
        "method": "random",
        "by": "interaction",
        "seed": 42,
        "fractions": {"train": 0.8, "eval": 0.2},
    }
    assert (config.interactions.orphans, config.candidates.duplicates) == ("stop",) * 2
    assert config.interactions.schema_file is None


def test_a_config_survives_being_written_and_read(small, tmp_path):
    for path in (DEFAULT, TUTORIAL, str(small)):
        config = load_config(path)
        written = tmp_path / "written.yaml"
        written.write_text(yaml.safe_dump(config.model_dump(by_alias=True)))
        assert load_config(str(written)) == config


def test_a_config_does_not_change(small):
    config = load_config(str(small))
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.name = "other"
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.model.embedding_dim = 3


def test_a_schema_is_relative_to_its_config(small, tmp_path, monkeypatch):
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "own.pbtxt").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    override = ["interactions.schema=schemas/own.pbtxt"]
    config = load_config("../small.yaml", override)
    assert config.interactions.schema_file is not None
    found = pathlib.Path(config.interactions.schema_file)
    assert found.is_absolute()
    assert found.resolve() == tmp_path / "schemas" / "own.pbtxt"


@pytest.mark.parametrize("schema", ["gs://bucket/own.pbtxt", "{tmp}/own.pbtxt"])
def test_a_remote_or_absolute_schema_is_left_alone(schema, small, tmp_path):
    (tmp_path / "own.pbtxt").touch()
    schema = schema.format(tmp=tmp_path)
    config = load_config(str(small), [f"candidates.schema={schema}"])
    assert config.candidates.schema_file == schema


# --set


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("training.epochs=4", "training.epochs", 4),
        ("model.normalize=false", "model.normalize", False),
        ("model.temperature=1e-1", "model.temperature", 0.1),
        (
            "evaluation.gates.min_recall_at_10=null",
            "evaluation.gates.min_recall_at_10",
            None,
        ),
        ("evaluation.slices=[a, b]", "evaluation.slices", ["a", "b"]),
        ("evaluation.slices=[]", "evaluation.slices", []),
        ("beam.args=[--direct_num_workers=2]", "beam.args", ["--direct_num_workers=2"]),
        ("interactions.split.seed=7", "interactions.split.seed", 7),
        ("interactions.schema=", "interactions.schema_file", None),
        ("index.leaves=null", "index.leaves", None),
        ("candidates.title=null", "candidates.title", None),
        ("data_dir=gs://bucket/data", "data_dir", "gs://bucket/data"),
        ("data_dir=a=b", "data_dir", "a=b"),
        ("data_dir=with blanks", "data_dir", "with blanks"),
        ("data_dir='007'", "data_dir", "007"),
    ],
)
def test_any_value_can_be_overridden(override, key, value):
    found = load_config(DEFAULT, [override])
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value


def test_a_mapping_can_be_overridden_whole():
    split = "{method: random, fractions: {train: 0.7, valid: 0.1, eval: 0.2}}"
    config = load_config(DEFAULT, [f"interactions.split={split}"])
    assert config.interactions.split.model_dump() == {
        "method": "random",
        "by": "interaction",
        "seed": 42,
        "fractions": {"train": 0.7, "valid": 0.1, "eval": 0.2},
    }


def test_a_split_is_random_unless_it_says_otherwise(small):
    split = load_config(str(small), ["interactions.split.seed=3"]).interactions.split
    assert (split.method, split.seed) == ("random", 3)


def test_the_last_override_wins():
    overrides = ["training={epochs: 9}", "training.seed=3", "training.epochs=5"]
    config = load_config(DEFAULT, overrides)
    assert (config.training.epochs, config.training.seed) == (5, 3)


def test_an_override_can_make_a_section_that_the_file_lacks(small):
    config = load_config(str(small), ["evaluation.gates.gate_k=10"])
    assert config.evaluation.gates.gate_k == 10


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("epochs", "--set 'epochs' is not of the form key.path=value"),
        ("a.b", "--set 'a.b' is not of the form key.path=value"),
        ("=3", "--set '=3' is not of the form key.path=value"),
        ("", "--set '' is not of the form key.path=value"),
        (
            "training.epochs=[1",
            "--set training.epochs: the value '[1' is not valid YAML",
        ),
        (
            "training.epochs=!!python/object:os.system x",
            "--set training.epochs: the value '!!python/object:os.system x' is not "
            "valid YAML",
        ),
        (
            "name.first=x",
            "--set name.first: 'name' is a value, it has no keys below",
        ),
        (
            "interactions.source.tfds.x.y=1",
            "--set interactions.source.tfds.x.y: 'tfds' is a value, it has no keys "
            "below",
        ),
    ],
)
def test_an_override_that_is_none_is_told(override, expected):
    assert sentence(DEFAULT, override) == expected


# Keys


@pytest.mark.parametrize(
    ("override", "key", "nearest"),
    [
        ("modle.embedding_dim=3", "modle", "model"),
        ("interaction={}", "interaction", "interactions"),
        ("interactions.query=x", "interactions.query", "interactions.query_id"),
        ("interactions.time=x", "interactions.time", "interactions.timestamp"),
        (
            "interactions.source.tdfs=x",
            "interactions.source.tdfs",
            "interactions.source.tfds",
        ),
        (
            "interactions.split.sed=3",
            "interactions.split.sed",
            "interactions.split.seed",
        ),
        ("candidates.titel=x", "candidates.titel", "candidates.title"),
        ("model.embeding_dim=3", "model.embeding_dim", "model.embedding_dim"),
        ("training.optimiser=adam", "training.optimiser", "training.optimizer"),
        ("index.leafs=3", "index.leafs", "index.leaves"),
        ("evaluation.gate={}", "evaluation.gate", "evaluation.gates"),
        (
            "evaluation.gates.min_recall=1",
            "evaluation.gates.min_recall",
            "evaluation.gates.min_recall_at_10",
        ),
        # A key of another section is found by its name.
        ("epochs=3", "epochs", "training.epochs"),
        ("model.learning_rate=3", "model.learning_rate", "training.learning_rate"),
        ("min_recall_at_10=1", "min_recall_at_10", "evaluation.gates.min_recall_at_10"),
    ],
)
def test_an_unknown_key_names_its_nearest(override, key, nearest):
    assert sentence(DEFAULT, override) == (
        f"{DEFAULT}: unknown key '{key}'; did you mean '{nearest}'?"
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "colour=1",
            "unknown key 'colour'; the keys here are beam, candidates, containers, "
            "data_dir, embedding_batch_size, evaluation, index, interactions, "
            "kubeflow, metadata, model, name, queries, registry, statistics, "
            "training, tuner, validation, vertex",
        ),
        (
            "interactions.source.xyz=1",
            "unknown key 'interactions.source.xyz'; the keys here are dataset_split, "
            "tfds",
        ),
        # The methods of a split are no part of the path, but may be keys by mistake.
        (
            "random=3",
            "unknown key 'random'; the keys here are beam, candidates, containers, "
            "data_dir, embedding_batch_size, evaluation, index, interactions, "
            "kubeflow, metadata, model, name, queries, registry, statistics, "
            "training, tuner, validation, vertex",
        ),
        (
            "interactions.split.shuffle=3",
            "unknown key 'interactions.split.shuffle'; the keys here are by, "
            "fractions, method, seed",
        ),
        (
            "interactions.split.method=time",
            "unknown key 'interactions.split.seed'; it does not go with this kind of "
            "split, take it out",
        ),
        (
            "interactions.split.counts={train: 3}",
            "unknown key 'interactions.split.counts'; it does not go with this kind "
            "of split, take it out",
        ),
    ],
)
def test_an_unknown_key_like_no_other_lists_those_there_are(override, expected):
    assert sentence(DEFAULT, override) == f"{DEFAULT}: {expected}"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("name: small", "name"),
        ("  query_id: user_id", "interactions.query_id"),
        ("  source: {tfds: movielens/100k-movies}", "candidates.source"),
    ],
)
def test_a_missing_key_is_named(line, key, small):
    small.write_text(SMALL.replace(line, ""))
    assert sentence(small) == f"{small}: the key '{key}' is missing; add it"


def test_a_key_that_an_override_takes_away_is_named():
    assert sentence(DEFAULT, "candidates={source: {tfds: x}}") == (
        f"{DEFAULT}: the key 'candidates.candidate_id' is missing; add it"
    )


def test_all_keys_are_those_that_load():
    keys = all_keys()
    assert {"name", "interactions.split.fractions", "index.kind"} <= set(keys)
    assert "interactions.schema" in keys and "interactions.schema_file" not in keys
    for path in (DEFAULT, TUTORIAL):
        tree = load_config(path).model_dump(by_alias=True)
        assert {key for key in _paths(tree) if key not in keys} == set()


def _paths(tree: dict, prefix: str = "") -> list[str]:
    found = []
    for name, value in tree.items():
        found.append(prefix + name)
        if isinstance(value, dict) and name not in ("fractions", "counts"):
            found += _paths(value, f"{prefix}{name}.")
    return found


# Values


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "name=Movie Lens",
            "name: input should be small letters, digits, '.', '_' and '-', a letter "
            "or digit first, got 'Movie Lens'",
        ),
        (
            "name=../up",
            "name: input should be small letters, digits, '.', '_' and '-', a letter "
            "or digit first, got '../up'",
        ),
        (
            "name=7",
            "name: input should be text, got 7, which YAML takes for no text; put it "
            "in quotes",
        ),
        (
            "interactions.query_id=null",
            "interactions.query_id: input should be text, got None; give it a value or "
            "take the key out",
        ),
        (
            "interactions.source=movielens",
            "interactions.source needs exactly one of the keys csv, parquet, jsonl, "
            "tfrecord, tfds, bigquery, got 'movielens'",
        ),
        (
            "interactions.orphans=keep",
            "interactions.orphans: input should be 'stop' or 'drop', got 'keep'",
        ),
        (
            "interactions.schema=3",
            "interactions.schema: input should be text, got 3, which YAML takes for no "
            "text; put it in quotes",
        ),
        (
            "candidates.duplicates=drop",
            "candidates.duplicates: input should be 'stop' or 'keep_one', got 'drop'",
        ),
        (
            "model=null",
            "model: input should be keys with values, got None",
        ),
        (
            "model.embedding_dim=0",
            "model.embedding_dim: input should be greater than 0, got 0",
        ),
        (
            "model.embedding_dim=many",
            "model.embedding_dim: input should be a valid integer, unable to parse "
            "string as an integer, got 'many'",
        ),
        (
            "model.temperature=-1",
            "model.temperature: input should be greater than 0, got -1",
        ),
        (
            "model.temperature=.nan",
            "model.temperature: input should be a finite number, got nan",
        ),
        (
            "training.learning_rate=.inf",
            "training.learning_rate: input should be a finite number, got inf",
        ),
        (
            "model.initializer=zeros",
            "model.initializer: input should be 'normal' or 'uniform', got 'zeros'",
        ),
        (
            "training.schedule=linear",
            "training.schedule: input should be 'constant' or 'cosine', got 'linear'",
        ),
        (
            "training.epochs=1.5",
            "training.epochs: input should be a valid integer, got a number with a "
            "fractional part, got 1.5",
        ),
        (
            "training.seed=-1",
            "training.seed: input should be greater than or equal to 0, got -1",
        ),
        (
            "training.seed=4294967296",
            "training.seed: input should be less than 4294967296, got 4294967296",
        ),
        (
            "evaluation.seed=-1",
            "evaluation.seed: input should be greater than or equal to 0, got -1",
        ),
        (
            "index.kind=hnsw",
            "index.kind: input should be 'auto', 'exact', 'scann', 'tfrs-scann' or "
            "'tfrs-brute-force', got 'hnsw'",
        ),
        (
            "statistics.sample_rate=0",
            "statistics.sample_rate: input should be greater than 0, got 0",
        ),
        (
            "index.leaves=-1",
            "index.leaves: input should be greater than or equal to 0, got -1",
        ),
        (
            "index.leaves_to_search=41",
            "index: leaves_to_search (41) is more than leaves (40); lower it",
        ),
        (
            "evaluation.slices=user_gender",
            "evaluation.slices: input should be a valid list, got 'user_gender'",
        ),
        (
            "evaluation.gates.gate_k=7",
            "evaluation.gates.gate_k: input should be 1, 5, 10, 50 or 100, got 7",
        ),
        (
            "evaluation.gates.min_recall_at_10=95",
            "evaluation.gates.min_recall_at_10: input should be less than or equal "
            "to 1, got 95",
        ),
        ("beam.args=--x", "beam.args: input should be a valid list, got '--x'"),
        (
            "beam.runner=FlinkRunner",
            "beam.args: FlinkRunner needs --flink_master; add --flink_master=HOST:8081",
        ),
        (
            "beam.nodes={Evaluator: {runner: PortableRunner, "
            "args: [--job_endpoint=h]}}",
            "beam.nodes.Evaluator: the workers of PortableRunner need this project; "
            "set containers.image, or add --sdk_container_image=, --setup_file= or "
            "--environment_type=PROCESS to beam.nodes.Evaluator.args",
        ),
        (
            "registry={mlflow: http://a, vertex: {project: p, region: r}}",
            "registry: mlflow and vertex are two registries; take one out",
        ),
        (
            "metadata={mysql: {host: a, port: 0, database: d, user: u}}",
            "metadata.mysql.port: input should be greater than 0, got 0",
        ),
        (
            "embedding_batch_size=0",
            "embedding_batch_size: input should be greater than 0, got 0",
        ),
    ],
)
def test_a_wrong_value_names_key_rule_and_value(override, expected):
    assert sentence(DEFAULT, override) == f"{DEFAULT}: {expected}"


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (
            "{method: random, fractions: {train: 0.5, eval: 0.4}}",
            "interactions.split: the fractions add up to 0.9; make them add up to 1",
        ),
        (
            "{method: time, fractions: {train: 0.9, valid: 0.2, eval: 0.1}}",
            "interactions.split: the fractions add up to 1.2; make them add up to 1",
        ),
        (
            "{method: random, fractions: {train: 1}}",
            "interactions.split: the split 'eval' is empty; give it a share above 0",
        ),
        (
            "{method: random, fractions: {train: 0, eval: 1}}",
            "interactions.split: the split 'train' is empty; give it a share above 0",
        ),
        (
            "{method: random, fractions: {train: 1.2, eval: -0.2}}",
            "interactions.split.fractions.train: input should be less than or "
            "equal to 1, got 1.2",
        ),
        (
            "{method: random, fractions: {train: 0.8, test: 0.2}}",
            "interactions.split.fractions.test: input should be 'train', 'valid' "
            "or 'eval', got 'test'",
        ),
        (
            "{method: random, fractions: [0.8, 0.2]}",
            "interactions.split.fractions: input should be keys with values, got "
            "[0.8, 0.2]",
        ),
        ("{method: shuffle}", "the key 'interactions.split.counts' is missing; add it"),
        (
            "{method: shuffle, counts: {train: 80000}}",
            "interactions.split: the split 'eval' is empty; give it a count",
        ),
        (
            "{method: shuffle, counts: {train: 80000, eval: 0}}",
            "interactions.split.counts.eval: input should be greater than 0, got 0",
        ),
        (
            "{method: by_user}",
            "interactions.split.method: input should be one of 'random', 'time', "
            "'leave_last_out', 'shuffle', got 'by_user'",
        ),
        (
            "random",
            "interactions.split: input should be keys with values, got 'random'",
        ),
    ],
)
def test_a_split_that_cannot_be_is_told(split, expected):
    assert sentence(DEFAULT, f"interactions.split={split}") == f"{DEFAULT}: {expected}"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "index.kind=tfrs-scann",
            "index.kind: tfrs-scann is there to compare with and has no shards; take "
            "auto, exact or scann, or set index.shards to 1",
        ),
        (
            "evaluation.gates.min_top_k_accuracy=0.1",
            "evaluation.gates.min_top_k_accuracy: Evaluator checks it, which can't "
            "load a catalogue in shards; set it to null, or index.shards to 1",
        ),
        (
            "index.shards=0",
            "index.shards: input should be greater than 0, got 0",
        ),
    ],
)
def test_what_shards_can_not_have_is_told(override, expected):
    assert load_config(DEFAULT, ["index.shards=3"]).index.shards == 3
    text = sentence(DEFAULT, "index.shards=3", override)
    assert text.endswith(f": {expected}")


def test_a_split_by_time_needs_a_timestamp():
    overrides = ["interactions.split.method=time", "interactions.timestamp=null"]
    # A seed goes with other methods only.
    split = "{method: time, fractions: {train: 0.8, eval: 0.2}}"
    overrides[0] = f"interactions.split={split}"
    assert sentence(DEFAULT, *overrides) == (
        f"{DEFAULT}: interactions.split.method: time needs a timestamp; name the "
        "column that holds it"
    )
    assert load_config(DEFAULT, overrides[:1]).interactions.split.method == "time"


# Files


@pytest.mark.parametrize("section", ["interactions", "candidates"])
def test_a_schema_that_is_not_there_is_named(section):
    missing = ROOT / "configs" / "none.pbtxt"
    assert sentence(DEFAULT, f"{section}.schema=none.pbtxt") == (
        f"{DEFAULT}: {section}.schema names {missing}, which is not there; mend the "
        "path or set it to null to infer one"
    )


def test_a_schema_that_is_a_folder_is_not_there(small):
    text = sentence(small, "candidates.schema=.")
    assert f"candidates.schema names {small.parent}" in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "{path} holds no keys; start from one of configs/"),
        (b"# nothing but this\n", "{path} holds no keys; start from one of configs/"),
        (b"- name: small\n", "{path} holds no keys; start from one of configs/"),
        (b"just text\n", "{path} holds no keys; start from one of configs/"),
        (
            b"name: [a\nother: b\n",
            "{path}, line 2: not valid YAML: expected ',' or ']', but got ':'; close "
            "the bracket, or put a text with brackets in quotes",
        ),
        (
            b"name:\n\t- a\n",
            "{path}, line 2: not valid YAML: found character '\\t' that cannot start "
            "any token; indent with blanks, not tabs",
        ),
        (
            b"name: a\n---\nname: b\n",
            "{path}, line 2: not valid YAML: but found another document; take the line "
            "out",
        ),
        (
            b"name: !!python/object:os.system x\n",
            "{path}, line 1: not valid YAML: could not determine a constructor for "
            "the tag 'tag:yaml.org,2002:python/object:os.system'; take the tag out",
        ),
        (
            b"name: a\0b\n",
            "{path}: not valid YAML: unacceptable character #x0000: special "
            'characters are not allowed in "{path}", position 7; take the character '
            "out",
        ),
        (
            "name: élan\n".encode("latin-1"),
            "{path} is not UTF-8 text; save it as UTF-8",
        ),
        (
            "name: small\n".encode("utf-16"),
            "{path} is not UTF-8 text; save it as UTF-8",
        ),
    ],
)
def test_a_file_that_is_no_config_is_told(content, expected, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert told(path) == expected.format(path=path)


def test_a_file_that_is_not_there_is_told(tmp_path):
    path = tmp_path / "none.yaml"
    assert sentence(path) == f"can't read config {path}: No such file or directory"
    assert sentence(tmp_path) == f"can't read config {tmp_path}: Is a directory"


def test_a_config_with_a_byte_order_mark_is_read(small):
    small.write_bytes(b"\xef\xbb\xbf" + SMALL.encode())
    assert load_config(str(small)).name == "small"


# Fingerprint and layout


@pytest.fixture
def package(tmp_path, monkeypatch) -> pathlib.Path:
    """A package of its own name with a subpackage."""
    folder = tmp_path / f"package_{tmp_path.name}"
    (folder / "sub").mkdir(parents=True)
    (folder / "__init__.py").write_text("A = 1\n")
    (folder / "sub" / "__init__.py").write_text("")
    (folder / "sub" / "module.py").write_text("B = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def fresh(*names: str) -> str:
    """The fingerprint as a new process would compute it."""
    fingerprint.cache_clear()
    return fingerprint(*names)


def test_an_edit_changes_the_fingerprint_and_undoing_it_restores_it(package):
    name = package.name
    before = fresh(name)
    assert len(before) == 16 and int(before, 16) >= 0
    assert fresh(name) == before
    (package / "sub" / "module.py").write_text("B = 2\n")
    assert fresh(name) != before
    (package / "sub" / "module.py").write_text("B = 1\n")
    assert fresh(name) == before


def test_a_renamed_or_new_module_changes_the_fingerprint(package):
    before = fresh(package.name)
    (package / "new.py").write_text("")
    with_new = fresh(package.name)
    (package / "new.py").rename(package / "newer.py")
    assert len({before, with_new, fresh(package.name)}) == 3


def test_what_is_no_source_does_not_count(package):
    before = fresh(package.name)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "module.cpython-310.pyc").write_bytes(b"x")
    (package / "notes.txt").write_text("x")
    assert fresh(package.name) == before


def test_a_fingerprint_is_of_all_the_packages_named(package):
    name = package.name
    assert fresh(name, "trainer") == fresh("trainer", name)
    assert len({fresh(name), fresh("trainer"), fresh(name, "trainer")}) == 3
    assert fresh(f"{name}.sub.module") != fresh(name)


def test_a_package_that_is_not_there_has_no_fingerprint():
    with pytest.raises(ModuleNotFoundError, match="no package 'nothing_here'"):
        fresh("nothing_here")


def test_everything_of_a_pipeline_lies_in_its_home():
    layout = Layout("/runs", "movies")
    assert layout.home == "/runs/movies"
    assert layout.artifacts == "/runs/movies/artifacts"
    assert layout.metadata == "/runs/movies/metadata.db"
    assert layout.serving == "/runs/movies/serving"
    places = [layout.artifacts, layout.metadata, layout.serving]
    places += [layout.summary, layout.lock]
    assert len(set(places)) == 5
    assert all(place.startswith("/runs/movies/") for place in places)


@pytest.mark.parametrize(
    ("key", "signal", "kind"),
    [
        ("candidate_id", "{}", "category"),
        ("signal.value", "{value: FEATURE}", "number"),
        ("signal.event", "{event: FEATURE, event_weights: {click: 1}}", "category"),
    ],
)
def test_what_only_the_interaction_tells_is_no_feature_of_the_query(key, signal, kind):
    name = "movie_id" if key == "candidate_id" else "outcome"
    overrides = [
        f"interactions.features={{{name}: {kind}}}",
        f"interactions.signal={signal.replace('FEATURE', name)}",
    ]
    assert sentence(DEFAULT, *overrides) == (
        f"{DEFAULT}: interactions.features.{name}: it is {key} too, which is known "
        "only after the interaction, so that a request can't carry it; take it out "
        "of the features"
    )


# Where a pipeline runs


def loaded(path: pathlib.Path, *overrides: str):
    return load_config(str(path), list(overrides))


def test_workers_elsewhere_get_the_image_unless_it_is_said_otherwise(small):
    flink = "beam={runner: FlinkRunner, args: [--flink_master=h:1]}"
    image = "containers.image=registry/shortlist:1"
    assert loaded(small, flink, image).beam_args() == [
        "--runner=FlinkRunner", "--sdk_container_image=registry/shortlist:1",
        "--flink_master=h:1",
    ]  # fmt: skip
    own = "beam.args=[--flink_master=h:1, --environment_type=LOOPBACK]"
    assert loaded(small, flink, image, own).beam_args() == [
        "--runner=FlinkRunner", "--flink_master=h:1", "--environment_type=LOOPBACK",
    ]  # fmt: skip
    here = ["--runner=DirectRunner", "--sdk_container_image=none"]
    assert loaded(small, image).beam_args() == here
    one = loaded(small, f"beam.nodes={{Evaluator: {flink.partition('=')[2]}}}", image)
    assert one.beam_args() == here
    assert one.beam_args("Evaluator")[0] == "--runner=FlinkRunner"


@pytest.mark.parametrize(
    ("memory", "gigabytes"), [("512M", 0.512), ("16G", 16.0), ("1.5T", 1500.0)]
)
def test_memory_is_told_in_gigabytes(small, memory, gigabytes):
    config = loaded(small, f"containers.resources={{Trainer: {{memory: {memory}}}}}")
    assert config.containers.resources["Trainer"].memory_gb == gigabytes


def test_secrets_are_read_when_they_are_needed(small, tmp_path):
    path = tmp_path / "token"
    config = loaded(small, f"kubeflow.token_file={path}")
    with pytest.raises(UserError, match=f"kubeflow.token_file: can't read {path}"):
        config.kubeflow.token()
    path.write_text("secret\n")
    assert config.kubeflow.token() == "secret"
    assert loaded(small).kubeflow.token() is None
