"""Formats of other runtimes: what they compute against torch; skipped where their extra is missing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from squeeze.cli import main
from squeeze.errors import MissingBackend, ParityFailed
from squeeze.graphs.mobile.fixed import Fixed, padded
from squeeze.models.embedding import EmbeddingShape, Product
from squeeze.models.encoder import LayerShape
from squeeze.progress import Silent
from squeeze.runtime import need
from squeeze.stages.export import mobile
from squeeze.stages.export.run import run
from squeeze.stages.export.stage import FORMATS, ExportResult, FormatResult, ParityReport, needs, sources
from tests import tiny
from tests.distilled import export_config as config

LENGTH = 24
STUDENTS: dict[str, dict[str, Any]] = {
    "dense": {},
    "factorised": {"embedding": EmbeddingShape(kind="factorised", width=24, rank=16)},
    "product": {"embedding": EmbeddingShape(kind="product", width=32, subvectors=8, codewords=16)},
    "mpnet": {"relative_bias": True, "layers": tuple(LayerShape(heads=h, ffn=32) for h in (3, 4, 2))},
}


NEAR = {"fp32": 1e-5, "int8": 0.05}
"""How far a logit may be from torch's, by what the weights are in; those here are up to 1."""


def there(name):
    """Skip where a format cannot be made."""
    try:
        for module in FORMATS[name].modules:
            need(module, FORMATS[name].extra)
    except MissingBackend as error:
        pytest.skip(error.message)


def texts():
    random = np.random.default_rng(0)
    return [random.integers(1, tiny.VOCABULARY, size).astype(np.int32) for size in (1, 2, 7, 11, LENGTH)]


def in_torch(student, ids):
    with torch.no_grad():
        row = torch.from_numpy(ids.astype(np.int64))[None]
        return student(row, torch.ones_like(row)).numpy()


@pytest.mark.parametrize("kind", STUDENTS)
@pytest.mark.parametrize("whole", [False, True])
def test_the_wrapper_computes_what_the_student_computes(kind, whole):
    student = tiny.encoder(**STUDENTS[kind])
    before = {name: value.clone() for name, value in student.state_dict().items()}
    fixed = Fixed(student, LENGTH, whole_table=whole)
    assert isinstance(fixed.lean.inner.embedding, Product) == (kind == "product" and not whole)
    for ids in texts():
        row, mask = padded(ids, LENGTH)
        assert (row.shape, mask.shape) == ((1, LENGTH), (1, 1, 1, LENGTH))
        assert row.dtype == np.int32
        found = fixed(torch.from_numpy(row), torch.from_numpy(mask)).numpy()
        np.testing.assert_allclose(found, in_torch(student, ids), atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())


@pytest.mark.parametrize("length", [0, tiny.POSITIONS + 1])
def test_a_length_that_the_student_cannot_read(length):
    with pytest.raises(ValueError, match="reads 1 to 40 tokens"):
        Fixed(tiny.encoder(), length)


