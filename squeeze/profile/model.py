"""The whole profile as one record; each section's model stands beside its stage."""

from __future__ import annotations

from pydantic import Field

from squeeze.budget import BudgetSection
from squeeze.distillation.config import DistilSection, StudentSection
from squeeze.schema import Frozen
from squeeze.stages.bench.stage import BenchSection
from squeeze.stages.data.stage import DataSection
from squeeze.stages.export.stage import ExportSection
from squeeze.stages.prune.stage import PruneSection
from squeeze.stages.quantize.stage import QuantizeSection
from squeeze.stages.search.stage import SearchSection
from squeeze.stages.teacher.stage import TeacherSection
from squeeze.tasks import AnyTaskSection

__all__ = ["Profile"]


class Profile(Frozen):
    """One TOML file; a section that is left out switches its stage off."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """name of the run, which is also its folder: letters, digits and `_ . -`"""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """start of every random choice; the same seed gives the same weights on one machine"""
    task: AnyTaskSection
    """what is to be told apart"""
    data: DataSection
    """where the text comes from"""
    teacher: TeacherSection | None = None
    """the model that is good but too slow or too big"""
    search: SearchSection | None = None
    """which student is chosen for the budget, in place of a shape in `[student]`"""
    student: StudentSection = StudentSection()
    """the shape of the small model"""
    distil: DistilSection | None = None
    """how the student learns from the teacher"""
    prune: PruneSection | None = None
    """what is cut out of the student, or of the teacher where there is none, and how it recovers"""
    quantize: QuantizeSection | None = None
    """to how few bits it is rounded, and how it learns to live with that"""
    export: ExportSection | None = None
    """which files are made for the device"""
    bench: BenchSection | None = None
    """how they are measured"""
    budget: BudgetSection | None = None
    """what they must keep"""
