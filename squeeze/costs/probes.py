"""Probes: whole encoders with random weights whose latencies together tell what each part costs.

torch's exporter takes seconds for each graph, whatever the widths in it. So one template is exported for a
stem, with other widths in each layer, and every probe is that graph with its layers cut and its widths
replaced; tests/costs/test_probes.py compares such graphs with real exports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from onnx_ir.passes import common

from squeeze.costs.model import Probe, features
from squeeze.costs.request import CostRequest, Stem
from squeeze.graphs import lean
from squeeze.models.encoder import Encoder, EncoderShape, LayerShape

__all__ = ["Template", "design"]

DRAWS = 64
"""Random designs of which the best is taken; more hardly better it."""
SPARE = 2.0
"""Probes for each unknown, so that one disturbed probe does not decide a cost."""
WEIGHT = 0.02


def design(request: CostRequest) -> tuple[Probe, ...]:
    """Which encoders to measure: for every hidden width enough to tell all unknowns apart.

    Half of the probes of a width have one layer, since the last layer costs less than the others (the head
    reads the first token only). Widths are dealt out evenly; of some random deals the one is taken whose
    least squares are best determined (largest determinant). A further stem of the width adds two
    small probes, in which its table shows.
    """
    generator = np.random.default_rng(request.seed)
    probes: list[Probe] = []
    for first, *others in _by_width(request).values():
        deals = [_deal(request, first, generator) for _ in range(DRAWS)]
        probes += max(deals, key=partial(_determined, request))
        probes += [Probe(stem=stem, layers=layers) for stem in others for layers in _small(request)]
    return tuple(probes)


def _by_width(request: CostRequest) -> Mapping[int, list[Stem]]:
    found: dict[int, list[Stem]] = {}
    for stem in request.stems:
        found.setdefault(stem.hidden, []).append(stem)
    return found


def _small(request: CostRequest) -> Iterator[tuple[LayerShape, ...]]:
    for place in (0, 1):
        heads, neurons = (points[min(place, len(points) - 1)] for points in (request.heads, request.neurons))
        yield (LayerShape(heads=heads, ffn=neurons),)


def _deal(request: CostRequest, stem: Stem, generator: np.random.Generator) -> list[Probe]:
    steps = len(request.heads) + len(request.neurons) - 2
    half = max(2, round(SPARE * (2 + 2 * steps) / 2))
    depths = [1] * half
    if request.depth > 1:
        depths += [2 + place % (request.depth - 1) for place in range(half)]
    heads, neurons = (_dealt(points, depths, generator) for points in (request.heads, request.neurons))
    return [
        Probe(
            stem=stem,
            layers=tuple(LayerShape(heads=next(heads), ffn=next(neurons)) for _ in range(depth)),
        )
        for depth in depths
    ]


def _dealt(points: Sequence[int], depths: Sequence[int], generator: np.random.Generator) -> Iterator[int]:
    """Grid points in random order, each as often as the others."""
    count = sum(depths)
    while count > 0:
        yield from (int(point) for point in generator.permutation(points))
        count -= len(points)


def _determined(request: CostRequest, probes: Sequence[Probe]) -> float:
    """Logarithm of the determinant of the normal matrix; rows are weighted as in the fit, by 1 / cost."""
    rows = np.array([features(request, probe.layers) for probe in probes])
    rows = np.column_stack([np.ones(len(rows)), rows])
    scaled = rows[:, rows.any(axis=0)]  # a space of one layer has no whole ones
    scaled /= scaled.sum(axis=1, keepdims=True)
    return float(np.linalg.slogdet(scaled.T @ scaled)[1])


@dataclass(frozen=True)
class Template:
    """An exported graph whose layers all have other widths.

    Attributes:
        path: the fp32 file.
        shape: of the encoder it holds.
    """

    path: Path
    shape: EncoderShape

    @classmethod
    def export(cls, request: CostRequest, stem: Stem, depth: int, path: Path) -> Template:
        """Export an encoder of random weights that holds every width once."""
        shape = request.shape(stem, _telling(request, stem, depth))
        torch.manual_seed(request.seed)
        student = Encoder(shape).eval()
        with torch.no_grad():
            for value in student.parameters():
                value.add_(torch.randn_like(value) * WEIGHT)  # equal ones would be stored once
        lean.export(student, path, lean.OPSET)
        return cls(path, shape)

    def write(self, layers: Sequence[LayerShape], path: Path, seed: int) -> None:
        """Write the graph with other layers, at most as many as the template has; weights are random."""
        model = ir.load(self.path)
        _cut(model, len(self.shape.layers), len(layers))
        kept = (*self.shape.layers[: len(layers) - 1], self.shape.layers[-1])
        sizes: dict[int, int] = {}
        for before, after in zip(kept, layers, strict=True):
            old, new = (_widths(layer, self.shape.head_size) for layer in (before, after))
            sizes |= dict(zip(old, new, strict=True))
        _resize(model.graph, sizes, np.random.default_rng(seed))
        ir.save(model, path)


def _widths(layer: LayerShape, head_size: int) -> tuple[int, ...]:
    """Every number in a graph that depends on a layer's widths."""
    heads = [count * layer.heads for count in (1, 2, 3)]
    return (*heads, *(count * head_size for count in heads), layer.ffn)


