# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What training has seen queries choose, for whoever looks at answers.

The Trainer writes histories by the positions of ids in its vocabularies; a version
holds them by the rows of its own catalogue. Answers do not depend on them.
"""

import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

FOLDER = os.path.join("assets.extra", "histories")
"""Of the towers."""
_ENDS, _CHOSEN, _TOTALS = "ends.npy", "chosen.npy", "totals.npy"
_CANDIDATES = "candidates"
_MOST = 100
"""Candidates that are kept of one history, the last that were read."""
_MOST_TOGETHER = 50_000_000
"""And of all of them, so that a version does not grow by more than 200 MB."""


def write(
    path: str, ids: np.ndarray, chosen: np.ndarray, size: int, candidates: str
) -> None:
    """Writes histories beside trained towers.

    Args:
      path: Folder of the towers' SavedModel.
      ids: int64 [interactions]: positions in the vocabulary of the query's id, -1:
        unknown.
      chosen: int64 [interactions]: positions in the vocabulary of candidates.
      size: Of the vocabulary of the query's id.
      candidates: File of the vocabulary of candidates, an id a line.
    """
    folder = os.path.join(path, FOLDER)
    tf.io.gfile.makedirs(folder)
    ids, chosen = _distinct(ids[ids >= 0], chosen[ids >= 0])
    totals = np.bincount(ids, minlength=size)
    most = min(_MOST, max(1, _MOST_TOGETHER // max(size, 1)))
    from_end = np.repeat(np.cumsum(totals), totals) - np.arange(len(ids))
    _save(os.path.join(folder, _TOTALS), totals.astype(np.int32))
    _save(os.path.join(folder, _ENDS), np.cumsum(np.minimum(totals, most)))
    _save(os.path.join(folder, _CHOSEN), chosen[from_end <= most].astype(np.int32))
    tf.io.gfile.copy(candidates, os.path.join(folder, _CANDIDATES), overwrite=True)


def _distinct(ids: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orders interactions by their ids, and keeps of equal ones the last."""
    pairs = ids * (chosen.max(initial=0) + 1) + chosen
    _, firsts = np.unique(pairs[::-1], return_index=True)
    last = len(ids) - 1 - np.sort(firsts)[::-1]
    order = last[np.argsort(ids[last], kind="stable")]
    return ids[order], chosen[order]


def _save(path: str, array: np.ndarray) -> None:
    with tf.io.gfile.GFile(path, "wb") as file:
        np.save(file, array)


def copy(towers: str, ids: pa.LargeStringArray, folder: str) -> None:
    """Writes the histories of towers by the rows of a catalogue, if they have any.

    Args:
      towers: Folder of the towers' SavedModel.
      ids: Of the catalogue, by row; what is no longer in it is left out.
      folder: Where to, a local one that is made.
    """
    source = os.path.join(towers, FOLDER)
    if not tf.io.gfile.isdir(source):
        return
    with tf.io.gfile.GFile(os.path.join(source, _CANDIDATES), "rb") as lines:
        vocabulary = lines.read().split(b"\n")[:-1]
    rows = pc.index_in(
        pa.array(vocabulary, pa.large_binary()),
        value_set=ids.cast(pa.large_binary()),
    )
    move(source, rows.fill_null(-1).to_numpy(), folder)


def move(source: str, row_of: np.ndarray, folder: str) -> None:
    """Writes histories by other rows, if there are any.

    Args:
      source: Folder that they are in.
      row_of: int64: the row that each of theirs becomes; -1: it is left out.
      folder: Where to, a local one that is made.
    """
    if not tf.io.gfile.isdir(source):
        return
    ends, chosen = (_load(os.path.join(source, name)) for name in (_ENDS, _CHOSEN))
    os.makedirs(folder)
    found = row_of[chosen]
    kept = np.concatenate([[0], np.cumsum(found >= 0)])
    np.save(os.path.join(folder, _ENDS), kept[ends])
    np.save(os.path.join(folder, _CHOSEN), found[found >= 0].astype(np.int32))
    np.save(os.path.join(folder, _TOTALS), _load(os.path.join(source, _TOTALS)))


def _load(path: str) -> np.ndarray:
    with tf.io.gfile.GFile(path, "rb") as file:
        return np.load(file)


class Histories:
    """Histories of a version, mapped."""

    def __init__(self, folder: str):
        """Maps what `copy` has written into a local folder."""
        self._ends, self._chosen, self._totals = (
            np.load(os.path.join(folder, name), mmap_mode="r")
            for name in (_ENDS, _CHOSEN, _TOTALS)
        )

    def of(self, position: int) -> tuple[np.ndarray, int]:
        """Returns a history.

        Args:
          position: Of the query's id in its vocabulary.

        Returns:
          Rows in the catalogue, int32 [up to 100], the last that was read first, and
          how many candidates training has seen chosen in all.
        """
        begin = self._ends[position - 1] if position else 0
        rows = self._chosen[begin : self._ends[position]]
        return rows[::-1], int(self._totals[position])
