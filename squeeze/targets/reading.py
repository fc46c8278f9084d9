"""How a bundle reads text: its labels, its tokenizer, and the inputs of one call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from squeeze.errors import Corrupt
from squeeze.schema import Frozen
from squeeze.targets.ort import installed
from squeeze.tasks import DEFAULT, TASKS, Task

__all__ = ["LABELS", "Labels", "inputs", "labels", "tokenizer"]

LABELS = "labels.json"
AGAIN = "export the bundle again"


class Labels(Frozen):
    """What labels.json holds."""

    labels: tuple[str, ...] = Field(min_length=1)
    max_length: int = Field(ge=1)
    problem_type: str = DEFAULT
    state: Mapping[str, float | tuple[float, ...]] = Field(default_factory=dict)

    def task(self) -> Task:
        """What the outputs stand for."""
        task = TASKS[self.problem_type]
        return task(task.Section(problem_type=self.problem_type, labels=self.labels))

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if self.problem_type not in TASKS:
            raise ValueError(f"problem_type {self.problem_type!r} is none of {', '.join(TASKS)}")
        try:
            task = self.task()
        except ValidationError as error:
            raise ValueError(f"labels: {error.errors()[0]['msg']}") from error
        for name, each in task.needs.items():
            value = self.state.get(name)
            fits = (
                isinstance(value, tuple) and len(value) == len(self.labels)
                if each
                else isinstance(value, float)
            )
            if not fits:
                raise ValueError(f"state: {name} is not {'a number for each output' if each else 'a number'}")
        return self


def labels(path: Path) -> Labels:
    """Read labels.json.

    Raises:
        Corrupt: it cannot be read or holds something else.
    """
    try:
        return Labels.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Corrupt(f"{path}: cannot be read ({error.strerror})", hint=AGAIN) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "document"
        raise Corrupt(f"{path}: {where}: {first['msg']}", hint=AGAIN) from error


def tokenizer(path: Path, max_length: int) -> Any:
    """A tokenizer that cuts at max_length, on the side that the file names, and pads a batch to its longest.

    Raises:
        Corrupt: the file is not a tokenizer's.
        MissingBackend: tokenizers is not installed.
    """
    library = installed("tokenizers")
    try:
        document = path.read_text(encoding="utf-8")
        content = json.loads(document)
        padding, cut = content.get("padding") or {}, content.get("truncation") or {}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise Corrupt(f"{path}: not a readable tokenizer ({error})", hint=AGAIN) from error
    made = _parse(library, document, path)
    made.enable_truncation(max_length, direction=str(cut.get("direction", "Right")).lower())
    # Padded places are masked, so any id that exists does: the tokenizer's own, or the first.
    made.enable_padding(pad_id=int(padding.get("pad_id", 0)), pad_token=padding.get("pad_token", "[PAD]"))
    return made


def inputs(encoded: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
    """One call's inputs by name, (texts, tokens) each."""
    return {
        "input_ids": np.array([each.ids for each in encoded], dtype=np.int64),
        "attention_mask": np.array([each.attention_mask for each in encoded], dtype=np.int64),
    }


def _parse(library: Any, document: str, path: Path) -> Any:
    try:
        return library.Tokenizer.from_str(document)
    except Exception as error:
        raise Corrupt(f"{path}: not a readable tokenizer ({error})", hint=AGAIN) from error
