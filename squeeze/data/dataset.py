"""Read and write the dataset artefact: one JSONL file a split.

``<split>.jsonl`` holds ``{"text": str, "label": int}`` a line for train, validation, test and every
further test; ``unlabelled.jsonl`` holds ``{"text": str}`` and may be empty. Labels count from 0 in
the order of the task's labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.errors import Corrupt

__all__ = ["Dataset", "Split", "load", "write_split", "write_unlabelled"]

ORDER = ("train", "validation", "test")
UNLABELLED = "unlabelled.jsonl"


@dataclass(frozen=True)
class Split:
    """Labelled text.

    Attributes:
        texts: N texts.
        labels: (N,) int64, 0..K-1.
    """

    texts: tuple[str, ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.texts)


@dataclass(frozen=True)
class Dataset:
    """All text of a run.

    Attributes:
        splits: train, validation, test, then the further tests by name.
        unlabelled: text that only a teacher labels.
    """

    splits: Mapping[str, Split]
    unlabelled: tuple[str, ...]


def load(folder: Path) -> Dataset:
    """The dataset in a folder.

    Raises:
        Corrupt: a file is missing or is not what this module writes.
    """
    further = sorted(p.stem for p in folder.glob("*.jsonl") if p.name != UNLABELLED and p.stem not in ORDER)
    splits = {name: _load_split(folder / f"{name}.jsonl") for name in (*ORDER, *further)}
    unlabelled = tuple(row["text"] for row in _rows(folder / UNLABELLED, {"text": str}))
    return Dataset(splits, unlabelled)


def write_split(folder: Path, name: str, texts: Sequence[str], labels: Sequence[int]) -> None:
    """Write one labelled split."""
    rows = ({"text": text, "label": int(label)} for text, label in zip(texts, labels, strict=True))
    _write(folder / f"{name}.jsonl", rows)


def write_unlabelled(folder: Path, texts: Iterable[str]) -> None:
    """Write the text without labels."""
    _write(folder / UNLABELLED, ({"text": text} for text in texts))


def _load_split(path: Path) -> Split:
    rows = _rows(path, {"text": str, "label": int})
    labels = np.array([row["label"] for row in rows], dtype=np.int64)
    return Split(tuple(row["text"] for row in rows), labels)


def _rows(path: Path, kinds: Mapping[str, type]) -> list[dict[str, Any]]:
    try:
        # Bytes are split at line feeds only; text may hold other characters that end lines.
        return [_row(line, kinds) for line in path.read_bytes().split(b"\n") if line]
    except (OSError, ValueError) as error:
        raise Corrupt(f"{path}: not a split of a dataset ({error})", hint="run again with --fresh") from error


def _row(line: bytes, kinds: Mapping[str, type]) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict) or any(not isinstance(row.get(key), kind) for key, kind in kinds.items()):
        raise ValueError(f"a row without {' and '.join(kinds)}")
    return row


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
