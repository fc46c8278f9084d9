"""int8 forms by another library's quantizer, where the profile asks for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from squeeze.graphs.backends import by_nncf, by_onnxruntime
from squeeze.graphs.backends.by_nncf import Control
from squeeze.graphs.watching import Feed
from squeeze.stage import Work
from squeeze.stages.export.parity import Validation
from squeeze.stages.export.stage import QUANTIZERS, ExportSection, FormName

__all__ = ["Texts", "is_borrowed", "write"]


def is_borrowed(form: FormName, settings: ExportSection) -> bool:
    """Whether a form is made by another library's quantizer."""
    borrowed = QUANTIZERS.get(settings.quantizer)
    return borrowed is not None and form in borrowed.forms


@dataclass(frozen=True)
class Texts:
    """What another library's quantizer is shown, one text a call.

    Attributes:
        training: texts that ranges are taken from.
        validation: texts that NNCF scores on.
        truth: the right answers of these.
    """

    training: Sequence[Feed]
    validation: Sequence[Feed]
    truth: Validation


def write(
    form: FormName, fp32: Path, target: Path, settings: ExportSection, texts: Texts, work: Work
) -> None:
    """Write one form.

    Args:
        form: one that the quantizer makes.
        fp32: the graph it is made from.
        target: where it goes.
        settings: whose quantizer, and how.
        texts: what it is shown.
        work: for its threads and progress.
    """
    bits, method = settings.weight_bits, settings.calibration
    with work.progress.task(f"quantize ({settings.quantizer})", 1) as advance:
        if settings.quantizer == "nncf":
            truth, drop = texts.truth, settings.tolerance(form).metric_drop
            control = Control(
                texts.validation,
                truth.labels,
                lambda outputs, labels: replace(truth, labels=labels).score(outputs),
                truth.task.row_scores,
                drop,
            )
            by_nncf.static(fp32, target, texts.training, method, bits, control, work.threads)
        elif form == "int8-static":
            by_onnxruntime.static(fp32, target, texts.training, method, bits)
        else:
            by_onnxruntime.dynamic(fp32, target, bits)
        advance(1)
