"""Requests of `squeeze sweep` to the measuring process, each in a module that is loaded when it is asked for.

cold
    Come to a first answer, and say when each step on the way was done.
texts
    Answer real texts with a bundle, the tokenizer's time taken apart.
energy
    Run a model and read the processor's energy counters around it.

What the measuring process imports counts as memory in other roles, so nothing is imported here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

__all__ = ["ROLES"]


def _answer(module: str, request: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = importlib.import_module(f"squeeze.targets.{module}").answer(request)
    return answer


ROLES: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "cold": partial(_answer, "cold"),
    "texts": partial(_answer, "texts"),
    "energy": partial(_answer, "energy"),
}
