"""A student on disk: its shape as JSON, its weights as safetensors."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from squeeze.artifact import write_json
from squeeze.errors import ProfileError, reason
from squeeze.models.encoder import Encoder, EncoderShape

__all__ = ["SHAPE", "WEIGHTS", "load_shape", "load_student", "save_student"]

SHAPE, WEIGHTS = "encoder.json", "student.safetensors"


def save_student(folder: Path, encoder: Encoder) -> None:
    """Write both files. The shape comes last: where it lies, the weights lie beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SHAPE).unlink(missing_ok=True)
    partial = folder / f"{WEIGHTS}.partial"
    save_file({name: value.contiguous() for name, value in encoder.state_dict().items()}, partial)
    partial.replace(folder / WEIGHTS)
    write_json(folder / SHAPE, encoder.shape.plain())


def load_shape(folder: Path) -> EncoderShape:
    """The shape of the encoder in a folder.

    Raises:
        ProfileError: there is none, or it is no shape.
    """
    try:
        return EncoderShape.parse(json.loads((folder / SHAPE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:  # pydantic's is a ValueError
        raise _no_student(folder, error) from error


def load_student(folder: Path) -> Encoder:
    """The encoder in a folder, in evaluation mode.

    Raises:
        ProfileError: a file is missing, unreadable, or not of one student.
    """
    encoder = Encoder(load_shape(folder))
    try:
        encoder.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        raise _no_student(folder, error) from error
    return encoder.eval()


def _no_student(folder: Path, error: Exception) -> ProfileError:
    hint = f"needs {SHAPE} and {WEIGHTS} of one student"
    return ProfileError(f"{folder}: not a student ({reason(error)})", hint=hint)
