"""Rules about operators: which there are, and what each asks of its inputs and attributes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import onnx_ir as ir

from squeeze.graphs.readiness.facts import (
    CONSTANT_INPUTS,
    FIXED_ATTRIBUTES,
    ONLY_OUTPUT,
    OPERATORS,
    REFUSED,
    STANDARD,
)
from squeeze.graphs.readiness.issue import Issue
from squeeze.graphs.readiness.view import called, dtype, input_of, is_constant, nodes

__all__ = ["attributes", "constant_inputs", "domains", "known", "mixed_types", "outputs"]


def domains(model: ir.Model) -> Iterator[Issue]:
    """Operators of other domains need a plugin of the same name; one line a kind of operator."""
    own = {(function.domain, function.name) for function in model.functions.values()}
    foreign = [
        node
        for node in nodes(model)
        if node.domain not in STANDARD and (node.domain, node.op_type) not in own
    ]
    counts = Counter((node.domain, node.op_type) for node in foreign)
    for (domain, kind), count in counts.items():
        first = next(node for node in foreign if (node.domain, node.op_type) == (domain, kind))
        yield Issue(
            severity="error",
            rule="domain",
            node=called(first),
            what=f"{count} x {kind} of domain {domain}",
            limit="the parser knows the operators of ONNX only",
            hint=REFUSED.get(kind, "export without this operator, or load a plugin of its name"),
        )


def known(model: ir.Model) -> Iterator[Issue]:
    """Standard operators that the parser does not import; one line a kind of operator."""
    unknown = [node for node in nodes(model) if node.domain in STANDARD and node.op_type not in OPERATORS]
    counts = Counter(node.op_type for node in unknown)
    for kind, count in counts.items():
        yield Issue(
            severity="error",
            rule="operator",
            node=called(next(node for node in unknown if node.op_type == kind)),
            what=f"{count} x {kind}",
            limit="not among the operators of TensorRT's ONNX parser",
            hint=REFUSED.get(kind, "express it by other operators"),
        )


def constant_inputs(model: ir.Model) -> Iterator[Issue]:
    """Axes and depths that are computed at run time."""
    for node in nodes(model, *CONSTANT_INPUTS):
        place = CONSTANT_INPUTS[node.op_type]
        value = input_of(node, place)
        if value is not None and not is_constant(value):
            yield Issue(
                severity="error",
                rule="constant-input",
                node=called(node),
                what=f"input {place} of {node.op_type} ({value.name}) is computed at run time",
                limit="it must be known when the engine is built",
                hint="make it an initializer, or fold constants before",
            )


def outputs(model: ir.Model) -> Iterator[Issue]:
    """Further outputs of operators that TensorRT gives one output of."""
    for node in nodes(model, *ONLY_OUTPUT):
        used = [value.name for value in node.outputs[1:] if value.uses() or value.is_graph_output()]
        if used:
            yield Issue(
                severity="error",
                rule="output",
                node=called(node),
                what=f"{node.op_type} is asked for {', '.join(map(str, used))}",
                limit="its first output only",
                hint="compute the rest by other operators",
            )


def attributes(model: ir.Model) -> Iterator[Issue]:
    """Attributes with a value that TensorRT does not take."""
    for node in nodes(model, *FIXED_ATTRIBUTES):
        name, only = FIXED_ATTRIBUTES[node.op_type]
        found = node.attributes.get(name)
        if found is not None and found.value != only:
            yield Issue(
                severity="error",
                rule="attribute",
                node=called(node),
                what=f"{name} = {found.value}",
                limit=f"{name} = {only}",
                hint="",
            )


def mixed_types(model: ir.Model) -> Iterator[Issue]:
    """Float factors of two types: nothing is cast in a strongly typed network."""
    for node in nodes(model, "Add", "Div", "Gemm", "MatMul", "Mul", "Sub", "Sum"):
        kinds = sorted({kind for value in node.inputs if (kind := dtype(value)) is not None})
        if len(kinds) > 1:
            yield Issue(
                severity="error",
                rule="mixed-types",
                node=called(node),
                what=f"inputs are {' and '.join(kinds)}",
                limit="one type; a strongly typed network casts nothing by itself",
                hint="put a Cast before it",
            )
