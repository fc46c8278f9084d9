"""A student on disk: its shape as JSON, its weights as safetensors."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from squeeze.artifact import write_json
from squeeze.models.encoder import Encoder
from squeeze.models.shapes import SHAPE, WEIGHTS, load_shape, no_student

__all__ = ["SHAPE", "WEIGHTS", "load_shape", "load_student", "save_student"]


def save_student(folder: Path, encoder: Encoder) -> None:
    """Write both files. The shape comes last: where it lies, the weights lie beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SHAPE).unlink(missing_ok=True)
    partial = folder / f"{WEIGHTS}.partial"
    save_file({name: value.contiguous() for name, value in encoder.state_dict().items()}, partial)
    partial.replace(folder / WEIGHTS)
    write_json(folder / SHAPE, encoder.shape.plain())


def load_student(folder: Path) -> Encoder:
    """The encoder in a folder, in evaluation mode.

    Raises:
        ProfileError: a file is missing, unreadable, or not of one student.
    """
    encoder = Encoder(load_shape(folder))
    try:
        encoder.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        raise no_student(folder, error) from error
    return encoder.eval()
