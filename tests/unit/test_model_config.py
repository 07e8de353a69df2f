# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The model config file: what it says, and what can't be meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.config import model_server_config_pb2

from serving.errors import UserError
from serving.server.model_config import (
    ModelSettings,
    check_name,
    read_config,
    settings_of,
)


def config(*models: str) -> str:
    return "model_config_list {" + "".join(f"config {{{one}}}" for one in models) + "}"


def one(more: str = "", name: str = "m") -> str:
    return f'name: "{name}" base_path: "/models/{name}" {more}'


PLATFORM = 'model_platform: "tensorflow"'


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (one(), ModelSettings("m", "/models/m")),
        (one(PLATFORM), ModelSettings("m", "/models/m")),
        (
            one("model_version_policy {latest {num_versions: 2}}"),
            ModelSettings("m", "/models/m", latest=2),
        ),
        (one("model_version_policy {latest {}}"), ModelSettings("m", "/models/m")),
        (one("model_version_policy {}"), ModelSettings("m", "/models/m")),
        (
            one("model_version_policy {all {}}"),
            ModelSettings("m", "/models/m", latest=0),
        ),
        (
            one("model_version_policy {specific {versions: 3 versions: 1}}"),
            ModelSettings("m", "/models/m", latest=0, specific=(3, 1)),
        ),
        (
            one(
                'version_labels {key: "stable" value: 1}'
                'version_labels {key: "canary" value: 2}'
            ),
            ModelSettings("m", "/models/m", labels=(("canary", 2), ("stable", 1))),
        ),
    ],
)
def test_a_model_is_read_as_it_stands(text, settings, tmp_path):
    path = tmp_path / "models.config"
    path.write_text(config(text))
    assert read_config(str(path)) == [settings]


def test_several_models_keep_their_order(tmp_path):
    path = tmp_path / "models.config"
    path.write_text(config(one(name="b"), one(name="a")))
    assert [found.name for found in read_config(str(path))] == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no model is named; fill in model_config_list"),
        ("model_config_list {}", "no model is named; fill in model_config_list"),
        (
            "custom_model_config {}",
            "custom_model_config is not supported; use model_config_list",
        ),
        (config('name: "m"'), "each model needs a name and a base_path"),
        (config('base_path: "/m"'), "each model needs a name and a base_path"),
        (config(one(), one()), "the model 'm' is named twice"),
        (
            config(one('model_platform: "pytorch"')),
            "the model 'm' has model_platform 'pytorch', which must be tensorflow",
        ),
        (
            config(one("model_version_policy {specific {}}")),
            "model_version_policy specific names no versions",
        ),
        (
            config(one(name="a/b")),
            "the model's name must be without / and :, got 'a/b'",
        ),
        (
            config(one(name="a:b")),
            "the model's name must be without / and :, got 'a:b'",
        ),
    ],
)
def test_what_cant_be_meant_is_one_sentence(text, sentence, tmp_path):
    path = tmp_path / "models.config"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_config(str(path))
    assert str(caught.value) == f"{path}: {sentence}"


@pytest.mark.parametrize(
    "content", [b"model_config_list {", b"hello", b"{}", b"nothing: 1"]
)
def test_what_is_no_config_is_one_sentence(content, tmp_path):
    path = tmp_path / "models.config"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path} is no model config: "):
        read_config(str(path))


def test_a_file_that_cant_be_read_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="nope can't be read"):
        read_config(str(tmp_path / "nope"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="binary is not text"):
        read_config(str(tmp_path / "binary"))


def test_a_config_of_a_request_is_read_alike():
    made = model_server_config_pb2.ModelServerConfig()
    added = made.model_config_list.config.add(name="m", base_path="/models/m")
    added.model_version_policy.specific.versions.append(2)
    assert settings_of(made) == [
        ModelSettings("m", "/models/m", latest=0, specific=(2,))
    ]


@given(st.sets(st.integers(0, 9)), st.integers(0, 4), st.sets(st.integers(0, 9)))
def test_aspired_versions_are_those_of_the_policy(found, latest, specific):
    listed = sorted(found)
    newest = ModelSettings("m", "/m", latest=latest).aspired(listed)
    assert newest == (listed[-latest:] if latest else listed)
    named = ModelSettings("m", "/m", latest=0, specific=tuple(specific))
    if specific:
        assert set(named.aspired(listed)) == found & specific


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "/", ":predict"])
def test_a_name_that_no_path_can_hold_is_refused(name):
    with pytest.raises(UserError, match="must be without / and :"):
        check_name(name)


@pytest.mark.parametrize("name", ["m", "..", "a b", "%2e", "é", "movielens-100k"])
def test_any_other_name_is_fine(name):
    check_name(name)
