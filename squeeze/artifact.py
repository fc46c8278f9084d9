"""Artefacts on disk: a folder is complete, described and unchanged, or it is not there.

A stage writes into ``<folder>.partial``; the manifest goes in last, then one rename makes the
folder appear. Reading checks the sha256 of every file against the manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze.errors import Corrupt

__all__ = [
    "MANIFEST",
    "Artifact",
    "commit",
    "digest_file",
    "digest_files",
    "digest_json",
    "discard",
    "load",
    "write_json",
    "write_text",
]

MANIFEST = "manifest.json"
SCHEMA = 1
AGAIN = "squeeze run makes it again, and nothing that is sound"


@dataclass(frozen=True)
class Artifact:
    """A committed folder.

    Attributes:
        kind: what it holds, such as ``encoder`` or ``bundle``.
        path: the folder.
        digest: sha256 over the payload (names and contents of all files but the manifest).
        manifest: everything recorded when it was made.
    """

    kind: str
    path: Path
    digest: str
    manifest: dict[str, Any]

    @property
    def result(self) -> dict[str, Any]:
        """What the stage reported."""
        return dict(self.manifest["result"])


def digest_file(path: Path) -> str:
    """Sha256 of a file's bytes, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_json(value: Any) -> str:
    """Sha256 of a JSON-ready value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest_files(folder: Path) -> dict[str, str]:
    """Sha256 of every file below a folder by relative POSIX path, the folder's own manifest left out."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    return {p.relative_to(folder).as_posix(): digest_file(p) for p in files}


def write_json(path: Path, value: Any) -> None:
    """Write JSON through a neighbour file and one rename, so that no reader sees half of it."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text through a neighbour file and one rename."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def commit(partial: Path, final: Path, kind: str, record: dict[str, Any]) -> Artifact:
    """Describe a finished folder and make it appear under its final name.

    Args:
        partial: the folder a stage has filled.
        final: where it belongs; must not exist.
        kind: what it holds.
        record: what to keep beside the file digests (stage, key, config, inputs, result, environment).
    """
    files = digest_files(partial)
    manifest = {"schema": SCHEMA, "kind": kind, **record, "files": files, "digest": digest_json(files)}
    write_json(partial / MANIFEST, manifest)
    _flush(partial)
    partial.replace(final)
    return Artifact(kind, final, manifest["digest"], manifest)


def load(folder: Path, *, verify: bool = True) -> Artifact:
    """Open a committed folder.

    Args:
        folder: where it lies.
        verify: whether to read every file and compare its digest; the manifest is checked in any case.

    Raises:
        Corrupt: the manifest cannot be read or contradicts itself, or a file is missing, unknown or changed.
    """
    manifest = _read_manifest(folder)
    if verify:
        _verify(folder, manifest)
    return Artifact(manifest["kind"], folder, manifest["digest"], manifest)


def discard(folder: Path) -> None:
    """Remove a folder if it is there; renamed first, so that half a folder never has its name."""
    if folder.exists():
        doomed = folder.with_name(folder.name + ".discarded")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.replace(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Corrupt(f"{path}: no readable manifest ({error})", hint=AGAIN) from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise Corrupt(f"{path}: not a manifest of schema {SCHEMA}", hint=AGAIN)
    for key, kind in (("kind", str), ("digest", str), ("files", dict), ("result", dict)):
        if not isinstance(manifest.get(key), kind):
            raise Corrupt(f"{path}: has no {key}, or one that is no {kind.__name__}", hint=AGAIN)
    files = manifest["files"]
    if not all(isinstance(value, str) for value in files.values()) or manifest["digest"] != digest_json(
        files
    ):
        raise Corrupt(f"{path}: its digest is not that of the files it lists", hint=AGAIN)
    return manifest


def _verify(folder: Path, manifest: dict[str, Any]) -> None:
    said = manifest["files"]
    try:
        found = digest_files(folder)
    except OSError as error:
        raise Corrupt(f"{folder}: cannot be read ({error})", hint=AGAIN) from error
    for name in sorted(found.keys() | said.keys()):
        if found.get(name) != said.get(name):
            raise Corrupt(f"{folder / name}: {_change(name, found, said)} since it was written", hint=AGAIN)


def _change(name: str, found: dict[str, str], said: dict[str, Any]) -> str:
    if name not in found:
        return "has gone missing"
    return "has changed" if name in said else "has been added"


def _flush(folder: Path) -> None:
    """Ask the disk to keep the files before the rename makes them count."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
