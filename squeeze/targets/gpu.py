"""Measure on an NVIDIA GPU: plans in TensorRT, ONNX files through ONNX Runtime's providers.

What a time on a GPU means depends on choices that tools make differently from version to version
(trtexec 11 turns CUDA graphs and spinning on and copies off, 10 does the opposite), so all of them are
pinned here and stand in every measurement's environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from squeeze.errors import UsageError
from squeeze.targets.cpu import START_TIMEOUT_S, Where
from squeeze.targets.process import ask
from squeeze.targets.sessions import ENGINES, PROVIDERS
from squeeze.targets.subjects import Subject

__all__ = ["Pinned", "find"]


@dataclass(frozen=True)
class Pinned:
    """The choices.

    Attributes:
        provider: `cuda` or `tensorrt`, what runs ONNX files.
        cuda_graph: whether a plan's shapes are recorded as CUDA graphs.
        spin: whether a plan is waited for in a loop; ONNX Runtime decides for itself.
        transfers: whether a time includes the copies of inputs and outputs.
    """

    provider: str = "cuda"
    cuda_graph: bool = False
    spin: bool = True
    transfers: bool = True


def find(subjects: Sequence[Subject], pinned: Pinned) -> Where:
    """The GPU of this machine, asked in a process of its own so that this one holds none of its memory.

    Args:
        subjects: what is to be measured; plans ask for TensorRT, other files for a provider.
        pinned: the choices.

    Raises:
        MissingBackend: no GPU, no driver, or a library that is not installed.
        UsageError: a CUDA graph or another way of waiting for an ONNX file.
    """
    onnx = [each for each in subjects if each.path.suffix not in ENGINES]
    if onnx and pinned.cuda_graph:
        raise UsageError(
            f"{onnx[0].path}: CUDA graphs are for plans here",
            hint="ONNX Runtime would need one shape for all calls",
        )
    if onnx and not pinned.spin:
        raise UsageError(f"{onnx[0].path}: --no-spin is for plans, ONNX Runtime waits as it does")
    asked: dict[str, Any] = {"gpu": asdict(pinned), "provider": PROVIDERS[pinned.provider]}
    models = [{"path": str(each.path.resolve())} for each in subjects]
    facts = ask({"role": "device", "cores": [], "models": models, **asked}, START_TIMEOUT_S)
    kept = asdict(pinned) | {"provider": asked["provider"] if onnx else "TensorRT"}
    if len(onnx) == len(subjects):
        kept["spin"] = None  # ONNX Runtime decides for itself
    return Where(target="gpu", request=asked, facts={**facts, **kept})
