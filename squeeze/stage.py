"""The one shape of every stage: data, not a subclass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from squeeze.artifact import Artifact, digest_json
from squeeze.progress import Progress, Silent
from squeeze.runtime import environment
from squeeze.schema import Frozen

__all__ = ["Check", "Stage", "Work", "this_machine"]


@dataclass(frozen=True)
class Work:
    """Where a stage works.

    Attributes:
        out: an empty folder that becomes the artefact.
        scratch: a folder for checkpoints; it survives a kill and is removed once the artefact is complete.
        cache: a folder shared by all stages and runs, for what is expensive and keyed by its own fingerprint.
        threads: how many threads the process may really use.
        progress: where long steps are shown.
    """

    out: Path
    scratch: Path
    cache: Path
    threads: int = 1
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True)
class Check:
    """One gate of a stage: it refuses what the stage would fail on later.

    Attributes:
        config: model of what it looks at, its fields named as the profile's sections.
        run: (config, progress) -> warnings, one line each; raises a SqueezeError to refuse.
    """

    config: type[Frozen]
    run: Callable[[Any, Progress], tuple[str, ...]]


@dataclass(frozen=True)
class Stage:
    """One step of the chain.

    Attributes:
        name: the stage's name, which is also its folder under ``stages/``.
        section: the profile section that switches it on.
        version: raised whenever the same config would give another result.
        takes: input name to artefact kind; the nearest earlier stage that gives the kind provides it.
        gives: the kind of artefact it makes.
        config: model of all it depends on, its fields named as in the profile (``seed``, ``task``, ...).
        result: model of what it reports. Its field ``warnings``, where it has one, holds lines for people;
            it repeats what `at_plan` warns of.
        run: does the work: (config, inputs by name, work) -> result.
        libraries: distributions whose version shapes the result.
        per_device: whether the result depends on the machine it was made on.
        sources: files and package versions that the config names, with their digests, so that a
            changed file is a changed key.
        needs: refuses a config that this machine lacks the parts or the device for, before anything is spent.
        may_take: as `takes`, for what the stage can do without: given when an earlier stage of the
            profile makes it, and absent from the inputs when none does.
        at_plan: what `squeeze plan` and every run check first: headers of files and a sample of the rows,
            without torch, within 2 s and 1 GB.
        preflight: what a run checks before it writes anything, unless the stage's artefact is stored; it may
            load models.
    """

    name: str
    section: str
    version: int
    takes: Mapping[str, str]
    gives: str
    config: type[Frozen]
    result: type[Frozen]
    run: Callable[[Any, Mapping[str, Artifact], Work], Frozen]
    libraries: tuple[str, ...] = ()
    per_device: bool = False
    sources: Callable[[Any], dict[str, str]] = lambda _: {}
    needs: Callable[[Any], None] = lambda _: None
    may_take: Mapping[str, str] = field(default_factory=dict)
    at_plan: Check | None = None
    preflight: Check | None = None

    @property
    def warns(self) -> bool:
        """Whether its result has warnings."""
        return "warnings" in self.result.model_fields


def this_machine() -> dict[str, str]:
    """The source of a stage that decides by how fast this machine is."""
    return {"machine": digest_json(environment())}
