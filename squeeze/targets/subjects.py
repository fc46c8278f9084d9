"""What is to be measured: a model file, or the forms of a bundle with what the bundle knows of its text."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze import artifact, latest
from squeeze.errors import Corrupt, SqueezeWarning, StageFailed, UsageError, visible
from squeeze.targets import external
from squeeze.targets.files import readable

__all__ = [
    "FORM_FILES",
    "TOKENIZER",
    "Subject",
    "bundle_forms",
    "external_weights",
    "find",
    "model_bytes",
    "shared_lengths",
    "shipped_form",
    "unchanged",
    "vocabulary_size",
]

TOKENIZER = "tokenizer.json"
FORM_FILES: Mapping[str, str] = {
    "fp32": "model.onnx",
    "int8-dynamic": "model.int8.onnx",
    "int8-static": "model.int8-static.onnx",
    "int4-weight": "model.int4.onnx",
}


@dataclass(frozen=True)
class Subject:
    """One model to measure.

    Attributes:
        path: the model file.
        name: what reports call it.
        form: which form of a bundle it is.
        vocabulary: how many token ids its embedding has, where that is known.
        lengths: token counts of real text, where they are known.
        tokenizer_bytes: size of the tokenizer that ships with it.
        fixed: whether it has one size whatever is asked of the others, as the reference workload has.
    """

    path: Path
    name: str
    form: str | None = None
    vocabulary: int | None = None
    lengths: tuple[int, ...] | None = None
    tokenizer_bytes: int = 0
    fixed: bool = False


def find(path: Path, form: str | None = None) -> tuple[Subject, ...]:
    """What a path on the command line stands for.

    Args:
        path: a model file, the folder of a bundle, or that of a run.
        form: of a bundle: the form's name, ``all``, or None for the one that ships, which is the one that
            was judged where the path is that of a run.

    Raises:
        UsageError: nothing there that could be measured, or no such form.
        Corrupt: a bundle has changed since it was written.
    """
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if is_folder:
        return _bundle(latest.resolve_bundle(path)[0], form or latest.judged_form(path))
    if not os.path.lexists(path):
        raise UsageError(f"{path}: no such file or folder")
    readable(path)
    external.check(path)
    if form not in (None, "all"):
        raise UsageError(f"{path}: a form ({form}) can be chosen from a bundle only, this is a file")
    return (Subject(path=path, name=path.name),)


def bundle_forms(folder: Path) -> dict[str, str]:
    """File name of every form of a bundle, in the order of its export.

    Raises:
        UsageError: the folder is no bundle.
        Corrupt: its manifest says other than its files.
    """
    if (folder / artifact.MANIFEST).is_file():
        made = artifact.load(folder)
        if made.kind != "bundle":
            raise UsageError(f"{folder}: holds a {made.kind}, not a bundle")
        if not made.sealed:
            old = f"{folder / artifact.MANIFEST}: an older version wrote it without a digest of its own"
            warnings.warn(f"{old}; a change in it would not be found", SqueezeWarning, stacklevel=2)
        return _exported(made)
    forms = {name: file for name, file in FORM_FILES.items() if (folder / file).is_file()}
    if not forms:
        expected = " nor ".join(FORM_FILES.values())
        hint = "a bundle is the export folder of a run, such as runs/NAME/export-0123456789ab"
        raise UsageError(f"{folder}: no bundle (neither {expected} is there)", hint=hint)
    return forms


def _exported(made: artifact.Artifact) -> dict[str, str]:
    try:
        forms = {name: str(form["file"]) for name, form in made.result["forms"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"{made.path / artifact.MANIFEST}: no readable forms ({error!r})") from error
    if not forms:
        raise Corrupt(f"{made.path / artifact.MANIFEST}: names no form")
    names = (file for file in forms.values() if Path(file).name != file or file not in made.manifest["files"])
    outside = next(names, None)
    if outside is not None:
        raise Corrupt(f"{made.path / artifact.MANIFEST}: {visible(outside)} is not a file of this folder")
    return forms


def shipped_form(forms: Mapping[str, str]) -> str:
    """The form that counts when none is named: the last one exported.

    >>> shipped_form({"fp32": "model.onnx", "int8-dynamic": "model.int8.onnx"})
    'int8-dynamic'
    """
    return list(forms)[-1]


def shared_lengths(subjects: Sequence[Subject], sequence: int | None) -> list[int] | None:
    """Lengths for models that are compared: the one asked for, else those of the first that knows any."""
    if sequence is not None:
        return [sequence]
    known = (subject.lengths for subject in subjects if subject.lengths)
    return next((list(lengths) for lengths in known), None)


def external_weights(path: Path) -> list[Path]:
    """Files that hold weights of a model: those that it names, and those that exporters name after it."""
    beside = (path.with_name(path.name + suffix) for suffix in (".data", "_data"))
    others = [other for other in beside if other.is_file()]
    known = {other.resolve() for other in others}
    return [*others, *(other for other in external.weights(path) if other not in known)]


def model_bytes(path: Path) -> int:
    """Bytes of a model file with its external weights."""
    return sum(each.stat().st_size for each in (path, *external_weights(path)))


@contextmanager
def unchanged(subjects: Sequence[Subject]) -> Iterator[None]:
    """Figures of a file that changes meanwhile would be of two models, and its checksum of a third.

    Raises:
        StageFailed: a file changed or vanished.
    """
    before = [_states(subject) for subject in subjects]
    try:
        yield
    except FileNotFoundError as error:
        raise StageFailed(f"{error.filename}: vanished while it was measured") from error
    for subject, state in zip(subjects, before, strict=True):
        if _states(subject) != state:
            raise StageFailed(
                f"{subject.path}: changed while it was measured", hint="measure again when it is finished"
            )


def _states(subject: Subject) -> list[tuple[int, ...]]:
    """What tells one state of a model's files from another without reading them."""
    try:
        found = [each.stat() for each in (subject.path, *external_weights(subject.path))]
    except OSError:
        return []
    return [(each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns) for each in found]


