"""The nodes that ONNX Runtime really runs for one call, with the types and shapes of all they read and give.

Shapes are not propagated by rules of our own: the model is run once here, and ONNX Runtime's profiler lists
the nodes of the graph as it was fused, which is what a device runs too. Nothing of the profile but operators,
types and shapes is kept: its times are this machine's.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from squeeze.errors import StageFailed
from squeeze.targets.inputs import feed, first_that_runs, slots
from squeeze.targets.ort import guarded, open_session, specs
from squeeze.targets.subjects import Subject

__all__ = ["WIDTHS", "Node", "Value", "read", "trace"]

WIDTHS: Mapping[str, int] = {
    **dict.fromkeys(("bool", "int8", "uint8"), 1),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("int32", "uint32", "float"), 4),
    **dict.fromkeys(("int64", "uint64", "double"), 8),
}
"""Bytes of one number, by ONNX Runtime's name of its type."""


@dataclass(frozen=True)
class Value:
    """A tensor that a node reads or gives."""

    kind: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """Of memory; a type that is not known counts as four bytes a number."""
        return self.numbers * WIDTHS.get(self.kind, 4)


@dataclass(frozen=True)
class Node:
    """One operator that ran."""

    operator: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def trace(
    subject: Subject,
    lengths: Sequence[int],
    batch: int,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    sequence: int | None = None,
    seed: int = 0,
) -> dict[int, tuple[Node, ...]]:
    """Run a model once for each length.

    Args:
        subject: the model.
        lengths: tokens a text.
        batch: texts a call.
        shapes: whole input shapes by input name.
        sequence: tokens a text that were asked for; None: whatever the model takes.
        seed: of the inputs.

    Returns:
        The nodes of one call, by length.

    Raises:
        UsageError: a file that is no model, or a shape that does not fit it.
        StageFailed: ONNX Runtime cannot run it.
    """
    return {
        length: first_that_runs(
            partial(_nodes, subject.path, length, batch, shapes, sequence, seed), subject.vocabulary
        )
        for length in lengths
    }


def _nodes(
    path: Path,
    length: int,
    batch: int,
    shapes: Mapping[str, tuple[int, ...]],
    sequence: int | None,
    seed: int,
    bound: int,
) -> tuple[Node, ...]:
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(path, threads=1, traced=Path(folder) / "nodes")
        settled = slots(specs(session), shapes, batch, sequence)
        values = feed(settled, [length] * batch, bound, np.random.default_rng(seed))
        try:
            with guarded(path, "cannot be run"):
                session.run(None, values)
        finally:
            written = Path(session.end_profiling()).read_bytes()
        return read(json.loads(written), path.name)


def read(events: Sequence[Mapping[str, Any]], name: str) -> tuple[Node, ...]:
    """Nodes of a profile of one call.

    Args:
        events: as ONNX Runtime wrote them.
        name: of the model, for messages.

    Raises:
        StageFailed: there are none, or none that can be read.
    """
    ran = [each for each in events if each.get("cat") == "Node" and "op_name" in each.get("args", ())]
    try:
        nodes = tuple(
            Node(
                str(each["args"]["op_name"]),
                _values(each["args"]["input_type_shape"]),
                _values(each["args"]["output_type_shape"]),
            )
            for each in sorted(ran, key=lambda each: each["ts"])
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StageFailed(f"{name}: the list of its nodes cannot be read ({error!r})") from error
    if not nodes:
        raise StageFailed(f"{name}: ONNX Runtime listed no node that ran", hint="update onnxruntime")
    return nodes


def _values(told: Sequence[Mapping[str, Sequence[int]]]) -> tuple[Value, ...]:
    return tuple(
        Value(kind, tuple(int(size) for size in shape)) for each in told for kind, shape in each.items()
    )
