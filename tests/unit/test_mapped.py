# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of arrays that are moved into files."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import mapped

DTYPES = ("float32", "int8", "uint8", "int32")


@pytest.mark.parametrize("part", [1, 3, 100])
@pytest.mark.parametrize("dtype", DTYPES)
@given(rows=st.lists(st.integers(0, 9), max_size=20), dimensions=st.integers(0, 3))
@settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_rows_are_those_of_the_array(
    part, dtype, rows, dimensions, tmp_path, monkeypatch
):
    monkeypatch.setattr(mapped, "_ROWS", part)
    shape = (10, *[2] * dimensions)
    source = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    wanted = np.array(rows, np.int64)
    path = str(tmp_path / "taken.npy")
    taken = mapped.take_rows(source, wanted, path)
    assert taken.dtype == source.dtype
    np.testing.assert_array_equal(taken, source[wanted])
    del taken
    np.testing.assert_array_equal(np.load(path), source[wanted])


@pytest.mark.parametrize("row", [-1, 10])
def test_rows_that_are_not_there_are_refused(row, tmp_path):
    path = str(tmp_path / "taken.npy")
    with pytest.raises(IndexError, match=f"row {row} of 10"):
        mapped.take_rows(np.zeros((10, 2)), np.array([3, row]), path)
