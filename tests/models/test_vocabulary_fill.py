from __future__ import annotations

import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from squeeze.models.vocabulary import choose, count, fill, trim
from tests import tiny


@pytest.fixture(scope="module")
def spec():
    return tiny.spec()


@pytest.fixture(scope="module")
def counts(spec):
    return count(Tokenizer.from_str(json.dumps(spec)), tiny.texts(3)[0])


def floor(spec, counts):
    return len(trim(spec, choose(spec, counts, frequent=0)).kept)


def test_the_vocabulary_is_filled_up_to_its_size_and_not_beyond(spec, counts):
    whole = len(trim(spec, choose(spec, counts, frequent=10**6)).kept)
    least = floor(spec, counts)
    assert least < whole
    for pieces in range(least, whole + 1):
        assert pieces - 1 <= len(fill(spec, counts, pieces).kept) <= pieces


def test_what_the_task_uses_stays_even_where_there_is_no_room(spec, counts):
    kept = set(fill(spec, counts, 1).kept)
    assert set(np.flatnonzero(counts).tolist()) <= kept
    assert len(kept) == floor(spec, counts)
