"""How much memory the measuring process may take, so that a hostile or huge model ends in a line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from squeeze.errors import StageFailed

__all__ = ["HINT", "SHARE", "exceeded", "failure", "hold", "most_bytes", "too_much"]

SHARE = 0.9
"""Of what the machine can give: the rest is for the files that the kernel reads for the model."""
HINT = "--max-memory sets another limit; --batch, --seq and --shape make the inputs smaller"
# How ONNX Runtime and the libraries below it say that an allocation failed.
WORDS = ("bfc_arena", "bad_alloc", "bad allocation", "Failed to allocate memory", "std::length_error")


def most_bytes(asked: int | None = None) -> int:
    """Bytes a measuring process may take: those asked for, else most of what the machine can give now."""
    from squeeze.runtime import usable_memory

    return asked or int(usable_memory() * SHARE)


def hold(request: Mapping[str, Any]) -> None:
    """Limit this process to the bytes that a request allows; none on a GPU, whose driver maps far more.

    The limit is Linux's RLIMIT_DATA: heap and private writable maps (getrlimit(2)), so neither the reserved
    but unused address space of threads counts (RLIMIT_AS would count it) nor weights mapped from a file.
    """
    most = request.get("memory_bytes")
    if most is None or not sys.platform.startswith("linux"):
        return
    import resource

    ceiling = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = most if ceiling == resource.RLIM_INFINITY else min(most, ceiling)
    resource.setrlimit(resource.RLIMIT_DATA, (most, ceiling))


def exceeded(error: Exception) -> bool:
    """Whether an error says that memory was refused."""
    return isinstance(error, MemoryError) or any(word in str(error) for word in WORDS)


def failure(request: Mapping[str, Any]) -> StageFailed:
    """The line for a process that met its limit outside of ONNX Runtime."""
    names = ", ".join(model["path"] for model in request["models"])
    return StageFailed(f"{names}: {too_much()}", hint=HINT)


def too_much() -> str:
    """What is said of a model that wants more than it may have."""
    most = _held()
    return (
        "needs more memory than there is"
        if most is None
        else f"needs more than the {most / 1e9:.3g} GB it may take"
    )


def _held() -> int | None:
    """The limit of this process; None where it has none."""
    if not sys.platform.startswith("linux"):
        return None
    import resource

    most = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return None if most == resource.RLIM_INFINITY else most
