"""Whether TensorRT can build an engine from an ONNX file: found out from the file alone, without a GPU.

    found = examine(Path("model.onnx"))
    found.ready, found.precision, found.issues

The rules are pure functions of a graph (onnx-ir); what they know of TensorRT stands in facts.py.
"""

from __future__ import annotations

from squeeze.graphs.readiness.check import RULES, Readiness, examine, inspect
from squeeze.graphs.readiness.issue import Issue

__all__ = ["RULES", "Issue", "Readiness", "examine", "inspect"]
