"""Run the chain: take what is stored and sound, make the rest."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze import artifact
from squeeze.artifact import Artifact
from squeeze.errors import Corrupt, MissingBackend, StageFailed, UsageError
from squeeze.pipeline.folders import RunFolder, open_artifact
from squeeze.pipeline.keys import config_of
from squeeze.pipeline.lock import hold
from squeeze.pipeline.planning import Pending, Step, chain, inputs_of, pending, plan
from squeeze.profile.model import Profile
from squeeze.progress import Progress, Silent
from squeeze.registry import STAGES
from squeeze.runtime import environment, give_back, usable_cores, versions
from squeeze.stage import Stage, Work

__all__ = ["Done", "RunResult", "open_run", "open_stages", "run"]

VERDICT = "verdict"
EXTRAS = dict.fromkeys(("torch", "transformers", "onnx", "onnxscript", "onnx-ir"), "train")


@dataclass(frozen=True)
class Done:
    """One finished step: its stage, its artefact, whether it was stored before, and how long it took."""

    stage: str
    artifact: Artifact
    cached: bool
    seconds: float


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        name: the profile's name.
        folder: `runs/<name>`.
        steps: what was done, in order.
    """

    name: str
    folder: Path
    steps: tuple[Done, ...]

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """The last artefact of each kind."""
        return {done.artifact.kind: done.artifact for done in self.steps}

    @property
    def verdict(self) -> str | None:
        """`pass`, `fail`, `inconclusive`, or None when nothing was judged."""
        found = self.artifacts.get(VERDICT)
        return None if found is None else str(found.result["verdict"])

    def plain(self) -> dict[str, Any]:
        """The run as JSON-ready values."""
        return {
            "schema": 1,
            "name": self.name,
            "folder": str(self.folder),
            "verdict": self.verdict,
            "steps": [_plain(done) for done in self.steps],
        }


def _plain(done: Done) -> dict[str, Any]:
    return {
        "stage": done.stage,
        "cached": done.cached,
        "seconds": round(done.seconds, 3),
        "folder": str(done.artifact.path),
        "digest": done.artifact.digest,
        "result": done.artifact.result,
    }


def run(
    profile: Profile,
    out: Path,
    *,
    until: str | None = None,
    fresh: bool = False,
    wait: bool = False,
    progress: Progress | None = None,
    stages: Sequence[Stage] = STAGES,
) -> RunResult:
    """Walk the chain; a killed run goes on where it was cut when started again.

    Args:
        profile: the checked profile.
        out: the folder of all runs.
        until: the last stage to run; None: all.
        fresh: make everything again, also what is stored.
        wait: wait for another process that works on the same run.
        progress: where steps are shown.
        stages: the registry.

    Raises:
        UsageError: another process works here, or ``until`` is no stage of the profile.
        MissingBackend: a library that a stage is made of, or a part that its settings ask for, is not there.
        SqueezeError: whatever a stage refuses or fails with.
    """
    active = chain(profile, until, stages)
    _check_libraries(active)
    for stage in active:
        stage.needs(config_of(stage, profile))
    _gates(profile, plan(profile, out, until, stages), active, progress or Silent(), fresh=fresh)
    where, show = RunFolder(out, profile.name), progress or Silent()
    with hold(where.path, show, wait=wait):
        where.clean()
        done: list[Done] = []
        for stage in active:
            done.append(_step(stage, profile, where, done, show, fresh=fresh))
            if not done[-1].cached:
                give_back()
            result = RunResult(profile.name, where.path, tuple(done))
            folders = {one.stage: one.artifact.path.name for one in done}
            where.write_latest(folders, result.verdict, complete=stage is active[-1])
    return RunResult(profile.name, where.path, tuple(done))


def _check_libraries(active: Sequence[Stage]) -> None:
    """Fail before anything is spent."""
    for stage in active:
        for name, version in versions(stage.libraries).items():
            if version == "absent":
                hint = (
                    f"pip install 'squeeze-ondevice[{EXTRAS[name]}]'"
                    if name in EXTRAS
                    else f"pip install {name}"
                )
                raise MissingBackend(f"stage {stage.name} needs {name}, which is not installed", hint=hint)


def _gates(
    profile: Profile, steps: Sequence[Step], active: Sequence[Stage], progress: Progress, *, fresh: bool
) -> None:
    """Show what planning warned of, and run the preflight of every stage that has to be made."""
    for stage, step in zip(active, steps, strict=True):
        warnings = () if stage.warns else step.warnings
        check = stage.preflight
        if check is not None and (fresh or step.state != "cached"):
            warnings += check.run(config_of(check, profile), progress)
        for line in warnings:
            progress.warn(line)


