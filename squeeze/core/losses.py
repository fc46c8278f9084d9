"""What a student is trained to minimise: one pure function a loss.

Shapes: B rows, T tokens, K labels, A heads, H hidden width. Every loss is a scalar tensor, in nats
where it is a divergence, and 0 (with a gradient) when there is nothing to learn from. A ``mask`` is
(B, T), 1 for a real token and 0 for padding; what stands at padding never changes a loss. Teacher
tensors are not detached here: compute them without gradients.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

__all__ = [
    "attention_kl",
    "attention_mse",
    "auto_alpha",
    "cross_entropy",
    "hidden_mse",
    "jensen_shannon",
    "kl",
    "logit_mse",
    "mean_pool",
    "pca_projection",
    "pooled_mimic",
    "relation_kl",
    "soft_cross_entropy",
    "topk_kd",
]

UNLABELLED = -1
TINY = 1e-12  # floor of a probability under a logarithm; far below what float32 softmax resolves


def cross_entropy(student_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy to the labels, mean over labelled rows.

    Args:
        student_logits: (B, K).
        labels: (B,) integers; -1 for a row without a label, which does not count.

    >>> cross_entropy(torch.zeros(2, 4), torch.tensor([1, -1]))
    tensor(1.3863)
    """
    total = functional.cross_entropy(student_logits, labels, ignore_index=UNLABELLED, reduction="sum")
    return total / (labels != UNLABELLED).sum().clamp(min=1)


