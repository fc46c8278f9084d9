"""Exported forms on emulated arm64 cores: that they load there, and compute what they compute here.

Needs qemu's user mode and the runner for linux-arm64; `make test-devices` installs both.
"""

from __future__ import annotations

import json

import pytest

from squeeze.cli import main
from squeeze.errors import MissingBackend, UsageError
from squeeze.targets.devices.address import Qemu
from squeeze.targets.devices.qemu import CORES, PROGRAMS, QemuTransport
from tests import tiny_onnx
from tests.targets.devices import stands

# Logits of the student are about 1. Its int8-dynamic form has steps that follow from floats, so the last bit
# of a layer norm moves on; in the int8-static form rounding takes such bits away.
EXACT = 1e-6
INTEGERS = {"DynamicQuantizeLinear": (2, None, 2), "MatMulInteger": (6,)}  # ONNX's numbers of uint8 and int32
TYPICAL = ("cortex-a53", "cortex-a76")  # without and with dot products of bytes


@pytest.fixture
def emulator():
    stands.real_bundles("linux-arm64")
    return stands.program(PROGRAMS[0])


def ran(capsys, core, paths):
    words = ["bench", *map(str, paths), "--target", f"qemu:{core}", "--seq", "11", "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["kind"] == "functional"
    assert [each["target"] for each in report["results"]] == [f"qemu:{core}"] * len(paths)
    return {each["file"]: each for each in report["results"]}


@pytest.mark.parametrize("core", TYPICAL)
def test_forms_compute_there_what_they_compute_here(core, forms, emulator, capsys):
    found = ran(capsys, core, forms.values())
    for form, path in forms.items():
        [difference] = found[path.name]["differences"]
        assert difference["values"] == 8 * 4
        assert difference["largest"] <= EXACT
        if form.startswith("int8-static"):
            assert difference["unequal"] == 0


@pytest.fixture(scope="module")
def opened(forms, tmp_path_factory):
    """The int8-dynamic student with the integers of each product as outputs: codes, their zero, sums."""
    import onnx

    model = onnx.load(forms["int8-dynamic"])
    for node in model.graph.node:
        for name, kind in zip(node.output, INTEGERS.get(node.op_type, ()), strict=False):
            if kind is not None:
                model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    path = tmp_path_factory.mktemp("opened") / "opened.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One dynamic product whose input is a row of a table: the same bits everywhere."""
    return tiny_onnx.dynamic_product(tmp_path_factory.mktemp("alone") / "alone.onnx")


@pytest.mark.parametrize("core", TYPICAL)
def test_all_integers_of_the_dynamic_form_are_equal(core, opened, alone, emulator, capsys):
    """Only the floats around them differ: layer norms first, and so the steps of the products after them."""
    found = ran(capsys, core, [opened, alone])
    logits, *integers = found["opened.onnx"]["differences"]
    assert logits["largest"] <= EXACT
    assert len(integers) >= 3 * 3 * 4  # three of each product, four products or more in each layer
    assert [each["output"] for each in integers if each["unequal"]] == []
    assert {each["unequal"] for each in found["alone.onnx"]["differences"]} == {0}


@pytest.mark.parametrize("core", sorted(set(CORES) - set(TYPICAL)))
def test_every_core_of_the_table_runs(core, forms, emulator, capsys):
    found = ran(capsys, core, [forms["int8-static"]])
    assert found["int8-static.onnx"]["differences"][0]["unequal"] == 0


def test_the_table_says_nothing_of_time(forms, emulator, capsys):
    assert main(["bench", str(forms["fp32"]), "--target", "qemu:cortex-a53", "--seq", "5"]) == 0
    text = capsys.readouterr().out
    assert "nothing about how fast" in text
    assert " ms" not in text


@pytest.mark.parametrize("words", [["--budget", "p95=5ms"], ["--baseline", "other.onnx"]])
def test_an_emulated_core_is_not_judged(words, tmp_path, capsys):
    assert main(["bench", "m.onnx", "--target", "qemu:cortex-a53", *words]) == 2
    assert "emulated, it has no times to judge or compare" in capsys.readouterr().err


def test_a_core_that_is_not_known(tmp_path):
    with pytest.raises(UsageError, match="qemu:max: unknown core") as caught:
        QemuTransport(Qemu("max"), tmp_path)
    assert "cortex-a76" in caught.value.hint


def test_no_emulator(tmp_path):
    with pytest.raises(MissingBackend, match="no-qemu is not installed") as caught:
        QemuTransport(Qemu("cortex-a76"), tmp_path, ("no-qemu",))
    assert caught.value.hint == "apt-get install qemu-user-static"
