"""LiteRT: model.tflite, for Android, iOS and Linux; converted from torch by litert-torch.

The int8 file holds weights in int8, one step an output channel; XNNPACK rounds what they are multiplied with
as it comes in, one step a row. ai-edge-quantizer makes it of the fp32 file.

LiteRT's converter knows no unsigned constants: the codes of a product-quantized table get a sign.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from squeeze.errors import StageFailed, reason
from squeeze.graphs.mobile.fixed import INPUTS, Answer, Fixed
from squeeze.models.embedding import Embedding, Product
from squeeze.runtime import hushed, need

__all__ = ["convert", "convert_int8", "open_model"]

EXTRA = "litert"
FILE = "model.tflite"
MIDDLE = 128
"""What is taken from a code of 8 bits so that it has a sign."""


class Signed(Embedding):
    """A product-quantized table whose codes are int8; it gives the same rows."""

    codes: Tensor
    offsets: Tensor

    def __init__(self, table: Product) -> None:
        super().__init__()
        self.weight = table.weight
        self.register_buffer("codes", (table.codes.to(torch.int16) - MIDDLE).to(torch.int8))
        self.register_buffer("offsets", (table.offsets + MIDDLE).to(torch.int32))

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)."""
        entries = F.embedding(ids, self.codes).to(torch.int32) + self.offsets
        return F.embedding(entries, self.weight).flatten(-2)

    def table(self) -> Tensor:
        """The whole table, (V, E)."""
        return F.embedding(self.codes.to(torch.int32) + self.offsets, self.weight).flatten(-2)


def convert(model: Fixed, folder: Path) -> tuple[Path, ...]:
    """Write the graph and its weights into one file, in fp32.

    Raises:
        StageFailed: litert-torch does not take the model.
    """
    litert = need("litert_torch", EXTRA)
    refused = need("litert_converter.mlir.ir", EXTRA).MLIRError
    path = folder / FILE
    with hushed():
        try:
            inputs = dict(zip(INPUTS, model.example(), strict=True))
            made = litert.convert(_signed(model), sample_kwargs=inputs)
            made.export(str(path))
        except (refused, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise StageFailed(f"litert-torch: the model cannot be converted ({reason(error)})") from error
    return (path,)


def convert_int8(model: Fixed, folder: Path) -> tuple[Path, ...]:
    """Write the same with weights in int8.

    Raises:
        StageFailed: litert-torch or ai-edge-quantizer does not take the model.
    """
    quantizer = need("ai_edge_quantizer.quantizer", EXTRA)
    recipe = need("ai_edge_quantizer.recipe", EXTRA)
    path = folder / FILE
    with tempfile.TemporaryDirectory() as scratch:
        (fp32,) = convert(model, Path(scratch))
        with hushed():
            try:
                made = quantizer.Quantizer(str(fp32), recipe.dynamic_wi8_afp32()).quantize()
            except (RuntimeError, TypeError, ValueError) as error:
                raise StageFailed(
                    f"ai-edge-quantizer: the model cannot be quantized ({reason(error)})"
                ) from error
        path.write_bytes(made.quantized_model)
    return (path,)


def open_model(files: Sequence[Path]) -> Answer:
    """Open it on this machine's processor.

    Raises:
        StageFailed: LiteRT cannot load it, or asks for other inputs.
    """
    interpreter = need("ai_edge_litert.interpreter", EXTRA)
    with hushed():
        try:
            opened = interpreter.Interpreter(str(files[0]), num_threads=1)
            opened.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise StageFailed(f"{files[0].name}: LiteRT cannot load it ({reason(error)})") from error
    places = {each["name"].rpartition("serving_default_")[2]: each for each in opened.get_input_details()}
    if places.keys() != set(INPUTS):
        raise StageFailed(f"{files[0].name}: its inputs are {', '.join(places)}, not {', '.join(INPUTS)}")
    taken, given = [places[name]["index"] for name in INPUTS], opened.get_output_details()[0]["index"]

    def answer(ids: NDArray[np.int32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
        for place, value in zip(taken, (ids, mask), strict=True):
            opened.set_tensor(place, value)
        opened.invoke()
        return np.array(opened.get_tensor(given), dtype=np.float32)

    return answer


def _signed(model: Fixed) -> Fixed:
    """A copy with a table that the converter takes; the model itself where it takes it as it is."""
    table = model.lean.inner.embedding
    if not isinstance(table, Product):
        return model
    other = copy.deepcopy(model)
    other.lean.inner.embedding = Signed(table)
    return other
