"""Where the bytes of each form are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from squeeze.graphs import int4, int8, lean, sites, static
from squeeze.graphs.scales import Scales
from squeeze.graphs.weights import bytes_by_kind
from tests import tiny

VOCABULARY = len(tiny.spec()["model"]["vocab"])


@pytest.fixture(scope="module")
def fp32(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.onnx"
    lean.export(tiny.encoder(labels=4), path, 20)
    return path


def made(form: str, fp32: Path, folder: Path) -> Path:
    target = folder / "model.form.onnx"
    if form == "int8-dynamic":
        int8.quantize(fp32, target)
    elif form == "int8-static":
        steps = dict.fromkeys(sites.products(ir.load(fp32)), 0.1)
        static.quantize(fp32, target, Scales(inputs=steps))
    else:
        int4.quantize(fp32, target, table_bits=4)
    return target


def test_all_bytes_of_a_float_file_are_told(fp32):
    found = bytes_by_kind(fp32)
    assert sum(found.values()) == fp32.stat().st_size
    assert found["steps and zeros"] == 0
    assert found["products"] == sum(
        4 * sites.matrix(node).size for node in sites.products(ir.load(fp32)).values()
    )


@pytest.mark.parametrize(("form", "smaller"), [("int8-dynamic", 4), ("int8-static", 4), ("int4-weight", 8)])
def test_what_is_rounded_takes_its_share_of_the_float_file(form, smaller, fp32, tmp_path):
    before, path = bytes_by_kind(fp32), made(form, fp32, tmp_path)
    found = bytes_by_kind(path)
    assert sum(found.values()) == path.stat().st_size
    assert found["table of pieces"] == before["table of pieces"] / smaller
    assert found["positions"] == before["positions"] / 4
    assert found["steps and zeros"] > 0
    assert found["biases and norms"] == before["biases and norms"]
    wide = [sites.matrix(node).size for node in sites.wide(ir.load(fp32)).values()]
    kept = before["products"] - 4 * int(np.sum(wide))
    assert found["products"] == kept + 4 * int(np.sum(wide)) / smaller


def test_codes_of_a_product_quantized_table_are_bytes_in_every_form(tmp_path):
    encoder = tiny.encoder(labels=4, **tiny.STUDENTS["product"])
    lean.export(encoder, tmp_path / "model.onnx", 20)
    for path in (tmp_path / "model.onnx", made("int8-dynamic", tmp_path / "model.onnx", tmp_path)):
        assert bytes_by_kind(path)["codes"] == encoder.shape.vocabulary * 8