def vocabulary_size(tokenizer: Path) -> int:
    """One more than the largest id that a tokenizer.json can give.

    Raises:
        Corrupt: the file is not a tokenizer's.
    """
    try:
        document = json.loads(tokenizer.read_text(encoding="utf-8"))
        pieces = document["model"]["vocab"]
        last = max(pieces.values()) if isinstance(pieces, dict) else len(pieces) - 1
        added = (int(token["id"]) for token in document.get("added_tokens") or ())
        return 1 + max(int(last), *added, 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Corrupt(f"{tokenizer}: not a readable tokenizer ({error})") from error


def _bundle(folder: Path, form: str | None) -> tuple[Subject, ...]:
    forms = bundle_forms(folder)
    if form not in (None, "all", *forms):
        raise UsageError(f"{folder}: no form {form}; it holds {', '.join(forms)}")
    wanted = tuple(forms) if form == "all" else (form or shipped_form(forms),)
    for name in wanted:
        readable(folder / forms[name])
        external.check(folder / forms[name])
    known = _known(folder)
    return tuple(
        Subject(path=folder / forms[name], name=f"{folder.name}/{forms[name]}", form=name, **known)
        for name in wanted
    )


def _known(folder: Path) -> dict[str, Any]:
    """What a bundle tells about its text."""
    known: dict[str, Any] = {}
    tokenizer = folder / TOKENIZER
    if tokenizer.is_file():
        known |= {"vocabulary": vocabulary_size(tokenizer), "tokenizer_bytes": tokenizer.stat().st_size}
    if (folder / artifact.MANIFEST).is_file():
        known["lengths"] = _lengths(artifact.load(folder, verify=False))
    return known


def _lengths(made: artifact.Artifact) -> tuple[int, ...] | None:
    found = made.result.get("lengths", [])
    if not isinstance(found, list) or not all(type(each) is int and each > 0 for each in found):
        raise Corrupt(f"{made.path / artifact.MANIFEST}: lengths are no list of counts of tokens")
    return tuple(found) or None
