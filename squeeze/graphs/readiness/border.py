"""Rules about the file as a whole: versions, types, shapes, and weights kept elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from squeeze.graphs.readiness.facts import (
    FIRST_OPSET,
    LAST_OPSET,
    NARROW_INPUTS,
    OLD_IR,
    OPSET_OF_BOTH,
    QUANTIZED,
    STANDARD,
    TYPES,
)
from squeeze.graphs.readiness.issue import Issue
from squeeze.graphs.readiness.view import DQ, Q, dtype, nodes, readers

__all__ = ["control_flow", "dynamic", "external", "ir_version", "opset", "shapes", "types"]

SHOWN = 3  # values that a line names one by one


def opset(model: ir.Model) -> Iterator[Issue]:
    """Operator sets outside of what the parsers import."""
    version = next((model.opset_imports[name] for name in STANDARD if name in model.opset_imports), None)
    taken = f"{FIRST_OPSET} to {OPSET_OF_BOTH} (TensorRT 10.15 and 11), {LAST_OPSET} from 11.5"
    if version is None or not FIRST_OPSET <= version <= LAST_OPSET:
        what = "no operator set of ONNX is named" if version is None else f"operator set {version}"
        hint = "export with operator set 20"
        yield Issue(severity="error", rule="opset", node="graph", what=what, limit=taken, hint=hint)
    elif version > OPSET_OF_BOTH:
        hint = f"export with operator set {OPSET_OF_BOTH} or lower for older versions"
        what = f"operator set {version}"
        yield Issue(severity="warning", rule="opset", node="graph", what=what, limit=taken, hint=hint)


def ir_version(model: ir.Model) -> Iterator[Issue]:
    """File formats newer than the parsers of TensorRT 10 were built with."""
    if model.ir_version > OLD_IR:
        yield Issue(
            severity="warning",
            rule="ir-version",
            node="graph",
            what=f"IR version {model.ir_version}",
            limit=f"{OLD_IR} is read by every parser of TensorRT 10 and 11",
            hint="older parsers warn and go on; write an older IR version to be safe",
        )


def types(model: ir.Model) -> Iterator[Issue]:
    """Element types that TensorRT has not, or not here; one line a type."""
    found: dict[str, list[str]] = {}
    for value in _values(model):
        kind = dtype(value)
        if kind is not None and kind not in TYPES and not _quantizers(value):
            found.setdefault(kind, []).append(str(value.name))
    for kind, names in found.items():
        yield Issue(
            severity="error",
            rule="type",
            node=names[0],
            what=f"{kind} in {_some(names)}",
            limit=f"one of {', '.join(sorted(TYPES))}",
            hint="store it as INT32" if "INT" in kind else "cast it",
        )
    yield from _border_types(model)


def _quantizers(value: ir.Value) -> bool:
    """Whether a value belongs to a quantizer, whose types have rules of their own."""
    around = [value.producer(), *readers(value)]
    return any(node is not None and node.op_type in (Q, DQ) for node in around)


def _border_types(model: ir.Model) -> Iterator[Issue]:
    for value in (*model.graph.inputs, *model.graph.outputs):
        kind = dtype(value)
        if kind in QUANTIZED:
            yield Issue(
                severity="error",
                rule="type",
                node=str(value.name),
                what=f"an input or output of type {kind}",
                limit="quantized types live between QuantizeLinear and DequantizeLinear only",
                hint="keep inputs and outputs in float",
            )
        elif kind is not None and kind in NARROW_INPUTS:
            limit = NARROW_INPUTS[kind]
            what = f"an input or output of type {kind}"
            yield Issue(severity="warning", rule="type", node=str(value.name), what=what, limit=limit)


def shapes(model: ir.Model) -> Iterator[Issue]:
    """Inputs whose number of axes is not written down."""
    for value in model.graph.inputs:
        if value.shape is None:
            yield Issue(
                severity="error",
                rule="shape",
                node=str(value.name),
                what="the input has no shape",
                limit="the number of axes, with names for free ones",
                hint="run shape inference, or export again",
            )


def dynamic(model: ir.Model) -> Iterator[Issue]:
    """Free axes, which need an optimization profile."""
    for value in model.graph.inputs:
        sizes = [] if value.shape is None else list(value.shape)
        free = [(place, size) for place, size in enumerate(sizes) if not isinstance(size, int)]
        if not free:
            continue
        named = ", ".join(f"{place} ({_axis_name(size)})" for place, size in free)
        yield Issue(
            severity="note",
            rule="dynamic",
            node=str(value.name),
            what=f"free axes {named}",
            limit="an engine needs a least, a usual and a greatest size of each",
            hint="`squeeze export` takes them from the data's lengths",
        )


def _axis_name(size: object) -> str:
    text = getattr(size, "value", None)
    return "no name" if text is None else str(text)


def external(model: ir.Model) -> Iterator[Issue]:
    """Weights in other files: named, and missed where they are not there."""
    outside = [
        value.const_value
        for value in model.graph.initializers.values()
        if isinstance(value.const_value, ir.ExternalTensor)
    ]
    missing = sorted({str(tensor.path) for tensor in outside if not _there(tensor)})
    if missing:
        yield Issue(
            severity="error",
            rule="external-data",
            node="graph",
            what=f"weights are not there: {', '.join(missing[:SHOWN])}",
            limit="files of external data stand beside the model",
            hint="copy them together",
        )
    elif outside:
        files = sorted({str(tensor.location) for tensor in outside})
        yield Issue(
            severity="note",
            rule="external-data",
            node="graph",
            what=f"{len(outside)} weights lie in {', '.join(files[:SHOWN])}",
            limit="the parser must be given the path of the model",
        )


def _there(tensor: ir.ExternalTensor) -> bool:
    path = Path(tensor.path)
    return path.is_file() and path.stat().st_size >= (tensor.offset or 0) + tensor.nbytes


def control_flow(model: ir.Model) -> Iterator[Issue]:
    """Branches and loops are built, and keep a CUDA graph from being captured."""
    for node in nodes(model, "If", "Loop", "Scan"):
        yield Issue(
            severity="warning",
            rule="control-flow",
            node=node.name or node.op_type,
            what=f"{node.op_type} decides at run time",
            limit="a graph without branches runs as one CUDA graph",
            hint="export with the branch fixed",
        )


def _values(model: ir.Model) -> Iterator[ir.Value]:
    """All values but those at the border that may be UINT8 there, and only there."""
    border = {id(value) for value in (*model.graph.inputs, *model.graph.outputs) if dtype(value) == "UINT8"}
    made = (value for node in nodes(model) for value in node.outputs)
    for value in (*model.graph.inputs, *model.graph.initializers.values(), *made):
        if id(value) not in border:
            yield value


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
