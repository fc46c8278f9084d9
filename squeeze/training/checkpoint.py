"""The state of a training as one safetensors file: tensors, and a line of JSON for the rest.

Nothing is pickled, so nothing has to be unpickled; one rename makes a checkpoint count.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

__all__ = ["Progressed", "learned", "restore", "save"]


@dataclass
class Progressed:
    """Where a training stands.

    Attributes:
        epoch: epochs that are complete.
        step: steps that are complete inside the current epoch.
        best_score: best validation score so far.
        best_epoch: the latest epoch that reached it, 0 before the first.
        risen_epoch: the first epoch that reached it; patience counts from here.
        seconds: time spent in training, all starts together.
        samples: texts seen.
        loss_sum: sum of the losses of the current epoch's steps.
        history: one record an epoch.
        best: what was learned by the best epoch.
    """

    epoch: int = 0
    step: int = 0
    best_score: float = float("-inf")
    best_epoch: int = 0
    risen_epoch: int = 0
    seconds: float = 0.0
    samples: int = 0
    loss_sum: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def numbers(self) -> dict[str, Any]:
        """All but the weights, for JSON."""
        return {key: value for key, value in vars(self).items() if key != "best"}


def learned(model: nn.Module) -> dict[str, Tensor]:
    """What a training changes: all that is kept of a model, without parameters that are not trained."""
    frozen = {name for name, each in model.named_parameters(remove_duplicate=False) if not each.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, at: Progressed) -> None:
    """Write all that a training changes; readers see the old file or the new one."""
    tensors = {f"model.{name}": value.contiguous() for name, value in learned(model).items()}
    tensors |= {f"best.{name}": value.contiguous() for name, value in at.best.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    tensors["random"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random_cuda"] = torch.cuda.get_rng_state()
    said = json.dumps({**at.numbers(), "best_score": at.best_score if at.best_epoch else None})
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata={"at": said, "crc32": _checksum(said, tensors)})
    partial.replace(path)


def restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progressed | None:
    """Load the state back into model and optimizer, or None when there is nothing usable.

    A file that cannot be read, whose bytes are not those that were written, or that is of another
    model, is worth no more than no file: nothing is touched, and the training starts over.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, ValueError):
        return None
    weights = _under(tensors, "model.")
    if notes.get("crc32") != _checksum(notes.get("at", ""), tensors) or not _same_shapes(model, weights):
        return None
    model.load_state_dict(weights, strict=False)  # what is not trained is as it was before the training
    blank = optimizer.state_dict()
    optimizer.load_state_dict({"state": _optimizer_state(tensors), "param_groups": blank["param_groups"]})
    torch.set_rng_state(tensors["random"])
    if "random_cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random_cuda"])
    numbers = json.loads(notes["at"])
    if numbers["best_score"] is None:
        numbers["best_score"] = float("-inf")
    return Progressed(**numbers, best=_under(tensors, "best."))


def _checksum(said: str, tensors: dict[str, Tensor]) -> str:
    """CRC of names and contents: a disk that lost power may keep a file of the right size only.

    Against accidents, which is all that can befall a checkpoint, it does what a digest does in half the time.
    """
    found = zlib.crc32(said.encode())
    for name, value in sorted(tensors.items()):
        found = zlib.crc32(name.encode(), found)
        found = zlib.crc32(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"


def _same_shapes(model: nn.Module, weights: dict[str, Tensor]) -> bool:
    ours = {name: value.shape for name, value in learned(model).items()}
    return ours == {name: value.shape for name, value in weights.items()}


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimizer_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under(tensors, "optimizer.").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    return state
