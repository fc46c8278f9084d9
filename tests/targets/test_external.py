"""Files that a model takes its weights from, found without the package `onnx`."""

from __future__ import annotations

import os

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from squeeze.errors import MissingBackend, StageFailed
from squeeze.targets import external
from squeeze.targets.subjects import external_weights, model_bytes
from tests import tiny_onnx as tiny
from tests.targets import hostile


def test_the_location_of_a_weight(tmp_path):
    path = hostile.external(tmp_path / "m.onnx", "weights/a.bin", offset=8, length=4)
    assert external.locations(path) == ["weights/a.bin"]


def test_a_model_without_any(tmp_path):
    assert external.locations(tiny.classifier(tmp_path / "m.onnx", layers=3)) == []


def test_another_format_is_not_read(tmp_path):
    path = hostile.external(tmp_path / "m.onnx", "a.bin").rename(tmp_path / "m.ort")
    assert external.locations(path) == []


def test_a_weight_in_an_attribute_of_a_branch(tmp_path):
    inner = hostile.external(tmp_path / "inner.onnx", "deep.bin")
    graph = onnx.load(inner, load_external_data=False).graph
    constant = helper.make_node("Constant", [], ["c"], value=graph.initializer[0])
    branch = helper.make_graph([constant], "b", [], [])
    nodes = [helper.make_node("If", ["t"], ["y"], then_branch=branch, else_branch=branch)]
    assert external.locations(hostile.model(tmp_path / "m.onnx", nodes)) == ["deep.bin"]


def test_weights_under_any_name_count(tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes(100))
    path = hostile.external(tmp_path / "m.onnx", "w.bin")
    assert [each.name for each in external_weights(path)] == ["w.bin"]
    assert model_bytes(path) == path.stat().st_size + 100


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("../secret.bin", "outside of its folder"),
        ("/etc/passwd", "outside of its folder"),
        ("link.bin", "outside of its folder"),
        ("a\0b", "outside of its folder"),
        ("pipe.bin", "is not a file"),
        (".", "is not a file"),
    ],
)
def test_weights_where_they_must_not_lie(tmp_path, location, said):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    (folder / "link.bin").symlink_to("../secret.bin")
    os.mkfifo(folder / "pipe.bin")
    with pytest.raises(StageFailed, match=said):
        external.check(hostile.external(folder / "m.onnx", location))


@pytest.mark.parametrize(
    ("location", "said"),
    [("missing.bin", "is not there"), ("\x1b[31m.bin", r"in \\u001b\[31m\.bin, which is not there")],
)
def test_weights_that_are_missing(tmp_path, location, said):
    with pytest.raises(MissingBackend, match=said) as caught:
        external.check(hostile.external(tmp_path / "m.onnx", location))
    assert caught.value.exit_code == 3


def test_a_hundred_thousand_operators_are_walked(tmp_path):
    assert external.locations(hostile.chain(tmp_path / "m.onnx", 100_000)) == []


def test_graphs_in_graphs_without_end(tmp_path):
    assert external.locations(hostile.nested(tmp_path / "m.onnx", 2000)) == []


@given(st.binary(max_size=400))
def test_any_bytes_end_the_walk(content):
    assert all(isinstance(each, str) for each in external.named(content))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    return hostile.external(tmp_path_factory.mktemp("spoilt") / "m.onnx", "w.bin", offset=1).read_bytes()


@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_spoilt_model_ends_the_walk(whole, changes):
    spoilt = bytearray(whole)
    for place, value in changes:
        spoilt[place % len(spoilt)] = value
    assert len(list(external.named(bytes(spoilt)))) <= len(spoilt)
