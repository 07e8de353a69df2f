# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Models and their versions: which are loaded, which one a request is for.

Base paths are looked at all the time. A version that is whole is loaded and warmed
beside the ones that answer, takes over when it is ready, and an old one is closed when
its last request is answered. One that fails is tried again a few times; what answered
before goes on.
"""

import asyncio
import ctypes
import dataclasses
import enum
import gc
import logging
import os
import time
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from serving import checksums
from serving.errors import UserError
from serving.model import version_paths
from serving.server.failure import Code, Failure, invalid
from serving.server.metrics import Metrics
from serving.server.model_config import ModelSettings
from serving.server.options import ServerOptions
from serving.server.versions import Version

_log = logging.getLogger(__name__)

_CLOSE_POLL_S = 0.02
_Files = tuple[tuple[str, int, int], ...]
"""Names, sizes and times of the files of a folder."""
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
    tried: _Files | None = None
    """What its files were like before the last try."""
    version: Version | None = None
    """While it is available."""
    under_way: int = 0
    """Requests that it answers now."""

    def __enter__(self) -> tuple[int, Version]:
        """Gives the version, which is available, and keeps it loaded for so long."""
        assert self.version is not None
        self.under_way += 1
        return self.number, self.version

    def __exit__(self, *_: object) -> None:
        """Lets it go."""
        self.under_way -= 1


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
        self._whole: set[int] = set()
        """Versions whose files are all there, as far as can be seen."""
        self._seen: dict[int, _Files] = {}
        """What the files of all others were like at the last look."""
        self._closing: set[asyncio.Task] = set()
        self._has_warned = False

    @property
    def available(self) -> list[Tracked]:
        """Versions that answer, oldest first."""
        return [
            self.tracked[number]
            for number in sorted(self.tracked)
            if self.tracked[number].state is State.AVAILABLE
        ]

    def find(self, number: int | None = None, label: str | None = None) -> Tracked:
        """Returns the version that a request is for: the newest, unless it says.

        Raises:
          Failure: There is none, or it is not available.
        """
        name = self.settings.name
        if label is not None:
            if label not in self.labels:
                raise _unknown_label(label)
            number = self.labels[label]
        if number is None:
            numbers = [
                one.number
                for one in self.tracked.values()
                if one.state is State.AVAILABLE
            ]
            if numbers:
                return self.tracked[max(numbers)]
            raise not_found(f"Latest({name})")
        found = self.tracked.get(number)
        if found is None or found.state is not State.AVAILABLE:
            raise not_found(f"Specific({name}, {number})")
        return found

    async def look(self) -> bool:
        """Looks at the base path once; loads what is new, closes what is old.

        Returns:
          Whether another look may find more: a version was not known to be whole.
        """
        try:
            return await self._look()
        # What does not answer now may answer at the next look.
        except (OSError, tf.errors.OpError) as error:
            _log.warning(
                "%s: %s can't be looked at: %s",
                self.settings.name, self.settings.base_path, error,
            )  # fmt: skip
            return True

    async def _look(self) -> bool:
        paths = await asyncio.to_thread(version_paths, self.settings.base_path)
        await self._examine(paths)
        for number in self._wanted(sorted(self._whole)):
            tracked = self.tracked.setdefault(number, Tracked(number, paths[number]))
            if self._is_due(tracked):
                await self._load(tracked)
        aspired = set(self.settings.aspired(sorted(self._whole)))
        self._retire(aspired)
        self._set_labels()
        is_settled = self._whole.issuperset(paths)
        if is_settled:
            self._warn_of_nothing(aspired)
        return not is_settled

    async def settle(self) -> None:
        """Looks until it is known of all versions whether they are whole."""
        if await self.look():
            await asyncio.sleep(self._options.poll_s)
            await self.look()

    async def _examine(self, paths: dict[int, str]) -> None:
        """Finds out which versions are whole.

        Those are that checksums tell of, and those that two looks in a row find the
        same: a copy that stands still and is not whole fails when it is loaded, and is
        tried again when it goes on.
        """
        unsure = {
            number: path
            for number, path in paths.items()
            if number not in self._whole or self._failed(number)
        }
        seen = await asyncio.to_thread(_listing, unsure)
        self._whole &= paths.keys() - unsure.keys()
        for number, (files, is_whole) in seen.items():
            tried = self.tracked[number].tried if number in self.tracked else None
            if is_whole or files in (self._seen.get(number), tried):
                self._whole.add(number)
        self._seen = {number: files for number, (files, _) in seen.items()}

    def _warn_of_nothing(self, aspired: set[int]) -> None:
        """Says once that there is nothing to serve, which may be a wrong path."""
        is_empty = not aspired and not self.available
        if is_empty and not self._has_warned:
            _log.warning(
                "%s: there is no version to serve in %s yet",
                self.settings.name, self.settings.base_path,
            )  # fmt: skip
        self._has_warned = is_empty

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

    def _is_due(self, tracked: Tracked) -> bool:
        """Tells whether a version should be loaded now."""
        if tracked.state is State.START:
            return True
        if tracked.state is not State.END:
            return False
        if not tracked.error or self._seen.get(tracked.number) != tracked.tried:
            return True  # it was retired and is wanted again, or has changed
        return (
            tracked.tries <= self._options.load_retries
            and time.monotonic() >= tracked.next_try
        )

    async def _load(self, tracked: Tracked) -> None:
        files = await asyncio.to_thread(_files, tracked.path)
        tracked.state = State.LOADING
        tracked.tries = tracked.tries + 1 if files == tracked.tried else 1
        tracked.tried = files
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
        await asyncio.to_thread(_give_back_memory)
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


def _give_back_memory() -> None:
    """Frees what a version leaves behind, and returns it to the system.

    TensorFlow's objects refer to each other, and the C library keeps what is freed
    between things that are still there: several hundred MiB after some swaps of 1.7
    million candidates.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def not_found(request: str) -> Failure:
    """Returns the failure of a request for what is not served."""
    return Failure(Code.NOT_FOUND, f"Servable not found for request: {request}")


