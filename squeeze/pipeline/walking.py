"""Run the chain: take what is stored and sound, make the rest."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze import artifact, disk, latest
from squeeze.artifact import Artifact
from squeeze.errors import Corrupt, MissingBackend, SqueezeWarning, UsageError
from squeeze.pipeline.folders import RunFolder, open_artifact
from squeeze.pipeline.keys import config_of, without_passwords
from squeeze.pipeline.lock import hold
from squeeze.pipeline.planning import Pending, Step, chain, inputs_of, pending, plan, stored
from squeeze.profile.model import Profile
from squeeze.progress import Progress, Silent
from squeeze.registry import STAGES
from squeeze.runtime import environment, give_back, usable_cores, versions
from squeeze.schema import Frozen
from squeeze.stage import Stage, Work

__all__ = ["Done", "RunResult", "describe_run", "open_run", "open_stages", "run"]

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
    def stages(self) -> dict[str, Artifact]:
        """The artefact of each stage, in the order of the chain."""
        return {done.stage: done.artifact for done in self.steps}

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
    where, show = RunFolder(out, profile.name), progress or Silent()
    where.refuse_links()
    steps = plan(profile, out, until, stages)  # first: what `plan` refuses, a run refuses alike
    _check_libraries(active)
    for stage in active:
        stage.needs(config_of(stage, profile))
    _gates(profile, steps, active, show, fresh=fresh)
    whole = chain(profile, None, stages)
    with hold(where.path, show, wait=wait):
        where.clean()
        done: list[Done] = []
        for stage in active:
            done.append(_step(stage, profile, where, done, show, fresh=fresh))
            if not done[-1].cached:
                give_back()
            result = RunResult(profile.name, where.path, tuple(done))
            complete = len(done) == len(whole)
            damage = latest.record(where.path, result.stages, result.verdict, complete=complete)
            if damage is not None:
                show.warn(f"{damage.message}; it is written anew")
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
    if fresh:  # what is stored stays until the new one is complete
        shutil.rmtree(where.scratch(stage.name, ready.key), ignore_errors=True)
    found = None if fresh else _stored(ready, where, progress)
    if found is not None:
        progress.log(f"{stage.name}: ready ({found.path.name})")
        _warn(found, progress)
        return Done(stage.name, found, cached=True, seconds=0.0)
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
        return stored(ready, folder)
    except Corrupt as error:
        progress.log(f"{ready.stage.name}: made again, the stored one is damaged: {error.message}")
        return None


def _make(ready: Pending, where: RunFolder, progress: Progress) -> Artifact:
    """Run a stage beside its final place, then let the artefact appear."""
    stage, key = ready.stage, ready.key
    started = time.monotonic()
    with disk.guarded(f"stage {stage.name}"):
        work = _work(where, stage, key, progress)
        result = stage.run(ready.config, ready.inputs, work)
        if not isinstance(result, stage.result):
            raise TypeError(
                f"stage {stage.name} returned {type(result).__name__}, not {stage.result.__name__}"
            )
        record = _record(ready, result, time.monotonic() - started)
        made = artifact.commit(work.out, where.final(stage.name, key), stage.gives, record, replacing=True)
    shutil.rmtree(work.scratch, ignore_errors=True)
    return made


def _record(ready: Pending, result: Frozen, seconds: float) -> dict[str, Any]:
    """What a manifest has beside the digests of its files."""
    inputs = {
        name: {"folder": taken.path.name, "digest": taken.digest} for name, taken in ready.inputs.items()
    }
    return {
        "stage": ready.stage.name,
        "version": ready.stage.version,
        "key": ready.key,
        "identity": ready.identity,
        "config": without_passwords(ready.config.plain()),
        "inputs": inputs,
        "result": result.plain(),
        "environment": environment(),
        "seconds": round(seconds, 3),
    }


def _work(where: RunFolder, stage: Stage, key: str, progress: Progress) -> Work:
    out, scratch = where.partial(stage.name, key), where.scratch(stage.name, key)
    out.mkdir(parents=True)
    for folder in (scratch, where.cache):
        folder.mkdir(parents=True, exist_ok=True)
    return Work(out=out, scratch=scratch, cache=where.cache, threads=usable_cores(), progress=progress)


def describe_run(folder: Path) -> str:
    """One line that names the run which a folder stands for; see `squeeze.latest.describe`."""
    return latest.describe(folder, latest.read(folder))


def open_run(folder: Path, *, judged: bool = False) -> dict[str, Artifact]:
    """Artefacts of the run that a folder stands for, the last one of each kind; see `open_stages`."""
    return {found.kind: found for found in open_stages(folder, judged=judged).values()}


def open_stages(folder: Path, *, judged: bool = False) -> dict[str, Artifact]:
    """Artefacts of a run by stage, in the order of the chain; every file is checked.

    The run is the last complete one; where none was ever complete, the one that came furthest.

    Args:
        folder: of the run.
        judged: whether the result decides something: then every manifest must have a digest of its own.

    Raises:
        UsageError: the folder is not that of a run.
        Corrupt: an artefact has changed since it was written.
    """
    known = latest.read(folder)
    kinds = {stage.name: stage.gives for stage in STAGES}
    made: dict[str, Artifact] = {}
    for stage, entry in known.shown.stages.items():
        if stage not in kinds:
            raise UsageError(f"{folder}: stage {stage} is unknown", hint="made by another version of squeeze")
        made[stage] = _opened(folder / entry.folder, kinds[stage], entry.digest)
    unsealed = [stage for stage, artifact in made.items() if not artifact.sealed]
    if not known.sealed:
        unsealed.append(latest.LATEST)
    if unsealed:
        _tell_unsealed(folder, unsealed, judged=judged)
    return made


def _opened(folder: Path, kind: str, digest: str | None) -> Artifact:
    found = open_artifact(folder, kind)
    if digest is not None and found.digest != digest:
        message = f"{folder}: is another one than this run made"
        raise Corrupt(message, hint="squeeze run PROFILE makes the run complete again")
    return found


def _tell_unsealed(folder: Path, names: Sequence[str], *, judged: bool) -> None:
    """An older version wrote these: what they say may have been changed, and nobody could tell."""
    message = f"{folder}: an older version wrote {', '.join(names)} without a digest over what is said there"
    if judged:
        raise Corrupt(f"{message}; nothing is judged by it", hint="run again: squeeze run PROFILE")
    warnings.warn(f"{message}; a change would not be found", SqueezeWarning, stacklevel=3)
