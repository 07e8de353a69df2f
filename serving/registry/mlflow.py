# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Models in an MLflow registry, by its own client."""

import contextlib
import datetime
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow import MlflowClient, artifacts
from mlflow.entities import Metric, model_registry
from mlflow.exceptions import MlflowException

from serving import checksums, folders
from serving.errors import UserError
from serving.registry.base import PUSHED_VERSION, Registered, Registry

_log = logging.getLogger(__name__)

_FOLDER = "model"
"""Of the version's files, among the artifacts of its run."""
_CHECKSUMS = "checksums"
"""Tag: which files a version is made of."""
_EXISTS = "RESOURCE_ALREADY_EXISTS"
_MISSING = "RESOURCE_DOES_NOT_EXIST"


class MlflowRegistry(Registry):
    """The registry of an MLflow tracking server."""

    def __init__(self, uri: str):
        """Takes the server's address; asks it for nothing yet."""
        self._uri = uri
        self._client = MlflowClient(uri, uri)

    def register(
        self,
        name: str,
        path: str,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
    ) -> Registered:
        """See `Registry.register`: an MLflow run holds files, metrics and tags."""
        contents = checksums.digest(path)
        for known in self.versions(name):
            if known.tags.get(_CHECKSUMS) == contents:
                return known
        tags = {**tags, _CHECKSUMS: contents}
        with self._told():
            run = self._client.create_run(
                self._experiment(name),
                run_name=f"{name} {tags.get(PUSHED_VERSION, '')}".strip(),
                tags=tags,
            )
        with self._told(), contextlib.ExitStack() as unless_done:
            unless_done.callback(self._book_failed, run.info.run_id)
            self._log(run.info.run_id, path, metrics)
            self._make_model(name)
            # Last: a version is in the registry when all of it is.
            version = self._client.create_model_version(
                name,
                source=f"{run.info.artifact_uri}/{_FOLDER}",
                run_id=run.info.run_id,
                tags=tags,
            )
            unless_done.pop_all()
            self._client.set_terminated(run.info.run_id)
        return self.find(name, str(version.version))

    def _book_failed(self, run_id: str) -> None:
        """Books a run as failed, if the server still answers."""
        try:
            self._client.set_terminated(run_id, "FAILED")
        except MlflowException as error:
            _log.warning("MLflow's run %s stays booked as running: %s", run_id, error)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return found.experiment_id if found else self._client.create_experiment(name)

    def _log(self, run_id: str, path: str, metrics: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self._client.log_batch(
            run_id, metrics=[Metric(key, one, now, 0) for key, one in metrics.items()]
        )
        if os.path.isdir(path):
            self._client.log_artifacts(run_id, path, _FOLDER)
            return
        with tempfile.TemporaryDirectory(prefix="shortlist-") as folder:
            folders.copy(path, folder)
            self._client.log_artifacts(run_id, folder, _FOLDER)

    def _make_model(self, name: str) -> None:
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != _EXISTS:
                raise

    def versions(self, name: str) -> list[Registered]:
        """See `Registry.versions`."""
        found: list[model_registry.ModelVersion] = []
        with self._told():
            try:
                aliases = self._client.get_registered_model(name).aliases
            except MlflowException as error:
                if error.error_code == _MISSING:
                    return []
                raise
            found = _all_pages(self._client.search_model_versions, f"name='{name}'")
            runs = {
                one.run_id: self._client.get_run(one.run_id).data.metrics
                for one in found
                if one.run_id
            }
        of_version: dict[str, list[str]] = {}
        for alias, version in aliases.items():
            of_version.setdefault(str(version), []).append(alias)
        return sorted(
            (
                Registered(
                    name,
                    str(one.version),
                    tuple(sorted(of_version.get(str(one.version), ()))),
                    _time(one.creation_timestamp),
                    dict(one.tags),
                    runs[one.run_id] if one.run_id else {},
                )
                for one in found
            ),
            key=lambda one: int(one.version),
            reverse=True,
        )

    def names(self) -> list[str]:
        """See `Registry.names`."""
        with self._told():
            found = _all_pages(self._client.search_registered_models, None)
        return sorted(one.name for one in found)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """See `Registry.set_alias`."""
        with self._told():
            self._client.set_registered_model_alias(name, alias, version)

    def set_tag(self, name: str, version: str, key: str, value: str) -> None:
        """See `Registry.set_tag`."""
        with self._told():
            self._client.set_model_version_tag(name, version, key, value)

    def resolve(self, name: str, alias: str) -> str | None:
        """Returns the version that an alias stands for, by one request."""
        with self._told():
            try:
                return str(self._client.get_model_version_by_alias(name, alias).version)
            except MlflowException as error:
                if error.error_code in (_MISSING, "INVALID_PARAMETER_VALUE"):
                    return None
                raise

    def download(self, name: str, version: str, folder: str) -> str:
        """See `Registry.download`."""
        with self._told():
            source = self._client.get_model_version_download_uri(name, version)
            return artifacts.download_artifacts(
                artifact_uri=source, dst_path=folder, tracking_uri=self._uri
            )

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tells in a sentence what the server has against a request.

        Raises:
          UserError: In place of what the client raised.
        """
        try:
            yield
        except MlflowException as error:
            first = str(error).splitlines()[0]
            if "API request to" in first:
                raise UserError(
                    f"the MLflow server at {self._uri} can't be reached: check the "
                    "registry's address and the network"
                ) from None
            raise UserError(f"MLflow at {self._uri} refuses: {first}") from None
        except OSError as error:
            raise UserError(
                f"MLflow at {self._uri} can't be used ({error}): check where it keeps "
                "artifacts, and what this process may write there"
            ) from None


def _all_pages(search: Any, condition: str | None) -> list[Any]:
    """Returns all that a search finds."""
    found, token = [], None
    while True:
        page = search(condition, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _time(milliseconds: int) -> str:
    moment = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.timezone.utc)
    return moment.isoformat(timespec="seconds")