def soft_cross_entropy(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy to the teacher's softened probabilities, times T^2 (Hinton et al. 2015).

    arXiv:1503.02531. T^2 keeps the size of the gradient when the temperature changes. Its least value
    is T^2 times the teacher's entropy and not 0; the gradient is that of ``kl``.

    Args:
        student_logits: (B, K).
        teacher_logits: (B, K).
        temperature: T > 0, by which both sides' logits are divided.

    >>> soft_cross_entropy(torch.zeros(1, 2), torch.zeros(1, 2), temperature=2.0)
    tensor(2.7726)
    """
    target = functional.softmax(teacher_logits / temperature, dim=-1)
    log_student = functional.log_softmax(student_logits / temperature, dim=-1)
    return -(target * log_student).sum(dim=-1).mean() * temperature**2


def kl(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher || student) of softened probabilities, times T^2 (Hinton et al. 2015, arXiv:1503.02531).

    Args:
        student_logits: (B, K).
        teacher_logits: (B, K).
        temperature: T > 0.

    >>> kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3)]]))
    tensor(0.1308)
    """
    log_student = functional.log_softmax(student_logits / temperature, dim=-1)
    log_teacher = functional.log_softmax(teacher_logits / temperature, dim=-1)
    return _kl_rows(log_teacher, log_student).mean() * temperature**2


def logit_mse(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean squared difference of the logits, over rows and labels (Ba & Caruana 2014, arXiv:1312.6184).

    Args:
        student_logits: (B, K).
        teacher_logits: (B, K).

    >>> logit_mse(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
    tensor(2.)
    """
    return (student_logits - teacher_logits).square().mean()


def jensen_shannon(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Jensen-Shannon divergence of the probabilities, mean over rows (SSLD, arXiv:2103.05959).

    Symmetric and at most ln 2, so a row that the teacher gets badly wrong cannot dominate.

    Args:
        student_logits: (B, K).
        teacher_logits: (B, K).

    >>> jensen_shannon(torch.tensor([[99.0, 0.0]]), torch.tensor([[0.0, 99.0]]))
    tensor(0.6931)
    """
    log_student = functional.log_softmax(student_logits, dim=-1)
    log_teacher = functional.log_softmax(teacher_logits, dim=-1)
    log_middle = torch.logaddexp(log_student, log_teacher) - math.log(2)
    return (_kl_rows(log_teacher, log_middle) + _kl_rows(log_student, log_middle)).mean() / 2


def topk_kd(
    student_logits: Tensor, teacher_logits: Tensor, k: int, rest_weight: float = 1.0, temperature: float = 1.0
) -> Tensor:
    """KL over the teacher's top k labels and one bucket for the rest, plus weighted KL inside the rest.

    Our own form of the idea of TopKLD, whose formula we have not seen; do not quote it as TopKLD. In
    plain KL what happens inside the rest is scaled by the teacher's mass there, often next to
    nothing; here ``rest_weight`` sets it. With k = K or K - 1 it is ``kl``.

    Args:
        student_logits: (B, K).
        teacher_logits: (B, K).
        k: labels kept apart, 1..K; equal teacher logits go to the lower label.
        rest_weight: weight of KL inside the rest, >= 0.
        temperature: T > 0; the result is times T^2.

    >>> topk_kd(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3)]]), k=2)
    tensor(0.1308)
    """
    labels = student_logits.shape[-1]
    if not 1 <= k <= labels:
        raise ValueError(f"k must be 1..{labels}, got {k}")
    order = teacher_logits.argsort(dim=-1, descending=True, stable=True)
    log_student = functional.log_softmax(student_logits / temperature, dim=-1).gather(-1, order)
    log_teacher = functional.log_softmax(teacher_logits / temperature, dim=-1).gather(-1, order)
    if k == labels:
        return _kl_rows(log_teacher, log_student).mean() * temperature**2
    heads, rests = [], []
    for log_p in (log_teacher, log_student):
        mass = log_p[..., k:].logsumexp(dim=-1, keepdim=True)
        heads.append(torch.cat([log_p[..., :k], mass], dim=-1))
        rests.append(log_p[..., k:] - mass)
    return (_kl_rows(*heads) + rest_weight * _kl_rows(*rests)).mean() * temperature**2


def hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of hidden states over real tokens and values (TinyBERT, BiStil).

    arXiv:1909.10351. Where the widths differ, project one side first: the teacher's through a fixed
    ``pca_projection``, or the student's through a linear layer trained along. Never train a
    projection of the teacher: it could map everything to one point.

    Args:
        student: (B, T, H).
        teacher: (B, T, H).
        mask: (B, T).

    >>> hidden_mse(torch.ones(1, 2, 3), torch.zeros(1, 2, 3), torch.tensor([[1, 0]]))
    tensor(1.)
    """
    real = mask.bool()
    gap = (student - teacher).masked_fill(~real.unsqueeze(-1), 0.0)
    return gap.square().sum() / (real.sum() * student.shape[-1]).clamp(min=1)


def pca_projection(hidden_rows: Tensor, width: int) -> Tensor:
    """Fixed projection to a smaller width: the top right singular vectors of the rows (BiStil, not centred).

    Args:
        hidden_rows: (N, Ht) hidden states of real tokens.
        width: number of directions kept, 1..Ht.

    Returns:
        (Ht, width), orthonormal columns, most important first, in the dtype of the rows. The largest
        entry of each column is positive, which settles the sign. Use as ``hidden @ projection``.

    >>> pca_projection(torch.tensor([[0.0, 2.0], [1.0, 0.0]]), width=1)
    tensor([[0.],
            [1.]])
    """
    full = hidden_rows.shape[-1]
    if not 1 <= width <= full:
        raise ValueError(f"width must be 1..{full}, got {width}")
    rows = hidden_rows.detach().double()
    # Right singular vectors of the rows are eigenvectors of this (Ht, Ht) matrix; N may be large.
    directions = torch.linalg.eigh(rows.T @ rows).eigenvectors.flip(-1)[:, :width]
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    projection: Tensor = directions * largest.sign()
    return projection.to(hidden_rows.dtype)


def attention_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of attention maps over heads and real (query, key) pairs (TinyBERT, BiStil).

    Equal head counts are compared head by head, others by the average over heads. Takes scores
    before the softmax (TinyBERT) as well as probabilities; -inf at padded keys does no harm.

    Args:
        student: (B, As, T, T).
        teacher: (B, At, T, T).
        mask: (B, T).

    >>> attention_mse(torch.ones(1, 1, 2, 2), torch.zeros(1, 3, 2, 2), torch.tensor([[1, 0]]))
    tensor(1.)
    """
    pairs = _pairs(mask)
    student, teacher = _same_heads(student.masked_fill(~pairs, 0.0), teacher.masked_fill(~pairs, 0.0))
    return (student - teacher).square().sum() / (pairs.sum() * student.shape[1]).clamp(min=1)


def attention_kl(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """KL(teacher || student) of attention probabilities, mean over heads and real queries.

    MiniLM, arXiv:2002.10957. Equal head counts are compared head by head, others by the average over heads.

    Args:
        student: (B, As, T, T) probabilities over the last axis.
        teacher: (B, At, T, T) likewise.
        mask: (B, T).

    >>> uniform, sharp = torch.full((1, 1, 2, 2), 0.5), torch.eye(2).view(1, 1, 2, 2)
    >>> attention_kl(uniform, sharp, torch.tensor([[1, 1]]))
    tensor(0.6931)
    """
    pairs = _pairs(mask)
    student, teacher = _same_heads(student.masked_fill(~pairs, 0.0), teacher.masked_fill(~pairs, 0.0))
    terms = teacher * (teacher.clamp(min=TINY).log() - student.clamp(min=TINY).log())
    return terms.sum() / (mask.bool().sum() * student.shape[1]).clamp(min=1)


def relation_kl(student_x: Tensor, teacher_x: Tensor, mask: Tensor, heads: int) -> Tensor:
    """KL(teacher || student) of the relations among tokens (MiniLMv2, arXiv:2012.15828).

    All heads' queries (or keys, or values) of a layer, joined, are cut anew into ``heads`` relation
    heads; softmax(x x^T / sqrt(d)) of each says how much tokens resemble each other. Widths and head
    counts of student and teacher may so differ. Call it for queries, keys and values and add.

    Args:
        student_x: (B, T, Ds) joined queries, keys or values.
        teacher_x: (B, T, Dt).
        mask: (B, T).
        heads: relation heads; must divide Ds and Dt. The papers use 48 or 12.

    Returns:
        Mean over relation heads and real tokens.

    >>> relation_kl(torch.ones(1, 2, 4), torch.eye(2).view(1, 2, 2) * 3, torch.tensor([[1, 1]]), heads=1)
    tensor(0.6805)
    """
    real = mask.bool()
    log_student = _log_relation(student_x, real, heads)
    log_teacher = _log_relation(teacher_x, real, heads)
    rows = _kl_rows(log_teacher, log_student).masked_fill(~real.unsqueeze(1), 0.0)  # (B, heads, T)
    return rows.sum() / (real.sum() * heads).clamp(min=1)


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over real tokens; zeros for a row without any.

    Args:
        hidden: (B, T, H).
        mask: (B, T).

    Returns:
        (B, H).

    >>> mean_pool(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]]))
    tensor([[2.]])
    """
    real = mask.bool().unsqueeze(-1)
    return hidden.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1).clamp(min=1)


def pooled_mimic(student_pooled: Tensor, teacher_pooled: Tensor) -> Tensor:
    """Mean squared difference of pooled vectors, so that the student mimics the teacher's space.

    The recipe of the crisis mini models. Pool both with ``mean_pool``, then project the teacher's to
    the student's width with a fixed matrix (``pca_projection`` or random). The projection must not be
    trained: student and projected teacher would both move, and the cheapest agreement is one constant
    vector for all texts.

    Args:
        student_pooled: (B, H).
        teacher_pooled: (B, H), already projected.

    >>> pooled_mimic(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
    tensor(2.)
    """
    return (student_pooled - teacher_pooled).square().mean()


def auto_alpha(
    label_only: NDArray[np.floating[Any]],
    teacher_only: NDArray[np.floating[Any]],
    targets: NDArray[np.floating[Any]],
    *,
    clip: bool = True,
) -> float:
    """Best weight of the labels beside the teacher (Borup & Andersen 2021, arXiv:2102.13088).

    For the objective a |y - f|^2 + (1 - a) |y_teacher - f|^2 + ridge in a kernel model, the
    prediction is a u + (1 - a) v, so the a that fits held-out targets z best in squared error is
    1 - <z - u, v - u> / |v - u|^2. Exact there, a guide for networks.

    Args:
        label_only: u, predictions on held-out rows of a student trained on labels alone.
        teacher_only: v, likewise of one trained on the teacher alone.
        targets: z, true values there; one-hot for classes. All three of one shape.
        clip: hold the result in 0..1; the exact optimum may lie outside.

    Returns:
        a; 1 when both students predict the same, where any a is as good.

    >>> auto_alpha(np.array([0.0, 0.0]), np.array([1.0, 1.0]), np.array([0.25, 0.25]))
    0.75
    """
    u, v, z = (np.asarray(values, dtype=np.float64).ravel() for values in (label_only, teacher_only, targets))
    apart = float((v - u) @ (v - u))
    alpha = 1.0 if apart == 0 else 1 - float((z - u) @ (v - u)) / apart
    return min(1.0, max(0.0, alpha)) if clip else alpha


def _kl_rows(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) over the last axis; a label of probability 0 under p counts 0, even if q has none."""
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_q), torch.zeros_like(p)).sum(dim=-1)


def _pairs(mask: Tensor) -> Tensor:
    """(B, 1, T, T): True where query and key are both real."""
    real = mask.bool()
    return (real.unsqueeze(2) & real.unsqueeze(1)).unsqueeze(1)


def _same_heads(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps with one head count: as they are if equal, else each averaged to one head."""
    if student.shape[1] == teacher.shape[1]:
        return student, teacher
    return student.mean(dim=1, keepdim=True), teacher.mean(dim=1, keepdim=True)


def _log_relation(x: Tensor, real: Tensor, heads: int) -> Tensor:
    """(B, heads, T, T) log-softmax of scaled dot products over real keys; padded keys get next to -inf."""
    batch, tokens, width = x.shape
    if width % heads:
        raise ValueError(f"relation heads must divide the width {width}, got {heads}")
    size = width // heads
    split = x.masked_fill(~real.unsqueeze(-1), 0.0).view(batch, tokens, heads, size).transpose(1, 2)
    scores = split @ split.transpose(2, 3) / math.sqrt(size)
    padded = ~real[:, None, None, :]
    return functional.log_softmax(scores.masked_fill(padded, torch.finfo(scores.dtype).min), dim=-1)
