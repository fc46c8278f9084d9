"""latest.json of a run folder: which artefacts the last complete run used, and how far the last run came.

`runs/NAME` means the last complete run, whatever was started later. Where no run was ever complete, it means
the one that came furthest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from squeeze.artifact import MANIFEST, Artifact, load, parse_sealed, write_sealed
from squeeze.errors import Corrupt, UsageError
from squeeze.schema import Frozen

__all__ = [
    "LATEST",
    "Latest",
    "Recorded",
    "Stored",
    "describe",
    "is_run",
    "judged_form",
    "read",
    "record",
    "resolve_bundle",
]

LATEST = "latest.json"
SCHEMA = 2
AGAIN = "squeeze run writes it again"
EXPORT, GATE = "export", "gate"


class Stored(Frozen):
    """One artefact of a run."""

    folder: str
    """name of its folder in the run folder"""
    digest: str | None = None
    """sha256 of its payload; None in a file of schema 1"""


class Recorded(Frozen):
    """One run."""

    complete: bool
    """whether it came to the end of the profile's chain"""
    time: str
    """when its last stage ended, ISO 8601 in UTC"""
    verdict: Literal["pass", "fail", "inconclusive"] | None = None
    stages: Mapping[str, Stored]
    """artefacts by stage, in the order of the chain"""

    @property
    def last_stage(self) -> str:
        """The stage that it ended after."""
        return next(reversed(list(self.stages)), "no stage")


class Latest(Frozen):
    """What is known of a run folder."""

    shown: Recorded
    """the last complete run; where there is none, the one that came furthest"""
    last: Recorded
    """the last run, as far as it came"""
    sealed: bool
    """whether the file has a digest of its own bytes"""


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, and no artefact."""
    # Unlike Path.is_file these take any name, also one that is too long.
    return os.path.isfile(folder / LATEST) and not os.path.isfile(folder / MANIFEST)  # noqa: PTH113


def read(folder: Path) -> Latest:
    """What latest.json says.

    Raises:
        UsageError: this is no folder of a run.
        Corrupt: the file has changed since it was written.
    """
    path = folder / LATEST
    try:
        document = parse_sealed(path, SCHEMA)
        shown, last = _records(document, path)
    except OSError as error:
        hint = "give a folder such as runs/NAME; squeeze run PROFILE makes one"
        raise UsageError(f"{folder}: not the folder of a run ({error.strerror})", hint=hint) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Corrupt(f"{path}: not readable", hint=AGAIN) from error
    names = [stored.folder for one in (shown, last) for stored in one.stages.values()]
    if any(name in {"", ".", ".."} or Path(name).name != name for name in names):
        raise Corrupt(f"{path}: names a folder outside of the run", hint=AGAIN)
    return Latest(shown=shown, last=last, sealed="sha256" in document)


def record(
    folder: Path, made: Mapping[str, Artifact], verdict: str | None, *, complete: bool
) -> Corrupt | None:
    """Remember how far a run has come.

    Args:
        folder: of the run.
        made: its artefacts by stage, in the order of the chain.
        verdict: of its gate, if it has one.
        complete: whether it is at the end of the profile's chain.

    Returns:
        Why nothing could be taken from the file that was there, if so.
    """
    damage: Corrupt | None = None
    try:
        before: Recorded | None = read(folder).shown
    except UsageError:
        before = None
    except Corrupt as error:
        before, damage = None, error
    stages = {
        stage: {"folder": artifact.path.name, "digest": artifact.digest} for stage, artifact in made.items()
    }
    time = datetime.now(UTC).isoformat(timespec="seconds")
    now = Recorded.parse({"complete": complete, "time": time, "verdict": verdict, "stages": stages})
    shown = before if before is not None and _is_shown(before, now) else now
    document = {"schema": SCHEMA, "name": folder.name, "shown": shown.plain(), "last": now.plain()}
    write_sealed(folder / LATEST, document)
    return damage


def describe(folder: Path, latest: Latest) -> str:
    """One line that names the run which a command shows.

    For example `runs/smoke: complete run of 2026-12-01 10:20 UTC, bundle export-0123456789ab`.
    """
    shown, last = latest.shown, latest.last
    place = f"{folder}: {'complete' if shown.complete else 'partial'} run of {_minute(shown.time)}"
    if EXPORT in shown.stages:
        place += f", bundle {shown.stages[EXPORT].folder}"
    if not shown.complete:
        return f"{place}; no run was ever complete, this one came furthest and ended after {shown.last_stage}"
    if last != shown:
        place += f"; a later run of {_minute(last.time)} is not complete, it ended after {last.last_stage}"
    return place


def resolve_bundle(path: Path) -> tuple[Path, str | None]:
    """The bundle that a path stands for, and the line that names its run.

    Args:
        path: the folder of a run; anything else stands for itself, and has no line.

    Raises:
        UsageError: the run has exported nothing.
        Corrupt: latest.json has changed since it was written, or the bundle is gone.
    """
    if not is_run(path):
        return path, None
    latest = read(path)
    bundle = latest.shown.stages.get(EXPORT)
    if bundle is None:
        raise UsageError(
            f"{path}: this run has no bundle, it ended after {latest.shown.last_stage}",
            hint="squeeze run PROFILE, or squeeze export PROFILE, makes one",
        )
    if not (path / bundle.folder).is_dir():
        raise Corrupt(f"{path / bundle.folder}: has gone missing", hint="squeeze run PROFILE makes it again")
    return path / bundle.folder, describe(path, latest)


def judged_form(path: Path) -> str | None:
    """The form of a run's bundle that its gate judged; None where nothing was judged, or for no run.

    Raises:
        Corrupt: latest.json or the gate's manifest has changed since it was written.
    """
    gate = read(path).shown.stages.get(GATE) if is_run(path) else None
    if gate is None:
        return None
    form = load(path / gate.folder).result.get("form")
    return form if isinstance(form, str) else None


def _records(document: Mapping[str, Any], path: Path) -> tuple[Recorded, Recorded]:
    """The run that is shown and the last one; a file of schema 1 knows only the last one."""
    if document["schema"] == SCHEMA:
        return Recorded.parse(document["shown"]), Recorded.parse(document["last"])
    time = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    stages = {stage: {"folder": folder} for stage, folder in document["folders"].items()}
    kept = {"complete": document["complete"], "verdict": document["verdict"]}
    only = Recorded.parse({**kept, "time": time, "stages": stages})
    return only, only


def _is_shown(before: Recorded, now: Recorded) -> bool:
    """Whether an earlier run goes on being the one that is shown."""
    if now.complete:
        return False
    return before.complete or len(before.stages) > len(now.stages)


def _minute(time: str) -> str:
    return f"{time[:16].replace('T', ' ')} UTC"
