# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Columns of texts in memory-mapped Arrow files."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from concurrent import futures

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
        bucket = _first_bits(self._column, bits)
        rows = np.argsort(bucket).astype(np.uint32)
        counts = np.bincount(bucket, minlength=1 << bits)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)
        return starts.data, rows.data, 64 - bits


class RowTable:
    """Finds the rows of millions of texts at once, in half of Arrow's `index_in`."""

    def __init__(self, texts: pa.LargeStringArray):
        """Reads texts that are all different."""
        self._texts = texts
        self._bits = min(len(texts).bit_length() + 2, _MOST_BITS)
        bucket = _first_bits(texts, self._bits)
        rows = np.arange(len(texts), dtype=np.int32)
        self._table = np.full(1 << self._bits, -1, np.int32)
        self._table[bucket] = rows  # of several in one bucket the last one stays
        self._hidden = np.flatnonzero(self._table[bucket] != rows)

    def rows(self, texts: pa.LargeStringArray) -> np.ndarray:
        """Returns the row of each text, int64 [texts], -1 for those not here."""
        found = np.empty(len(texts), np.int64)

        def find(at: int) -> np.ndarray:
            part = texts.slice(at, _PART)
            rows = self._table[_first_bits_of_part(part, self._bits)]
            found[at : at + _PART] = rows
            # An empty bucket is an answer; of the others one text is there.
            maybe = np.flatnonzero(rows >= 0)
            there = self._texts.take(pa.array(rows[maybe]))
            is_other = pc.not_equal(part.take(pa.array(maybe)), there)
            return at + maybe[is_other.to_numpy(zero_copy_only=False)]

        starts = range(0, len(texts), _PART)
        with futures.ThreadPoolExecutor() as pool:
            left = np.concatenate([np.empty(0, int), *pool.map(find, starts)])
        again = pc.index_in(texts.take(left), value_set=self._texts.take(self._hidden))
        found[left] = np.append(self._hidden, -1)[again.fill_null(-1).to_numpy()]
        return found


def _first_bits(texts: pa.LargeStringArray, bits: int) -> np.ndarray:
    """Returns the first bits of the texts' hashes, uint32 [texts]."""
    parts = [texts.slice(at, _PART) for at in range(0, len(texts), _PART)]
    with futures.ThreadPoolExecutor() as pool:
        found = pool.map(functools.partial(_first_bits_of_part, bits=bits), parts)
        return np.concatenate([np.empty(0, np.uint32), *found])


def _first_bits_of_part(texts: pa.LargeStringArray, bits: int) -> np.ndarray:
    _, offsets, data = texts.buffers()
    view = memoryview(data or b"").cast("B")
    ends = np.frombuffer(offsets, np.int64)[texts.offset :][: len(texts) + 1]
    return (_hashes(view, ends) >> np.uint64(64 - bits)).astype(np.uint32)


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
    large = column.cast(pa.large_string())
    # One chunk is not copied, as Arrow would.
    return large.chunk(0) if large.num_chunks == 1 else large.combine_chunks()


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
    if not len(texts):
        return b""
    # One list, which Arrow joins in a third of the time of as many pairs.
    ends = pa.array([0, len(texts)], pa.int64())
    whole = pa.LargeListArray.from_arrays(ends, texts.cast(pa.large_binary()))
    (joined,) = pc.binary_join(whole, pa.scalar(end, pa.large_binary()))
    return b"".join([joined.as_buffer(), end])


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
