# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Follows an alias of the model registry: what it stands for is served.

A version is fetched beside those that were served, all of it or nothing, and takes over
as any new version does. While the registry can't be reached, or what it names can't be
served, what was served before goes on.
"""

import asyncio
import logging
import os
import shutil

from serving.errors import UserError
from serving.registry.base import Address, Registry
from serving.server.failure import Failure
from serving.server.model_config import ModelSettings
from serving.server.models import Models

_log = logging.getLogger(__name__)

_KEPT = 2
"""Versions that stay fetched: the one that is served, and the way back."""


class Follower:
    """Serves the version that an alias, or a number, stands for."""

    def __init__(
        self, address: Address, registry: Registry, folder: str, poll_s: float
    ):
        """Takes what to follow.

        Args:
          address: Of the model in the registry.
          registry: It.
          folder: Local, for the versions that are served.
          poll_s: How often the registry is asked.
        """
        self._address, self._registry, self._poll_s = address, registry, poll_s
        self._folder = os.path.join(folder, address.name)
        self._served: list[str] = []

    def first(self) -> ModelSettings:
        """Fetches the version that is served at first.

        Raises:
          UserError: The registry can't be reached, or there is no such version.
        """
        name, which = self._address
        return self._fetch(self._registry.find(name, which).version)

    def _fetch(self, version: str) -> ModelSettings:
        name, which = self._address
        self._registry.fetch(name, version, self._folder)
        self._served = [version, *(one for one in self._served if one != version)]
        labels = () if which.isdigit() else ((which, int(version)),)
        return ModelSettings(
            name, self._folder, specific=(int(version),), labels=labels
        )

    async def watch(self, models: Models) -> None:
        """Asks again and again, and serves what the alias stands for by then.

        Args:
          models: Of the server, which serves this one only.
        """
        name, which = self._address
        said = ""
        while not which.isdigit():
            await asyncio.sleep(self._poll_s)
            try:
                version = await asyncio.to_thread(self._registry.resolve, name, which)
                if version is None or version == self._served[0]:
                    continue
                _log.info("%s: %s is version %s now", name, which, version)
                before = list(self._served)
                settings = await asyncio.to_thread(self._fetch, version)
                try:
                    await models.configure([settings])
                except Failure:
                    self._served = before
                    raise
                await asyncio.to_thread(self._clean)
                said = ""
            except (UserError, Failure) as error:
                if str(error) != said:
                    said = str(error)
                    _log.warning("%s: %s; what was served goes on", name, said)

    def _clean(self) -> None:
        """Removes versions that were served long ago."""
        self._served, old = self._served[:_KEPT], self._served[_KEPT:]
        for version in old:
            shutil.rmtree(os.path.join(self._folder, version), ignore_errors=True)
