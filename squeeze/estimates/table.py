"""Devices known from their specifications: squeeze/estimates/devices.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import Field

from squeeze.errors import UsageError
from squeeze.estimates.rates import Rate, Rates
from squeeze.estimates.work import KINDS, Kind
from squeeze.schema import Frozen

__all__ = ["FOUR_CORES", "UNCHECKED", "Figure", "Specification", "rows"]

TABLE: Final = Path(__file__).resolve().parent / "devices.toml"
UNCHECKED: Final = "general knowledge, not checked"
FOUR_CORES: Final = 1.75
"""What four cores gain over one on a Raspberry Pi 4 and 5, median of ncnn's models (benchmark/README.md), and
the least that is expected; the most is all that their clocks give. Both are ends of the interval."""


class Figure(Frozen):
    """Numbers and where they are from."""

    values: tuple[float, ...] = Field(min_length=1)
    source: str = Field(min_length=1)


class Specification(Frozen):
    """One device; what each figure means stands at the head of the table."""

    name: str
    fp32: Figure
    int8: Figure
    reached: Figure
    int8_reached: Figure
    memory: Figure
    node_us: Figure
    spread: Figure

    @property
    def cores(self) -> int:
        """Threads that can be asked for; 1 for a GPU or an NPU, which has no choice."""
        return len(self.fp32.values)

    def gain(self, threads: int) -> tuple[float, float]:
        """How many times faster some cores may be than the fastest: at least and at most.

        Raises:
            UsageError: more threads than the table has cores.
        """
        if threads > self.cores:
            raise UsageError(f"threads {threads}: {self.name} is known with {self.cores}")
        most = sum(self.fp32.values[:threads]) / self.fp32.values[0]
        return min(most, 1 + (FOUR_CORES - 1) * (threads - 1) / 3), most

    def rates(self, threads: int) -> Rates:
        """Rates in the middle of the interval: several cores gain the geometric mean of the ends."""
        least, most = self.gain(threads)
        gain = (least * most) ** 0.5
        floats = self.fp32.values[0] * self.reached.values[0] * gain
        integers = self.int8.values[0] * self.int8_reached.values[0] * gain
        memory, node_us = self.memory.values[0], self.node_us.values[0]

        def rate(kind: Kind) -> Rate:
            gops = {"product": floats, "attention": floats, "int8-dynamic": integers, "int8-static": integers}
            return Rate(node_us=node_us, gops=gops.get(kind), gbytes=memory)

        return Rates(call_us=node_us, kinds={kind: rate(kind) for kind in KINDS})

    def width(self, threads: int) -> float:
        """Half the width of the interval as a factor."""
        least, most = self.gain(threads)
        return float(self.spread.values[0] * (most / least) ** 0.5)

    @property
    def source(self) -> str:
        """All sources in words."""
        figures = {name: getattr(self, name) for name in type(self).model_fields if name != "name"}
        return f"specifications of {self.name}, not measured; " + "; ".join(
            f"{name} {', '.join(f'{value:g}' for value in dict.fromkeys(figure.values))} ({figure.source})"
            for name, figure in figures.items()
        )


@cache
def rows() -> Mapping[str, Specification]:
    """All devices by name."""
    document = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {name: Specification.parse(row) for name, row in document.items()}
