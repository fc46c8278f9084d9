"""Steps of inputs are those of what passes through the graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from squeeze.core.calibration import METHODS
from squeeze.errors import StageFailed
from squeeze.graphs import sites
from squeeze.graphs.calibration import calibrate
from squeeze.graphs.watching import Feed, watch
from tests import tiny


def feeds(count: int = 12) -> list[Feed]:
    batches = (tiny.batch(1, 3 + seed % 9, seed) for seed in range(count))
    return [{"input_ids": ids.numpy(), "attention_mask": mask.numpy()} for ids, mask in batches]


def test_minmax_is_the_largest_magnitude_of_each_input(exported):
    _, path = exported("product")
    found = calibrate(path, iter(feeds()), "minmax", 1)
    assert found.weights == {}
    entering = {site: str(sites.entering(n).name) for site, n in sites.products(ir.load(path)).items()}
    assert found.inputs.keys() == entering.keys()
    seen = list(watch(path, set(entering.values()), feeds(), 1))
    for site, name in entering.items():
        largest = max(float(np.abs(values[name]).max()) for values in seen)
        assert found.inputs[site] == pytest.approx(largest / 127)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"minmax"}))
def test_other_methods_clip_and_do_not_depend_on_the_order(method, exported):
    _, path = exported("product")
    whole = calibrate(path, feeds(), "minmax", 1)
    found, again = (calibrate(path, rows, method, 1) for rows in (feeds(), reversed(feeds())))
    assert all(0 < found.inputs[site] <= step * (1 + 1e-6) for site, step in whole.inputs.items())
    assert found.inputs == again.inputs


def test_without_text_there_are_no_steps(exported):
    with pytest.raises(StageFailed, match="no text to calibrate on"):
        calibrate(exported("product")[1], [], "mse", 1)
