"""Static ranges from real texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

from squeeze.core.calibration import Histogram, Method, collect, step
from squeeze.quantization.encoder import FakeQuantized

__all__ = ["calibrate", "observe"]

Batch = tuple[Tensor, Tensor]


def observe(model: FakeQuantized, batches: Iterable[Batch]) -> dict[str, Histogram]:
    """Magnitudes of what enters each product, while all products are float.

    Padding does not count; where the device sees the first token only, only that counts.

    Args:
        model: in evaluation mode.
        batches: token numbers (B, T) and mask (B, T).
    """
    seen: dict[str, Histogram] = {}

    def watch(site: str, rows: Tensor) -> None:
        seen[site] = collect(seen.get(site), rows.float().numpy())

    with torch.inference_mode(), model.quantizing(()):
        _watch(model, lambda site: partial(watch, site))
        try:
            for ids, mask in batches:
                model(ids, mask)
        finally:
            _watch(model, lambda _: None)
    return seen


def calibrate(model: FakeQuantized, batches: Iterable[Batch], method: Method) -> dict[str, float]:
    """Give every product of an `int8-static` model the step of its input; returns them by site."""
    steps = {site: step(histogram, method) for site, histogram in observe(model, batches).items()}
    for site, product in model.products.items():
        product.set_input(steps[site])
    return steps


def _watch(model: FakeQuantized, watcher: Callable[[str], Callable[[Tensor], None] | None]) -> None:
    for site, product in model.products.items():
        product.watcher = watcher(site)
