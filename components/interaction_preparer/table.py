# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""A part of the table of queries in memory, to be looked up by id."""

import collections
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from components import records


class QueryTable:
    """Rows of the table of queries; of several rows of one id it keeps one."""

    def __init__(self, rows: Sequence[bytes], id_feature: str, features: Sequence[str]):
        """Decodes rows.

        Args:
            rows: Serialized tf.Examples.
            id_feature: The feature that holds the id.
            features: What to look up.
        """
        # Sorted, so that which one is kept does not depend on the order of rows.
        ordered = sorted(map(records.canonical, rows))
        decoder = records.ColumnDecoder([id_feature])
        ids = [records.to_id(v) for v in decoder.decode(ordered)[id_feature]]
        counts = collections.Counter(id_ for id_ in ids if id_ is not None)
        self.duplicates = {id_: n for id_, n in counts.items() if n > 1}
        """Number of rows of the ids that have several."""
        self.without_id = ids.count(None)
        """Number of rows without exactly one id."""
        self._row = {id_: row for row, id_ in reversed(list(enumerate(ids)))}
        self._batch = records.to_arrow(ordered)
        self._features = [f for f in features if f in self._batch.schema.names]

    def rows_of(self, ids: Iterable[bytes]) -> np.ndarray:
        """Returns the rows of ids, int64 [ids], -1 where the table has none."""
        return np.fromiter((self._row.get(id_, -1) for id_ in ids), np.int64)

    def take(self, rows: np.ndarray) -> dict[str, pa.Array]:
        """Returns the features of rows, each [rows]; null for row -1."""
        at = pa.array(rows, mask=rows < 0)
        return {name: self._batch[name].take(at) for name in self._features}
