"""What a run has left on disk beside its figures: answers, samples, weights, origins."""

from __future__ import annotations

from squeeze.report.evidence.answers import Answers, Change, SplitAnswers
from squeeze.report.evidence.gathering import Evidence, gather
from squeeze.report.evidence.inside import Inside
from squeeze.report.evidence.origin import Origin

__all__ = ["Answers", "Change", "Evidence", "Inside", "Origin", "SplitAnswers", "gather"]
