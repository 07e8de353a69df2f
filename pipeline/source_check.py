# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Looks at the sources of a config before anything heavy is imported or run.

Only at what costs little: whether local files are there and begin as they should, and
whether their headers have the columns. Remote files are read by the run itself.
"""

import difflib
import glob
import os
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO

from components.columns import Column
from components.file_example_gen import streams
from components.file_example_gen.streams import FileFormat
from pipeline.sources import BigQuerySource, FileSource, Source, as_glob
from pipeline.yaml_file import Path, YamlFile
from serving.errors import UserError

_MOST_FILES = 100


def check_source(
    file: YamlFile, section: str, source: Source, columns: Sequence[Column]
) -> None:
    """Checks a source and that it has columns.

    Args:
      file: The config, for its lines.
      section: Which part of it the source belongs to.
      source: What to look at.
      columns: What will be read from it.

    Raises:
      UserError: It names the line of the config, the file, and the mend.
    """
    if isinstance(source, BigQuerySource):
        _check_credentials(file.where((section, "source", "bigquery")))
    if not isinstance(source, FileSource) or "://" in source.path:
        return
    where = file.where((section, "source", source.format_name))
    values = source.file_format()
    values["column_names"] = tuple(values.get("column_names") or ())
    form = FileFormat(**values)
    try:
        paths = _find(source.path)
        for path in paths[:_MOST_FILES]:
            names = _names(path, form)
            for column in columns if names is not None else ():
                where = file.where(_naming(file.tree, section, column.name))
                form.check_names([column], names or [], path)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _check_credentials(where: str) -> None:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        google.auth.default()
    except DefaultCredentialsError:
        raise UserError(
            f"{where}: BigQuery needs credentials and there are none; run 'gcloud auth "
            "application-default login'"
        ) from None


def _find(pattern: str) -> list[str]:
    """Returns the files of all spans of a pattern."""
    paths = sorted(glob.glob(as_glob(pattern)))
    if not paths:
        raise UserError(f"no file matches {pattern}{_missing_hint(pattern)}")
    for path in paths:
        if os.path.isdir(path):
            raise UserError(
                f"{path} is a folder: name the files in it, as {path}/*.csv"
            )
        if not os.access(path, os.R_OK):
            raise UserError(f"{path} can't be read: permission denied")
    return paths


def _missing_hint(pattern: str) -> str:
    """Says what may be wrong with a path that leads nowhere."""
    folder, name = os.path.split(pattern)
    if "/~" in pattern or "$" in pattern:
        return ": paths are taken as they stand, write ~ and variables out"
    if not glob.glob(as_glob(folder)):
        return f": there is no folder {folder}"
    there = os.listdir(folder) if os.path.isdir(folder) else []
    near = difflib.get_close_matches(name, there, 1)
    return f": did you mean {near[0]}?" if near else ": mend the path"


def _open(path: str) -> BinaryIO:
    return open(path, "rb")


def _names(path: str, form: FileFormat) -> list[str] | None:
    """Returns the names of a file's columns; None for formats without a header."""
    try:
        streams.check_head(path, form, _open)
        if form.name == "csv":
            return streams.csv_header(path, form, _open)
        if form.name == "parquet":
            import pyarrow.parquet

            return pyarrow.parquet.read_schema(path).names
    except UserError:
        raise
    except (OSError, EOFError, ValueError, zlib.error) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{path} can't be read as {form.name} ({problem})") from None
    return None


def _naming(tree: dict[str, Any], section: str, name: str) -> Path:
    """Returns the path to the key that names a column."""
    slices = (tree.get("evaluation") or {}).get("slices") or ()
    if found := _search(tree[section], name):
        return (section, *found)
    return ("evaluation", "slices") if name in slices else (section,)


def _search(tree: dict[str, Any], name: str) -> Path:
    """Returns the keys down to one that is, or whose value is, a name; () for none."""
    for key, value in tree.items():
        if key == "source":
            continue
        if name in (key, value):
            return (key,)
        if isinstance(value, dict) and (below := _search(value, name)):
            return (key, *below)
    return ()
