"""Where in the graph a converted form departs from its source.

End to end a small model hides much: with one product's scale doubled, tiny students have kept every label.
So each product is judged on what it reads in the converted graph, which leaves out all that came before it;
what rounding does to that is judged apart, and so is each look-up. Vectors (biases, norms) are not converted:
they must be there as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from squeeze.graphs import sites, tables
from squeeze.graphs.editing import constant
from squeeze.graphs.watching import Feed, watch

__all__ = ["SHOWN", "Difference", "by_site", "lost", "told"]

SHOWN = 6
ONE = np.ones(1, dtype=np.float32)
Array = NDArray[Any]
Values = dict[str, Array]


@dataclass(frozen=True)
class Difference:
    """Of one product or look-up from its source; 0 is none, about 1.4 what strangers have.

    Attributes:
        site: name of the product, or of the table.
        output: root mean square of the difference of what it gives, on the input that it reads rounded,
            against what it should give.
        input: the same of what is read against what it was before rounding.
    """

    site: str
    output: float
    input: float = 0.0


@dataclass(frozen=True)
class Probe:
    """One place that is compared.

    Attributes:
        site: its name.
        reads: names of the values it is made of in the converted graph, the input before rounding first.
        rounded: from these values to the input as it is read.
        wanted: from that input to what it should give; None: what the source gives.
        gives: name of what it gives, in both graphs.
    """

    site: str
    gives: str
    reads: tuple[str, ...] = ()
    rounded: Callable[..., Array] = lambda x: x
    wanted: Callable[[Array], Array] | None = None


def by_site(source: Path, converted: Path, feeds: Sequence[Feed], threads: int) -> tuple[Difference, ...]:
    """The differences of all look-ups and products, in the order of the graph.

    Args:
        source: the fp32 graph.
        converted: a form made from it, in which products and values have the same names.
        feeds: calls that both are run on, at least one.
        threads: inside one operator.
    """
    old, new = ir.load(source), ir.load(converted)
    probes = [Probe(table, value) for table, value in tables.lookups(old).items()]
    probes += _products(old, {node.name: node for node in new.graph})
    before = watch(source, [each.gives for each in probes if not each.wanted], feeds, threads)
    names = {name for each in probes for name in (*each.reads, each.gives)}
    after = watch(converted, names, feeds, threads)
    sums = {each.site: np.zeros((2, 2)) for each in probes}
    for left, right in zip(before, after, strict=True):
        for each in probes:
            sums[each.site] += _squares(each, left, right)
    return tuple(Difference(site, *(_share(*row) for row in held)) for site, held in sums.items())


def _products(source: ir.Model, nodes: Mapping[str | None, ir.Node]) -> Iterator[Probe]:
    gives = sites.outputs(source)
    for site, node in sites.products(source).items():
        if site not in nodes:
            continue
        before, weights, bias = sites.entering(node), sites.matrix(node), sites.bias(node)
        names, rounded = _reading(nodes[site], str(before.name))
        yield Probe(site, gives[site], (str(before.name), *names), rounded, partial(_affine, weights, bias))


def _affine(weights: Array, bias: Array, x: Array) -> Array:
    return x @ weights + bias


def _reading(node: ir.Node, before: str) -> tuple[tuple[str, ...], Callable[..., Array]]:
    """Names of what a product reads, and how to make its input, named `before` in the source, of them."""
    x = sites.entering(node)
    if node.op_type != "MatMulInteger":
        factors = _factors(x, before)
        return (str(x.name),), lambda _, read: read / factors
    ranges = x.producer()
    assert ranges is not None
    return tuple(str(value.name) for value in ranges.outputs), lambda _, q, s, z: (q - z.astype(float)) * s


def _factors(x: ir.Value, before: str) -> Array:
    """What a product's input was multiplied by before it was rounded (SmoothQuant), 1 where it was not."""
    while (node := x.producer()) is not None and node.op_type in ("DequantizeLinear", "QuantizeLinear"):
        x = sites.entering(node)
    if x.name == before or node is None or node.op_type != "Mul":
        return ONE
    found = [constant(value) for value in node.inputs if value is not None and value.name != before]
    return found[0] if len(found) == 1 and found[0] is not None else ONE


def _squares(probe: Probe, old: Values, new: Values) -> NDArray[np.float64]:
    """Of output and of input: the sum of squared differences, and of squares."""
    gives = new[probe.gives]
    if probe.wanted is None:
        return np.array([_sums(gives, old[probe.gives]), (0.0, 0.0)])
    values = [new[name] for name in probe.reads]
    read = probe.rounded(*values)
    return np.array([_sums(gives, probe.wanted(read)), _sums(read, values[0])])


def _sums(found: Array, wanted: Array) -> tuple[float, float]:
    exact = wanted.astype(np.float64)
    return float(((found - exact) ** 2).sum()), float((exact**2).sum())


def _share(gap: float, whole: float) -> float:
    return float(np.sqrt(gap / whole)) if whole else float(gap > 0)


def lost(source: Path, converted: Path) -> tuple[str, ...]:
    """Float vectors of the source that the converted graph does not read as they were."""
    before, after = (_vectors(ir.load(path)) for path in (source, converted))
    return tuple(
        name
        for name, values in before.items()
        if name not in after or not np.array_equal(values, after[name])
    )


def _vectors(model: ir.Model) -> Values:
    found = {name: constant(value) for name, value in model.graph.initializers.items() if value.uses()}
    return {
        name: values
        for name, values in found.items()
        if values is not None and values.ndim == 1 and values.dtype == np.float32
    }


def told(found: Sequence[Difference]) -> str:
    """The largest differences in one line, in the order of the graph.

    >>> told([Difference("up", 0.5, 0.02), Difference("down", 0.001)])
    'difference of output (input) by product: up 50 % (2 %), down 0.1 % (0 %)'
    """
    largest = sorted(found, key=lambda each: -max(each.output, each.input))[:SHOWN]
    rows = (
        f"{each.site} {100 * each.output:.2g} % ({100 * each.input:.2g} %)"
        for each in found
        if each in largest
    )
    return f"difference of output (input) by product: {', '.join(rows)}"
