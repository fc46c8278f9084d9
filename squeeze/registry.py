"""The only list of stages, in the order of the chain."""

from __future__ import annotations

from squeeze.stage import Stage
from squeeze.stages import bench, data, distil, export, gate, prune, quantize, search, teacher

__all__ = ["STAGES"]

STAGES: tuple[Stage, ...] = (
    data.STAGE,
    teacher.STAGE,
    search.STAGE,
    distil.STAGE,
    prune.STAGE,
    quantize.STAGE,
    export.STAGE,
    bench.STAGE,
    gate.STAGE,
)
