"""The products of an encoder by name, as its exported graph calls them."""

from __future__ import annotations

from squeeze.core.rounding import LEAST_WIDTH
from squeeze.models.shapes import EncoderShape

__all__ = ["sites"]


def sites(shape: EncoderShape) -> dict[str, tuple[int, int]]:
    """(inputs, outputs) of every product that is quantized, in the order of the graph.

    The last layer's queries see the first token alone and are a product of their own, `query`; its keys and
    values are `pair`. Products of fewer than 16 inputs or outputs stay float and are not listed.
    """
    hidden, table = shape.hidden, shape.embedding
    found: dict[str, tuple[int, int]] = {}
    if table.kind == "factorised":
        found["embedding.project"] = (table.rank, table.width)
    if table.width != hidden:
        found["widen"] = (table.width, hidden)
    for index, layer in enumerate(shape.layers):
        width, place = layer.heads * shape.head_size, f"layers.{index}"
        if index < len(shape.layers) - 1:
            found[f"{place}.qkv"] = (hidden, 3 * width)
        else:
            found |= {f"{place}.query": (hidden, width), f"{place}.pair": (hidden, 2 * width)}
        found |= {f"{place}.out": (width, hidden), f"{place}.up": (hidden, layer.ffn)}
        found[f"{place}.down"] = (layer.ffn, hidden)
    found |= {"head_dense": (hidden, hidden), "head_out": (hidden, shape.labels)}
    return {site: sizes for site, sizes in found.items() if min(sizes) >= LEAST_WIDTH}
