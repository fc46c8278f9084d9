"""An encoder whose forward pass has the arithmetic of its quantized graph.

Products, tables and positions are rounded as `squeeze.graphs` rounds them. Attention, norms and
activation functions are float there, and float here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from squeeze.graphs.scales import Scales
from squeeze.models.encoder import MASKED, Encoder, EncoderShape, Layer
from squeeze.quantization.linear import FakeLinear, Reading, Split
from squeeze.quantization.plan import Plan, sites
from squeeze.quantization.tables import FakeTable, columns, fake_table

__all__ = ["FakeQuantized"]

STEPS = ("step.start", "step.growth")


class FakeQuantized(Encoder):
    """An encoder that rounds as its quantized graph does; it can be trained like any other.

    Args:
        encoder: what it computes in float; it is not changed.
        plan: scheme, bits and float sites.
    """

    def __init__(self, encoder: Encoder, plan: Plan) -> None:
        super().__init__(encoder.shape)
        self.load_state_dict(encoder.state_dict())
        self.plan, self.reading = plan, Reading()
        self.embedding = fake_table(self.embedding, plan.table_bits)
        last = len(self.layers) - 1
        if encoder.shape.relative_bias:
            for index in range(last):
                self.layers[index] = _FakeLayer(encoder.shape, index, self._layer(index))
        _split(self._layer(last))
        for site in sites(encoder.shape):
            if site not in plan.keep:
                self._replace(site, alone=site.startswith(f"layers.{last}.") and not site.endswith(".pair"))
        self.train(encoder.training)

    @property
    def products(self) -> dict[str, FakeLinear]:
        """The products that are quantized, by site."""
        return {_site(name): part for name, part in self._fakes()}

    @contextmanager
    def quantizing(self, wanted: Collection[str]) -> Iterator[None]:
        """Inside, only these products are rounded; tables always are."""
        before = {site: part.on for site, part in self.products.items()}
        for site, part in self.products.items():
            part.on = site in wanted
        try:
            yield
        finally:
            for site, part in self.products.items():
                part.on = before[site]

    def snapped(self) -> Encoder:
        """A plain encoder whose weights are those that the integers stand for, in evaluation mode.

        Rounding them again changes nothing, so the graph that is made of it has the integers that were
        trained; in float it computes with the rounded weights.
        """
        state = {name: value for name, value in self.state_dict().items() if not name.endswith(STEPS)}
        table = cast("FakeTable", self.embedding)
        state |= {f"embedding.{name}": value for name, value in table.snapped().items()}
        state["positions"] = columns(self.positions)
        for index, layer in enumerate(self.layers):
            if isinstance(layer, _FakeLayer):
                state[f"layers.{index}.distances"] = layer.rounded()
        state |= {f"{name}.weight": part.snapped() for name, part in self._fakes()}
        plain = Encoder(self.shape)
        plain.load_state_dict(_joined(state, f"layers.{len(self.layers) - 1}.qkv"))
        return plain.eval()

    def scales(self) -> Scales:
        """The steps in the graph's terms: the score scale is multiplied into its query weights."""
        steps = {site: part.steps() for site, part in self.products.items()}
        weights = {site: found.cpu().numpy().copy() for site, found in steps.items() if found is not None}
        for index in range(len(self.layers)):
            layer = self._layer(index)
            for site in (f"layers.{index}.qkv", f"layers.{index}.query"):
                if site in weights:
                    weights[site][: layer.heads * layer.head_size] *= np.float32(layer.scale)
        inputs = {
            site: float(part.input_step().detach())
            for site, part in self.products.items()
            if part.input_step is not None
        }
        return Scales(inputs, weights)

    def _enter(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        self.reading.real = attention_mask.bool()
        x = self.embedding(input_ids) + columns(self.positions)[: input_ids.shape[1]]
        x = self.embedding_norm(x)
        if self.widen is not None:
            x = self.widen(x)
        return x, (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * MASKED

    def _layer(self, index: int) -> Layer:
        return cast("Layer", self.layers[index])

    def _fakes(self) -> Iterator[tuple[str, FakeLinear]]:
        return ((name, part) for name, part in self.named_modules() if isinstance(part, FakeLinear))

    def _replace(self, site: str, *, alone: bool) -> None:
        for part in ("query", "pair"):
            site = site.replace(f".{part}", f".qkv.{part}")
        parent, _, name = site.rpartition(".")
        owner = self.get_submodule(parent)
        setattr(owner, name, FakeLinear(getattr(owner, name), self.plan, self.reading, alone=alone))


class _FakeLayer(Layer):
    """A layer whose biases by distance are stored in int8, one step a head.

    The last layer's are not looked up but cut out of their table, which stays float.
    """

    def __init__(self, shape: EncoderShape, index: int, layer: Layer) -> None:
        super().__init__(shape, index)
        self.load_state_dict(layer.state_dict())

    def rounded(self) -> Tensor:
        """(heads, 2P-1)."""
        assert self.distances is not None
        return columns(self.distances.T).T

    def _distance_bias(self, distances: Tensor, length: int) -> Tensor:  # type: ignore[override]
        return Layer._distance_bias(columns(distances.T).T, length)


def _site(name: str) -> str:
    """The graph has no `qkv` in its last layer, only its two parts."""
    return name.replace(".qkv.query", ".query").replace(".qkv.pair", ".pair")


def _split(layer: Layer) -> None:
    """Queries apart from keys and values."""
    width = layer.heads * layer.head_size
    parts = []
    for rows in (slice(0, width), slice(width, None)):
        weight, bias = layer.qkv.weight.detach()[rows].clone(), layer.qkv.bias.detach()[rows].clone()
        part = nn.Linear(weight.shape[1], weight.shape[0])
        part.weight, part.bias = nn.Parameter(weight), nn.Parameter(bias)
        parts.append(part)
    layer.add_module("qkv", Split(*parts))


def _joined(state: dict[str, Tensor], place: str) -> dict[str, Tensor]:
    """The inverse of `_split`, on a state."""
    joined = {
        f"{place}.{kind}": torch.cat([state[f"{place}.query.{kind}"], state[f"{place}.pair.{kind}"]])
        for kind in ("weight", "bias")
    }
    rest = {name: value for name, value in state.items() if not name.startswith(f"{place}.")}
    return {name: value.detach().clone() for name, value in {**rest, **joined}.items()}
