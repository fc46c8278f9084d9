"""DisWOT on encoders: our extension, experimental.

The paper (arXiv:2303.15678) and its code know CNNs only, and the authors' next paper (Auto-DAS) says
that DisWOT generalises poorly to vision transformers. What is changed, and why:

- features before the global pool become mean-pooled last states, (N, H): texts differ in length;
- the D x D products of the classes' gradients need one width on both sides, so the samples' own
  gradients are compared (``diswot.gradient_relations``), (N, N) whatever the width;
- initialisation stays the paper's: weights N(0, 1), biases 0, norms 1 and 0. Without batch norm this
  saturates attention (each token attends to one other) and lets every layer outweigh its residual.

Whether it orders students of equal size is for benchmarks/correlation.py to show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from squeeze.core import diswot
from squeeze.core.hidden_states import mean_pool
from squeeze.models.encoder import Encoder, EncoderShape

__all__ = ["States", "View", "average", "compact", "randomised", "states", "view", "views"]


TOGETHER = 16  # texts of about one length that are computed at once


@dataclass(frozen=True)
class States:
    """What a model makes of the batch.

    Attributes:
        logits: (N, K).
        pooled: (N, H) mean of the last states of real tokens.
        read: (N, H) what the last linear layer reads.
    """

    logits: Tensor
    pooled: Tensor
    read: Tensor


@dataclass(frozen=True)
class View:
    """How one network of random weights sees the batch.

    Attributes:
        relations: (N, N) of the texts' pooled states.
        gradients: (N, N) of the texts' gradients of the last linear layer.
    """

    relations: Tensor
    gradients: Tensor


def states(model: Encoder, ids: Tensor, mask: Tensor) -> States:
    """Run a model over the batch, short texts and long ones apart: padding would double the time.

    Args:
        model: in evaluation mode.
        ids: (N, T).
        mask: (N, T).
    """
    order = mask.sum(1).argsort(stable=True)
    parts: list[States] = []
    with torch.inference_mode():
        for rows in torch.tensor_split(order, max(1, len(order) // TOGETHER)):
            longest = int(mask[rows].any(0).nonzero().max()) + 1
            some = mask[rows, :longest]
            outputs = model.observe(ids[rows, :longest], some)
            last = outputs.hidden[-1]
            parts.append(States(outputs.logits, mean_pool(last, some), model.head.features(last[:, 0])))
        back = order.argsort()
        return States(
            *(
                torch.cat([getattr(part, name) for part in parts])[back]
                for name in ("logits", "pooled", "read")
            )
        )


def view(model: Encoder, ids: Tensor, mask: Tensor, labels: Tensor) -> View:
    """What is compared, of any encoder.

    Args:
        model: in evaluation mode.
        ids: (N, T).
        mask: (N, T).
        labels: (N,) integers.
    """
    seen = states(model, ids, mask)
    return View(diswot.relations(seen.pooled), diswot.gradient_relations(seen.logits, labels, seen.read))


def views(
    shape: EncoderShape, ids: Tensor, mask: Tensor, labels: Tensor, seeds: Iterable[int]
) -> tuple[View, ...]:
    """Views of a shape under several random starts."""
    small, numbers = compact(shape, ids)
    return tuple(view(randomised(small, seed), numbers, mask, labels) for seed in seeds)


def average(teachers: Sequence[View], students: Sequence[View]) -> tuple[float, float]:
    """Relation and semantic distance, mean over all pairs of a teacher's start and a student's.

    Args:
        teachers: several starts.
        students: several starts; their number may differ.
    """
    pairs = [(theirs, ours) for theirs in teachers for ours in students]
    relation = sum(float(diswot.distance(theirs.relations, ours.relations)) for theirs, ours in pairs)
    semantic = sum(float(diswot.distance(theirs.gradients, ours.gradients)) for theirs, ours in pairs)
    return relation / len(pairs), semantic / len(pairs)


def compact(shape: EncoderShape, ids: Tensor) -> tuple[EncoderShape, Tensor]:
    """The shape with the pieces of this batch alone, and the batch in their numbers.

    Rows of a random table are independent, so those that are not read need not be drawn.
    """
    pieces, numbers = torch.unique(ids, return_inverse=True)
    return shape.model_copy(update={"vocabulary": len(pieces)}), numbers


def randomised(shape: EncoderShape, seed: int, std: float = 1.0) -> Encoder:
    """An encoder of random weights, in evaluation mode; torch's own random state is left as it was.

    Args:
        shape: of the encoder.
        seed: of the weights.
        std: of every weight that is not a bias or of a norm.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = Encoder(shape)
        norms = {id(p) for m in model.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
        for name, parameter in model.named_parameters():
            if id(parameter) not in norms and not name.endswith("bias"):
                nn.init.normal_(parameter, std=std)
    return model.eval()
