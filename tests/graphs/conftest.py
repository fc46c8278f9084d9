"""Exporting takes seconds: each student once, when a test first asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from squeeze.graphs import lean
from squeeze.models.encoder import Encoder, LayerShape
from tests import tiny

STUDENTS: dict[str, dict[str, Any]] = {
    **tiny.STUDENTS,
    "one layer": {"layers": (LayerShape(heads=2, ffn=48),)},
    "many layers": {"layers": tuple(LayerShape(heads=n, ffn=20 + n) for n in (1, 2, 3, 4))},
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
