"""What measures many models on one target: this machine's processor, or the runner on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

from squeeze.errors import UsageError
from squeeze.progress import Progress
from squeeze.targets import cpu
from squeeze.targets.devices import measured
from squeeze.targets.devices.address import Adb, Cpu, Ssh, parse
from squeeze.targets.devices.session import Session
from squeeze.targets.devices.visiting import Habits, visit
from squeeze.targets.measurement import Measurement
from squeeze.targets.subjects import Subject

__all__ = ["Measure", "measuring"]

Measure: TypeAlias = Callable[[Sequence[Subject], cpu.Settings, Progress], tuple[Measurement, ...]]
"""Measures models in turns."""


@contextmanager
def measuring(target: str, habits: Habits, progress: Progress) -> Iterator[Measure]:
    """Reach a target, for as long as the context lasts.

    Raises:
        UsageError: a target on which nothing can be timed.
        MissingBackend: no runner for the device, or it cannot be reached.
    """
    match address := parse(target):
        case Cpu():
            yield partial(cpu.measure, where=cpu.CPU)
        case Adb() | Ssh():
            with visit(address, habits, progress) as session:
                yield partial(_there, session)
        case _:
            raise UsageError(
                f"{address}: not a target for this", hint="give cpu, adb[:SERIAL] or ssh:[USER@]HOST[:PORT]"
            )


def _there(
    session: Session, subjects: Sequence[Subject], settings: cpu.Settings, progress: Progress
) -> tuple[Measurement, ...]:
    return measured.measure(subjects, settings, session, progress)
