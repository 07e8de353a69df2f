# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Models and their versions: which are loaded, which one a request is for.

Base paths are looked at all the time. A version that is whole is loaded and warmed
beside the ones that answer, takes over when it is ready, and an old one is closed when
its last request is answered. One that fails is tried again a few times; what answered
before goes on.
"""

import asyncio
import dataclasses
import enum
import gc
import logging
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import tensorflow as tf

from serving import checksums
from serving.errors import UserError
from serving.model import versions as list_versions
from serving.server.failure import Code, Failure, invalid
from serving.server.metrics import Metrics
from serving.server.model_config import ModelSettings
from serving.server.options import ServerOptions
from serving.server.versions import Version

_log = logging.getLogger(__name__)

_CLOSE_POLL_S = 0.02
_REMEMBERED = 20
"""Versions that are over and still told of in a model's status."""


class State(enum.Enum):
    """Where a version is in its life; names and numbers are TensorFlow Serving's."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass
class Tracked:
    """A version that is, was, or should be loaded."""

    number: int
    path: str
    state: State = State.START
    error: str = ""
    """Why it could not be loaded."""
    tries: int = 0
    next_try: float = 0.0
    """On the clock of `time.monotonic`."""
    tried: Any = None
    """What its files were like at the last try."""
    version: Version | None = None
    """While it is available."""
    under_way: int = 0
    """Requests that it answers now."""


class Model:
    """A name, and the versions that answer for it."""

    def __init__(
        self, settings: ModelSettings, options: ServerOptions, metrics: Metrics
    ):
        """Loads nothing yet; see `look`."""
        self.settings = settings
        self._options, self._metrics = options, metrics
        self.tracked: dict[int, Tracked] = {}
        self.labels: dict[str, int] = {}
        self._seen: dict[int, Any] = {}
        self._closing: set[asyncio.Task] = set()

    @property
    def available(self) -> list[Tracked]:
        """Versions that answer, oldest first."""
        return [
            self.tracked[number]
            for number in sorted(self.tracked)
            if self.tracked[number].state is State.AVAILABLE
        ]

    @property
    def has_failed(self) -> bool:
        """Whether something was tried and nothing is available."""
        return not self.available and any(one.error for one in self.tracked.values())

    def find(self, number: int | None = None, label: str | None = None) -> Tracked:
        """Returns the version that a request is for: the newest, unless it says.

        Raises:
          Failure: There is none, or it is not available.
        """
        name = self.settings.name
        if label is not None:
            if label not in self.labels:
                raise invalid(f"Unrecognized servable version label: {label}")
            number = self.labels[label]
        if number is None:
            available = self.available
            if available:
                return available[-1]
            raise not_found(f"Latest({name})")
        found = self.tracked.get(number)
        if found is None or found.state is not State.AVAILABLE:
            raise not_found(f"Specific({name}, {number})")
        return found

    @asynccontextmanager
    async def use(
        self, number: int | None = None, label: str | None = None
    ) -> AsyncIterator[tuple[int, Version]]:
        """Gives a version to a request and keeps it loaded for so long.

        Raises:
          Failure: See `find`.
        """
        tracked = self.find(number, label)
        assert tracked.version is not None  # as it is available
        tracked.under_way += 1
        try:
            yield tracked.number, tracked.version
        finally:
            tracked.under_way -= 1

    async def look(self) -> None:
        """Looks at the base path once; loads what is new, closes what is old."""
        found = await asyncio.to_thread(_listing, self.settings.base_path)
        whole = [
            number
            for number, (path, files) in found.items()
            # Without checksums: what has not changed since the last look.
            if files is True or self._seen.get(number) == files
        ]
        self._seen = {number: files for number, (_, files) in found.items()}
        for number in self._wanted(whole):
            path, files = found[number]
            tracked = self.tracked.setdefault(number, Tracked(number, path))
            if self._is_due(tracked, files):
                await self._load(tracked, files)
        self._retire(set(self.settings.aspired(whole)))
        self._set_labels()

    def _wanted(self, whole: list[int]) -> list[int]:
        """Returns the versions to load, newest first.

        If none of them can be loaded and nothing answers, those before: a server that
        is started beside a broken version has to answer too.
        """
        aspired = sorted(self.settings.aspired(whole), reverse=True)
        if self.available or self.settings.specific:
            return aspired
        older = sorted(set(whole) - set(aspired), reverse=True)
        while older and aspired and self._failed(aspired[-1]):
            aspired.append(older.pop(0))
        return aspired

    def _failed(self, number: int) -> bool:
        return number in self.tracked and bool(self.tracked[number].error)

    def _is_due(self, tracked: Tracked, files: Any) -> bool:
        """Tells whether a version should be loaded now."""
        if tracked.state is State.START:
            return True
        if tracked.state is not State.END:
            return False
        if not tracked.error or files != tracked.tried and files is not True:
            return True  # it was retired and is wanted again, or has changed
        return (
            tracked.tries <= self._options.load_retries
            and time.monotonic() >= tracked.next_try
        )

    async def _load(self, tracked: Tracked, files: Any) -> None:
        tracked.state, tracked.tried = State.LOADING, files
        tracked.tries += 1
        tracked.next_try = time.monotonic() + self._options.load_retry_s
        started = time.monotonic()
        name = f"{self.settings.name} version {tracked.number}"
        try:
            version = await asyncio.to_thread(Version, tracked.path, self._options)
        # Whatever is wrong with a version is that version's state; the others answer.
        except Exception as error:  # noqa: BLE001
            tracked.state = State.END
            tracked.error = str(error).splitlines()[0] if str(error) else repr(error)
            _log.warning("%s can't be loaded: %s", name, tracked.error)
            if not isinstance(error, UserError):
                _log.error("what has failed in detail", exc_info=error)
            self._metrics.loaded(self.settings.name, "failed")
            return
        version.start(self._metrics.batch_observer(self.settings.name))
        tracked.version, tracked.error, tracked.tries = version, "", 0
        tracked.state = State.AVAILABLE
        self._metrics.loaded(self.settings.name, "ok")
        _log.info(
            "%s is available (%s, %d candidates, %.1f s)",
            name, version.engine_name, version.manifest["candidates"],
            time.monotonic() - started,
        )  # fmt: skip

    def _retire(self, aspired: set[int]) -> None:
        """Closes what is no longer wanted, once something that is wanted answers."""
        available = self.available
        if not any(one.number in aspired for one in available):
            return  # an emptied folder, or a new version that fails, takes nothing away
        for one in available:
            if one.number not in aspired:
                self._close(one)
        over = [one for one in self.tracked.values() if one.state is State.END]
        for one in sorted(over, key=lambda one: one.number)[:-_REMEMBERED]:
            del self.tracked[one.number]

    def _close(self, tracked: Tracked) -> None:
        tracked.state = State.UNLOADING
        task = asyncio.create_task(self._end(tracked))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _end(self, tracked: Tracked) -> None:
        """Waits for a version's last request and lets go of it."""
        while tracked.under_way:
            await asyncio.sleep(_CLOSE_POLL_S)
        version, tracked.version = tracked.version, None
        assert version is not None
        await version.close()
        del version
        tracked.state = State.END
        # TensorFlow's objects refer to each other: without it they would stay.
        await asyncio.to_thread(gc.collect)
        _log.info("%s version %d is unloaded", self.settings.name, tracked.number)

    def _set_labels(self) -> None:
        """Lets labels stand for their versions, as soon as these are available."""
        for label, number in self.settings.labels:
            tracked = self.tracked.get(number)
            if tracked and tracked.state is State.AVAILABLE:
                self.labels[label] = number
        wanted = {label for label, _ in self.settings.labels}
        self.labels = {
            label: number for label, number in self.labels.items() if label in wanted
        }

    async def close(self) -> None:
        """Closes all versions after their last requests."""
        for one in self.available:
            self._close(one)
        await asyncio.gather(*self._closing)


