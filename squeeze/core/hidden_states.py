"""What is made of hidden states: pooled vectors and a narrower width."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mean_pool", "pca_projection"]


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
