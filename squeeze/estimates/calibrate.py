"""Measure small graphs on a device and fit how fast it is at each kind of node."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from squeeze.core.stats import levels
from squeeze.errors import StageFailed
from squeeze.estimates.calibration import Calibration, Sample
from squeeze.estimates.rates import fit, predict
from squeeze.estimates.trace import Node, trace
from squeeze.estimates.work import Part, parts
from squeeze.progress import Progress
from squeeze.runtime import need
from squeeze.targets.cpu import Settings
from squeeze.targets.figures import medians
from squeeze.targets.measurement import Measurement
from squeeze.targets.reach import Measure
from squeeze.targets.subjects import Subject

__all__ = ["LEAST_SPREAD", "calibrate", "calibrated", "settings", "spread_of"]

LEAST_SPREAD: Final = 1.10
"""Intervals are not narrower: the pace of a machine alone drifts by as much from hour to hour."""
SIGMAS: Final = 2.0
WIDE: Final = 1.5
"""A spread above which it is said that the device was not quiet, or is not as additive as the rest."""
WHOLE: Final = 2.0
"""Weight of a whole encoder, which is what is estimated later; a single operator has 1."""
RUNS: Final = 240
MAX_SECONDS: Final = 10.0


def settings(threads: int = 1) -> Settings:
    """How the graphs are measured: in many short rounds, because all are compared with each other."""
    return Settings(
        threads=threads, min_runs=RUNS, min_seconds=0.0, max_seconds=MAX_SECONDS, starts=1, even=False
    )


def calibrate(target: str, measure: Measure, progress: Progress) -> Calibration:
    """Write the graphs, measure them, fit.

    Args:
        target: its name in the document.
        measure: measures models there.
        progress: told of each step.

    Raises:
        MissingBackend: onnx-ir is not installed, or whatever `measure` needs.
        StageFailed: a graph cannot be run, or not every length was timed.
    """
    need("onnx_ir", extra="train")
    from squeeze.estimates import micro

    with tempfile.TemporaryDirectory() as folder:
        progress.log("writing small graphs")
        subjects = micro.written(Path(folder))
        measured = measure(subjects, settings(), progress)
        return calibrated(target, subjects, measured, micro.LENGTHS, micro.LAYERS)


def calibrated(
    target: str,
    subjects: Sequence[Subject],
    measured: Sequence[Measurement],
    lengths: Sequence[int],
    whole: str,
) -> Calibration:
    """Fit what was measured.

    Args:
        target: its name in the document.
        subjects: the graphs, whose files are still there.
        measured: one of each.
        lengths: tokens a text.
        whole: how the names of whole encoders begin.

    Raises:
        StageFailed: a length was not timed.
    """
    ms = np.array([_levels(measured, length) for length in lengths]).T.ravel()
    traces = [trace(each, lengths, 1, {}) for each in subjects]
    calls = [_parts(each[length]) for each in traces for length in lengths]
    keys = [(each, length) for each in subjects for length in lengths]
    families = [_family(each) if each.name.startswith(whole) else "" for each, _ in keys]
    weights = np.array([WHOLE if family else 1.0 for family in families])
    rates = fit(calls, ms, weights)
    unseen = _unseen(calls, ms, weights, families)
    samples = tuple(
        Sample(
            graph=each.name,
            form=str(each.form),
            length=length,
            ms=float(ms[at]),
            fitted_ms=predict(rates, calls[at]),
            unseen_ms=unseen.get(at),
        )
        for at, (each, length) in enumerate(keys)
    )
    spread = spread_of([math.log(each.unseen_ms / each.ms) for each in samples if each.unseen_ms])
    return Calibration(
        target=target,
        threads=measured[0].threads,
        environment=measured[0].environment,
        rates=rates,
        spread=spread,
        samples=samples,
        notes=(*_wide(spread), *dict.fromkeys(note for each in measured for note in each.notes)),
    )


def spread_of(errors: Sequence[float]) -> float:
    """Half the width of an interval as a factor: two standard deviations around no error, at least 1.1.

    Args:
        errors: log(predicted / measured) of whole encoders, each by rates that were fitted without it.

    >>> spread_of([0.1, -0.1, 0.1, -0.1]) == math.exp(0.2)
    True
    >>> spread_of([0.0, 0.0])
    1.1
    """
    rms = math.sqrt(sum(error**2 for error in errors) / len(errors)) if errors else 0.0
    return max(LEAST_SPREAD, math.exp(SIGMAS * rms))


def _parts(nodes: Sequence[Node]) -> tuple[Part, ...]:
    return tuple(part for node in nodes for part in parts(node))


def _levels(measured: Sequence[Measurement], length: int) -> NDArray[np.float64]:
    found = medians(measured, length)
    if not len(found):
        raise StageFailed(f"calibration: no call of {length} tokens in the time it had", hint="try again")
    return levels(found)


def _family(subject: Subject) -> str:
    """A graph's name without its form: forms of one encoder leave the fit together."""
    return subject.name.removesuffix(f" {subject.form}")


def _unseen(
    calls: Sequence[Sequence[Part]],
    ms: NDArray[np.float64],
    weights: NDArray[np.float64],
    families: Sequence[str],
) -> dict[int, float]:
    """What rates say about each whole encoder that were fitted without all its forms and lengths."""
    found: dict[int, float] = {}
    for family in dict.fromkeys(each for each in families if each):
        kept = np.array([each != family for each in families])
        rates = fit([call for call, keep in zip(calls, kept, strict=True) if keep], ms[kept], weights[kept])
        found |= {at: predict(rates, calls[at]) for at, keep in enumerate(kept) if not keep}
    return found


def _wide(spread: float) -> tuple[str, ...]:
    if spread <= WIDE:
        return ()
    return (f"estimates are wide (x/{spread:.2f} to x{spread:.2f}): was the device busy?",)