def not_found(request: str) -> Failure:
    """Returns the failure of a request for what is not served."""
    return Failure(Code.NOT_FOUND, f"Servable not found for request: {request}")


def _listing(base: str) -> dict[int, tuple[str, Any]]:
    """Returns the versions below a base path: folder, and what its files are like.

    That is True where checksums tell that all are there, else names, sizes and times:
    such a version is taken for whole when two looks in a row find it the same.
    """
    found: dict[int, tuple[str, Any]] = {}
    for number in list_versions(base):
        path = os.path.join(base, str(number))
        if not checksums.exist(path):
            found[number] = path, _files(path)
        elif checksums.is_whole(path):
            found[number] = path, True
    return found


def _files(path: str) -> tuple:
    """Returns names, sizes and times of all files of a folder."""
    found = []
    for folder, _, names in tf.io.gfile.walk(path):
        for name in names:
            file = os.path.join(folder, name)
            try:
                stat = tf.io.gfile.stat(file)
            except tf.errors.NotFoundError:
                continue  # renamed since: the next look will see
            found.append((file, stat.length, stat.mtime_nsec))
    return tuple(sorted(found))


class Models:
    """All models of a server."""

    def __init__(
        self,
        settings: Iterable[ModelSettings],
        options: ServerOptions,
        metrics: Metrics,
    ):
        """Takes what is to be served; loads nothing yet."""
        self._options, self._metrics = options, metrics
        self._models = {one.name: Model(one, options, metrics) for one in settings}
        self._looking = asyncio.Lock()
        self._over: list[Model] = []

    def __iter__(self) -> Any:
        return iter(self._models.values())

    def find(self, name: str) -> Model | None:
        """Returns the model of a name."""
        return self._models.get(name)

    def named(self, name: str, number: int | None = None) -> Model:
        """Returns the model of a name.

        Raises:
          Failure: There is none.
        """
        model = self._models.get(name)
        if model is None:
            raise not_found(
                f"Latest({name})" if number is None else f"Specific({name}, {number})"
            )
        return model

    @property
    def are_ready(self) -> bool:
        """Whether every model has a version that answers."""
        return all(model.available for model in self)

    async def look(self) -> None:
        """Looks at all base paths once."""
        async with self._looking:
            for model in list(self):
                await model.look()

    async def watch(self) -> None:
        """Looks at all base paths again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(self._options.poll_s)
            try:
                await self.look()
            # A file system that does not answer now may answer at the next look.
            except (OSError, tf.errors.OpError) as error:
                _log.warning("a base path can't be looked at: %s", error)

    async def configure(self, settings: Iterable[ModelSettings]) -> None:
        """Serves other models, or other versions of them, from now on.

        Returns when all of them have a version that answers.

        Raises:
          Failure: One of them has none that can be loaded, or a label is for a version
            that is not available.
        """
        settings = list(settings)
        async with self._looking:
            kept = {one.name: self._models.get(one.name) for one in settings}
            for one in settings:
                model = kept[one.name]
                if model is None or model.settings.base_path != one.base_path:
                    kept[one.name] = Model(one, self._options, self._metrics)
                else:
                    model.settings = one
            before = set(self._models.values())
            self._models = {name: model for name, model in kept.items() if model}
            for model in before - set(self._models.values()):
                await model.close()
        # Without checksums a version is whole when two looks find it the same.
        for _ in range(2):
            await self.look()
        self._check_configured()

    def _check_configured(self) -> None:
        for model in self:
            name = model.settings.name
            if not model.available:
                errors = [one.error for one in model.tracked.values() if one.error]
                raise Failure(
                    Code.UNKNOWN,
                    f"the model '{name}' has no version that can be loaded"
                    + (f": {errors[-1]}" if errors else ""),
                )
            for label, number in model.settings.labels:
                if model.labels.get(label) != number:
                    raise Failure(
                        Code.FAILED_PRECONDITION,
                        f"the label '{label}' of model '{name}' is for version "
                        f"{number}, which is not available",
                    )

    async def close(self) -> None:
        """Closes all models after their last requests."""
        await asyncio.gather(*(model.close() for model in self))
