"""The best weight of labels beside a teacher's answers, in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["auto_alpha"]


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
