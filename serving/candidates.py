# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""The embedded catalogue between CandidateEmbedder and the index: Parquet shards.

Columns: candidate_id, title, embedding, a fingerprint of all that the embedding and
the rest of the row were made from, and what requests may filter by.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf

from serving.errors import UserError
from serving.servable import CANDIDATE_ID, EMBEDDING, TITLE, parse_examples
from serving.texts import large_strings
from serving.towers import Towers

ID = CANDIDATE_ID
FINGERPRINT = "fingerprint"
_ATTRIBUTE = "attribute:"
"""Before the name of what is filtered by."""
_UNIT, _RECORD = "\x1f", "\x1e"

ATTRIBUTE_TYPES = {
    "category": (tf.TensorSpec([None], tf.string), pa.string()),
    "categories": (tf.TensorSpec([None, None], tf.string), pa.list_(pa.string())),
    "number": (tf.TensorSpec([None], tf.float32), pa.float32()),
}
"""What may be filtered by: how it is parsed, and what a shard holds."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Which features of a raw candidate say what."""

    candidate_id: str
    title: str
    attributes: Mapping[str, str]
    """The type, a key of ATTRIBUTE_TYPES, of each feature to filter by."""


def shard_schema(dimensions: int, attributes: Mapping[str, str]) -> pa.Schema:
    """Returns the columns of a shard; dimensions -1: some rows are not embedded."""
    return pa.schema(
        [
            (ID, pa.string()),
            (TITLE, pa.string()),
            (EMBEDDING, pa.list_(pa.float32(), dimensions)),
            (FINGERPRINT, pa.int64()),
            *(
                (_ATTRIBUTE + name, ATTRIBUTE_TYPES[kind][1])
                for name, kind in attributes.items()
            ),
        ]
    )


def parse(
    towers: Towers, source: Source, serialized: Sequence[bytes]
) -> dict[str, tf.Tensor]:
    """Parses raw candidates, [batch] of tf.Examples, into all features of interest."""
    text = tf.TensorSpec([None], tf.string)
    specs = {
        **{name: ATTRIBUTE_TYPES[kind][0] for name, kind in source.attributes.items()},
        source.title: text,
        **towers.candidate_features,
        source.candidate_id: text,
    }
    return parse_examples(tf.constant(serialized), specs)


def fingerprints(features: Mapping[str, tf.Tensor]) -> np.ndarray:
    """Returns a hash of all features of each candidate, int64 [batch].

    Equal values have equal fingerprints in every process; others differ but for one
    chance in 2^63 a pair.
    """
    parts = []
    for name in sorted(features):
        values = features[name]
        if values.dtype == tf.float32:
            # Bits, not digits: no two numbers are written alike.
            values = tf.bitcast(values, tf.int32)
        if values.dtype != tf.string:
            values = tf.strings.as_string(values)
        if values.shape.rank == 2:
            # Rows are padded with "" to the longest of their batch.
            values = tf.strings.reduce_join(
                tf.where(values == "", "", values + _UNIT), axis=1
            )
        parts.append(name + _UNIT + values)
    rows = tf.strings.join(parts, _RECORD)
    return tf.strings.to_hash_bucket_fast(rows, 2**63 - 1).numpy()


def embed(
    towers: Towers,
    source: Source,
    features: Mapping[str, tf.Tensor],
    known: np.ndarray | None = None,
) -> pa.Table:
    """Embeds parsed candidates.

    Args:
      towers: What embeds.
      source: Which features say what.
      features: Of `parse`, each [batch].
      known: Fingerprints, ascending, of candidates that need no embedding: theirs are
        empty lists. None: all are embedded.

    Returns:
      Rows of a shard, [batch].
    """
    marks = fingerprints(features)
    inputs = {name: features[name] for name in towers.candidate_features}
    dimensions = -1
    if known is None:
        embedded = towers.embed_candidate(inputs).numpy()
        dimensions = embedded.shape[1]
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(embedded.reshape(-1)), dimensions
        )
    else:
        vectors = _embed_unknown(towers, inputs, ~_is_in(marks, known))
    ids, titles = features[source.candidate_id], features[source.title]
    columns = [
        _strings(ids),
        _strings(tf.where(titles == "", ids, titles)),
        vectors,
        pa.array(marks),
        *(_attribute(features[name]) for name in source.attributes),
    ]
    schema = shard_schema(dimensions, source.attributes)
    return pa.Table.from_arrays(columns, schema=schema)


