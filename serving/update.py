# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A servable brought up to date with its catalogue, without training anything.

CandidateEmbedder embeds only what the servable before does not know by its fingerprint;
here these are put into its index: each in the partition that is nearest, by the codes
that were learned. What is gone makes room for what is new. After many changes, or where
the knobs are others, the index is built anew of the same vectors.
"""

import logging
import os
from collections.abc import Mapping
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from serving import manifest, native, scann_files, stacks
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
from serving.native import has_native_engine, read_catalogue
from serving.servable import SCANN_FILES, check_ids, refuse_twice
from serving.texts import RowTable, large_strings

_log = logging.getLogger(__name__)


class Changes(NamedTuple):
    """How the rows of an index become those of a changed catalogue."""

    order: np.ndarray
    """int64 [new candidates]: the new catalogue's row of each row of the index then."""
    counts: dict[str, int]
    """How many candidates were added, changed and removed."""


def plan_changes(place: np.ndarray, is_embedded: np.ndarray, before: int) -> Changes:
    """Plans the rows of an index: what stays in their order, then what is new.

    Args:
      place: int64 [new candidates], the row that each has in the index, -1 for none.
      is_embedded: bool [new candidates], whether it comes with a new vector.
      before: Rows of the index.
    """
    row_of = np.full(before, -1)
    known, new = np.flatnonzero(place >= 0), np.flatnonzero(place < 0)
    row_of[place[known]] = known
    # What is new takes the places of what goes, so that less moves.
    gone = np.flatnonzero(row_of < 0)
    filled = min(len(new), len(gone))
    row_of[gone[:filled]] = new[:filled]
    counts = {
        "added": len(new),
        "changed": int(np.count_nonzero(is_embedded[known])),
        "removed": len(gone),
    }
    return Changes(np.concatenate([row_of[row_of >= 0], new[filled:]]), counts)


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
    is_indexed: bool
    """Whether the index's files are in the scratch folder; else build it anew."""


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
      scratch: Local folder for the embeddings and ScaNN's files.

    Raises:
      UserError: The servable before is of other towers or has no native engine, a
        candidate that it does not know was not embedded, or ids are unfit.
    """
    content = manifest.read_known(previous_path)
    if content.get("towers") != towers:
        raise UserError(
            f"the model in {previous_path} was made of other towers; its candidates "
            "can't be mixed with these: run the whole pipeline"
        )
    table, is_embedded, vectors, place = _read(candidates_path, previous_path)
    changes = plan_changes(place, is_embedded, content["candidates"])
    told = {**_told(content), **changes.counts}
    told["since"] += sum(changes.counts.values())
    previous_plan = IndexPlan(**content["index"])
    config = _settled(config, previous_plan)
    count, dimensions = len(table), content["dimensions"]
    plan = _kept_plan(config, previous_plan, told, dimensions)
    is_indexed = plan is not None
    if plan is None:
        _log.info("the index is built anew: %s", told)
        told |= {"built": count, "since": 0}
        plan = plan_index(config, count, dimensions)
    is_changed = is_embedded[changes.order]
    moves = _Moves(
        native.fetch(previous_path, scratch),
        manifest.read(previous_path),
        place[changes.order],
        is_changed,
        vectors[(np.cumsum(is_embedded) - 1)[changes.order[is_changed]]],
    )
    file, scann = os.path.join(scratch, "embeddings.npy"), None
    if is_indexed:
        scann = os.path.join(scratch, SCANN_FILES)
        os.makedirs(scann)
        if scann_files.holds_vectors(os.path.join(moves.files, native.SCANN)):
            file = os.path.join(scann, scann_files.VECTORS)
    with futures.ThreadPoolExecutor() as pool:
        ordered = pool.submit(table.take, changes.order)
        indexed = pool.submit(moves.write_index, scann) if scann else None
        embeddings = moves.write_vectors(file)
        candidates = table_as_candidates(ordered.result(), embeddings)
        if indexed:
            indexed.result()
    return Update(candidates, plan, told, content, moves.sources, is_indexed)


def _read(
    path: str, previous_path: str
) -> tuple[pa.Table, np.ndarray, np.ndarray, np.ndarray]:
    """Reads shards, see `read_shards`, and finds their rows in the servable before."""
    with futures.ThreadPoolExecutor() as pool:
        shards = pool.submit(read_shards, path)
        known = RowTable(read_catalogue(previous_path)[ID].chunk(0))
        table, is_embedded, vectors = shards.result()
    ids = large_strings(table[ID])
    place = known.rows(ids)
    _refuse_lost(table, place, is_embedded)
    _check_ids(ids, place)
    return table, is_embedded, vectors, place


def _refuse_lost(table: pa.Table, place: np.ndarray, is_embedded: np.ndarray) -> None:
    lost = np.flatnonzero((place < 0) & ~is_embedded)
    if len(lost):
        raise UserError(
            f"candidate {table[ID][int(lost[0])].as_py()!r} is new and was not "
            "embedded; run the update again with the model that it was made for"
        )


def _check_ids(ids: pa.LargeStringArray, place: np.ndarray) -> None:
    """Refuses ids that no catalogue can have; known ones can but be there twice."""
    check_ids(ids.filter(pa.array(place < 0)))
    times = np.bincount(place[place >= 0])
    if times.max(initial=0) > 1:
        refuse_twice(ids[int(np.flatnonzero(place == times.argmax())[0])].as_py())


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
    if plan.soar_lambda and not stacks.SOAR_IS_UPDATED:
        return None
    wanted = plan_index(config, told["built"], dimensions)
    per_query = {"k", "leaves_to_search", "reorder", "reason"}
    if wanted.model_dump(exclude=per_query) != plan.model_dump(exclude=per_query):
        return None
    return wanted


class _Moves(NamedTuple):
    """What the files of an index, or a catalogue's vectors, are made of."""

    files: str
    """Local folder of the native engine before."""
    about: dict[str, Any]
    """The manifest of its servable."""
    sources: np.ndarray
    """int64 [candidates], the row of each before, -1 for none."""
    is_changed: np.ndarray
    """bool [candidates], what is new or gets another vector."""
    vectors: np.ndarray
    """float32 [is_changed.sum(), dimensions], these."""

    def write_vectors(self, path: str) -> np.ndarray:
        """Writes all vectors into a local file and returns them, mapped."""
        with native.damage_told(self.files, self.about):
            before = native.map_vectors(self.files)
        embeddings = take_rows(before, np.maximum(self.sources, 0), path)
        embeddings[self.is_changed] = self.vectors
        return embeddings

    def write_index(self, folder: str) -> None:
        """Writes ScaNN's files into a local folder, see `scann_files.update`."""
        with native.damage_told(self.files, self.about):
            before = os.path.join(self.files, native.SCANN)
            scann_files.update(
                before, self.sources, self.is_changed, self.vectors, folder
            )


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
