"""What is inside the shipped file: where its bytes are, and what rounding did to each product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from squeeze.errors import SqueezeError, StageFailed, reason
from squeeze.predict import feeds
from squeeze.runtime import need
from squeeze.targets import external
from squeeze.targets.ort import open_session
from squeeze.targets.subjects import FORM_FILES

if TYPE_CHECKING:
    from squeeze.graphs.difference import Difference

__all__ = ["INSPECTED", "Inside", "look"]

INSPECTED = 32  # texts that products are compared on, as the export does
FLOAT = FORM_FILES["fp32"]


@dataclass(frozen=True)
class Inside:
    """Of the shipped file.

    Attributes:
        bytes: by what they hold; empty where the file could not be opened.
        differences: of each look-up and product from the float file, in the order of the graph.
        missing: why there are no bytes, and why no differences; empty where there are.
    """

    bytes: Mapping[str, int]
    differences: Sequence[Difference]
    missing: tuple[str, str]


def look(bundle: Path, file: str, texts: Sequence[str]) -> Inside:
    """Open the shipped file.

    Args:
        bundle: its folder.
        file: its name.
        texts: real text, for the products; validation text by choice.

    Raises:
        StageFailed: weights of a file lie outside of the folder.
        MissingBackend: a file of weights is not there.
    """
    for name in {file, FLOAT}:
        if (bundle / name).is_file():
            external.check(bundle / name)
    try:
        need("onnx_ir", extra="train")
        from squeeze.graphs.weights import bytes_by_kind

        open_session(bundle / file, threads=1)  # says in one line what is wrong with a file, unlike onnx-ir
        with _parsed(bundle / file):
            found = bytes_by_kind(bundle / file)
    except SqueezeError as error:
        why = f"{file} cannot be looked into: {error}."
        return Inside({}, (), (why, why))
    differences, why = _differences(bundle, file, texts)
    return Inside({str(kind): size for kind, size in found.items()}, differences, ("", why))


def _differences(bundle: Path, file: str, texts: Sequence[str]) -> tuple[Sequence[Difference], str]:
    if file == FLOAT:
        return (), f"{file} is the float file: nothing is rounded."
    if not (bundle / FLOAT).is_file():
        return (), f"The bundle has no {FLOAT} to compare {file} with; add fp32 to [export] forms."
    if not texts:
        return (), "The run has no validation text to compare on."
    from squeeze.graphs.difference import by_site

    try:
        calls = feeds(bundle, texts[:INSPECTED])
        with _parsed(bundle):
            return by_site(bundle / FLOAT, bundle / file, calls, threads=1), ""
    except SqueezeError as error:
        return (), f"{file} could not be compared with {FLOAT}: {error.message}."


@contextmanager
def _parsed(path: Path) -> Iterator[None]:
    """Turn what onnx-ir and protobuf raise of a broken file, which may be anything, into one line.

    What onnx-ir only logs stops nothing: the runtime has taken the file, and the figures are the runtime's.
    """
    from squeeze.graphs.complaints import complaints

    try:
        with complaints():
            yield
    except SqueezeError:
        raise
    except Exception as error:
        raise StageFailed(f"{path}: {reason(error)}") from error