def _is_in(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Tells which values are among others, bool [values]."""
    if not len(ascending):
        return np.zeros(len(values), bool)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return ascending[at] == values


def _embed_unknown(
    towers: Towers, inputs: Mapping[str, tf.Tensor], is_unknown: np.ndarray
) -> pa.ListArray:
    """Embeds some of a batch; the others have empty lists."""
    if not is_unknown.any():
        offsets = np.zeros(len(is_unknown) + 1)
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), pa.array([], pa.float32())
        )
    chosen = {name: tf.boolean_mask(v, is_unknown) for name, v in inputs.items()}
    embedded = towers.embed_candidate(chosen).numpy()
    ends = np.cumsum(is_unknown) * embedded.shape[1]
    return pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], ends]), pa.int32()),
        pa.array(embedded.reshape(-1)),
    )


def _strings(values: tf.Tensor) -> pa.Array:
    """Returns a string tensor, [batch], as an Arrow array of text."""
    return pa.array(values.numpy().tolist(), pa.binary()).cast(pa.string())


def _attribute(values: tf.Tensor) -> pa.Array:
    """Returns an attribute of candidates, [batch] or [batch, padded], for a shard."""
    if values.dtype != tf.string:
        return pa.array(values.numpy())
    if values.shape.rank == 1:
        return _strings(values)
    is_there = (values != "").numpy()
    offsets = np.concatenate([[0], is_there.sum(axis=1).cumsum()])
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), _strings(tf.boolean_mask(values, is_there))
    )


@dataclasses.dataclass(frozen=True)
class Candidates:
    """An embedded catalogue, its rows in the order of the ids or of an index."""

    ids: pa.LargeStringArray
    titles: pa.LargeStringArray
    embeddings: np.ndarray
    """float32 [candidates, dimensions], mapped from a file."""
    fingerprints: np.ndarray | None = None
    """int64 [candidates]; None in shards that were not written by `embed`."""
    attributes: Mapping[str, pa.ChunkedArray] = dataclasses.field(default_factory=dict)
    """What requests may filter by, each [candidates]."""

    def reordered(self, order: np.ndarray, embeddings: np.ndarray) -> "Candidates":
        """Returns the same candidates in another order.

        Args:
          order: int64 [candidates], the row of each here.
          embeddings: The embeddings in that order, mapped from a file.
        """
        return Candidates(
            self.ids.take(order),
            self.titles.take(order),
            embeddings,
            None if self.fingerprints is None else self.fingerprints[order],
            {name: values.take(order) for name, values in self.attributes.items()},
        )


def read_candidates(folder: str, scratch: str) -> Candidates:
    """Reads the Parquet shards of an embedded catalogue, batch by batch.

    Args:
      folder: Local or remote folder with `*.parquet` of columns candidate_id, title
        (strings) and embedding (a list of as many floats in each row).
      scratch: Local folder for the file that the embeddings are mapped from; it must
        stay as long as they are used.

    Returns:
      The candidates in the order of their ids, which does not depend on the shards.

    Raises:
      UserError: There are no shards, no rows, or vectors of unequal length.
    """
    files = sorted(tf.io.gfile.glob(os.path.join(folder, "*.parquet")))
    texts = [_read_all_but_vectors(name) for name in files]
    table = pa.concat_tables(texts) if texts else None
    if not table:
        raise UserError(
            f"{folder} holds no embedded candidates; the catalogue is empty"
        )
    order = pc.sort_indices(table[ID]).to_numpy()
    place = np.empty_like(order)
    place[order] = np.arange(len(order), dtype=order.dtype)
    table = table.take(order)
    return table_as_candidates(table, _read_embeddings(folder, files, place, scratch))


def table_as_candidates(table: pa.Table, embeddings: np.ndarray) -> Candidates:
    """Returns a catalogue of shards' rows without vectors, and the vectors of these."""
    return Candidates(
        ids=large_strings(table[ID]),
        titles=large_strings(table[TITLE]),
        embeddings=embeddings,
        fingerprints=(
            table[FINGERPRINT].to_numpy() if FINGERPRINT in table.column_names else None
        ),
        attributes={
            name.removeprefix(_ATTRIBUTE): table[name]
            for name in table.column_names
            if name.startswith(_ATTRIBUTE)
        },
    )


def read_shards(folder: str) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Reads a catalogue that is embedded in part.

    Args:
      folder: Local or remote folder of the shards.

    Returns:
      All rows without vectors; bool [rows], which of them were embedded; the vectors
      of these, float32 [embedded, dimensions].

    Raises:
      UserError: There are no rows, or vectors of unequal length.
    """
    files = sorted(tf.io.gfile.glob(os.path.join(folder, "*.parquet")))
    tables = [_open_shard(name).read() for name in files]
    if not sum(map(len, tables)):
        raise UserError(
            f"{folder} holds no embedded candidates; the catalogue is empty"
        )
    table = pa.concat_tables(tables)
    column = table[EMBEDDING].combine_chunks()
    lengths = pc.list_value_length(column).to_numpy()
    is_embedded = lengths > 0
    if len(np.unique(lengths[is_embedded])) > 1:
        raise UserError(f"{folder} holds embeddings of unequal length; embed them anew")
    dimensions = int(lengths.max())
    vectors = pc.list_flatten(column).to_numpy().reshape(-1, max(dimensions, 1))
    return table.drop([EMBEDDING]), is_embedded, vectors


def _read_all_but_vectors(name: str) -> pa.Table:
    shard = _open_shard(name)
    columns = [c for c in shard.schema_arrow.names if c != EMBEDDING]
    if not shard.num_row_groups:  # newer releases of pyarrow can't read that
        return shard.schema_arrow.empty_table().select(columns)
    return shard.read(columns)


def _read_embeddings(
    folder: str, files: list[str], place: np.ndarray, scratch: str
) -> np.ndarray:
    """Reads vectors into a mapped file, each row to its place."""
    embeddings: np.ndarray | None = None
    at = 0
    for name in files:
        for batch in _open_shard(name).iter_batches(columns=[EMBEDDING]):
            vectors = _vectors(batch.column(0))
            if embeddings is None and vectors is not None:
                embeddings = np.lib.format.open_memmap(
                    os.path.join(scratch, "embeddings.npy"),
                    "w+",
                    np.float32,
                    (len(place), vectors.shape[1]),
                )
            if (
                vectors is None
                or embeddings is None
                or vectors.shape[1] != embeddings.shape[1]
            ):
                raise UserError(
                    f"{folder} holds embeddings of unequal length; embed them anew"
                )
            embeddings[place[at : at + len(vectors)]] = vectors
            at += len(vectors)
    assert embeddings is not None  # there are rows
    return embeddings


def _open_shard(name: str) -> pq.ParquetFile:
    """Opens a Parquet file: a local one mapped, a remote one in memory."""
    if os.path.exists(name):
        return pq.ParquetFile(name, memory_map=True)
    with tf.io.gfile.GFile(name, "rb") as file:
        return pq.ParquetFile(pa.BufferReader(file.read()))


def _vectors(column: pa.Array) -> np.ndarray | None:
    """Returns a column of lists as [rows, dimensions]; None: of unequal length."""
    lengths = pc.unique(pc.list_value_length(column))
    if len(lengths) != 1 or not lengths[0].as_py():
        return None
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float32, copy=False).reshape(len(column), -1)
