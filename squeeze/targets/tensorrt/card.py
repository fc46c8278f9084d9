"""What a plan was built from, by what, and for what: a JSON file beside it.

A plan runs with the version of TensorRT and on the kind of GPU that it was built with, and says neither
in a readable way. The card does, so that a wrong pair is refused with one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from squeeze.artifact import digest_file
from squeeze.errors import Corrupt, MissingBackend
from squeeze.schema import Frozen
from squeeze.targets.tensorrt.cuda import Device
from squeeze.targets.tensorrt.shapes import Shapes

__all__ = ["EngineCard", "Precision", "card_of", "card_path", "refuse"]

Precision = Literal["fp32", "fp16", "int8"]
PARTS = 3  # of a version that must agree: major, minor, patch


class EngineCard(Frozen):
    """The card of one plan."""

    kind: Literal["tensorrt-engine"] = "tensorrt-engine"
    version: Literal[1] = 1
    tensorrt: str
    """version of TensorRT"""
    device: Device
    """the GPU that it was built on"""
    precision: Precision
    """of the graph; the network is strongly typed and TF32 is off"""
    shapes: Mapping[str, Shapes]
    workspace_mb: int
    onnx_sha256: str
    """digest of the ONNX file it was built from"""
    plan_sha256: str
    plan_bytes: int
    device_memory_bytes: int
    """activations on the GPU, weights not counted"""
    build_seconds: float


def card_path(plan: Path) -> Path:
    """Where a plan's card lies.

    >>> card_path(Path("model.plan")).name
    'model.plan.json'
    """
    return plan.with_name(plan.name + ".json")


def card_of(plan: Path) -> EngineCard | None:
    """Read the card beside a plan; None where there is none, as beside a plan that another tool made.

    Raises:
        Corrupt: it cannot be read, or the plan is not the one it was written for.
    """
    path = card_path(plan)
    if not path.is_file():
        return None
    try:
        card = EngineCard.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise Corrupt(f"{path}: not a readable card of an engine") from error
    if digest_file(plan) != card.plan_sha256:
        raise Corrupt(f"{plan}: not the plan that {path.name} was written for", hint="export again")
    return card


def refuse(plan: Path, card: EngineCard, version: str, device: Device) -> None:
    """Refuse a plan of another version or another kind of GPU.

    Raises:
        MissingBackend: with both sides named.
    """
    same_version = card.tensorrt.split(".")[:PARTS] == version.split(".")[:PARTS]
    same_device = (card.device.name, card.device.compute_capability) == (
        device.name,
        device.compute_capability,
    )
    if not (same_version and same_device):
        raise MissingBackend(
            f"{plan}: built by TensorRT {card.tensorrt} for {card.device}; "
            f"here are TensorRT {version} and {device}",
            hint="a plan runs only where it was built: export again on this machine",
        )
