"""A cache of exported graphs: torch's exporter takes seconds, and the graph depends on its shape alone.

The fixture `cached_exports` of conftest.py puts `ExportCache.export` in the place of `lean.export`. The first
student of a shape is exported by torch, and its file is stored in a folder that the workers of a run share.
A later student of that shape gets the stored file with its own weights, which come from `lean.Lean(student)`.
tests/test_exports.py compares such a file, byte by byte, with the one that torch exports.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from squeeze.graphs import lean
from squeeze.models.encoder import Encoder

REAL = lean.export
"""torch's exporter, always."""


class ExportCache:
    """Exported files by shape, in a folder that processes may share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def export(self, student: Encoder, path: Path, opset: int) -> None:
        """Write what `lean.export` writes; from the stored file of an equal shape if there is one."""
        weights = {name: value.numpy() for name, value in lean.Lean(student).state_dict().items()}
        stored = self.folder / f"{_key(student, weights, opset)}.onnx"
        if not stored.exists():
            REAL(student, path, opset)
            _store(path, stored, weights)
            return
        model = onnx.load(stored)
        sources = json.loads(model.metadata_props[0].value)
        del model.metadata_props[:]
        for initializer in model.graph.initializer:
            if initializer.name in sources:
                name, transposed = sources[initializer.name]
                initializer.raw_data = _data(weights[name].T if transposed else weights[name])
        path.write_bytes(model.SerializeToString())


def _store(path: Path, stored: Path, weights: Mapping[str, Any]) -> None:
    """Store an exported file, unless some of its numbers are no weights of the student."""
    model = onnx.load(path)
    sources = _sources(model, weights)
    if sources is not None:
        model.metadata_props.add(key="sources", value=json.dumps(sources))
        partial = stored.with_suffix(f".{os.getpid()}")
        onnx.save(model, partial)
        partial.rename(stored)


def _key(student: Encoder, weights: Mapping[str, Any], opset: int) -> str:
    """A digest of all that the graph depends on: modules, sizes, which weights are equal, and code."""
    contents = [hashlib.sha256(_data(value)).digest() for value in weights.values()]
    equal = [contents.index(content) for content in contents]
    shapes = [(name, value.shape, str(value.dtype)) for name, value in weights.items()]
    code = inspect.getsource(lean)
    return hashlib.sha256(repr((student, student.shape, shapes, equal, opset, code)).encode()).hexdigest()


def _data(values: Any) -> bytes:
    return bytes(np.ascontiguousarray(values).tobytes())


def _sources(model: Any, weights: Mapping[str, Any]) -> dict[str, tuple[str, bool]] | None:
    """By initializer: a weight, and whether it is transposed. None if an initializer is no weight."""
    by_data = {}
    for name, weight in weights.items():
        for transposed in (True, False):
            by_data[_data(weight.T if transposed else weight)] = (name, transposed)
    sources = {}
    for initializer in model.graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.size > 1 and (values.dtype != np.int64 or values.ndim > 1):  # others are constants
            if _data(values) not in by_data:
                return None
            sources[initializer.name] = by_data[_data(values)]
    return sources
