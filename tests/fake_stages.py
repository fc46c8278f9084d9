"""Tiny stages with the names of real ones, and a program that runs them in a process of its own.

What they do beside their work is asked for with files in the cache folder: `fail-<stage>` makes a
stage fail, `hang-<stage>` makes it stop half-way until it is killed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from squeeze import pipeline
from squeeze.artifact import Artifact, digest_file
from squeeze.budget import BudgetSection
from squeeze.errors import StageFailed
from squeeze.profile import Profile, parse
from squeeze.schema import Frozen
from squeeze.stage import Stage, Work
from squeeze.stages.data.stage import DataSection
from squeeze.stages.teacher.stage import TeacherSection


class DataConfig(Frozen):
    seed: int
    data: DataSection


class TeacherConfig(Frozen):
    seed: int
    teacher: TeacherSection


class GateConfig(Frozen):
    budget: BudgetSection


class Letters(Frozen):
    letters: int


class Verdict(Frozen):
    verdict: str


def note(work: Work, name: str) -> None:
    with (work.cache / "calls.log").open("a") as log:
        log.write(f"{name}\n")
    (work.out / "half.txt").write_text("half")
    with (work.scratch / "checkpoint").open("a") as checkpoint:
        checkpoint.write("x")
    if (work.cache / f"hang-{name}").exists():
        (work.cache / "hanging").touch()
        time.sleep(120)
    if (work.cache / f"fail-{name}").exists():
        raise StageFailed(f"{name} was told to fail")
    (work.out / "half.txt").unlink()


def run_data(config: DataConfig, _inputs: Mapping[str, Artifact], work: Work) -> Letters:
    note(work, "data")
    text = Path(str(config.data.train)).read_text()
    (work.out / "text.txt").write_text(text.upper())
    return Letters(letters=len(text))


def run_teacher(config: TeacherConfig, inputs: Mapping[str, Artifact], work: Work) -> Letters:
    note(work, "teacher")
    text = (inputs["dataset"].path / "text.txt").read_text()
    (work.out / "sub").mkdir()
    (work.out / "sub" / "weights.txt").write_text(f"{config.seed} {config.teacher.model} {text}")
    return Letters(letters=len(text))


def run_gate(config: GateConfig, _inputs: Mapping[str, Artifact], work: Work) -> Verdict:
    note(work, "gate")
    verdict = "fail" if config.budget.accuracy == 1 else "pass"
    (work.out / "verdict.json").write_text(f'"{verdict}"')
    return Verdict(verdict=verdict)


def sources(config: DataConfig) -> dict[str, str]:
    return {str(config.data.train): digest_file(Path(str(config.data.train)))}


DATA = Stage("data", "data", 1, {}, "dataset", DataConfig, Letters, run_data, sources=sources)
TEACHER = Stage(
    "teacher", "teacher", 1, {"dataset": "dataset"}, "teacher", TeacherConfig, Letters, run_teacher
)
GATE = Stage(
    "gate", "budget", 1, {"teacher": "teacher"}, "verdict", GateConfig, Verdict, run_gate, per_device=True
)
STAGES = (DATA, TEACHER, GATE)


def profile(folder: Path, **changes: Any) -> Profile:
    data: dict[str, Any] = {
        "name": "fake",
        "task": {"labels": ["a", "b"]},
        "data": {"train": "text.txt", "validation": "builtin:held", "test": "builtin:out"},
        "teacher": {"model": "builtin:none"},
        "distil": {"phases": [{"name": "one", "losses": [{"name": "logit_mse"}]}]},
        "export": {},
        "bench": {},
        "budget": {"accuracy": 0.5},
    }
    return parse({**data, **changes}, "fake.toml", folder)


def calls(out: Path) -> list[str]:
    log = out / ".cache" / "calls.log"
    return log.read_text().split() if log.exists() else []


if __name__ == "__main__":
    pipeline.run(profile(Path(sys.argv[1])), Path(sys.argv[2]), stages=STAGES)
