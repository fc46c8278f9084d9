"""Read and write the dataset artefact: one Arrow file a split, which later stages map instead of reading it.

``<split>.arrow`` has the columns ``text`` and ``label``, a whole number or a list of K numbers, for train,
validation, test and further tests; ``unlabelled.arrow`` has ``text`` and may be empty; ``state.json`` holds
what the labels of the training split fix, where that is anything. Classes count from 0 in the order of the
task's labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.data.texts import Texts
from squeeze.errors import Corrupt, reason
from squeeze.runtime import need

__all__ = ["Dataset", "Split", "load", "write_split", "write_state", "write_unlabelled"]

ORDER = ("train", "validation", "test")
UNLABELLED = "unlabelled"
STATE = "state.json"
ROWS = 1 << 16
"""Rows of a piece of a file."""


@dataclass(frozen=True)
class Split:
    """Labelled text.

    Attributes:
        texts: N texts.
        labels: (N,) int64, 0..K-1, or (N, K) float32.
    """

    texts: Sequence[str]
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
    unlabelled: Sequence[str]
    state: Mapping[str, Any] = field(default_factory=dict)


def load(folder: Path) -> Dataset:
    """The dataset in a folder.

    Raises:
        Corrupt: a file is missing or is not what this module writes.
    """
    names = sorted(path.stem for path in folder.glob("*.arrow"))
    further = [name for name in names if name not in {*ORDER, UNLABELLED}]
    splits = {name: _load_split(folder / f"{name}.arrow") for name in (*ORDER, *further)}
    unlabelled = _map(folder / f"{UNLABELLED}.arrow", ["text"]).column("text")
    return Dataset(splits, Texts(unlabelled), _load_state(folder / STATE))


def write_split(folder: Path, name: str, texts: Sequence[str], labels: Sequence[Any] | NDArray[Any]) -> None:
    """Write one labelled split; labels are (N,) whole numbers or (N, K) numbers."""
    arrow, array = need("pyarrow", extra="train"), np.asarray(labels)
    if array.ndim > 1:
        values = arrow.array(array.astype(np.float32).ravel())
        label = arrow.FixedSizeListArray.from_arrays(values, array.shape[1])
    else:
        label = arrow.array(array.astype(np.int64))
    _write(folder / f"{name}.arrow", texts, label=label)


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write what the labels of the training split fix; no file where that is nothing."""
    if state:
        (folder / STATE).write_text(json.dumps(state), encoding="utf-8")


def write_unlabelled(folder: Path, texts: Iterable[str]) -> None:
    """Write the text without labels."""
    _write(folder / f"{UNLABELLED}.arrow", texts)


def _load_split(path: Path) -> Split:
    table = _map(path, ["text", "label"])
    label = table.column("label")
    if label.type == "int64":
        return Split(Texts(table.column("text")), np.array(label.to_numpy()))
    size = getattr(label.type, "list_size", 0)
    if not size or label.type.value_type != "float32":
        raise _broken(path, f"its labels are {label.type}")
    values = label.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return Split(Texts(table.column("text")), np.array(values).reshape(-1, size))


def _load_state(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise _broken(path, reason(error)) from error
    return {name: tuple(value) if isinstance(value, list) else value for name, value in state.items()}


def _broken(path: Path, why: str) -> Corrupt:
    return Corrupt(f"{path}: not a part of a dataset ({why})", hint="run again with --fresh")


def _map(path: Path, names: list[str]) -> Any:
    """The table of a file, mapped."""
    arrow = need("pyarrow", extra="train")
    try:
        table = arrow.ipc.open_file(arrow.memory_map(str(path))).read_all()
        table.validate()
    except (OSError, ValueError) as error:
        raise _broken(path, reason(error)) from error
    if table.schema.names != names or table.schema.field("text").type != arrow.large_string():
        raise _broken(path, f"its columns are not {' and '.join(names)}")
    return table


def _write(path: Path, texts: Iterable[str], **columns: Any) -> None:
    arrow = need("pyarrow", extra="train")
    table = arrow.table({"text": arrow.array(texts, arrow.large_string()), **columns})
    with arrow.OSFile(str(path), "wb") as sink, arrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=ROWS)
