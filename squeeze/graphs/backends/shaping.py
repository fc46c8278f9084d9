"""A graph before another library's quantizer sees it, and after.

A form is what squeeze/graphs/int8.py and static.py say, whoever makes it: products with constant weights are
integer ones, tables are looked up before they are widened, everything else stays float. Left to themselves
both libraries widen the whole table of pieces before its look-up in int8-static, and leave positions float.
So tables are stored before, as squeeze/graphs/tables.py says, and the library is shown MatMul nodes with
names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from squeeze.graphs import sites
from squeeze.graphs.editing import constant, drop, initializer, swap
from squeeze.graphs.tables import store_tables

__all__ = ["Ready", "finish", "prepare"]

QUANTIZED = "_quant"
"""What ONNX Runtime's quantizer puts behind the name of a product that it made an integer one."""
PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}
"""What it looks for in a file, and warns when it is missing."""


@dataclass(frozen=True)
class Ready:
    """A graph that a quantizer may be given.

    Attributes:
        sites: the products to quantize, by the names of their nodes.
        others: all other nodes, by name.
    """

    sites: tuple[str, ...]
    others: tuple[str, ...]


def prepare(source: Path, target: Path) -> Ready:
    """Write an fp32 graph with int8 tables, its products as MatMul, and a name for every node.

    Args:
        source: a graph that `lean.export` made.
        target: where the prepared graph goes.
    """
    model = ir.load(source)
    found = sites.wide(model)
    store_tables(model)
    for site, node in sites.products(model).items():
        if node.op_type == "Gemm":
            _split(model.graph, site, node)
    for place, node in enumerate(model.graph):
        node.name = node.name or f"{node.op_type}.{place}"
    common.RemoveUnusedNodesPass()(model)
    model.metadata_props.update(PREPARED)
    ir.save(model, target)
    others = tuple(str(node.name) for node in model.graph if node.name not in found)
    return Ready(tuple(found), others)


def _split(graph: ir.Graph, site: str, node: ir.Node) -> None:
    """Gemm -> MatMul and Sum.

    ONNX Runtime's quantizer makes the bias of a Gemm int32, which TensorRT refuses; a Sum it leaves alone.
    Narrow products are split as well, since it takes every Gemm apart and gives the parts names of its own.
    """
    old = node.inputs[1]
    assert old is not None
    weights = initializer(graph, f"{site}.weight.columns", np.ascontiguousarray(sites.matrix(node)))
    chain = [ir.node("MatMul", [node.inputs[0], weights], name=site)]
    if len(node.inputs) > 2:
        chain.append(ir.node("Sum", [chain[0].outputs[0], node.inputs[2]]))
    swap(graph, node, chain)
    drop(graph, old)


def finish(made: Path, target: Path, ready: Ready) -> None:
    """Write what a quantizer made with the names and readers of our forms, and without its notes.

    Args:
        made: its file.
        target: where the form goes.
        ready: what it was given.
    """
    model = ir.load(made)
    wanted = set(ready.sites)
    for node in model.graph:
        site = str(node.name).removesuffix(QUANTIZED)
        if node.op_type == "MatMulInteger" and site in wanted:
            node.name = site
    _unround(model.graph, wanted)
    _sign(model.graph)
    common.RemoveUnusedNodesPass()(model)
    common.ClearMetadataAndDocStringPass()(model)
    model.metadata_props.clear()
    ir.save(model, target)


def _unround(graph: ir.Graph, wanted: set[str]) -> None:
    """Give what is no product the float value again where it was made to read a rounded one.

    ONNX Runtime's quantizer rounds a value for all who read it: the sums beside the products as well.
    """
    for wide in [node for node in graph if node.op_type == "DequantizeLinear"]:
        narrow = wide.inputs[0].producer() if wide.inputs[0] is not None else None
        if narrow is None or narrow.op_type != "QuantizeLinear":
            continue
        for use in tuple(wide.outputs[0].uses()):
            if use.node.name not in wanted:
                use.node.replace_input_with(use.idx, narrow.inputs[0])


def _sign(graph: ir.Graph) -> None:
    """Round to int8 what is rounded to uint8, over the same range.

    NNCF takes uint8 for what was never below 0, such as what comes out of a ReLU. TensorRT refuses that.
    """
    for narrow in [node for node in graph if node.op_type == "QuantizeLinear"]:
        step, zero = (constant(value) for value in narrow.inputs[1:3])
        if step is None or zero is None or zero.dtype != np.uint8:
            continue
        assert not zero.any()  # symmetric ranges were asked for
        name, made = narrow.inputs[0], narrow.outputs[0]
        assert name is not None
        wider = np.asarray(step * (255 / 127), dtype=np.float32)
        signed = (
            initializer(graph, f"{name.name}.scale.int8", wider),
            initializer(graph, f"{name.name}.zero.int8", np.zeros_like(zero, dtype=np.int8)),
        )
        for node in (narrow, *(use.node for use in made.uses())):
            for place, value in enumerate(signed, start=1):
                node.replace_input_with(place, value)
        made.type = ir.TensorType(ir.DataType.INT8)
