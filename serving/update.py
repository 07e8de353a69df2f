# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A servable brought up to date with its catalogue, without training anything.

CandidateEmbedder embeds only what the servable before does not know by its fingerprint;
here these are put into its index, which ScaNN can change natively: each in the
partition that is nearest, by the codes that were learned. What is gone makes room for
what is new. After many changes, or where the knobs are others, the index is built anew
of the same vectors.
"""

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving import manifest, scann_files
from serving.candidates import (
    FINGERPRINT,
    ID,
    Candidates,
    read_shards,
    table_as_candidates,
)
from serving.errors import UserError
from serving.index_config import IndexConfig, IndexPlan, plan_index
from serving.mapped import take_rows
from serving.native import NativeEngine, has_native_engine, read_catalogue
from serving.servable import check_ids, refuse_twice
from serving.texts import large_strings

_UPSERT_BATCH = 256
_UPSERTED = 1024
"""Candidates put into an index at a time, a multiple of the batch."""
_HEAD_START_S = 0.01

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Changes:
    """How the rows of an index become those of a changed catalogue."""

    overwritten: np.ndarray
    """int64 [m, 2]: rows that get another vector, and the new catalogue's row of it."""
    appended: np.ndarray
    """int64: rows of the new catalogue that get a row of their own at the end."""
    deleted: np.ndarray
    """int64: rows of the index that go, descending; the last one moves to each."""
    order: np.ndarray
    """int64 [new candidates]: the new catalogue's row of each row of the index then."""
    counts: Mapping[str, int]
    """How many candidates were added, changed and removed."""


def plan_changes(place: np.ndarray, is_embedded: np.ndarray, before: int) -> Changes:
    """Plans the fewest changes of an index.

    Args:
      place: int64 [new candidates], the row that each has in the index, -1 for none.
      is_embedded: bool [new candidates], whether it comes with a new vector.
      before: Rows of the index.
    """
    order = np.full(before, -1, np.int64)
    known = np.flatnonzero(place >= 0)
    order[place[known]] = known
    changed = np.flatnonzero((place >= 0) & is_embedded)
    new, gone = np.flatnonzero(place < 0), np.flatnonzero(order < 0)
    filled = min(len(new), len(gone))
    order[gone[:filled]] = new[:filled]
    deleted = gone[filled:][::-1]
    order = np.concatenate([order, new[filled:]])
    for row in deleted.tolist():
        order[row] = order[-1]
        order = order[:-1]
    return Changes(
        np.stack(
            [
                np.concatenate([place[changed], gone[:filled]]),
                np.concatenate([changed, new[:filled]]),
            ],
            axis=1,
        ),
        new[filled:],
        deleted,
        order,
        {"added": len(new), "changed": len(changed), "removed": len(gone)},
    )


class Update(NamedTuple):
    """A catalogue and its index, brought up to date."""

    candidates: Candidates
    """The new catalogue, in the order of the index."""
    plan: IndexPlan
    about: dict[str, Any]
    """What the manifest should say of it."""
    previous: dict[str, Any]
    """Manifest of the servable before."""
    sources: np.ndarray
    """int64 [candidates], the row of each in the servable before, -1 for none."""
    write_index: Callable[[str], None] | None
    """Changes the index and writes ScaNN's files into a local folder, which is made,
    all of it with Python's lock held; None: the index is to be built anew."""


def update_candidates(
    candidates_path: str,
    previous_path: str,
    towers: str,
    config: IndexConfig,
    scratch: str,
) -> Update:
    """Brings a catalogue and its index up to date.

    Args:
      candidates_path: Folder of the new catalogue's shards, embedded where changed.
      previous_path: Folder of the servable before.
      towers: Fingerprint of the towers, which must be that servable's own.
      config: The index's knobs.
      scratch: Local folder for the embeddings.

    Raises:
      UserError: The servable before is of other towers or has no native engine, a
        candidate that it does not know was not embedded, or ids are unfit.
    """
    content = manifest.read(previous_path)
    if content.get("towers") != towers:
        raise UserError(
            f"the model in {previous_path} was made of other towers; its candidates "
            "can't be mixed with these: run the whole pipeline"
        )
    table, is_embedded, vectors = read_shards(candidates_path)
    with futures.ThreadPoolExecutor() as pool:
        placed = pool.submit(_place, read_catalogue(previous_path), table)
        # Arrow is to be at work before ScaNN loads, which lets no Python run meanwhile.
        futures.wait([placed], timeout=_HEAD_START_S)
        engine = NativeEngine(previous_path)
        place = placed.result()
    _refuse_lost(table, place, is_embedded)
    _check_ids(table, place)
    changes = plan_changes(place, is_embedded, engine.size)
    sources, is_changed = place[changes.order], is_embedded[changes.order]
    vector_of = np.cumsum(is_embedded) - 1
    told = {**_told(content), **changes.counts}
    told["since"] += sum(changes.counts.values())
    config = _settled(config, engine.plan)
    count, dimensions = len(table), engine.embeddings.shape[1]
    plan = _kept_plan(config, engine.plan, told, dimensions)
    write_index = None
    if plan is None:
        _log.info("the index is built anew: %s", told)
        told |= {"built": count, "since": 0}
        plan = plan_index(config, count, dimensions)
    else:
        write_index = functools.partial(
            _change_index, engine, changes, vectors, vector_of
        )
    embeddings = take_rows(
        engine.embeddings,
        np.maximum(sources, 0),
        os.path.join(scratch, "embeddings.npy"),
    )
    embeddings[is_changed] = vectors[vector_of[changes.order[is_changed]]]
    candidates = table_as_candidates(table.take(changes.order), embeddings)
    return Update(candidates, plan, told, content, sources, write_index)


