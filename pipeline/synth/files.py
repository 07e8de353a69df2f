# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a synthetic log, its catalogue and a config that runs them."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from pipeline.synth.config_text import config_text
from pipeline.synth.world import Candidates, Interactions, Size, World
from serving.errors import UserError

CONFIG_FILE = "config.yaml"
INTERACTIONS, CANDIDATES = "interactions", "candidates"

Open = Callable[[str, pa.Schema], Any]
FORMATS: dict[str, Open] = {
    "csv": pyarrow.csv.CSVWriter,
    "parquet": pyarrow.parquet.ParquetWriter,
}


def write(folder: str, size: Size, seed: int, form: str, shards: int) -> None:
    """Writes `interactions/`, `candidates/` and, once they are whole, a config.

    Rows are the same, and in the same order, whatever the number of shards.

    Args:
      folder: Where to; it must not be there, or be empty.
      size: How much.
      seed: Of all that is drawn.
      form: csv or parquet.
      shards: Files of each source.

    Raises:
      UserError: The folder can't take them, or the size is impossible.
    """
    world = World(size, seed)
    try:
        _claim(folder)
        sources = (
            (INTERACTIONS, map(_log, world.interactions()), size.interactions),
            (CANDIDATES, map(_catalogue, world.candidates()), size.candidates),
        )
        for name, tables, rows in sources:
            where = os.path.join(folder, name)
            os.mkdir(where)
            _write_shards(where, tables, rows, form, shards)
        path = os.path.join(folder, CONFIG_FILE)
        with open(path, "w", encoding="utf-8") as file:
            file.write(config_text(size, seed, form))
    except OSError as error:
        raise UserError(
            f"can't write to {folder}: {error.strerror or error}; make room or choose "
            "another folder"
        ) from None


def _claim(folder: str) -> None:
    """Makes a folder, or takes one that is empty."""
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        raise UserError(
            f"{folder} is not empty; empty it or choose another folder with -o"
        )


def _write_shards(
    folder: str, tables: Iterable[pa.Table], rows: int, form: str, shards: int
) -> None:
    """Cuts a stream of tables of so many rows in all into files of about one size."""
    ends = [rows * shard // shards for shard in range(1, shards + 1)]
    parts = _cut(tables, ends)
    shard, part = next(parts)
    for at in range(shards):
        path = os.path.join(folder, f"part-{at:05d}-of-{shards:05d}.{form}")
        with contextlib.closing(FORMATS[form](path, part.schema)) as writer:
            while shard == at:
                writer.write_table(part)
                shard, part = next(parts, (shards, part))


def _cut(tables: Iterable[pa.Table], ends: list[int]) -> Iterator[tuple[int, pa.Table]]:
    """Yields pieces of tables with the shard that each belongs to."""
    shard = row = 0
    for table in tables:
        start = 0
        while start < len(table):
            while row == ends[shard]:
                shard += 1
            part = table.slice(start, ends[shard] - row)
            yield shard, part
            start += len(part)
            row += len(part)


def _log(block: Interactions) -> pa.Table:
    return pa.table(
        {
            "query_id": _text("q", block.query),
            "candidate_id": _text("c", block.candidate),
            "timestamp": block.timestamp,
        }
    )


def _catalogue(block: Candidates) -> pa.Table:
    title = pc.binary_join_element_wise(
        _text("Candidate ", block.candidate), _text("of cluster ", block.cluster), " "
    )
    return pa.table(
        {
            "candidate_id": _text("c", block.candidate),
            "title": title,
            "category": _text("category-", block.category),
            "price": block.price,
        }
    )


def _text(prefix: str, numbers: np.ndarray) -> pa.Array:
    """Returns numbers as texts after a prefix."""
    digits = pa.array(numbers).cast(pa.string())
    return pc.binary_join_element_wise(prefix, digits, "")
