"""Values inside a graph, seen while it runs."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from squeeze.runtime import give_back
from squeeze.targets.ort import guarded, open_session

__all__ = ["Feed", "watch"]

Feed = Mapping[str, NDArray[Any]]
"""One call's inputs by name."""


def watch(
    path: Path, names: Collection[str], feeds: Iterable[Feed], threads: int
) -> Iterator[dict[str, NDArray[Any]]]:
    """Run a graph and give some of its inner values, call by call; nothing is kept.

    Args:
        path: an ONNX file; it is not changed.
        names: of values in it.
        feeds: one call each.
        threads: inside one operator.
    """
    asked = sorted(set(names))
    with tempfile.TemporaryDirectory() as folder:
        watched = Path(folder) / path.name
        _expose(path, asked, watched)
        give_back()  # the graph and what it was written from
        session = open_session(watched, threads=threads)
    with guarded(path, "cannot be run"):
        for feed in feeds:
            yield dict(zip(asked, session.run(asked, feed), strict=True))


def _expose(path: Path, names: Collection[str], target: Path) -> None:
    """Write the graph with further outputs."""
    model = common.ShapeInferencePass()(ir.load(path)).model
    values = {value.name: value for node in model.graph for value in node.outputs}
    values |= {value.name: value for value in model.graph.inputs}
    given = {value.name for value in model.graph.outputs}
    for name in names:
        value = values[name]
        if value.type is None:  # of an operator that the standard does not know
            value.type = ir.TensorType(ir.DataType.FLOAT)
        if name not in given:
            model.graph.outputs.append(value)
    ir.save(model, target)