def _unknown_label(label: str) -> Failure:
    return invalid(f"Unrecognized servable version label: {label}")


def _listing(paths: dict[int, str]) -> dict[int, tuple[_Files, bool]]:
    """Returns what files versions have, and whether checksums tell that all are there.

    Args:
      paths: Folders of versions.
    """
    return {
        number: (_files(path), checksums.exist(path) and checksums.is_whole(path))
        for number, path in paths.items()
    }


def _files(path: str) -> _Files:
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

    def __iter__(self) -> Any:
        return iter(self._models.values())

    def find(self, name: str) -> Model | None:
        """Returns the model of a name."""
        return self._models.get(name)

    def named(
        self, name: str, number: int | None = None, label: str | None = None
    ) -> Model:
        """Returns the model of a name.

        Raises:
          Failure: There is none.
        """
        model = self._models.get(name)
        if model is not None:
            return model
        if label is not None:
            raise _unknown_label(label)
        raise not_found(
            f"Latest({name})" if number is None else f"Specific({name}, {number})"
        )

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
            await self.look()
            await asyncio.sleep(self._options.poll_s)

    async def configure(self, settings: Iterable[ModelSettings]) -> None:
        """Serves other models, or other versions of them, from now on.

        What is new is loaded before it takes over from what was there under its name,
        which goes on if nothing of the new can be loaded.

        Raises:
          Failure: A model has no version that can be loaded, or lacks one that is asked
            for by its number or by a label.
        """
        refused: list[Failure] = []
        async with self._looking:
            before, after = dict(self._models), {}
            for one in settings:
                model, old = self._model_for(one), before.get(one.name)
                await model.settle()
                try:
                    _check_configured(model)
                except Failure as failure:
                    refused.append(failure)
                after[one.name] = model if model.available or not old else old
                if model not in (old, after[one.name]):
                    await model.close()
            self._models = after
            gone = set(before.values()) - set(after.values())
            await asyncio.gather(*(model.close() for model in gone))
        if refused:
            raise refused[0]

    def _model_for(self, settings: ModelSettings) -> Model:
        """Returns the model of a name with new settings, a new one for another path."""
        model = self._models.get(settings.name)
        if model is None or model.settings.base_path != settings.base_path:
            return Model(settings, self._options, self._metrics)
        model.settings = settings
        return model

    async def close(self) -> None:
        """Closes all models after their last requests."""
        await asyncio.gather(*(model.close() for model in self))


def _check_configured(model: Model) -> None:
    """Refuses a model that has not all that its settings name.

    Raises:
      Failure: See `Models.configure`.
    """
    name, available = model.settings.name, {one.number for one in model.available}
    errors = [one.error for one in model.tracked.values() if one.error]
    if not available:
        raise Failure(
            Code.UNKNOWN,
            f"the model '{name}' has no version that can be loaded"
            + (f": {errors[-1]}" if errors else ""),
        )
    for number in model.settings.specific:
        if number not in available:
            tracked = model.tracked.get(number)
            reason = tracked.error if tracked else f"not in {model.settings.base_path}"
            raise Failure(
                Code.UNKNOWN,
                f"version {number} of model '{name}' can't be loaded: {reason}",
            )
    for number in dict(model.settings.labels).values():
        if number not in available:
            raise Failure(
                Code.FAILED_PRECONDITION,
                f"Request to assign label to version {number} of model {name}, which "
                "is not currently available for inference",
            )
