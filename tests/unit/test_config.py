# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The config: what loads, and the sentence for everything that does not."""

import pathlib

import pytest

from pipeline.config import all_keys, load_config
from pipeline.fingerprint import fingerprint
from serving.errors import UserError

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
DEFAULT = str(CONFIGS / "movielens-100k.yaml")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_config_of_the_repository_loads(path):
    config = load_config(str(path))
    assert config.name == path.stem
    assert pathlib.Path(config.interactions.schema_file).is_file()


def test_a_schema_is_relative_to_the_config(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = load_config(DEFAULT)
    assert pathlib.Path(config.candidates.schema_file).is_absolute()
    assert pathlib.Path(config.candidates.schema_file).is_file()


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("training.epochs=4", lambda c: c.training.epochs == 4),
        ("index.leaves=null", lambda c: c.index.leaves is None),
        ("evaluation.slices=[a, b]", lambda c: c.evaluation.slices == ["a", "b"]),
        ("interactions.split={method: time}", lambda c: c.interactions.split.method),
        ("interactions.split.fractions={train: 0.9, eval: 0.1}",
         lambda c: c.interactions.split.fractions == {"train": 0.9, "eval": 0.1}),
        ("candidates.title=null", lambda c: c.candidates.title is None),
        ("interactions.schema=null", lambda c: c.interactions.schema_file is None),
        ("name=other", lambda c: c.name == "other"),
        ("data_dir=gs://bucket/data", lambda c: c.data_dir == "gs://bucket/data"),
        ("model.candidate_bias=false", lambda c: c.model.candidate_bias is False),
        ("training.learning_rate=1", lambda c: c.training.learning_rate == 1.0),
    ],
)  # fmt: skip
def test_any_value_can_be_overridden(override, read):
    assert read(load_config(DEFAULT, [override]))


def test_the_last_override_wins():
    overrides = ["training.epochs=4", "training.epochs=5"]
    assert load_config(DEFAULT, overrides).training.epochs == 5


WRONG = [
    ("training.epocs=3",
     "unknown key 'training.epocs'; did you mean 'training.epochs'?"),
    ("indx={}", "unknown key 'indx'; did you mean 'index'?"),
    ("epochs=3", "unknown key 'epochs'; did you mean 'training.epochs'?"),
    ("evaluation.gates.min_recal_at_10=1",
     "unknown key 'evaluation.gates.min_recal_at_10'; did you mean "
     "'evaluation.gates.min_recall_at_10'?"),
    ("interactions.source.tdfs=x",
     "unknown key 'interactions.source.tdfs'; did you mean "
     "'interactions.source.tfds'?"),
    ("interactions.split.method=time",
     "unknown key 'interactions.split.seed'; it does not go with this kind of split, "
     "take it out"),
    ("training.epochs=0", "training.epochs: input should be greater than 0, got 0"),
    ("training.epochs=many",
     "training.epochs: input should be a valid integer, unable to parse string as an "
     "integer, got 'many'"),
    ("training.optimizer=sgd",
     "training.optimizer: input should be 'adam' or 'adagrad', got 'sgd'"),
    ("index.anisotropic_threshold=1",
     "index.anisotropic_threshold: input should be less than 1, got 1"),
    ("evaluation.gates.gate_k=7",
     "evaluation.gates.gate_k: input should be 1, 5, 10, 50 or 100, got 7"),
    ("interactions.split={method: random, fractions: {train: 0.5, eval: 0.1}}",
     "interactions.split: the fractions add up to 0.6; make them add up to 1"),
    ("interactions.split={method: random, fractions: {train: 1, eval: 0}}",
     "interactions.split: the split 'eval' is empty; give it a share above 0"),
    ("interactions={query_id: u, candidate_id: m, source: {tfds: x}, "
     "split: {method: time}}",
     "interactions: split.method time needs a timestamp; name the feature that holds "
     "it"),
    ("interactions.query_id=null",
     "interactions.query_id: input should be a valid string, got None"),
    ("candidates={source: {tfds: x}}",
     "the key 'candidates.candidate_id' is missing; add it"),
    ("name=Capital Letters",
     "name: string should match pattern '^[a-z0-9][a-z0-9._-]*$', got "
     "'Capital Letters'"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "sentence"), WRONG, ids=[o for o, _ in WRONG])
def test_a_wrong_key_or_value_is_told_in_a_sentence(override, sentence):
    with pytest.raises(UserError) as caught:
        load_config(DEFAULT, [override])
    assert str(caught.value) == f"{DEFAULT}: {sentence}"


def test_leaves_to_search_may_not_exceed_leaves():
    with pytest.raises(UserError, match=r"leaves_to_search.*more than.*leaves.*lower"):
        load_config(DEFAULT, ["index.leaves=5", "index.leaves_to_search=6"])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "training.epochs",
            "--set 'training.epochs' is not of the form key.path=value",
        ),
        ("=3", "--set '=3' is not of the form key.path=value"),
        ("a=[1", "--set a: the value '[1' is not valid YAML"),
        ("name.x=1", "--set name.x: 'name' is a value, it has no keys below"),
    ],
)
def test_an_override_that_cannot_be_read(override, sentence):
    with pytest.raises(UserError) as caught:
        load_config(DEFAULT, [override])
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "{path} holds no keys; start from one of configs/"),
        (b"- a\n- b\n", "{path} holds no keys; start from one of configs/"),
        (b"name: [a\nb: c\n", "{path}, line 2: not valid YAML: "),
        (b"name: \xff\xfe\n", "{path} is not UTF-8 text; save it as UTF-8"),
        (b"name: x\n", "{path}: the key 'interactions' is missing; add it"),
    ],
)
def test_a_file_that_is_no_config(tmp_path, content, sentence):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_config(str(path))
    assert str(caught.value).startswith(sentence.format(path=path))


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(UserError, match="can't read config .*No such file"):
        load_config(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="can't read config .*Is a directory"):
        load_config(str(tmp_path))


def test_a_schema_that_is_not_there():
    with pytest.raises(UserError, match=r"candidates\.schema names .*nope\.pbtxt"):
        load_config(DEFAULT, ["candidates.schema=nope.pbtxt"])


def test_every_key_has_its_own_words_somewhere():
    keys = all_keys()
    assert {"index.kind", "evaluation.gates.gate_k", "interactions.schema"} <= set(keys)
    assert not any("schema_file" in key for key in keys)


def test_a_fingerprint_changes_with_the_code(tmp_path, monkeypatch):
    package = tmp_path / "fingerprinted"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)

    def fresh() -> str:
        fingerprint.cache_clear()
        return fingerprint("fingerprinted")

    first = fresh()
    assert fresh() == first and len(first) == 16
    (package / "a.py").write_text("x = 2\n")
    second = fresh()
    (package / "a.py").rename(package / "b.py")
    assert len({first, second, fresh()}) == 3


def test_no_fingerprint_of_what_is_not_there():
    with pytest.raises(ModuleNotFoundError):
        fingerprint("no_such_package_at_all")
