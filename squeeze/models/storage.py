"""A student on disk: its shape as JSON, its weights as safetensors."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from squeeze.artifact import write_json
from squeeze.errors import ProfileError
from squeeze.models.encoder import Encoder, EncoderShape

__all__ = ["SHAPE", "WEIGHTS", "load_student", "save_student"]

SHAPE, WEIGHTS = "encoder.json", "student.safetensors"


def save_student(folder: Path, encoder: Encoder) -> None:
    """Write both files; a reader sees neither or both."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in encoder.state_dict().items()}, partial / WEIGHTS)
    write_json(partial / SHAPE, encoder.shape.plain())
    folder.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, SHAPE):
        os.replace(partial / name, folder / name)
    partial.rmdir()


def load_student(folder: Path) -> Encoder:
    """The encoder in a folder, in evaluation mode.

    Raises:
        ProfileError: a file is missing, unreadable, or not of one student.
    """
    try:
        shape = EncoderShape.parse(json.loads((folder / SHAPE).read_text(encoding="utf-8")))
        encoder = Encoder(shape)
        encoder.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, ValidationError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ProfileError(
            f"{folder}: not a student ({reason})", hint=f"needs {SHAPE} and {WEIGHTS}"
        ) from error
    return encoder.eval()
