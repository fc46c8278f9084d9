"""Token numbers that lie in memory, and in a file that is mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from squeeze.models import tokens
from squeeze.models.tokens import Encodings

ROWS = [[3, 1, 4, 1], [], [5, 9, 2], [6]]


@pytest.mark.parametrize("mapped", [False, True])
def test_rows_are_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool) -> None:
    monkeypatch.setattr(tokens, "MANY", 3)
    monkeypatch.setattr(tokens, "AT_ONCE", 2)
    encoded = Encodings.of(iter(ROWS), tmp_path if mapped else None)
    assert isinstance(encoded.values, np.memmap) == mapped
    assert [encoded[row].tolist() for row in range(len(encoded))] == ROWS
    assert encoded.values.dtype == np.int32
    assert encoded.lengths.tolist() == [4, 0, 3, 1]
    other = encoded.renumber(np.arange(10) * 2)
    assert isinstance(other.values, np.memmap) == mapped
    assert [other[row].tolist() for row in range(len(other))] == [[2 * n for n in row] for row in ROWS]
    assert encoded.pieces(np.array([0, 1, 3])).tolist() == [1, 3, 4, 6]
    assert encoded.pieces(np.array([], dtype=np.int64)).tolist() == []
    assert encoded.digest == Encodings.of(ROWS).digest != other.digest
    assert list(tmp_path.iterdir()) == []  # the file has no name: nothing is left behind after a kill
    nothing = Encodings.of([], tmp_path if mapped else None)
    assert (len(nothing), nothing.renumber([1]).values.tolist()) == (0, [])
