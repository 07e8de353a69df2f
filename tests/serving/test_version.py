# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""One version, loaded in this process: which engine answers, and what is refused."""

import json
import pathlib
import shutil

import pytest
import tensorflow as tf

from serving import native
from serving.errors import UserError
from serving.server.options import ServerOptions
from serving.server.versions import Version

WARMUP = "assets.extra/tf_serving_warmup_requests"


@pytest.fixture
def version(build, tmp_path) -> pathlib.Path:
    """A version with a native engine that may be damaged."""
    return pathlib.Path(shutil.copytree(build("exact").path, tmp_path / "1"))


def refused(path: pathlib.Path | str, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        Version(str(path), ServerOptions(**options))
    return str(caught.value)


def test_the_native_engine_answers_where_there_is_one(build, sharded_version):
    for path in (build("scann").path, sharded_version):
        loaded = Version(path, ServerOptions())
        assert loaded.engine_name == "native" and loaded.native is not None
    loaded = Version(build("tfrs-scann").path, ServerOptions())
    assert loaded.engine_name == "saved_model" and loaded.native is None


def test_the_saved_model_answers_where_it_is_asked_for(version):
    shutil.rmtree(version / native.FOLDER)
    loaded = Version(str(version), ServerOptions(engine="saved_model"))
    assert loaded.engine_name == "saved_model"


def test_a_native_engine_that_is_asked_for_has_to_be_there(build):
    path = build("tfrs-scann").path
    assert refused(path, engine="native") == (
        f"{path} has no native engine and --engine native wants one; push the model "
        "again, with index.kind auto, exact or scann"
    )


def test_a_native_engine_that_should_be_there_has_to_be(version):
    shutil.rmtree(version / native.FOLDER)
    assert refused(version) == (
        f"{version} is not whole: its native engine is missing; push the model again"
    )


def test_a_version_of_before_native_engines_is_answered_by_its_saved_model(version):
    shutil.rmtree(version / native.FOLDER)
    file = version / "assets.extra" / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 1}))
    assert Version(str(version), ServerOptions()).engine_name == "saved_model"


def test_a_model_that_gives_more_than_the_server_may_is_told(version):
    assert refused(version, max_k=5) == (
        f"{version} has warm-up requests that are refused: k must be from 1 to 5, got "
        "10; start the server with a larger --max-k"
    )


def test_a_version_without_warm_up_requests_is_fine(version):
    (version / WARMUP).unlink()
    assert Version(str(version), ServerOptions()).native is not None


def test_warm_up_requests_that_fail_are_told(version):
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = "serving_examples"
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto([b"\xff\xff"], tf.string))
    with tf.io.TFRecordWriter(str(version / WARMUP)) as writer:
        writer.write(log.SerializeToString())
    assert refused(version).startswith(
        f"{version} fails on its own warm-up requests (Could not parse example"
    )
