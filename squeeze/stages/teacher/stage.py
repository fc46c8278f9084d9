"""Make the teacher ready: load it, fine-tune it when asked, and record what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from squeeze.artifact import Artifact
from squeeze.core.metrics import Quality
from squeeze.data.config import DataSection
from squeeze.progress import Progress
from squeeze.schema import Frozen
from squeeze.stage import Check, Stage, Work
from squeeze.tasks import AnyTaskSection, TaskSection
from squeeze.training.config import Schedule

__all__ = [
    "STAGE",
    "FineTune",
    "Member",
    "PreflightConfig",
    "TeacherConfig",
    "TeacherResult",
    "TeacherSection",
]


class Member(Frozen):
    """One teacher of several."""

    model: str = Field(min_length=1)
    """`builtin:minilm-l6`, a folder, or the name of a model on the Hugging Face hub"""
    weight: float = Field(default=1.0, gt=0, le=1e6)
    """share of its probabilities in the average, relative to the others"""
    label_map: Mapping[str, str] | None = None
    """this teacher's labels to the task's, in place of `[task.label_map]`; empty: they are the same"""

    def map_to(self, task: TaskSection) -> Mapping[str, str]:
        """Its labels to the task's; empty where its names are the task's."""
        return task.label_map if self.label_map is None else self.label_map


class FineTune(Schedule):
    """The `[teacher.finetune]` section: supervised training on the labelled text."""

    epochs: int = Field(default=4, ge=1, le=100_000)
    """passes over the training text"""
    learning_rate: float = Field(default=5e-5, gt=0, le=1)
    """peak step size of AdamW"""


class TeacherSection(Frozen):
    """The `[teacher]` section."""

    model: str | None = Field(default=None, min_length=1)
    """`builtin:minilm-l6`, a folder, or the name of a model on the Hugging Face hub"""
    models: tuple[Member, ...] = Field(default=(), max_length=64)
    """several teachers, averaged in probability; the first one is the one students are carved from"""
    finetune: FineTune | None = None
    """train the teacher on the task first; leave out when it already is a classifier of these labels"""
    keep_base: bool = False
    """also keep the teacher as it was before fine-tuning, for phases with `teacher = "base"`"""

    @model_validator(mode="after")
    def _one_way_to_name_it(self) -> Self:
        if (self.model is None) == (not self.models):
            raise ValueError("give either `model` or `models`")
        return self

    @property
    def members(self) -> tuple[Member, ...]:
        """All teachers, one or several."""
        return self.models or (Member(model=str(self.model)),)


class TeacherConfig(Frozen):
    """All that the teacher stage depends on."""

    seed: int
    task: AnyTaskSection
    teacher: TeacherSection


class TeacherResult(Frozen):
    """What the teacher stage reports."""

    family: str
    layers: int
    hidden: int
    heads: int
    parameters: int
    embedding_parameters: int
    size_bytes: int
    quality: Mapping[str, Quality]
    """by split: validation, test and the further tests"""
    seconds: float
    warnings: tuple[str, ...] = ()


def run(config: TeacherConfig, inputs: Mapping[str, Artifact], work: Work) -> TeacherResult:
    """See run.py."""
    from squeeze.stages.teacher import run as implementation

    return implementation.run(config, inputs, work)


class HeadsConfig(Frozen):
    """What can be known of the teachers' labels before anything is loaded."""

    task: AnyTaskSection
    teacher: TeacherSection


def check_heads(config: HeadsConfig, progress: Progress) -> tuple[str, ...]:  # noqa: ARG001
    """See heads.py."""
    from squeeze.stages.teacher import heads

    return heads.check(config.teacher, config.task)


class PreflightConfig(Frozen):
    """What the check before a run looks at."""

    seed: int
    task: AnyTaskSection
    data: DataSection
    teacher: TeacherSection


def preflight(config: PreflightConfig, progress: Progress) -> tuple[str, ...]:
    """See preflight.py."""
    from squeeze.stages.teacher import preflight as implementation

    return implementation.run(config, progress)


def sources(config: TeacherConfig) -> dict[str, str]:
    """Digest of every model the section names."""
    from squeeze.models.hub import fingerprint

    return {member.model: fingerprint(member.model) for member in config.teacher.members}


STAGE = Stage(
    name="teacher",
    section="teacher",
    version=5,
    takes={"dataset": "dataset"},
    gives="teacher",
    config=TeacherConfig,
    result=TeacherResult,
    run=run,
    libraries=("torch", "transformers", "tokenizers"),
    sources=sources,
    at_plan=Check(HeadsConfig, check_heads),
    preflight=Check(PreflightConfig, preflight),
)
