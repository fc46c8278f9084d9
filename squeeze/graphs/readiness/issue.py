"""One thing that TensorRT would stumble over."""

from __future__ import annotations

from typing import Literal

from squeeze.schema import Frozen

__all__ = ["Issue", "Severity"]

Severity = Literal["error", "warning", "note"]


class Issue(Frozen):
    """What was found, where, and what would be right.

    An error is refused by TensorRT's parser or builder, or gives an engine that computes something else
    than the graph says. A warning is built but is slower or larger than it could be, or not by every
    supported version. A note is for the reader.
    """

    severity: Severity
    rule: str
    """short name of the rule, stable"""
    node: str
    """node, input or value by name; `graph` for the file as a whole"""
    what: str
    """what is there"""
    limit: str
    """what TensorRT takes"""
    hint: str = ""
    """what to do about it"""
