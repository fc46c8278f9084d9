"""Where each artefact of a run comes from: stage, key, digest, machine, libraries.

A manifest's digest covers the files of its folder and not what the manifest itself says, so nothing here is
taken for more than text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from squeeze.artifact import Artifact

__all__ = ["Origin", "origins", "setting"]


@dataclass(frozen=True)
class Origin:
    """One artefact.

    Attributes:
        stage: that made it.
        version: of the stage.
        folder: its name.
        digest: sha256 of its files.
        seconds: it took, or None.
        environment: machine, system and Python, in words.
        libraries: versions that shaped the result, in words.
    """

    stage: str
    version: str
    folder: str
    digest: str
    seconds: float | None
    environment: str
    libraries: str


def origins(stages: Mapping[str, Artifact]) -> tuple[Origin, ...]:
    """Of all artefacts, in the order of the chain."""
    return tuple(_origin(stage, found) for stage, found in stages.items())


def setting(found: Artifact | None, *keys: str) -> Any:
    """A value of the config that an artefact was made with; None where it has none."""
    value: Any = None if found is None else found.manifest.get("config")
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _origin(stage: str, found: Artifact) -> Origin:
    manifest = found.manifest
    identity = manifest.get("identity")
    libraries = identity.get("libraries") if isinstance(identity, dict) else None
    seconds = manifest.get("seconds")
    return Origin(
        stage=stage,
        version=_word(manifest.get("version")),
        folder=found.path.name,
        digest=found.digest,
        seconds=float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 1e9 else None,
        environment=_listed(
            manifest.get("environment"), ("cpu", "machine", "usable_cores", "system", "release", "python")
        ),
        libraries=_listed(libraries),
    )


def _listed(values: Any, names: Iterable[str] | None = None) -> str:
    if not isinstance(values, dict):
        return ""
    wanted = values if names is None else names
    return ", ".join(f"{_plain(name)} {_word(values[name])}" for name in wanted if name in values)


def _plain(name: Any) -> str:
    return str(name).replace("_", " ")


def _word(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) else "-"
