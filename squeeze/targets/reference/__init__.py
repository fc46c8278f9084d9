"""The reference workload: one fixed model that ships with the package, to measure a machine by.

Run in turns with other models, it turns their milliseconds into multiples of its own, which depend on the
machine far less: a budget such as ``p50<=1.8ref`` can hold in continuous integration wherever it runs.
tools/reference_model.py makes the file and says what it computes.
"""

from __future__ import annotations

from pathlib import Path

from squeeze.artifact import digest_file
from squeeze.errors import Corrupt
from squeeze.targets.subjects import Subject

__all__ = ["INPUT", "MODEL", "NAME", "SHA256", "TOKENS", "VERSION", "VOCABULARY", "subject"]

NAME = "reference"
VERSION = 1
"""Figures in units of one version say nothing about another's."""
MODEL = Path(__file__).parent / f"reference-{VERSION}.onnx"
SHA256 = "d909fe8759f1e53eaed9d18b655651c8bc4ff2016a9b4da81902d9f8cf7a6875"
INPUT = "reference_ids"
"""Of rank 1 and under a name of its own, so that no batch and no shape meant for a model reaches it."""
TOKENS = 32
"""Of the one text of a call, whatever lengths other models get."""
VOCABULARY = 128


def subject(path: Path = MODEL) -> Subject:
    """The reference as one more model to measure.

    Args:
        path: the model file.

    Raises:
        Corrupt: the file is not the one of this version.
    """
    try:
        found = digest_file(path)
    except OSError as error:
        raise _corrupt(path, f"cannot be read ({error.strerror})") from error
    if found != SHA256:
        raise _corrupt(path, f"sha256 {found[:12]}, expected {SHA256[:12]}")
    return Subject(path=path, name=NAME, vocabulary=VOCABULARY, fixed=True)


def _corrupt(path: Path, what: str) -> Corrupt:
    told = f"{path}: not the reference workload of version {VERSION} ({what})"
    return Corrupt(told, hint="pip install --force-reinstall --no-deps squeeze-ondevice")
