"""ExecuTorch: what is special to it; tests/graphs/test_mobile.py has what holds for every format."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from squeeze.errors import ParityFailed, StageFailed
from squeeze.graphs.mobile import by_executorch
from squeeze.graphs.mobile.fixed import Fixed, padded
from squeeze.graphs.mobile.rounded import Books, with_int8_tables
from squeeze.stages.export import mobile
from squeeze.stages.export.run import run
from squeeze.stages.export.stage import FormatName
from tests import tiny
from tests.distilled import export_config as config
from tests.graphs.test_mobile import LENGTH, STUDENTS, there

NAMES: tuple[FormatName, ...] = ("executorch", "executorch-int8")
IDS = torch.arange(tiny.VOCABULARY)[None]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Both files of the product-quantized student."""
    there("executorch")
    found = {}
    for name in NAMES:
        folder = tmp_path_factory.mktemp(name)
        found[name] = mobile.WAYS[name].convert(Fixed(tiny.encoder(**STUDENTS["product"]), LENGTH), folder)
    return found


@pytest.mark.parametrize("kind", STUDENTS)
def test_tables_are_rounded_to_half_a_step_and_the_model_stays(kind):
    model = Fixed(tiny.encoder(**STUDENTS[kind]), LENGTH)
    before = model.lean.inner.embedding
    after: Any = with_int8_tables(model).lean.inner.embedding
    assert model.lean.inner.embedding is before
    assert after.values.dtype == torch.int8
    assert isinstance(after, Books) == (kind == "product")
    rows, wanted = after(IDS), before(IDS).detach()
    if kind == "factorised":  # its rows are rounded before they are projected
        bound = (after.steps / 2 @ after.project.weight.abs().T) + 1e-6
    else:
        bound = after.steps / 2 + 1e-6
    apart = (rows - wanted).abs()
    assert (apart <= bound).all()
    assert apart.max() > 0
    assert rows.shape == wanted.shape == (1, tiny.VOCABULARY, wanted.shape[-1])


def test_int8_is_smaller_and_still_tells_texts_apart(made):
    fp32, int8 = (made[name][0].stat().st_size for name in NAMES)
    assert int8 < fp32
    answer = by_executorch.open_model(made["executorch-int8"])
    one, other = (answer(*padded(np.array(ids), LENGTH)) for ids in ([1, 2, 3], [4, 5]))
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_at_padding_changes_nothing(name, made):
    answer = by_executorch.open_model(made[name])
    ids, mask = padded(np.array([3, 1, 2]), LENGTH)
    other = ids.copy()
    other[0, 3:] = 9
    np.testing.assert_allclose(answer(ids, mask), answer(other, mask), atol=1e-6)
    assert np.abs(answer(other, np.zeros_like(mask)) - answer(ids, mask)).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_program_of_another_student_is_no_bundle(name, distilled_chain, tmp_path, monkeypatch):
    """The conversion is real; its weights are not those that torch answered with."""
    there(name)
    way = mobile.WAYS[name]

    def swapped(model, folder):
        with torch.no_grad():
            model.lean.inner.head.output.weight.neg_()
        return way.convert(model, folder)

    monkeypatch.setitem(mobile.WAYS, name, way._replace(convert=swapped))
    with pytest.raises(ParityFailed, match=f"{name} against torch"):
        run(config(formats=[name], forms=["fp32"]), distilled_chain, tiny.work(tmp_path))


@pytest.mark.parametrize("spoil", [lambda whole: whole[: len(whole) // 2], lambda whole: b"not a program"])
def test_a_file_that_is_no_program_is_one_line(spoil, made, tmp_path):
    bad = tmp_path / "model.pte"
    bad.write_bytes(spoil(made["executorch"][0].read_bytes()))
    with pytest.raises(StageFailed, match=r"model\.pte: ExecuTorch cannot load it") as caught:
        by_executorch.open_model([bad])
    assert len(caught.value.message.splitlines()) == 1


def test_inputs_of_another_shape_are_one_line(made):
    answer = by_executorch.open_model(made["executorch"])
    with pytest.raises(StageFailed, match=r"model\.pte: ExecuTorch cannot run it"):
        answer(*padded(np.array([1, 2]), LENGTH + 1))


class Branching(Fixed):
    """Its path depends on what it reads, which no exported program can."""

    def forward(self, input_ids, mask):
        return super().forward(input_ids, mask) if input_ids.sum() > 3 else mask


@pytest.mark.parametrize("convert", [by_executorch.convert, by_executorch.convert_int8])
def test_a_model_that_cannot_be_exported_leaves_nothing(convert, tmp_path):
    there("executorch")
    with pytest.raises(StageFailed, match="executorch: the model cannot be converted") as caught:
        convert(Branching(tiny.encoder(), LENGTH), tmp_path)
    assert len(caught.value.message.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_same_student_gives_the_same_bytes_and_no_path_of_this_machine(made, tmp_path):
    again = by_executorch.convert(Fixed(tiny.encoder(**STUDENTS["product"]), LENGTH), tmp_path)
    whole = again[0].read_bytes()
    assert whole == made["executorch"][0].read_bytes()
    for path in (str(Path.cwd()), str(Path.home()), str(tmp_path), "site-packages"):
        assert path.encode() not in whole


def test_nothing_is_said_on_the_terminal(tmp_path):
    there("executorch")
    code = f"""
from pathlib import Path
import numpy as np
from squeeze.graphs.mobile import by_executorch
from squeeze.graphs.mobile.fixed import Fixed, padded
from tests import tiny
files = by_executorch.convert_int8(Fixed(tiny.encoder(), {LENGTH}), Path({str(tmp_path)!r}))
by_executorch.open_model(files)(*padded(np.array([1, 2]), {LENGTH}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert (done.stdout, done.stderr) == ("", "")