@pytest.mark.parametrize("kind", STUDENTS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_converted_model_computes_what_the_student_computes(name, kind, tmp_path):
    there(name)
    student, way = tiny.encoder(**STUDENTS[kind]), mobile.WAYS[name]
    files = way.convert(Fixed(student, LENGTH, whole_table=way.whole_table), tmp_path)
    assert set(files) == {path for path in tmp_path.rglob("*") if path.is_file()}
    if reason := way.unable():
        pytest.skip(f"made, and not run: {reason}")
    answer = way.open_model(files)
    said = [in_torch(student, ids) for ids in texts()]
    assert np.ptp(np.concatenate(said), axis=0).max() > 0.1  # texts are told apart
    for ids, wanted in zip(texts(), said, strict=True):
        np.testing.assert_allclose(answer(*padded(ids, LENGTH)), wanted, atol=NEAR[way.precision])


@pytest.mark.parametrize("name", FORMATS)
def test_the_bundle_holds_the_format_and_the_card_says_how_near_it_is(name, distilled_chain, tmp_path):
    there(name)
    work = tiny.work(tmp_path)
    result = run(config(formats=[name], forms=["fp32"]), distilled_chain, work)
    made = result.formats[name]
    assert made.length == 32
    assert made.size_bytes == sum((work.out / file).stat().st_size for file in made.files)
    if reason := mobile.WAYS[name].unable():
        assert (made.parity, made.unchecked) == (None, reason)
    else:
        assert made.parity is not None
        assert made.parity.source == "torch"
        assert made.parity.rows > 0
        assert made.parity.max_abs < 10 * NEAR[made.precision]
    assert "absent" not in made.libraries.values()
    card = (work.out / "MODEL_CARD.md").read_text()
    assert f"| {name} | `{made.files[0]}`" in card
    assert f"| {made.precision} | {made.size_bytes:,} |" in card
    assert ExportResult.parse(result.plain()) == result


class Wrong:
    """A format whose runtime answers something else."""

    @staticmethod
    def convert(model, folder):
        (folder / "model.bin").write_bytes(b"x")
        return (folder / "model.bin",)

    @staticmethod
    def open_model(files):
        return lambda ids, mask: np.full((1, len(tiny.LABELS)), 7.0, np.float32)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_another_answer_is_no_bundle(precision, distilled_chain, tmp_path, monkeypatch):
    wrong = mobile.Way(Wrong.convert, Wrong.open_model, whole_table=False, precision=precision)
    monkeypatch.setattr(mobile, "WAYS", {"openvino": wrong})
    with pytest.raises(ParityFailed, match="openvino against torch"):
        run(config(formats=["openvino"], forms=["fp32"]), distilled_chain, tiny.work(tmp_path))


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_computes_something_else_is_no_bundle(name, distilled_chain, tmp_path, monkeypatch):
    there(name)
    way = mobile.WAYS[name]
    if reason := way.unable():
        pytest.skip(f"made, and not run: {reason}")

    def convert(model, folder):
        model.lean.inner.head.output.weight.neg_()
        return way.convert(model, folder)

    monkeypatch.setattr(mobile, "WAYS", {name: way._replace(convert=convert)})
    with pytest.raises(ParityFailed, match=f"{name} against torch"):
        run(config(formats=[name], forms=["fp32"]), distilled_chain, tiny.work(tmp_path))


def test_int8_weights_are_held_by_the_tolerance_of_int8():
    section = config(fp32_tolerance={"max_abs": 1e-3, "agreement": 1.0, "metric_drop": 0.0}).export
    fp32 = mobile.Way(Wrong.convert, Wrong.open_model, whole_table=False)
    assert mobile.tolerance(section, fp32) == section.fp32_tolerance
    assert mobile.tolerance(section, fp32._replace(precision="int8")) == section.int8_tolerance


class Heard(Silent):
    def __init__(self):
        self.lines = []

    def log(self, message):
        self.lines.append(message)


def test_what_this_machine_cannot_run_is_no_pass(distilled_chain, tmp_path, monkeypatch):
    reason = "runs on another system only"
    way = mobile.Way(Wrong.convert, Wrong.open_model, whole_table=False, unable=lambda: reason)
    monkeypatch.setattr(mobile, "WAYS", {"openvino": way})
    heard = Heard()
    work = replace(tiny.work(tmp_path), progress=heard)
    result = run(config(formats=["openvino"], forms=["fp32"]), distilled_chain, work)
    made = result.formats["openvino"]
    assert (made.parity, made.unchecked) == (None, reason)
    assert f"openvino not checked: {reason}" in heard.lines
    assert f"| not checked: {reason} | - |" in (work.out / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("unchecked", ["", "runs elsewhere"])
def test_a_format_is_compared_or_says_why_not(unchecked):
    report = ParityReport(source="torch", rows=1, max_abs=0, mean_abs=0, agreement=1, metric_drop=0)
    parity = report if unchecked else None
    with pytest.raises(ValueError, match="is compared, or it says why"):
        FormatResult(files=("a",), size_bytes=1, length=1, libraries={}, parity=parity, unchecked=unchecked)


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_extra_is_found_before_anything_is_spent(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, FORMATS[name].modules[0], None)
    out = tmp_path / "runs"
    words = ["run", "profiles/smoke.toml", "--out", str(out), "--set", f'export.formats=["{name}"]']
    assert main(words) == 3
    said = capsys.readouterr().err
    assert f"{FORMATS[name].modules[0]} is not installed" in said
    assert f"pip install 'squeeze-ondevice[{FORMATS[name].extra}]'" in said
    assert not out.exists()


def test_every_format_has_a_way_and_an_extra():
    import tomllib
    from pathlib import Path

    assert mobile.WAYS.keys() == FORMATS.keys()
    extras = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    for each in FORMATS.values():
        assert {line.partition(">")[0] for line in extras[each.extra]} == set(each.libraries)


def test_the_key_has_the_versions_of_the_converters_and_only_where_they_are_asked_for():
    assert sources(config()) == {}
    assert "formats" not in config().plain()["export"]
    assert set(sources(config(formats=["ncnn"]))) == {"ncnn version", "pnnx version"}
    needs(config())


def test_a_format_named_twice_or_unknown_is_refused(capsys, tmp_path):
    for value, said in (('["ncnn", "ncnn"]', "named twice"), ('["tflite"]', "export.formats")):
        words = ["plan", "profiles/smoke.toml", "--out", str(tmp_path), "--set", f"export.formats={value}"]
        assert main(words) == 2
        assert said in capsys.readouterr().err


def test_the_command_line_loads_no_converter():
    code = (
        "import sys, squeeze.cli, squeeze.registry;"
        "print([m for m in ('openvino', 'ncnn', 'pnnx', 'litert_torch', 'jax', 'executorch', 'coremltools',"
        " 'torch')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
