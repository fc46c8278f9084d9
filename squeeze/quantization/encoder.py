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
from torch import Tensor

from squeeze.graphs.scales import Scales
from squeeze.models.encoder import Encoder, EncoderShape, Layer
from squeeze.quantization.linear import FakeLinear, Reading
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
        self._layer(last).split_queries()
        for site in sites(encoder.shape):
            if site not in plan.keep:
                self._replace(site, alone=site.startswith(f"layers.{last}.") and not site.endswith(".pair"))
        self.train(encoder.training)

    @property
    def products(self) -> dict[str, FakeLinear]:
        """The products that are quantized, by site."""
        return {name: part for name, part in self.named_modules() if isinstance(part, FakeLinear)}

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
        state["position_embeddings"] = columns(self.position_embeddings)
        for index, layer in enumerate(self.layers):
            if isinstance(layer, _FakeLayer):
                state[f"layers.{index}.distances"] = layer.rounded()
        state |= {f"{name}.weight": part.snapped() for name, part in self.products.items()}
        plain = Encoder(self.shape)
        plain.load_state_dict(_joined(state, f"layers.{len(self.layers) - 1}"))
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
        return super()._enter(input_ids, attention_mask)

    def position_rows(self, length: int) -> Tensor:
        """(T, E) as the graph stores them."""
        return columns(self.position_embeddings)[:length]

    def _layer(self, index: int) -> Layer:
        return cast("Layer", self.layers[index])

    def _replace(self, site: str, *, alone: bool) -> None:
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


def _joined(state: dict[str, Tensor], place: str) -> dict[str, Tensor]:
    """The inverse of `Layer.split_queries`, on a state."""
    rest = {name: value.detach().clone() for name, value in state.items()}
    for kind in ("weight", "bias"):
        parts = [rest.pop(f"{place}.{part}.{kind}") for part in ("query", "pair")]
        rest[f"{place}.qkv.{kind}"] = torch.cat(parts)
    return rest
