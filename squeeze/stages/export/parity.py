"""Whether a converted model still computes what its source computed, on real text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from squeeze.errors import ParityFailed
from squeeze.graphs.difference import SHOWN, Difference, told
from squeeze.stages.export.stage import ParityReport, Tolerance
from squeeze.tasks import Labels, State, Task

__all__ = ["Validation", "compare", "hold", "hold_products"]

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Validation:
    """What two sets of outputs are compared by.

    Attributes:
        labels: of the N validation texts.
        task: what the outputs stand for.
        state: what the training labels fixed.
    """

    labels: Labels
    task: Task
    state: State

    def score(self, outputs: Logits) -> float:
        """Primary score of (N, K) outputs."""
        return self.task.scores(
            outputs, self.labels, None, self.task.fit(outputs, self.labels, self.state)
        ).score

    def agreement(self, before: Logits, after: Logits) -> float:
        """Share of answers that stay, 0..1."""
        return self.task.agreement(before, after, self.task.fit(before, self.labels, self.state))


def compare(source: str, before: Logits, after: Logits, truth: Validation) -> ParityReport:
    """Difference of two sets of logits.

    Args:
        source: what the converted model is compared with.
        before: (N, K) its logits.
        after: (N, K) the converted model's.
        truth: the right answers, for the difference of the primary score.

    Raises:
        ParityFailed: a logit is not a finite number; no tolerance covers that.
    """
    broken = int((~np.isfinite(after)).any(axis=1).sum())
    if broken:
        raise ParityFailed(
            f"converted from {source}: logits are not finite on {broken} of {len(after)} validation texts",
            hint="a value is too large for the form; the student's weights may have diverged",
        )
    gap = np.abs(before.astype(np.float64) - after)
    return ParityReport(
        source=source,
        rows=len(after),
        max_abs=float(gap.max()),
        mean_abs=float(gap.mean()),
        spread=_spread(after - before.astype(np.float64)) / (_spread(before) or 1.0),
        agreement=truth.agreement(before, after),
        metric_drop=truth.score(before) - truth.score(after),
    )


def hold(name: str, report: ParityReport, tolerance: Tolerance) -> None:
    """Refuse a conversion that changed too much.

    Raises:
        ParityFailed: with every figure that is out of bounds, its value and its limit.
    """
    broken = []
    if tolerance.max_abs is not None and report.max_abs > tolerance.max_abs:
        broken.append(f"largest logit difference {report.max_abs:.3g} exceeds {tolerance.max_abs:.3g}")
    if tolerance.spread and report.spread and report.spread > tolerance.spread:
        broken.append(
            f"logits differ by {report.spread:.3g} of their spread, more than {tolerance.spread:.3g}"
        )
    if report.agreement < tolerance.agreement:
        broken.append(f"label agreement {report.agreement:.4f} is below {tolerance.agreement:.4f}")
    if report.metric_drop > tolerance.metric_drop:
        broken.append(f"the score falls by {report.metric_drop:.4f}, more than {tolerance.metric_drop:.4f}")
    if broken:
        raise ParityFailed(
            f"{name} against {report.source} on {report.rows} validation texts: {'; '.join(broken)}",
            hint="the conversion is wrong, or its tolerance in [export] is tighter than the form can hold",
        )


def hold_products(
    name: str, source: str, found: Sequence[Difference], lost: Sequence[str], tolerance: Tolerance
) -> None:
    """Refuse a conversion in which one product changed too much, whatever the logits say.

    Args:
        name: the converted file.
        source: what it was made from.
        found: the differences of its products and look-ups.
        lost: vectors of the source that it does not hold.
        tolerance: its `product` and `rounding` count.

    Raises:
        ParityFailed: with the products that are out of bounds, or the vectors.
    """
    limits = tolerance.product or math.inf, tolerance.rounding or math.inf
    wrong = [each for each in found if each.output > limits[0] or each.input > limits[1]]
    if wrong:
        bounds = f"{limits[0]:.3g} of their output or {limits[1]:.3g} of their input"
        raise ParityFailed(
            f"{name} against {source}: {len(wrong)} products differ by more than {bounds}", hint=told(wrong)
        )
    if lost:
        raise ParityFailed(f"{name} against {source}: {', '.join(lost[:SHOWN])} not kept as they were")


def _spread(logits: NDArray[np.floating]) -> float:
    """Root mean square once each text's mean, which changes no probability, is taken away."""
    rows = logits.astype(np.float64)
    return float(np.sqrt(((rows - rows.mean(axis=1, keepdims=True)) ** 2).mean()))
