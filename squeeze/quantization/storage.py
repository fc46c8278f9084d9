"""What was quantized and with which steps, beside an encoder: `quantization.json` and `.safetensors`.

Light: what makes graphs reads it, and loads no torch for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from squeeze.artifact import write_json
from squeeze.errors import Corrupt
from squeeze.graphs.scales import Scales
from squeeze.quantization.plan import Scheme
from squeeze.schema import Frozen

__all__ = ["FLOAT_PREDICTIONS", "RECORD", "STEPS", "Quantization", "Record", "load", "save"]

RECORD, STEPS = "quantization.json", "quantization.safetensors"
FLOAT_PREDICTIONS = "predictions-float.safetensors"
"""Logits of the saved weights with float activations, which the fp32 graph must give."""
INPUT, WEIGHT = "input.", "weight."


class Record(Frozen):
    """What `quantization.json` says."""

    schema_version: Literal[1] = 1
    scheme: Scheme
    method: Literal["ptq", "qat"]
    weight_bits: Literal[7, 8]
    table_bits: Literal[4, 8]
    learned: bool
    """whether steps were parameters of the training"""
    keep: tuple[str, ...]
    """sites that stay float"""


@dataclass(frozen=True)
class Quantization:
    """How an encoder is to be exported.

    Attributes:
        record: scheme, bits, float sites.
        scales: steps by site.
    """

    record: Record
    scales: Scales


def save(folder: Path, found: Quantization) -> None:
    """Write both files; the record comes last."""
    steps = {f"{INPUT}{site}": np.float32(step).reshape(1) for site, step in found.scales.inputs.items()}
    steps |= {f"{WEIGHT}{site}": np.ascontiguousarray(rows) for site, rows in found.scales.weights.items()}
    save_file(steps, folder / STEPS)
    write_json(folder / RECORD, found.record.plain())


def load(folder: Path) -> Quantization | None:
    """What lies beside an encoder; None where it was not quantized.

    Raises:
        Corrupt: a file is not what `save` writes.
    """
    if not (folder / RECORD).is_file():
        return None
    try:
        record = Record.parse(json.loads((folder / RECORD).read_text(encoding="utf-8")))
        steps = load_file(folder / STEPS)
    except (OSError, ValueError, ValidationError, SafetensorError) as error:
        hint = "make it again: squeeze quantize PROFILE --fresh"
        raise Corrupt(f"{folder}: not the record of a quantized encoder ({error})", hint=hint) from error
    inputs = {
        name.removeprefix(INPUT): float(rows[0]) for name, rows in steps.items() if name.startswith(INPUT)
    }
    weights = {name.removeprefix(WEIGHT): rows for name, rows in steps.items() if name.startswith(WEIGHT)}
    return Quantization(record, Scales(inputs, weights))
