# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Models in Vertex AI's Model Registry, by its own client.

The registry keeps no files: a version says where Pusher has put them, in a bucket. What
is known of a version is kept in its description, as JSON: labels can't hold it.
"""

import contextlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from google.api_core import client_options, exceptions
from google.cloud import aiplatform_v1
from google.protobuf import field_mask_pb2

from serving import checksums, folders
from serving.errors import UserError
from serving.google_cloud import refusal_told
from serving.registry.base import Registered, Registry

_TIMEOUT_S = 600
"""To register a version, which copies nothing."""
_IMAGE = "tensorflow/serving"
"""The registry wants to know one, and asks nothing of it before a deployment."""
_UNFIT = re.compile(r"[^a-z0-9-]")


class VertexRegistry(Registry):
    """The registry of a project and a region."""

    def __init__(
        self,
        project: str,
        region: str,
        client: aiplatform_v1.ModelServiceClient | None = None,
    ):
        """Takes where the registry is.

        Args:
          project: Id of the project.
          region: Such as europe-west4.
          client: In place of one with the credentials of this machine.

        Raises:
          UserError: There are no credentials.
        """
        self._project, self._region = project, region
        self._parent = f"projects/{project}/locations/{region}"
        with self._told():
            self._client = client or aiplatform_v1.ModelServiceClient(
                client_options=client_options.ClientOptions(
                    api_endpoint=f"{region}-aiplatform.googleapis.com"
                )
            )

    def register(
        self,
        name: str,
        path: str,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
    ) -> Registered:
        """See `Registry.register`: the version stays where it is.

        Raises:
          UserError: It is not in a bucket, or the registry refuses.
        """
        if not path.startswith("gs://"):
            raise UserError(
                f"Vertex AI registers what is in a bucket, and {path} is not; run the "
                "pipeline with a --root such as gs://bucket/runs"
            )
        contents = checksums.digest(path)
        known = self.versions(name)
        for one in known:
            if one.tags.get("checksums") == contents:
                return one
        told = {"tags": {**tags, "checksums": contents}, "metrics": dict(metrics)}
        with self._told():
            operation = self._client.upload_model(
                aiplatform_v1.UploadModelRequest(
                    parent=self._parent,
                    parent_model=self._path(name) if known else "",
                    model_id="" if known else _id(name),
                    model=aiplatform_v1.Model(
                        display_name=name,
                        artifact_uri=path,
                        version_description=json.dumps(told, sort_keys=True),
                        container_spec=aiplatform_v1.ModelContainerSpec(
                            image_uri=_IMAGE
                        ),
                    ),
                )
            )
            version = operation.result(timeout=_TIMEOUT_S).model_version_id
        return self.find(name, version)

    def versions(self, name: str) -> list[Registered]:
        """See `Registry.versions`."""
        with self._told():
            try:
                found = list(self._client.list_model_versions(name=self._path(name)))
            except exceptions.NotFound:
                return []
        return sorted(
            (_registered(name, one) for one in found),
            key=lambda one: int(one.version),
            reverse=True,
        )

    def names(self) -> list[str]:
        """See `Registry.names`."""
        with self._told():
            found = list(self._client.list_models(parent=self._parent))
        return sorted(one.display_name for one in found)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """See `Registry.set_alias`."""
        with self._told():
            self._client.merge_version_aliases(
                name=f"{self._path(name)}@{version}", version_aliases=[alias]
            )

    def set_tag(self, name: str, version: str, key: str, value: str) -> None:
        """See `Registry.set_tag`."""
        known = self.find(name, version)
        told = {"tags": {**known.tags, key: value}, "metrics": dict(known.metrics)}
        with self._told():
            self._client.update_model(
                model=aiplatform_v1.Model(
                    name=f"{self._path(name)}@{version}",
                    version_description=json.dumps(told, sort_keys=True),
                ),
                update_mask=field_mask_pb2.FieldMask(paths=["version_description"]),
            )

    def resolve(self, name: str, alias: str) -> str | None:
        """See `Registry.resolve`."""
        with self._told():
            try:
                found = self._client.get_model(name=f"{self._path(name)}@{alias}")
            except exceptions.NotFound:
                return None
        return found.version_id

    def download(self, name: str, version: str, folder: str) -> str:
        """See `Registry.download`."""
        with self._told():
            found = self._client.get_model(name=f"{self._path(name)}@{version}")
        target = os.path.join(folder, version)
        try:
            folders.copy(found.artifact_uri, target)
        except tf.errors.OpError as error:
            raise UserError(
                f"can't copy {found.artifact_uri} ({error.message}): check what this "
                "process may read there"
            ) from None
        return target

    def _path(self, name: str) -> str:
        return f"{self._parent}/models/{_id(name)}"

    def _told(self) -> contextlib.AbstractContextManager[None]:
        """Tells in a sentence what the registry has against a request."""
        return refusal_told(
            f"Vertex AI in project {self._project}, region {self._region}, refuses"
        )


def _id(name: str) -> str:
    """Returns a name as Vertex AI's ids are."""
    return _UNFIT.sub("-", name.lower())


def _registered(name: str, model: Any) -> Registered:
    told = json.loads(model.version_description or "{}")
    return Registered(
        name,
        model.version_id,
        tuple(sorted(model.version_aliases)),
        model.version_create_time.isoformat(timespec="seconds"),
        told.get("tags", {}),
        told.get("metrics", {}),
    )
