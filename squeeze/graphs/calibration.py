"""Steps of the products' inputs from what passes through them on real text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx_ir as ir

from squeeze.core.calibration import Histogram, Method, collect, step
from squeeze.errors import StageFailed
from squeeze.graphs import sites
from squeeze.graphs.scales import Scales
from squeeze.graphs.watching import Feed, watch

__all__ = ["calibrate"]


def calibrate(path: Path, feeds: Iterable[Feed], method: Method, threads: int) -> Scales:
    """The int8 step of the input of every product.

    Args:
        path: the fp32 graph.
        feeds: calls on training text, without padding, whose values would be counted as well.
        method: how the range of a value is cut; see squeeze/core/calibration.py.
        threads: inside one operator.

    Returns:
        Steps of inputs; of weights, none. What is held is a histogram an input, not the inputs.

    Raises:
        StageFailed: nothing to calibrate on, or a value is not a finite number.
    """
    entering = {site: str(sites.entering(node).name) for site, node in sites.products(ir.load(path)).items()}
    seen: dict[str, Histogram] = {}
    for values in watch(path, entering.values(), feeds, threads):
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise StageFailed(f"{path}: {name} is not finite on training text")
            seen[name] = collect(seen.get(name), value)
    if not seen:
        raise StageFailed(f"{path}: no text to calibrate on")
    steps = {name: step(histogram, method) for name, histogram in seen.items()}
    return Scales(inputs={site: steps[name] for site, name in entering.items()})
