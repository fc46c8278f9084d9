"""Exporting takes seconds: each student once, when a test first asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from squeeze.graphs import lean
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import Encoder, LayerShape
from tests import tiny

STUDENTS: dict[str, dict[str, Any]] = {
    "dense": {},
    "one layer": {"layers": (LayerShape(heads=2, ffn=48),)},
    "many layers": {"layers": tuple(LayerShape(heads=1 + n % 4, ffn=20 + n) for n in range(6))},
    "factorised": {"embedding": EmbeddingShape(kind="factorised", width=24, rank=16)},
    "product": {"embedding": EmbeddingShape(kind="product", width=32, subvectors=8, codewords=16)},
    "mpnet": {"relative_bias": True, "layers": tuple(LayerShape(heads=h, ffn=32) for h in (3, 4, 2))},
}

Exported = Callable[[str], tuple[Encoder, Path]]


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Exported:
    """A student of STUDENTS by name, and its fp32 graph."""
    made: dict[str, tuple[Encoder, Path]] = {}

    def get(name: str) -> tuple[Encoder, Path]:
        if name not in made:
            student, path = tiny.encoder(labels=4, **STUDENTS[name]), tmp_path_factory.mktemp("lean")
            lean.export(student, path / "model.onnx", 20)
            made[name] = student, path / "model.onnx"
        return made[name]

    return get
