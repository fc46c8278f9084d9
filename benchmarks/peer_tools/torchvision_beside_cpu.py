"""Makes torchvision importable beside a CPU build of torch; importing this module does it.

PyPI's torchvision is built for CUDA. Beside PyTorch's CPU build its operators do not load, and it then stops
at the declaration of two of them. torchdistill imports it for its image models; nothing here uses it.
"""

from __future__ import annotations

import torch

__all__ = ["LIBRARY"]

LIBRARY = None
try:
    import torchvision
except RuntimeError:
    LIBRARY = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401
