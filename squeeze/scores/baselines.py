"""What a score must beat to be worth anything: size, table, compute, latency, chance.

Each is higher for what is larger, slower or dearer: that is the order in which one would expect quality
to rise. On the 64 ResNets published with DisWOT the parameter count alone orders the students better
than any training-free score (README.md), so none of these may be left out of a report.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from squeeze.core.product_quantization import explained, foretold
from squeeze.costs import sizes
from squeeze.models.carve import Cut, store
from squeeze.models.embedding import EmbeddingShape
from squeeze.scores.subjects import Look

__all__ = [
    "chance",
    "codes",
    "embedding_codes",
    "embedding_variance",
    "encoder_macs",
    "parameters",
    "predicted_latency",
]


def parameters(look: Look) -> float:
    """Number of values, codes of a product-quantized table included."""
    return sizes.parameters(look.candidate.shape)


def embedding_codes(look: Look) -> float:
    """Numbers that the table keeps of one piece."""
    return codes(look.candidate.shape.embedding)


def codes(embedding: EmbeddingShape) -> int:
    """Sub-vectors, rank or width: bytes a piece once values are stored in int8.

    >>> codes(EmbeddingShape(kind="product", width=384, subvectors=48)), codes(EmbeddingShape(width=384))
    (48, 384)
    """
    return {"product": embedding.subvectors, "factorised": embedding.rank, "dense": embedding.width}[
        embedding.kind
    ]


def embedding_variance(look: Look) -> float:
    """Share of the kept rows' variance that the student's table holds; 0 where its width was cut.

    Of a product-quantized table the share is estimated from some of its positions and rows, which is
    enough to order tables and takes a tenth of the time. Tables are compared once: candidates that keep
    the same pieces in the same form share one.
    """
    cut, teacher = look.cut, look.ground.teacher
    if cut.axes is not None and cut.axes.shape[1] < teacher.shape.hidden:
        return 0.0
    rows = hashlib.sha256(cut.rows.tobytes()).hexdigest()
    key = (cut.embedding.model_dump_json(), rows, str(cut.seed))
    known = look.ground.variances
    if key not in known:
        known[key] = max(0.0, _held(teacher.embedding.table().detach()[torch.from_numpy(cut.rows)], cut))
    return known[key]


def _held(rows: Tensor, cut: Cut) -> float:
    """Share of variance that a cut keeps of its rows (V, E)."""
    form = cut.embedding
    if form.kind == "dense":
        return 1.0
    if form.kind == "product":
        return foretold(rows.numpy(), form.subvectors, form.codewords, cut.weights, cut.seed)
    stored = store(rows, form, cut.weights, cut.seed)
    return explained(rows.numpy(), (stored["weight"] @ stored["project.weight"].T).numpy())


def encoder_macs(look: Look) -> float:
    """Multiply-adds of one text of the batch, on average, as the exported graph does them."""
    lengths = [int(length) for length in look.mask.sum(1)]
    return sum(sizes.macs(look.candidate.shape, length) for length in lengths) / len(lengths)


def predicted_latency(look: Look) -> float:
    """Milliseconds, as the ground's own prediction says."""
    assert look.ground.latency is not None
    return look.ground.latency(look.candidate.shape)


def chance(look: Look) -> float:
    """A number in 0..1 that depends on the seed and on the candidate's shape alone."""
    text = f"{look.ground.seed} {look.candidate.shape.model_dump_json()}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return float(np.random.default_rng(seed).random())
