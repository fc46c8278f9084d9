"""`--provider`: what runs an ONNX file on a target, and what of the model it leaves to the processor."""

from __future__ import annotations

from collections.abc import Mapping

from squeeze.errors import UsageError
from squeeze.targets.cpu import Where
from squeeze.targets.sessions import ON_CPU, PROVIDERS

__all__ = ["BY_TARGET", "chosen", "processor"]

BY_TARGET: Mapping[str, tuple[str, ...]] = {"cpu": tuple(ON_CPU), "gpu": tuple(PROVIDERS)}
"""What may be asked for; the first is the default."""


def chosen(target: str, provider: str | None) -> str:
    """The provider of a target: the one asked for, else its default.

    Raises:
        UsageError: the target has no such provider.

    >>> chosen("gpu", None)
    'cuda'
    """
    offered = BY_TARGET.get(target, ())
    if provider is None and offered:
        return offered[0]
    if provider not in offered or provider is None:
        homes = [home for home, names in BY_TARGET.items() if provider in names]
        raise UsageError(
            f"--provider {provider}: not for --target {target}",
            hint=f"it goes with --target {homes[0]}" if homes else "",
        )
    return provider


def processor(provider: str, memory_bytes: int | None) -> Where:
    """This machine's processor through one of ONNX Runtime's providers.

    Args:
        provider: a name of `BY_TARGET`.
        memory_bytes: what a measuring process may take; None for most of what the machine can give.
    """
    name = ON_CPU[provider]
    request = {"provider": name, "memory_bytes": memory_bytes}
    return Where(request=request, facts={"provider": name})