def _telling(request: CostRequest, stem: Stem, depth: int) -> tuple[LayerShape, ...]:
    """Layers whose widths are unlike each other and unlike every other number in the graph."""
    table, size = stem.embedding, request.head_size
    taken = {stem.hidden, table.width, table.rank, table.subvectors, table.codewords, size}
    taken |= {table.subvectors * table.codewords, table.width // table.subvectors}
    taken |= {request.labels, request.vocabulary, request.lengths[-1], 2 * request.lengths[-1] - 1}
    layers: list[LayerShape] = []
    number = 5  # below lie the numbers of axes
    while len(layers) < depth:
        layer = LayerShape(heads=number, ffn=number + 1)
        number += 1
        widths = _widths(layer, size)
        if len(set(widths)) == len(widths) and not taken & set(widths):
            taken |= set(widths)
            layers.append(layer)
    return tuple(layers)


def _cut(model: ir.Model, depth: int, wanted: int) -> None:
    """Leave out whole layers between the first ones and the last."""
    norms = [node for node in model.graph if node.op_type == "LayerNormalization"][-2 * depth :]
    if wanted < depth:
        summed = norms[2 * wanted - 2].inputs[0]
        entering = summed.producer() if summed is not None else None
        assert entering is not None
        before, after = entering.inputs[0], norms[2 * depth - 3].outputs[0]
        assert before is not None
        ir.convenience.replace_all_uses_with(after, before)
        common.RemoveUnusedNodesPass()(model)


def _resize(graph: ir.Graph, sizes: Mapping[int, int], generator: np.random.Generator) -> None:
    targets = {node.inputs[1] for node in graph if node.op_type == "Reshape"}
    for value in graph.initializers.values():
        assert value.const_value is not None
        array = value.const_value.numpy()
        if value in targets:
            _store(value, np.array([sizes.get(int(size), int(size)) for size in array], dtype=np.int64))
        elif any(size in sizes for size in array.shape):
            dims = [sizes.get(size, size) for size in array.shape]
            _store(value, (WEIGHT * generator.standard_normal(dims)).astype(np.float32))
    for node in graph:
        for made in node.outputs:
            if made.shape is not None:
                made.shape = ir.Shape(
                    sizes.get(size, size) if isinstance(size, int) else size for size in made.shape
                )


def _store(value: ir.Value, array: NDArray[np.float32] | NDArray[np.int64]) -> None:
    value.const_value = ir.tensor(array, name=value.name)
    value.shape = ir.Shape(array.shape)
