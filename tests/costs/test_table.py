"""Predictions from a table, the requests it is made for, and how it is kept."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from pydantic import ValidationError

from squeeze.costs import measure as module
from squeeze.costs.measure import cost_table, medians
from squeeze.costs.model import spilled, weights
from squeeze.costs.probes import Template, design
from squeeze.costs.request import CostRequest, Stem, grid
from squeeze.costs.table import CostTable
from squeeze.errors import StageFailed
from squeeze.graphs import int8
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import LayerShape
from squeeze.progress import Silent
from squeeze.targets import cpu
from tests import tiny
from tests.measured import measurement

DENSE = Stem(hidden=32, embedding=EmbeddingShape(width=32))
CODES = [
    Stem(hidden=32, embedding=EmbeddingShape(kind="product", width=32, subvectors=count)) for count in (8, 16)
]
LENGTHS = (4, 16)


def request(**changes):
    fields = {
        "stems": (DENSE,),
        "heads": (1, 2, 4),
        "neurons": (16, 32, 64),
        "lengths": LENGTHS,
        "depth": 3,
        "head_size": 8,
        "vocabulary": 60,
    }
    return CostRequest(**{**fields, **changes})


def shape(*widths, **changes):
    layers = tuple(LayerShape(heads=heads, ffn=ffn) for heads, ffn in widths)
    return tiny.shape(**{"vocabulary": 60, "layers": layers, "positions": 20, **changes})


def truth(layers, table, form, length):
    """What the stand-in for the device takes, in milliseconds."""
    *whole, last = layers
    each = sum(0.1 + 0.01 * layer.heads + 0.002 * layer.ffn for layer in whole)
    cost = (each + 0.001 * last.heads) * length + 0.3 + 0.001 * last.ffn
    cost += 0.05 * table.subvectors if table.kind == "product" else 0.0
    return cost / 2 if form == "int8-dynamic" else cost


class Device:
    """Takes the place of `cpu.measure` and of the graphs; counts how often it measures."""

    def __init__(self, monkeypatch, asked):
        self.calls, self.probes = 0, list(design(asked))
        monkeypatch.setattr(Template, "export", lambda *_: self)
        monkeypatch.setattr(int8, "quantize", lambda *_: None)
        monkeypatch.setattr(cpu, "measure", self.measure)

    def write(self, layers, path, seed):
        pass

    def measure(self, subjects, settings, progress):
        self.calls += 1
        return tuple(self.measured(subject) for subject in subjects)

    def measured(self, subject):
        number = int(subject.name.split()[1])
        probe = self.probes[number]
        times = {
            length: truth(probe.layers, probe.stem.embedding, subject.form, length)
            for length in subject.lengths
        }
        widths = (4, 16, 16, 4)
        blocks = [[drift * times[width] for width in widths] for drift in (1.0, 1.0, 5.0)]
        made = measurement(subject.name, blocks=blocks, form=subject.form)
        return made.model_copy(update={"block_widths": (widths,) * 3, "notes": ("quiet",)})


@pytest.fixture
def made(monkeypatch, tmp_path):
    def make(**changes):
        asked = request(**changes)
        device = Device(monkeypatch, asked)
        return cost_table(asked, tmp_path, 1, Silent()), device

    return make


def test_weights_beyond_the_caches_cost_extra(monkeypatch, tmp_path):
    """A device whose caches hold 12,000 values: without the unknown for it predictions are off by a tenth."""
    asked = request(depth=6)
    device = Device(monkeypatch, asked)
    plain, wide = truth, partial(asked.shape, asked.stems[0])

    def slower(layers, table, form, length):
        return plain(layers, table, form, length) * 0.5 + 0.4 * spilled(1000 * weights(wide(layers)), 12)

    monkeypatch.setattr(f"{__name__}.truth", slower)
    table = cost_table(asked, tmp_path, 1, Silent())
    assert device.calls == 1
    for widths in ([(1, 16)] * 2, [(2, 40)] * 3, [(4, 50)] * 5):
        student = shape(*widths)
        wanted = slower(student.layers, student.embedding, "fp32", 16)
        assert table.latency_ms(student, "fp32", 16) == pytest.approx(wanted, rel=0.05)
    limits = {each.form: each.limit for each in table.prices}
    assert limits["fp32"] == pytest.approx(0.012, rel=0.3)


@pytest.mark.parametrize("form", ["fp32", "int8-dynamic"])
def test_students_that_were_not_measured_are_predicted(form, made):
    table, _ = made()
    for widths in ([(3, 50)], [(1, 16), (4, 64)], [(2, 20), (3, 33), (1, 60)]):
        student = shape(*widths)
        wanted = [truth(student.layers, student.embedding, form, length) for length in (4, 10, 16)]
        assert table.latencies_ms(student, form, (4, 10, 16)) == pytest.approx(wanted, rel=0.02)
        assert table.latency_ms(student, form, 4) == pytest.approx(wanted[0], rel=0.02)
    assert table.worst < 0.02
    assert table.notes == ("quiet",)


def test_tables_of_other_sizes_lie_between_those_that_were_measured(made):
    table, _ = made(stems=(DENSE, *CODES))
    between = EmbeddingShape(kind="product", width=32, subvectors=16, codewords=256)
    student = shape((2, 32), (2, 32), embedding=between)
    assert table.latency_ms(student, "fp32", 4) == pytest.approx(
        truth(student.layers, between, "fp32", 4), rel=0.02
    )
    outside = shape((2, 32), embedding=EmbeddingShape(kind="product", width=32, subvectors=4))
    with pytest.raises(ValueError, match=r"product embedding of size 4: .* from 8 to 16"):
        table.latency_ms(outside, "fp32", 4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"head_size": 16}, "head_size 16: the table was measured for 8"),
        ({"labels": 5}, "labels 5"),
        ({"hidden": 64}, "hidden width 64 in fp32: the table was measured for 32 fp32, 32 int8-dynamic"),
        ({"embedding": EmbeddingShape(kind="factorised", width=32, rank=8)}, "embedding .*factorised"),
        ({"layers": (LayerShape(heads=2, ffn=32),) * 4}, "4 layers: .* at most 3"),
        ({"layers": (LayerShape(heads=5, ffn=32),)}, "heads 5: .* from 1 to 4"),
        ({"layers": (LayerShape(heads=2, ffn=8),)}, "neurons 8: .* from 16 to 64"),
    ],
)
def test_what_was_not_measured_is_refused(changes, said, made):
    table, _ = made()
    with pytest.raises(ValueError, match=said):
        table.latency_ms(shape((2, 32), **changes), "fp32", 4)


def test_other_lengths_and_forms_are_refused(made):
    table, _ = made()
    with pytest.raises(ValueError, match=r"length 17: .* from 4 to 16"):
        table.latencies_ms(shape((2, 32)), "fp32", (4, 17))
    with pytest.raises(ValueError, match="in fp16"):
        table.latency_ms(shape((2, 32)), "fp16", 4)


def test_a_table_is_measured_once(made):
    table, device = made()
    again, other = made()
    assert (device.calls, other.calls) == (1, 0)
    assert again == table == CostTable.model_validate_json(table.model_dump_json())
    _, third = made(seed=1)
    assert third.calls == 1


def test_a_damaged_file_is_measured_anew(made, tmp_path):
    table, _ = made()
    (path,) = (tmp_path / "costs").iterdir()
    whole = path.read_bytes()
    by_hand = whole.replace(b'"threads": 1', b'"threads": 2')
    assert by_hand != whole
    for damage in (b"", whole[:-40], json.dumps({"kind": "cost-table"}).encode(), by_hand):
        path.write_bytes(damage)
        again, device = made()
        assert device.calls == 1
        assert again == table


def test_other_threads_and_another_device_have_tables_of_their_own(made, monkeypatch, tmp_path):
    asked, (_, device) = request(), made()
    cost_table(asked, tmp_path, 2, Silent())
    monkeypatch.setattr(module, "environment", lambda: {"cpu": "another"})
    cost_table(asked, tmp_path, 1, Silent())
    assert device.calls == 3
    assert len(list((tmp_path / "costs").iterdir())) == 3


def test_a_length_that_no_call_had_is_said(made):
    with pytest.raises(StageFailed, match="no call of 9 tokens"):
        module._levels([measurement()], 9)


def test_medians_are_of_one_length_and_block():
    one = measurement(blocks=[[1.0, 2.0, 1.2, 2.2], [3.0, 3.0, 3.0, 3.0]])
    one = one.model_copy(update={"passes": 2, "block_widths": ((4, 16), (16, 16))})
    assert medians([one, one], 4) == pytest.approx(np.array([[1.1, 1.1]]))
    assert medians([one], 16) == pytest.approx(np.array([[2.1], [3.0]]))


def test_a_request_spans_its_shapes():
    small, large = shape((1, 16)), shape((4, 64), (2, 40), (1, 16), embedding=CODES[0].embedding)
    asked = CostRequest.spanning((small, large), (16, 4, 4), min_seconds=0.5)
    assert (asked.heads, asked.neurons, asked.lengths) == ((1, 2, 3, 4), (16, 32, 48, 64), LENGTHS)
    assert (asked.depth, asked.stems, asked.min_seconds) == (3, (DENSE, CODES[0]), 0.5)
    for student in (small, large):
        asked.refuse(student)
    with pytest.raises(ValueError, match=r"labels: .*\[2, 3\]"):
        CostRequest.spanning((small, shape((1, 16), labels=3)), LENGTHS)


@pytest.mark.parametrize("changes", [{"heads": (4, 1)}, {"lengths": (4, 4)}, {"stems": (DENSE, DENSE)}])
def test_requests_that_contradict_themselves_are_refused(changes):
    with pytest.raises(ValidationError):
        request(**changes)


def test_grids_have_both_ends():
    assert grid([64, 1536]) == (64, 576, 1024, 1536)
    assert grid([3, 4]) == (3, 4)


def test_a_small_space_is_really_measured(tmp_path):
    """Real graphs in a real process; how good the figures are is for a quiet machine to say."""
    asked = request(heads=(1, 4), neurons=(16, 64), depth=2, min_runs=20, min_seconds=0.0, max_seconds=2.0)
    table = cost_table(asked, tmp_path, 1, Silent())
    found = table.latencies_ms(shape((2, 32), (4, 64)), "int8-dynamic", (4, 8, 16))
    assert (found > 0).all()
    assert (found < 1e3).all()
    assert table.environment["onnxruntime"]
    assert {(each.probe, each.form) for each in table.figures} == {
        (number, form) for number in range(len(table.probes)) for form in asked.forms
    }
