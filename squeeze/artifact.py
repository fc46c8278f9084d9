"""Artefacts on disk: a folder is complete, described and unchanged, or it is not there.

A stage writes into ``<folder>.partial``; the manifest goes in last, then one rename makes the
folder appear. Reading checks the sha256 of every file against the manifest, and the sha256 of the manifest's
own bytes, which stands in it and counts as zeros. It finds accidents and careless edits; it is no signature.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze.errors import Corrupt
from squeeze.schema import is_text

__all__ = [
    "MANIFEST",
    "Artifact",
    "commit",
    "digest_file",
    "digest_files",
    "digest_json",
    "discard",
    "load",
    "parse_sealed",
    "remove",
    "write_json",
    "write_sealed",
    "write_text",
]

MANIFEST = "manifest.json"
SCHEMA = 2
SEAL = re.compile(rb'\n  "sha256": "([0-9a-f]{64})"\n\}\n\Z')
"""The end of a sealed document; inside a string value an end of line is written as an escape."""
BLANK = "0" * 64
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
    def sealed(self) -> bool:
        """Whether the manifest has a digest of its own bytes, as all have that this version writes."""
        return "sha256" in self.manifest

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
    write_text(path, _json(value))


def write_text(path: Path, text: str) -> None:
    """Write a text through a neighbour file of a fresh name and one rename; no link is followed."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # the umask applies
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(text)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)  # there only where the rename was not reached


def write_sealed(path: Path, value: dict[str, Any]) -> dict[str, Any]:
    """Write a JSON document that holds the sha256 of its own bytes, in which the digest counts as zeros.

    Returns:
        The document as it was written.
    """
    text = _json({**value, "sha256": BLANK})
    digest = hashlib.sha256(text.encode()).hexdigest()
    head, _, tail = text.rpartition(BLANK)
    write_text(path, f"{head}{digest}{tail}")
    return {**value, "sha256": digest}


def _json(value: Any) -> str:
    """Readable JSON; letters that UTF-8 cannot write, which names of files may have, as escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return (text if is_text(text) else json.dumps(value, indent=2)) + "\n"


def parse_sealed(path: Path, schema: int) -> dict[str, Any]:
    """Read a JSON document that may be sealed.

    Args:
        path: of the document.
        schema: that this version writes, sealed; the one below it had no digest.

    Raises:
        OSError, ValueError, RecursionError: it cannot be read or is no JSON.
        Corrupt: it is of another schema, or not what was written.
    """
    content = path.read_bytes()
    document = json.loads(content.decode("utf-8"))
    version = document.get("schema") if isinstance(document, dict) else None
    if type(version) is int and version > schema:
        hint = "read it with the version that wrote it"
        raise Corrupt(f"{path}: has schema {version}, this version reads up to {schema}", hint=hint)
    if type(version) is not int or version < schema - 1:
        raise Corrupt(f"{path}: not a document of schema {schema}", hint=AGAIN)
    if version < schema and "sha256" not in document:
        return dict(document)
    seal = SEAL.search(content)
    if seal is None or _sealed_digest(content, seal) != seal[1].decode():
        raise Corrupt(f"{path}: has changed since it was written", hint=AGAIN)
    return dict(document)


def _sealed_digest(content: bytes, seal: re.Match[bytes]) -> str:
    blanked = content[: seal.start(1)] + BLANK.encode() + content[seal.end(1) :]
    return hashlib.sha256(blanked).hexdigest()


def commit(
    partial: Path, final: Path, kind: str, record: dict[str, Any], *, replacing: bool = False
) -> Artifact:
    """Describe a finished folder and make it appear under its final name.

    Args:
        partial: the folder a stage has filled.
        final: where it belongs; must not exist.
        kind: what it holds.
        record: what to keep beside the file digests (stage, key, config, inputs, result, environment).
        replacing: what lies there is removed first, at the last moment.
    """
    files = digest_files(partial)
    described = {"schema": SCHEMA, "kind": kind, **record, "files": files, "digest": digest_json(files)}
    manifest = write_sealed(partial / MANIFEST, described)
    _flush(partial)
    if replacing:
        discard(final)
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
    if os.path.lexists(folder):
        doomed = folder.with_name(folder.name + ".discarded")
        remove(doomed)
        folder.replace(doomed)
        remove(doomed)


def remove(path: Path) -> None:
    """Remove whatever has this name; of a link the link itself, never what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = parse_sealed(path, SCHEMA)
    except (OSError, ValueError, RecursionError) as error:
        raise Corrupt(f"{path}: no readable manifest ({error})", hint=AGAIN) from error
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
