"""Paths of a profile are relative to its file; made absolute, they do not depend on where we run."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

__all__ = ["anchor", "homeless"]

HUB = "hf:"
BUILTIN = "builtin:"


def anchor(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make every path of a valid profile absolute.

    Args:
        data: a profile that has been validated, as plain values.
        folder: the folder of the profile.
    """
    anchored = copy.deepcopy(data)
    _anchor_data(anchored["data"], folder)
    teacher = anchored.get("teacher") or {}
    for holder in (teacher, *(teacher.get("models") or ())):
        if holder.get("model"):
            holder["model"] = _model(holder["model"], folder)
    student = anchored.get("student") or {}
    if student.get("path"):
        student["path"] = _absolute(student["path"], folder)
    return anchored


def homeless(name: str) -> bool:
    """Whether a path begins with the home folder of a user whom this machine does not know."""
    try:
        Path(name.removeprefix(HUB)).expanduser()
    except RuntimeError:
        return True
    return False


def _anchor_data(data: dict[str, Any], folder: Path) -> None:
    for slot in ("train", "validation", "test"):
        if data[slot] is not None:
            data[slot] = _entry(data[slot], folder)
    data["more_tests"] = {
        name: _entry(entry, folder) for name, entry in (data.get("more_tests") or {}).items()
    }
    data["unlabelled"] = [_entry(entry, folder) for entry in data.get("unlabelled") or ()]


def _entry(entry: Any, folder: Path) -> Any:
    if isinstance(entry, str):
        return _source(entry, folder)
    return {**entry, "name": _source(entry["name"], folder)}


def _source(name: str, folder: Path) -> str:
    """A file is a path; `builtin:` and `hf:owner/set` are names; `hf:./folder` is a path again."""
    if name.startswith(BUILTIN):
        return name
    if name.startswith(HUB):
        return HUB + _model(name.removeprefix(HUB), folder)
    return _absolute(name, folder)


def _model(name: str, folder: Path) -> str:
    """A model's name is a path when it looks like one or when there is such a folder or file."""
    if name.startswith(BUILTIN):
        return name
    looks = name.startswith(("./", "../", "/", "~")) or name in {".", ".."}
    return _absolute(name, folder) if looks or _there(folder / name) else name


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a name
        return False


def _absolute(name: str, folder: Path) -> str:
    """The path without `..`; links stay as they are, so that the name in messages is the one given."""
    return os.path.normpath(folder.absolute() / Path(name).expanduser())
