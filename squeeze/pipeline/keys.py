"""What an artefact depends on, and its digest: the key under which it is found again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from squeeze.artifact import Artifact, digest_json
from squeeze.errors import masked
from squeeze.profile.model import Profile
from squeeze.runtime import environment, versions
from squeeze.schema import Frozen
from squeeze.stage import Check, Stage

__all__ = ["changes", "config_of", "identity", "key_of", "without_passwords"]

SHOWN = 4  # differences named when an artefact cannot be used again


def config_of(stage: Stage | Check, profile: Profile) -> Frozen:
    """The part of the profile that a stage or a check depends on, taken by field name."""
    return stage.config.model_validate({name: getattr(profile, name) for name in stage.config.model_fields})


def identity(stage: Stage, config: Frozen, inputs: Mapping[str, Artifact]) -> dict[str, Any]:
    """All that shapes a stage's result, as JSON-ready values.

    A file that the config names counts with its contents in place of its name, so that a moved
    folder changes nothing and a changed file changes the key.
    """
    sources = stage.sources(config)
    plain = without_passwords(config.plain())
    unnamed = {name: digest for name, digest in sources.items() if not _mentions(plain, name)}
    return {
        "stage": stage.name,
        "version": stage.version,
        "config": _replace(plain, sources),
        "inputs": {name: found.digest for name, found in sorted(inputs.items())},
        "sources": unnamed,
        "libraries": versions(stage.libraries),
        "device": environment() if stage.per_device else None,
    }


def without_passwords(value: Any) -> Any:
    """JSON-ready values with `***` for passwords of URLs, which shape no result and must not be stored."""
    if isinstance(value, dict):
        return {name: without_passwords(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [without_passwords(entry) for entry in value]
    return masked(value) if isinstance(value, str) else value


def key_of(identity: Mapping[str, Any]) -> str:
    """Sha256 of what ``identity`` lists, in hex."""
    return digest_json(identity)


def _replace(value: Any, sources: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _replace(entry, sources) for name, entry in value.items()}
    if isinstance(value, list):
        return [_replace(entry, sources) for entry in value]
    return sources.get(value, value) if isinstance(value, str) else value


def _mentions(value: Any, name: str) -> bool:
    if isinstance(value, dict):
        return any(_mentions(entry, name) for entry in value.values())
    if isinstance(value, list):
        return any(_mentions(entry, name) for entry in value)
    return bool(value == name)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Name what differs between two identities, as one line.

    >>> changes({"version": 1, "config": {"seed": 0}}, {"version": 1, "config": {"seed": 7}})
    'config.seed 0 -> 7'
    """
    old, new = _flat(before), _flat(now)
    names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    lines = [_difference(name, old.get(name), new.get(name)) for name in names[:SHOWN]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "; ".join(lines) + more


def _flat(value: Any, place: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping | list):
        entries = value.items() if isinstance(value, Mapping) else enumerate(value)
        return {
            k: v for name, entry in entries for k, v in _flat(entry, f"{place}.{name}".lstrip(".")).items()
        }
    return {place: value}


def _difference(name: str, old: Any, new: Any) -> str:
    """Digests say nothing to a reader, so only that they differ is said."""
    if name.startswith(("inputs.", "sources.")) or any(_is_digest(value) for value in (old, new)):
        return f"{name} has changed"
    return f"{name} {_show(old)} -> {_show(new)}"


def _is_digest(value: Any) -> bool:
    return (
        isinstance(value, str) and len(value) >= 40 and all(letter in "0123456789abcdef" for letter in value)
    )


def _show(value: Any) -> str:
    return "unset" if value is None else str(value)
