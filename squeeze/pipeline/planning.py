"""Which stages a profile switches on, and what is left to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from squeeze import artifact
from squeeze.artifact import MANIFEST, Artifact
from squeeze.errors import Corrupt, NotDownloaded, ProfileError, UsageError
from squeeze.pipeline.folders import RunFolder, open_artifact
from squeeze.pipeline.keys import changes, config_of, identity, key_of
from squeeze.profile.model import Profile
from squeeze.profile.problems import nearest
from squeeze.progress import Silent
from squeeze.registry import STAGES
from squeeze.runtime import offline
from squeeze.schema import Frozen
from squeeze.stage import Stage

__all__ = ["Pending", "Step", "chain", "inputs_of", "pending", "plan", "stored"]

State = Literal["cached", "to run", "needs earlier"]


@dataclass(frozen=True)
class Step:
    """One stage of the chain, as it stands.

    Attributes:
        stage: its name.
        key: its full key; None while an earlier stage has yet to run.
        folder: where its artefact is or will be; None without a key.
        state: whether there is anything to do.
        why: why it has to run, or what it waits for.
        last_seconds: how long the stage took when it last ran here; None: never.
        warnings: those of the stored result, or of the check before anything runs.
    """

    stage: str
    key: str | None
    folder: Path | None
    state: State
    why: str
    last_seconds: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pending:
    """A stage whose inputs are there: ready to be looked up or run."""

    stage: Stage
    config: Frozen
    inputs: Mapping[str, Artifact]
    identity: dict[str, Any]
    key: str


def chain(profile: Profile, until: str | None = None, stages: Sequence[Stage] = STAGES) -> tuple[Stage, ...]:
    """The stages that the profile has a section for, up to and with ``until``.

    Raises:
        UsageError: there is no such stage, or the profile switches it off.
        ProfileError: a stage needs what no earlier one makes.
    """
    active = [stage for stage in stages if getattr(profile, stage.section) is not None]
    _check_kinds(active)
    if until is None:
        return tuple(active)
    names = [stage.name for stage in active]
    if until not in names:
        raise _no_stage(until, stages)
    return tuple(active[: names.index(until) + 1])


def _no_stage(name: str, stages: Sequence[Stage]) -> UsageError:
    known = {stage.name: stage.section for stage in stages}
    if name in known:
        return UsageError(
            f"stage {name}: the profile has no section [{known[name]}]", hint=f"add [{known[name]}]"
        )
    close = nearest(name, list(known))
    return UsageError(
        f"stage {name}: unknown", hint=f"did you mean {close}?" if close else f"one of {', '.join(known)}"
    )


def _check_kinds(stages: Sequence[Stage]) -> None:
    made: set[str] = set()
    for stage in stages:
        for kind in stage.takes.values():
            if kind not in made:
                raise ProfileError(
                    f"[{stage.section}]: stage {stage.name} needs a {kind}, and no earlier stage makes one"
                )
        made.add(stage.gives)


def inputs_of(stage: Stage, made: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """What a stage takes, by its own names; every kind that it needs must be there."""
    needed = {name: made[kind] for name, kind in stage.takes.items()}
    return needed | {name: made[kind] for name, kind in stage.may_take.items() if kind in made}


def pending(stage: Stage, profile: Profile, inputs: Mapping[str, Artifact]) -> Pending:
    """Work out the key of a stage whose inputs are there."""
    config = config_of(stage, profile)
    depends = identity(stage, config, inputs)
    return Pending(stage=stage, config=config, inputs=inputs, identity=depends, key=key_of(depends))


def plan(
    profile: Profile, out: Path, until: str | None = None, stages: Sequence[Stage] = STAGES
) -> tuple[Step, ...]:
    """What a run would find and what it would do; changes nothing.

    Args:
        profile: the checked profile.
        out: the folder of all runs.
        until: the last stage of interest; None: all.
        stages: the registry.

    Raises:
        SqueezeError: a stage's check at planning refuses the profile.
    """
    active = chain(profile, until, stages)
    with offline():
        warnings = {stage.name: _check(stage, profile) for stage in active}
        steps = tuple(_steps(profile, RunFolder(out, profile.name), active))
    return tuple(step if step.warnings else replace(step, warnings=warnings[step.stage]) for step in steps)


def _check(stage: Stage, profile: Profile) -> tuple[str, ...]:
    check = stage.at_plan
    return () if check is None else check.run(config_of(check, profile), Silent())


def _steps(profile: Profile, where: RunFolder, active: Sequence[Stage]) -> Iterator[Step]:
    made: dict[str, Artifact] = {}
    promised: set[str] = set()
    for stage in active:
        wanted = [*stage.takes.values(), *(kind for kind in stage.may_take.values() if kind in promised)]
        waits = [kind for kind in wanted if kind not in made]
        promised.add(stage.gives)
        last = _last(where, stage)
        seconds = _seconds(last)
        if waits:
            why = f"waits for {', '.join(waits)}"
            yield Step(stage.name, None, None, "needs earlier", why, seconds)
            made.pop(stage.gives, None)
            continue
        try:
            ready = pending(stage, profile, inputs_of(stage, made))
        except NotDownloaded as error:
            yield Step(stage.name, None, None, "to run", error.message, seconds)
            made.pop(stage.gives, None)
            continue
        folder = where.final(stage.name, ready.key)
        found, why = _look(ready, folder, last)
        made.pop(stage.gives, None)
        if found is not None:
            made[stage.gives] = found
        warnings = tuple(found.result.get("warnings", ())) if found else ()
        yield Step(stage.name, ready.key, folder, "cached" if found else "to run", why, seconds, warnings)


def _look(ready: Pending, folder: Path, last: Mapping[str, Any] | None) -> tuple[Artifact | None, str]:
    """The stored artefact, or why it cannot be used."""
    if folder.exists():
        try:
            return stored(ready, folder), ""
        except Corrupt as error:
            return None, f"the stored one is damaged: {error.message}"
    before = last.get("identity") if last else None
    difference = changes(before, ready.identity) if isinstance(before, dict) else ""
    return None, difference or "never made"


def stored(ready: Pending, folder: Path) -> Artifact:
    """The artefact in a folder, if it is the one that is needed and is whole.

    Raises:
        Corrupt: it is damaged, of something else, or its manifest has no digest of its own.
    """
    found = open_artifact(folder, ready.stage.gives, ready.key)
    if not found.sealed:
        raise Corrupt(f"{folder / MANIFEST}: has no digest of its own, an older version wrote it")
    return found


def _last(where: RunFolder, stage: Stage) -> dict[str, Any] | None:
    """Manifest of the stage's newest artefact, for telling what changed; trusted for nothing else."""
    folders = [
        path.parent for path in where.path.glob(f"{stage.name}-*/{MANIFEST}") if not path.parent.suffix
    ]
    for folder in sorted(folders, key=lambda path: (path / MANIFEST).stat().st_mtime, reverse=True):
        try:
            return artifact.load(folder, verify=False).manifest
        except Corrupt:
            continue
    return None


def _seconds(manifest: Mapping[str, Any] | None) -> float | None:
    """How long the stage took, where its manifest has a number."""
    found = manifest.get("seconds") if manifest else None
    return float(found) if isinstance(found, int | float) else None