def _place(catalogue: pa.Table, table: pa.Table) -> np.ndarray:
    """Returns the row of each new candidate in the catalogue before, -1 for none."""
    ids = table[ID].cast(pa.large_string())
    found = pc.index_in(ids, value_set=catalogue[ID].chunk(0))
    return found.fill_null(-1).to_numpy().astype(np.int64)


def _refuse_lost(table: pa.Table, place: np.ndarray, is_embedded: np.ndarray) -> None:
    lost = np.flatnonzero((place < 0) & ~is_embedded)
    if len(lost):
        raise UserError(
            f"candidate {table[ID][int(lost[0])].as_py()!r} is new and was not "
            "embedded; run the update again with the model that it was made for"
        )


def _check_ids(table: pa.Table, place: np.ndarray) -> None:
    """Refuses ids that no catalogue can have; known ones can but be there twice."""
    ids = large_strings(table[ID])
    check_ids(ids.filter(pa.array(place < 0)))
    known = np.sort(place[place >= 0])
    twice = known[1:][known[1:] == known[:-1]]
    if len(twice):
        refuse_twice(ids[int(np.flatnonzero(place == twice[0])[0])].as_py())


def _kept_plan(
    config: IndexConfig, plan: IndexPlan, told: Mapping[str, Any], dimensions: int
) -> IndexPlan | None:
    """Returns the plan that the index keeps, None where it is to be built anew."""
    if told["since"] > config.rebuild_above * told["built"]:
        return None
    if plan.kind != "scann":
        return None  # there is nothing to keep
    if plan.spherical:
        return None  # ScaNN 1.3.2 puts what is new into a wrong partition
    wanted = plan_index(config, told["built"], dimensions)
    per_query = {"k", "leaves_to_search", "reorder", "reason"}
    if wanted.model_dump(exclude=per_query) != plan.model_dump(exclude=per_query):
        return None
    return wanted


def _change_index(
    engine: NativeEngine,
    changes: Changes,
    vectors: np.ndarray,
    vector_of: np.ndarray,
    folder: str,
) -> None:
    """Changes the index natively and writes its files.

    Args:
      engine: Of the servable before.
      changes: What to change.
      vectors: float32 [embedded, d].
      vector_of: int64, the vector of each row of the new catalogue that has one.
      folder: Where to.
    """
    searcher = engine.searcher
    assert searcher is not None  # the plan is ScaNN's
    index = searcher.searcher
    for rows, new in (
        (changes.overwritten[:, 0].tolist(), changes.overwritten[:, 1]),
        ([None] * len(changes.appended), changes.appended),
    ):
        # In parts: while one is put in no other thread runs Python.
        for at in range(0, len(rows), _UPSERTED):
            part = slice(at, at + _UPSERTED)
            index.upsert(rows[part], vectors[vector_of[new[part]]], _UPSERT_BATCH)
    if len(changes.deleted):
        index.delete(changes.deleted.tolist())
    if index.size() != len(changes.order):
        raise RuntimeError(
            f"ScaNN holds {index.size()} candidates after the update, not "
            f"{len(changes.order)}"
        )
    scann_files.write(searcher, folder)


def known_fingerprints(path: str) -> np.ndarray:
    """Returns the fingerprints of a servable's candidates, int64, ascending.

    Args:
      path: Folder of the servable.

    Raises:
      UserError: It has none: it was pushed by an older Shortlist, or has no native
        engine.
    """
    catalogue = read_catalogue(path)
    if FINGERPRINT not in catalogue.column_names:
        raise UserError(
            f"the model in {path} has no fingerprints of its candidates; run the "
            "whole pipeline once"
        )
    return np.sort(catalogue[FINGERPRINT].to_numpy())


def is_up_to_date(candidates_path: str, path: str, config: IndexConfig) -> bool:
    """Tells whether an update would make a servable as it is, of the same towers.

    Args:
      candidates_path: Folder of the catalogue's shards.
      path: Folder of the servable.
      config: The knobs that its index is to have.
    """
    content = manifest.read(path)
    is_whole = content.get("format") == manifest.FORMAT and has_native_engine(path)
    if not is_whole or not _keeps_plan(config, content):
        return False
    table, _, _ = read_shards(candidates_path)
    marks = np.sort(table[FINGERPRINT].to_numpy())
    return np.array_equal(marks, known_fingerprints(path))


def _keeps_plan(config: IndexConfig, content: Mapping[str, Any]) -> bool:
    """Tells whether an index, by its manifest, is as the knobs have it."""
    plan = IndexPlan(**content["index"])
    told = _told(content)
    if told["since"] > config.rebuild_above * told["built"]:
        return False
    config = _settled(config, plan)
    return plan_index(config, told["built"], content["dimensions"]).knobs == plan.knobs


def _told(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a manifest says of updates since the index was built."""
    return dict(content.get("update") or {"built": content["candidates"], "since": 0})


def _settled(config: IndexConfig, plan: IndexPlan) -> IndexConfig:
    """Returns the config; what tuning has found for the plan before stays."""
    tuned = config.knobs == "tuned"
    return config.model_copy(update=plan.knobs) if tuned else config
