# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Vertex AI's registry, by its own client, against a stand-in that keeps models."""

import datetime
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
import tensorflow as tf
from google.cloud import aiplatform_v1
from google.cloud.aiplatform_v1.services.model_service.transports import (
    ModelServiceGrpcTransport,
)
from google.longrunning import operations_pb2
from google.protobuf import any_pb2

from serving import checksums, folders
from serving.errors import UserError
from serving.registry.base import CHALLENGER, CHAMPION, GATES, PASSED
from serving.registry.vertex import VertexRegistry
from tests import google_storage

HOST = "127.0.0.1"
SERVICE = "google.cloud.aiplatform.v1.ModelService"


class Vertex(grpc.GenericRpcHandler):
    """Answers as ModelService does, for one model."""

    def __init__(self) -> None:
        self.versions: list[aiplatform_v1.Model] = []
        self.uploads: list[aiplatform_v1.UploadModelRequest] = []
        self.refusal: grpc.StatusCode | None = None
        self._server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[self])
        port = self._server.add_insecure_port(f"{HOST}:0")
        self._server.start()
        transport = ModelServiceGrpcTransport(
            channel=grpc.insecure_channel(f"{HOST}:{port}")
        )
        self.client = aiplatform_v1.ModelServiceClient(transport=transport)

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        kinds = {
            "UploadModel": (aiplatform_v1.UploadModelRequest, operations_pb2.Operation),
            "ListModelVersions": (
                aiplatform_v1.ListModelVersionsRequest,
                aiplatform_v1.ListModelVersionsResponse,
            ),
            "ListModels": (
                aiplatform_v1.ListModelsRequest, aiplatform_v1.ListModelsResponse
            ),
            "GetModel": (aiplatform_v1.GetModelRequest, aiplatform_v1.Model),
            "UpdateModel": (aiplatform_v1.UpdateModelRequest, aiplatform_v1.Model),
            "MergeVersionAliases": (
                aiplatform_v1.MergeVersionAliasesRequest, aiplatform_v1.Model
            ),
        }  # fmt: skip
        assert details.method == f"/{SERVICE}/{name}"
        request_type, response_type = kinds[name]

        def answer(request: Any, context: Any) -> Any:
            if self.refusal:
                context.abort(self.refusal, "not allowed")
            return getattr(self, name)(request, context)

        serialize = getattr(response_type, "serialize", None) or (
            lambda one: one.SerializeToString()
        )
        return grpc.unary_unary_rpc_method_handler(
            answer, request_type.deserialize, serialize
        )

    def UploadModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.uploads.append(request)
        name = f"{request.parent}/models/shop"
        assert request.parent_model == (name if self.versions else "")
        assert request.model_id == ("" if self.versions else "shop")
        model = aiplatform_v1.Model(request.model)
        model.name = name
        model.version_id = str(len(self.versions) + 1)
        model.version_aliases = [] if self.versions else ["default"]
        model.version_create_time = datetime.datetime(
            2026, 11, 26, tzinfo=datetime.timezone.utc
        )
        self.versions.append(model)
        answer = any_pb2.Any()
        answer.Pack(
            aiplatform_v1.UploadModelResponse.pb(
                aiplatform_v1.UploadModelResponse(
                    model=name, model_version_id=model.version_id
                )
            )
        )
        return operations_pb2.Operation(name="o", done=True, response=answer)

    def ListModelVersions(self, request: Any, context: Any) -> Any:  # noqa: N802
        if not self.versions or not request.name.endswith("/models/shop"):
            context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        return aiplatform_v1.ListModelVersionsResponse(models=self.versions)

    def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802
        return aiplatform_v1.ListModelsResponse(models=self.versions[:1])

    def _find(self, name: str, context: Any) -> aiplatform_v1.Model:
        which = name.partition("@")[2]
        for one in self.versions:
            if which == one.version_id or which in one.version_aliases:
                return one
        context.abort(grpc.StatusCode.NOT_FOUND, "no such version")
        raise AssertionError

    def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._find(request.name, context)

    def UpdateModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        assert list(request.update_mask.paths) == ["version_description"]
        found = self._find(request.model.name, context)
        found.version_description = request.model.version_description
        return found

    def MergeVersionAliases(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = self._find(request.name, context)
        for alias in request.version_aliases:
            for one in self.versions:  # an alias is of one version
                if alias in one.version_aliases:
                    one.version_aliases.remove(alias)
            found.version_aliases.append(alias)
        return found

    def close(self) -> None:
        self._server.stop(None)


@pytest.fixture
def vertex() -> Iterator[Vertex]:
    server = Vertex()
    yield server
    server.close()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A bucket with three versions, which differ in a file."""
    folder = tmp_path_factory.mktemp("storage")
    with (
        google_storage.served(folder, "bucket") as values,
        google_storage.environment(values),
    ):
        for number in (101, 102, 103):
            made = folder / str(number)
            for name in ("of", "assets.extra"):
                (made / name).mkdir(parents=True)
            (made / "of" / "file").write_text(str(number))
            checksums.write(str(made))
            folders.copy(str(made), f"gs://bucket/serving/{number}")
        yield


@pytest.fixture
def registry(vertex, bucket) -> VertexRegistry:
    return VertexRegistry("project", "europe-west4", vertex.client)


def register(registry: VertexRegistry, number: int, gates: str = PASSED):
    return registry.register(
        "shop", f"gs://bucket/serving/{number}", {GATES: gates}, {"recall.10": 0.9}
    )


def test_versions_are_registered_where_they_lie(registry, vertex):
    first, second = register(registry, 101), register(registry, 102)
    assert (first.version, second.version) == ("1", "2")
    assert [one.model.artifact_uri for one in vertex.uploads] == [
        "gs://bucket/serving/101", "gs://bucket/serving/102",
    ]  # fmt: skip
    assert vertex.uploads[0].parent == "projects/project/locations/europe-west4"
    assert second.metrics == {"recall.10": 0.9}
    assert second.tags[GATES] == PASSED
    assert second.created == "2026-11-26T00:00:00+00:00"
    # The very same one is not registered twice.
    assert register(registry, 102).version == "2"
    assert len(vertex.uploads) == 2
    assert registry.names() == ["shop"]


def test_a_version_is_fetched_out_of_its_bucket(registry, tmp_path):
    for number in (101, 102):
        register(registry, number)
    registry.promote("shop", "2")
    found = registry.fetch("shop", CHAMPION, str(tmp_path))
    assert found == str(tmp_path / "2")
    checksums.verify(found)
    assert (tmp_path / "2" / "of" / "file").read_text() == "102"


def test_champions_and_the_way_back(registry):
    for number in (101, 102):
        register(registry, number)
    assert registry.resolve("shop", CHAMPION) is None
    registry.promote("shop", "1")
    registry.set_alias("shop", CHALLENGER, "2")
    assert registry.promote("shop", CHALLENGER).version == "2"
    assert registry.resolve("shop", CHAMPION) == "2"
    assert registry.roll_back("shop").version == "1"
    assert CHAMPION in registry.find("shop", "1").aliases
    with pytest.raises(UserError, match="did not pass its gates"):
        registry.promote("shop", register(registry, 103, "failed").version)


def test_what_the_registry_refuses_is_told_in_a_sentence(registry, vertex):
    vertex.refusal = grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(
        UserError,
        match="Vertex AI in project project, region europe-west4, refuses: not allowed",
    ):
        register(registry, 101)


def test_what_is_in_no_bucket_is_refused(registry):
    with pytest.raises(UserError, match="registers what is in a bucket, and /srv/1 is"):
        registry.register("shop", "/srv/1", {}, {})


def test_an_unknown_model_is_told_with_those_that_are_known(registry):
    with pytest.raises(UserError, match="no model 'other'; it has none at all"):
        registry.find("other", CHAMPION)
    register(registry, 101)
    with pytest.raises(UserError, match="no version '7' of shop; it has the version"):
        registry.find("shop", "7")


def test_what_is_not_as_it_was_registered_is_never_taken(registry, tmp_path):
    register(registry, 103)
    with tf.io.gfile.GFile("gs://bucket/serving/103/of/file", "w") as file:
        file.write("301")
    with pytest.raises(UserError, match="of/file"):
        registry.fetch("shop", "1", str(tmp_path))
    tf.io.gfile.rmtree("gs://bucket/serving/103")
    with pytest.raises(UserError, match="can't copy gs://bucket/serving/103"):
        registry.fetch("shop", "1", str(tmp_path))
    assert not list(tmp_path.iterdir())
