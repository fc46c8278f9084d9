"""Run all rules over a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import onnx_ir as ir

from squeeze.errors import UsageError, brief, reason
from squeeze.graphs.complaints import complaints
from squeeze.graphs.readiness import border, operators, placement, quantizers
from squeeze.graphs.readiness.facts import STANDARD
from squeeze.graphs.readiness.issue import Issue
from squeeze.graphs.readiness.view import DQ, Q, dtype, nodes
from squeeze.schema import Frozen
from squeeze.targets import external

__all__ = ["RULES", "Readiness", "examine", "inspect"]

Precision = Literal["fp32", "fp16", "bf16", "int8", "int4", "fp8", "fp4"]
NAMES: dict[str, Precision] = {
    "INT4": "int4",
    "FLOAT4E2M1": "fp4",
    "FLOAT8E4M3FN": "fp8",
    "INT8": "int8",
    "BFLOAT16": "bf16",
    "FLOAT16": "fp16",
}

RULES: tuple[Callable[[ir.Model], Iterator[Issue]], ...] = (
    border.opset,
    border.ir_version,
    border.types,
    border.shapes,
    border.dynamic,
    border.external,
    border.control_flow,
    operators.domains,
    operators.known,
    operators.constant_inputs,
    operators.outputs,
    operators.attributes,
    operators.mixed_types,
    quantizers.zero_points,
    quantizers.stored_types,
    quantizers.constants,
    quantizers.inputs,
    quantizers.pairs,
    quantizers.activations,
    quantizers.axes,
    quantizers.biases,
    quantizers.blocks,
    placement.before_functions,
    placement.residuals,
    placement.moved,
    placement.outputs_of_products,
    placement.half_quantized,
    placement.small,
    placement.unfolded,
)


class Readiness(Frozen):
    """What was found in one file."""

    file: str
    ready: bool
    """no error was found"""
    precision: Precision
    """lowest type in the graph, which is what a strongly typed engine computes in where the graph says so"""
    opset: int | None
    ir_version: int
    issues: tuple[Issue, ...]


def examine(path: Path) -> Readiness:
    """Check a file.

    Args:
        path: an ONNX file; its external weights are looked for beside it.

    Raises:
        UsageError: there is no such file, or it is no valid ONNX model.
        StageFailed: its weights lie outside of its folder.
        MissingBackend: a file of its weights is not there.
    """
    if not path.is_file() or not path.stat().st_size:
        raise UsageError(f"{path}: {'empty file' if path.is_file() else 'no such file'}")
    external.check(path)
    try:
        with complaints() as found:
            model = ir.load(path)
    except Exception as error:  # onnx-ir and protobuf raise whatever comes
        raise UsageError(
            f"{path}: not a readable ONNX model ({reason(error)})", hint="give an .onnx file"
        ) from error
    if not len(model.graph) and not model.graph.outputs:
        found.append("it holds no graph")
    if found:
        raise UsageError(f"{path}: not a valid ONNX model ({brief(found[0])})", hint="export the model again")
    return inspect(model, path.name)


def inspect(model: ir.Model, name: str = "model") -> Readiness:
    """Check a graph that is already read; it is not changed."""
    issues = tuple(issue for rule in RULES for issue in rule(model))
    opset = next((model.opset_imports[each] for each in STANDARD if each in model.opset_imports), None)
    return Readiness(
        file=name,
        ready=all(issue.severity != "error" for issue in issues),
        precision=_precision(model),
        opset=opset,
        ir_version=model.ir_version,
        issues=issues,
    )


def _precision(model: ir.Model) -> Precision:
    kinds = {dtype(value) for node in nodes(model, Q, DQ) for value in (node.inputs[0], node.outputs[0])}
    kinds |= {dtype(value) for value in model.graph.initializers.values()}
    return next((name for kind, name in NAMES.items() if kind in kinds), "fp32")
