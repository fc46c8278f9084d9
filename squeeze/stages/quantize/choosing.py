"""`scheme = "auto"`: the fastest form that is still good enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from squeeze.errors import ProfileError
from squeeze.quantization.plan import Scheme

__all__ = ["Candidate", "fastest"]


@dataclass(frozen=True)
class Candidate:
    """One form of a model, measured.

    Attributes:
        scheme: its name.
        p50_ms: median latency on the target.
        macro_f1: on validation, 0..1.
    """

    scheme: Scheme
    p50_ms: float
    macro_f1: float


def fastest(forms: Sequence[Candidate], whole: float, floor: float) -> Scheme:
    """The scheme with the least latency of those that lose no more than the floor.

    Args:
        forms: all that were measured.
        whole: macro-F1 of the float model on validation.
        floor: the most that may be lost of it.

    Raises:
        ProfileError: none is good enough; every one's figures are named.
    """
    good = [form for form in forms if whole - form.macro_f1 <= floor]
    if not good:
        said = ", ".join(f"{form.scheme} {form.macro_f1:.4f}" for form in forms)
        raise ProfileError(
            f"[quantize] floor: no scheme keeps macro-F1 within {floor:g} of {whole:.4f}: {said}",
            hint='raise `floor`, or let sensitive products stay float: keep = "auto"',
        )
    return min(good, key=lambda form: form.p50_ms).scheme
