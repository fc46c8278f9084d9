"""Every map against its published examples and the rules that all maps share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze.core.layer_map import LAYER_MAPS, final, last, skip, uniform

depths = st.integers(1, 48).flatmap(lambda m: st.tuples(st.integers(1, m), st.just(m)))


EVERY_LAYER = [name for name in LAYER_MAPS if name != "final"]


@given(depths=depths)
def test_final_compares_the_last_states_only(depths):
    assert final(*depths) == (depths,)


@pytest.mark.parametrize("name", EVERY_LAYER)
@given(depths=depths)
def test_each_student_layer_has_one_teacher_layer_of_its_own(name, depths):
    students, teachers = depths
    pairs = LAYER_MAPS[name](students, teachers)
    assert [student for student, _ in pairs] == list(range(1, students + 1))
    targets = [teacher for _, teacher in pairs]
    assert targets == sorted(set(targets))
    assert 1 <= targets[0] <= targets[-1] == teachers


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_equal_depth_maps_each_layer_to_itself(name):
    assert LAYER_MAPS[name](6, 6) == tuple((k, k) for k in range(1, 7))


@pytest.mark.parametrize(
    ("layer_map", "targets"),
    [
        (last, [7, 8, 9, 10, 11, 12]),
        (skip, [2, 4, 6, 8, 10, 12]),  # BiStil: LRF 2
        (uniform, [1, 3, 5, 8, 10, 12]),
    ],
)
def test_six_layers_of_twelve(layer_map, targets):
    assert [teacher for _, teacher in layer_map(6, 12)] == targets


def test_halves_go_up_and_the_rest_to_the_nearest():
    assert [teacher for _, teacher in skip(3, 4)] == [1, 3, 4]
    assert [teacher for _, teacher in skip(4, 6)] == [2, 3, 5, 6]
    assert [teacher for _, teacher in skip(3, 7)] == [2, 5, 7]


def test_tinybert_four_of_twelve():
    assert skip(4, 12) == ((1, 3), (2, 6), (3, 9), (4, 12))


@given(depths)
def test_uniform_keeps_the_first_layer(depths):
    students, teachers = depths
    if students > 1:
        assert uniform(students, teachers)[0] == (1, 1)


@pytest.mark.parametrize("name", EVERY_LAYER)
@pytest.mark.parametrize(("students", "teachers"), [(0, 6), (7, 6)])
def test_impossible_depths_are_refused(name, students, teachers):
    with pytest.raises(ValueError, match=r"1\.\.6, got"):
        LAYER_MAPS[name](students, teachers)
