# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What every registry can do, and what holds in each of them.

A version is registered when all of it is there, with what was measured of it as tags
and metrics. Aliases say which one is meant: the `champion` is served, a `challenger`
may become it. A champion remembers whose place it took, so that there is a way back.
"""

import abc
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from serving import checksums, manifest
from serving.errors import UserError
from serving.registry.config import RegistryConfig

CHAMPION, CHALLENGER = "champion", "challenger"
GATES = "gates"
"""Tag: `passed` where a model passed all of its gates."""
PASSED = "passed"
REPLACED = "replaced"
"""Tag of a champion: the version whose place it took."""
PUSHED_VERSION = "pushed_version"
"""Tag: the version's folder among those that Pusher wrote."""

_ADDRESS = re.compile(
    r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<number>\d+))"
)


class Address(NamedTuple):
    """A version by its name and an alias or a number, as in `models:/name@champion`."""

    name: str
    which: str
    """The alias, or the number in digits."""


class Registered(NamedTuple):
    """A version in a registry."""

    name: str
    version: str
    """The registry's own number."""
    aliases: tuple[str, ...]
    created: str
    """ISO 8601, UTC."""
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


class Registry(abc.ABC):
    """A registry of models."""

    @abc.abstractmethod
    def register(
        self,
        name: str,
        path: str,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
    ) -> Registered:
        """Registers a pushed version, all of it or nothing.

        Args:
          name: Of the model.
          path: Folder of the version, local or remote.
          tags: What is known of it.
          metrics: What was measured of it.

        Returns:
          It, or what was registered of the very same version before.
        """

    @abc.abstractmethod
    def versions(self, name: str) -> list[Registered]:
        """Returns all versions of a model, the newest first; none of an unknown one."""

    @abc.abstractmethod
    def names(self) -> list[str]:
        """Returns the names of all models."""

    @abc.abstractmethod
    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Lets an alias stand for a version, and for no other one."""

    @abc.abstractmethod
    def set_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Changes what is known of a version."""

    @abc.abstractmethod
    def download(self, name: str, version: str, folder: str) -> str:
        """Copies a version's files into a local folder, and returns where they are."""

    @abc.abstractmethod
    def resolve(self, name: str, alias: str) -> str | None:
        """Returns the version that an alias stands for, None for no such one."""

    def find(self, name: str, which: str) -> Registered:
        """Returns a version by its number or an alias.

        Raises:
          UserError: There is none.
        """
        versions = self.versions(name)
        for one in versions:
            if one.version == which or which in one.aliases:
                return one
        if not versions:
            known = ", ".join(self.names()) or "none at all"
            raise UserError(
                f"the registry has no model '{name}'; it has {known}: run a pipeline "
                "with a registry first"
            )
        aliases = sorted({alias for one in versions for alias in one.aliases})
        raise UserError(
            f"the registry has no version '{which}' of {name}; it has the versions "
            f"{', '.join(one.version for one in versions)} and the aliases "
            f"{', '.join(aliases) or 'none'}"
        )

    def champion(self, name: str) -> Registered | None:
        """Returns the champion of a model, if it has one."""
        return next(
            (one for one in self.versions(name) if CHAMPION in one.aliases), None
        )

    def promote(self, name: str, which: str) -> Registered:
        """Makes a version the champion, if it passed its gates.

        Raises:
          UserError: There is none, or it did not pass them.
        """
        version, champion = self.find(name, which), self.champion(name)
        if version.tags.get(GATES) != PASSED:
            raise UserError(
                f"version {version.version} of {name} did not pass its gates; run the "
                "pipeline for one that does"
            )
        if champion and champion.version == version.version:
            return version
        if champion:
            # First: a champion without a way back would be worse than a tag too much.
            self.set_tag(name, version.version, REPLACED, champion.version)
        self.set_alias(name, CHAMPION, version.version)
        return self.find(name, version.version)

    def roll_back(self, name: str) -> Registered:
        """Makes the version champion whose place the champion took.

        Raises:
          UserError: There is no champion, or none before it.
        """
        champion = self.champion(name)
        if champion is None:
            raise UserError(f"{name} has no champion; promote a version")
        before = champion.tags.get(REPLACED)
        if not before:
            raise UserError(
                f"version {champion.version} of {name} took nobody's place; promote "
                "another version"
            )
        version = self.find(name, before)
        self.set_alias(name, CHAMPION, version.version)
        return self.find(name, before)

    def fetch(self, name: str, which: str, folder: str) -> str:
        """Copies a version to where it can be served from, all of it or nothing.

        Args:
          name: Of the model.
          which: Number or alias.
          folder: Local; the version is put into a folder of its number in it.

        Raises:
          UserError: There is none, or its files are not as they were registered.
        """
        version = which if which.isdigit() else self.find(name, which).version
        target = os.path.join(folder, version)
        if os.path.isdir(target):
            return target
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as scratch:
            found = self.download(name, version, scratch)
            checksums.verify(found)
            os.rename(found, target)
        return target


def open_registry(config: RegistryConfig) -> Registry:
    """Returns the registry of a config, which names one; asks it for nothing yet."""
    # Late: each client takes seconds to import.
    if config.mlflow:
        from serving.registry.mlflow import MlflowRegistry

        return MlflowRegistry(config.mlflow)
    from serving.registry.vertex import VertexRegistry

    assert config.vertex
    return VertexRegistry(config.vertex.project, config.vertex.region)


def parse_address(text: str) -> Address:
    """Reads `models:/NAME@ALIAS` or `models:/NAME/NUMBER`.

    Raises:
      UserError: It is neither.
    """
    found = _ADDRESS.fullmatch(text)
    if not found:
        raise UserError(
            f"{text} names no version; write models:/NAME@{CHAMPION} or "
            "models:/NAME/NUMBER"
        )
    return Address(found["name"], found["alias"] or found["number"])


def describe(path: str) -> tuple[dict[str, str], dict[str, float]]:
    """Returns the tags and metrics of a pushed version by its manifest.

    Args:
      path: Folder of the version.
    """
    content = manifest.read(path)
    index, measured = content["index"], content.get("measured") or {}
    tags: dict[str, Any] = {
        "pipeline": content.get("pipeline"),
        "candidates": content.get("candidates"),
        "dimensions": content.get("dimensions"),
        "towers": content.get("towers"),
        "index": index["kind"],
        **{f"index.{key}": one for key, one in index.items() if key != "kind"},
        **{f"version.{key}": one for key, one in content.get("versions", {}).items()},
    }
    return (
        {key: str(one) for key, one in tags.items() if one is not None},
        dict(_numbers(measured)),
    )


def _numbers(
    values: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, float]]:
    """Yields all numbers in what was measured, by a dotted name."""
    for key, one in values.items():
        if isinstance(one, Mapping):
            yield from _numbers(one, f"{prefix}{key}.")
        elif isinstance(one, int | float) and not isinstance(one, bool):
            yield f"{prefix}{key}", float(one)