def _warn(made: Artifact, progress: Progress) -> None:
    """Show the warnings of a stage's result."""
    for line in made.result.get("warnings", ()):
        progress.warn(line)


def _step(
    stage: Stage, profile: Profile, where: RunFolder, done: Sequence[Done], progress: Progress, *, fresh: bool
) -> Done:
    inputs = inputs_of(stage, {one.artifact.kind: one.artifact for one in done})
    ready = pending(stage, profile, inputs)
    if fresh:
        artifact.discard(where.final(stage.name, ready.key))
        shutil.rmtree(where.scratch(stage.name, ready.key), ignore_errors=True)
    stored = _stored(ready, where, progress)
    if stored is not None:
        progress.log(f"{stage.name}: ready ({stored.path.name})")
        _warn(stored, progress)
        return Done(stage.name, stored, cached=True, seconds=0.0)
    progress.log(f"{stage.name}: started")
    started = time.monotonic()
    made = _make(ready, where, progress)
    seconds = time.monotonic() - started
    progress.log(f"{stage.name}: done in {seconds:.1f} s ({made.path.name})")
    _warn(made, progress)
    return Done(stage.name, made, cached=False, seconds=seconds)


def _stored(ready: Pending, where: RunFolder, progress: Progress) -> Artifact | None:
    """The finished artefact, if it is there and every byte is as it was written."""
    folder = where.final(ready.stage.name, ready.key)
    if not folder.exists():
        return None
    try:
        return open_artifact(folder, ready.stage.gives, ready.key)
    except Corrupt as error:
        progress.log(f"{ready.stage.name}: made again, the stored one is damaged: {error.message}")
        artifact.discard(folder)
        return None


def _make(ready: Pending, where: RunFolder, progress: Progress) -> Artifact:
    """Run a stage beside its final place, then let the artefact appear."""
    stage, key = ready.stage, ready.key
    work = _work(where, stage, key, progress)
    started = time.monotonic()
    try:
        result = stage.run(ready.config, ready.inputs, work)
    except OSError as error:  # a full disk or a lost mount is no bug of the stage
        raise StageFailed(
            f"stage {stage.name}: {error}", hint="free space or rights, then run again"
        ) from error
    if not isinstance(result, stage.result):
        raise TypeError(f"stage {stage.name} returned {type(result).__name__}, not {stage.result.__name__}")
    record = {
        "stage": stage.name,
        "version": stage.version,
        "key": key,
        "identity": ready.identity,
        "config": ready.config.plain(),
        "inputs": {
            name: {"folder": found.path.name, "digest": found.digest} for name, found in ready.inputs.items()
        },
        "result": result.plain(),
        "environment": environment(),
        "seconds": round(time.monotonic() - started, 3),
    }
    made = artifact.commit(work.out, where.final(stage.name, key), stage.gives, record)
    shutil.rmtree(work.scratch, ignore_errors=True)
    return made


def _work(where: RunFolder, stage: Stage, key: str, progress: Progress) -> Work:
    out, scratch = where.partial(stage.name, key), where.scratch(stage.name, key)
    out.mkdir(parents=True)
    for folder in (scratch, where.cache):
        folder.mkdir(parents=True, exist_ok=True)
    return Work(out=out, scratch=scratch, cache=where.cache, threads=usable_cores(), progress=progress)


def open_run(folder: Path) -> dict[str, Artifact]:
    """Artefacts of the last run in a folder, the last one of each kind; every file is checked.

    Raises:
        UsageError: the folder is not that of a run.
        Corrupt: an artefact has changed since it was written.
    """
    return {found.kind: found for found in open_stages(folder).values()}


def open_stages(folder: Path) -> dict[str, Artifact]:
    """Artefacts of the last run in a folder by stage, in the order of the chain; every file is checked.

    Raises:
        UsageError: the folder is not that of a run.
        Corrupt: an artefact has changed since it was written.
    """
    path = folder if folder.name not in {"", ".."} else folder.resolve()  # `.` has no name of its own
    kinds = {known.name: known.gives for known in STAGES}
    found: dict[str, Artifact] = {}
    for stage, place in RunFolder(path.parent, path.name).latest().items():
        if stage not in kinds:
            raise UsageError(f"{folder}: stage {stage} is unknown", hint="made by another version of squeeze")
        found[stage] = open_artifact(place, kinds[stage])
    return found
