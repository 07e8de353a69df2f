# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Columns of texts in memory-mapped Arrow files."""

import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

_PART = 1 << 18
"""Texts that are hashed at a time."""
_MOST_BITS = 31
_FACTOR = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio: Knuth, The Art of Computer Programming 3, 6.4."""
_MASK = 2**64 - 1


class Texts:
    """A column of texts in a memory-mapped file, read without copying it."""

    def __init__(self, column: pa.Array):
        """Reads a column of large strings without nulls."""
        self._column = column
        _, offsets, data = column.buffers()
        # A memoryview gives out single numbers twice as fast as NumPy.
        self._offsets = np.frombuffer(offsets, np.int64).data
        self._data = memoryview(data or b"").cast("B")
        self._first, self._length = column.offset, len(column)

    def __len__(self) -> int:
        """Returns the number of texts."""
        return self._length

    def take(self, rows: Iterable[int]) -> list[str]:
        """Returns the texts of rows."""
        offsets, data, first = self._offsets, self._data, self._first
        return [
            str(data[offsets[first + row] : offsets[first + row + 1]], "utf-8")
            for row in rows
        ]

    def rows(self, texts: Sequence[str]) -> list[int]:
        """Returns the row of each of some texts, -1 for those that are not here.

        The first call sorts hashes of the whole column.
        """
        # What is no Unicode, such as half of a surrogate pair, is in no column.
        wanted = [one.encode("utf-8", "surrogatepass") for one in texts]
        return [self._row(one) for one in wanted]

    def beginning(self, prefix: str, limit: int) -> list[str]:
        """Returns the first texts that begin so, at most `limit`."""
        found: list[str] = []
        for at in range(0, len(self), _PART):
            part = self._column.slice(at, _PART)
            rows = pc.indices_nonzero(pc.starts_with(part, prefix))
            found += part.take(rows[: limit - len(found)]).to_pylist()
            if len(found) == limit:
                break
        return found

    def _row(self, text: bytes) -> int:
        starts, rows, shift = self._buckets
        bucket = _hash(text) >> shift
        offsets, data, first = self._offsets, self._data, self._first
        for row in rows[starts[bucket] : starts[bucket + 1]]:
            if data[offsets[first + row] : offsets[first + row + 1]] == text:
                return row
        return -1

    @functools.cached_property
    def _buckets(self) -> tuple[memoryview, memoryview, int]:
        """Rows by the first bits of their texts' hashes.

        A dictionary would take 150 bytes for each text, and keep other threads waiting
        while it is made; NumPy lets them run.

        Returns:
          Where each bucket starts; the rows of all buckets; the bits that a hash has
          beside its bucket.
        """
        bits = min(max(len(self) - 1, 1).bit_length(), _MOST_BITS)
        shift = 64 - bits
        bucket = np.empty(len(self), np.uint32)
        offsets = np.asarray(self._offsets)[self._first :][: len(self) + 1]
        for at in range(0, len(self), _PART):
            part = _hashes(self._data, offsets[at : at + _PART + 1])
            bucket[at : at + _PART] = part >> np.uint64(shift)
        rows = np.argsort(bucket, kind="stable").astype(np.uint32)
        counts = np.bincount(bucket, minlength=1 << bits)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)
        return starts.data, rows.data, shift


def _hash(text: bytes) -> int:
    """Returns a hash of 64 bits, the first of which are the best ones."""
    found = len(text)
    for at in range(0, len(text), 8):
        found ^= int.from_bytes(text[at : at + 8], "little")
        found = found * _FACTOR & _MASK
        found ^= found >> 32
    return found * _FACTOR & _MASK


def _hashes(data: memoryview, offsets: np.ndarray) -> np.ndarray:
    """Returns `_hash` of texts that stand one after the other.

    Args:
      data: Bytes of all.
      offsets: int64 [texts + 1], where each begins, and where the last ends.

    Returns:
      uint64 [texts].
    """
    starts, lengths = offsets[:-1], np.diff(offsets)
    texts = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    # One word after each text is read in part, or begins behind its end.
    words: np.ndarray = np.ndarray(
        len(texts) + 1, "<u8", np.concatenate([texts, np.zeros(8, np.uint8)]), 0, (1,)
    )
    found = lengths.astype(np.uint64)
    factor = np.uint64(_FACTOR)
    for at in range(0, int(lengths.max(initial=0)), 8):
        some = np.flatnonzero(lengths > at)
        word = words[starts[some] - offsets[0] + at]
        # Bytes of the next text are cut off.
        beyond = 8 * np.maximum(at + 8 - lengths[some], 0).astype(np.uint64)
        word = word << beyond >> beyond
        mixed = (found[some] ^ word) * factor
        found[some] = mixed ^ mixed >> np.uint64(32)
    return found * factor


def large_strings(column: pa.ChunkedArray) -> pa.LargeStringArray:
    """Returns a column of texts in one piece, of any size."""
    return column.cast(pa.large_string()).combine_chunks()


def write_lines(path: str, texts: pa.LargeStringArray) -> None:
    """Writes texts without line breaks into a file, local or remote, one a line."""
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(_ended(texts, b"\n"))


def padded_tensor(texts: pa.LargeStringArray) -> tf.Tensor:
    """Returns texts as a tensor of one row more, which is empty, [texts + 1].

    One by one TensorFlow takes them from Python in ten times as long.
    """
    if not len(texts):
        return tf.constant([""])
    # A byte that UTF-8 never has.
    split = tf.raw_ops.StringSplitV2(input=[_ended(texts, b"\xff")], sep=b"\xff")
    return split.values


def _ended(texts: pa.LargeStringArray, end: bytes) -> bytes:
    """Returns all texts in a row, each with an end."""
    nothing, ending = (pa.scalar(one, pa.large_binary()) for one in (b"", end))
    ended = pc.binary_join_element_wise(texts.cast(pa.large_binary()), nothing, ending)
    _, offsets, data = ended.buffers()
    ends = np.frombuffer(offsets, np.int64)
    return memoryview(data)[ends[0] : ends[len(ended)]].tobytes()


def write_table(
    path: str, columns: Mapping[str, Sequence[str] | pa.Array | np.ndarray]
) -> None:
    """Writes columns of texts, or an array as it is, into a local Arrow file."""
    arrays = [
        values
        if isinstance(values, pa.Array)
        else pa.array(
            values, None if isinstance(values, np.ndarray) else pa.large_string()
        )
        for values in columns.values()
    ]
    # One batch, so that each column is one chunk.
    batch = pa.record_batch(arrays, list(columns))
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def read_table(path: str) -> pa.Table:
    """Maps a local Arrow file."""
    with pa.memory_map(path) as file:
        return pa.ipc.open_file(file).read_all()
