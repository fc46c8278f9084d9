"""Where in the graph a converted form departs from its source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from squeeze.graphs import sites
from squeeze.graphs.watching import Feed, watch

__all__ = ["Difference", "by_site", "told"]

SHOWN = 6


@dataclass(frozen=True)
class Difference:
    """Of one product's output, its bias added.

    Attributes:
        site: name of the product.
        rms: root mean square of the difference.
        level: root mean square of the source's output.
    """

    site: str
    rms: float
    level: float

    @property
    def share(self) -> float:
        """The difference against the output: 0 none, about 1.4 between strangers."""
        return self.rms / self.level if self.level else float(self.rms > 0)


def by_site(source: Path, converted: Path, feeds: Sequence[Feed], threads: int) -> tuple[Difference, ...]:
    """The difference of every product's output, in the order of the graph.

    Args:
        source: the fp32 graph.
        converted: a form made from it, in which products give values of the same names.
        feeds: calls that both are run on.
        threads: inside one operator.
    """
    kept = _made(converted)
    names = {site: name for site, name in sites.outputs(ir.load(source)).items() if name in kept}
    before, after = (watch(path, names.values(), feeds, threads) for path in (source, converted))
    sums = {name: np.zeros(3) for name in names.values()}
    for old, new in zip(before, after, strict=True):
        for name, held in sums.items():
            gap = new[name].astype(np.float64) - old[name]
            held += gap.size, (gap**2).sum(), (old[name].astype(np.float64) ** 2).sum()
    return tuple(_difference(site, sums[name]) for site, name in names.items())


def _made(path: Path) -> set[str]:
    return {str(value.name) for node in ir.load(path).graph for value in node.outputs}


def _difference(site: str, sums: Iterable[float]) -> Difference:
    count, gap, level = sums
    return Difference(site, float(np.sqrt(gap / count)), float(np.sqrt(level / count)))


def told(found: Sequence[Difference]) -> str:
    """The largest differences in one line, in the order of the graph, since each adds to those behind it.

    >>> told([Difference("up", 0.5, 1.0), Difference("down", 0.001, 0.5)])
    'rms difference by product: up 50 %, down 0.2 %'
    """
    largest = sorted(found, key=lambda each: -each.share)[:SHOWN]
    rows = (f"{each.site} {100 * each.share:.2g} %" for each in found if each in largest)
    return f"rms difference by product: {', '.join(rows)}"
