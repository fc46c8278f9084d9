"""Read and write the dataset artefact: one JSONL file a split.

``<split>.jsonl`` holds ``{"text": str, "label": int}`` a line for train, validation, test and every
further test, or a list of numbers in place of the int; ``unlabelled.jsonl`` holds ``{"text": str}`` and may
be empty; ``state.json`` holds what the labels of the training split fix, where that is anything. Classes
count from 0 in the order of the task's labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.errors import Corrupt

__all__ = ["Dataset", "Split", "load", "write_split", "write_state", "write_unlabelled"]

ORDER = ("train", "validation", "test")
UNLABELLED = "unlabelled.jsonl"
STATE = "state.json"


@dataclass(frozen=True)
class Split:
    """Labelled text.

    Attributes:
        texts: N texts.
        labels: (N,) int64, 0..K-1, or (N, K) float32.
    """

    texts: tuple[str, ...]
    labels: Any

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.texts)


@dataclass(frozen=True)
class Dataset:
    """All text of a run.

    Attributes:
        splits: train, validation, test, then the further tests by name.
        unlabelled: text that only a teacher labels.
        state: what the labels of the training split fix, such as the scale of a regression.
    """

    splits: Mapping[str, Split]
    unlabelled: tuple[str, ...]
    state: Mapping[str, Any] = field(default_factory=dict)


def load(folder: Path) -> Dataset:
    """The dataset in a folder.

    Raises:
        Corrupt: a file is missing or is not what this module writes.
    """
    further = sorted(p.stem for p in folder.glob("*.jsonl") if p.name != UNLABELLED and p.stem not in ORDER)
    splits = {name: _load_split(folder / f"{name}.jsonl") for name in (*ORDER, *further)}
    unlabelled = tuple(row["text"] for row in _rows(folder / UNLABELLED, {"text": str}))
    return Dataset(splits, unlabelled, _load_state(folder / STATE))


def write_split(folder: Path, name: str, texts: Sequence[str], labels: Sequence[Any] | NDArray[Any]) -> None:
    """Write one labelled split; labels are (N,) whole numbers or (N, K) numbers."""
    rows = (
        {"text": text, "label": label} for text, label in zip(texts, np.asarray(labels).tolist(), strict=True)
    )
    _write(folder / f"{name}.jsonl", rows)


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write what the labels of the training split fix; no file where that is nothing."""
    if state:
        (folder / STATE).write_text(json.dumps(state), encoding="utf-8")


def write_unlabelled(folder: Path, texts: Iterable[str]) -> None:
    """Write the text without labels."""
    _write(folder / UNLABELLED, ({"text": text} for text in texts))


def _load_split(path: Path) -> Split:
    rows = _rows(path, {"text": str, "label": (int, list)})
    labels = [row["label"] for row in rows]
    try:
        array = np.array(labels, dtype=np.float32 if labels and isinstance(labels[0], list) else np.int64)
    except (TypeError, ValueError) as error:  # of different lengths or kinds
        raise _broken(path, error) from error
    return Split(tuple(row["text"] for row in rows), array)


def _load_state(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise _broken(path, error) from error
    return dict(state)


def _broken(path: Path, error: Exception) -> Corrupt:
    return Corrupt(f"{path}: not a part of a dataset ({error})", hint="run again with --fresh")


def _rows(path: Path, kinds: Mapping[str, Any]) -> list[dict[str, Any]]:
    try:
        # Bytes are split at line feeds only; text may hold other characters that end lines.
        return [_row(line, kinds) for line in path.read_bytes().split(b"\n") if line]
    except (OSError, ValueError) as error:
        raise _broken(path, error) from error


def _row(line: bytes, kinds: Mapping[str, Any]) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict) or any(not isinstance(row.get(key), kind) for key, kind in kinds.items()):
        raise ValueError(f"a row without {' and '.join(kinds)}")
    return row


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
