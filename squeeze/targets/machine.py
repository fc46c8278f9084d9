"""What makes a measured time doubtful, and what would help.

Most of what happens on a busy machine can only slow a model down: a pass stands all the same, a failure may
be the machine's. The rest may go either way. A reason that can say how far off the figure may be says so,
and a verdict that holds even there stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from squeeze.schema import Frozen
from squeeze.targets.measurement import MachineState, Measurement
from squeeze.targets.noise import CV_LIMIT
from squeeze.targets.quantiles import QUANTILES

__all__ = ["THROUGHPUT", "Disturbance", "doubts", "notes", "one_sided", "reasons", "struck_error", "together"]

THROUGHPUT = "throughput"
LEAST_SHARE = 0.02  # of a core's time: below it, ticks of 10 ms and the kernel's own work look like load
CLOCK_CHANGE = 0.1  # four times the mark of an unstable time, as for the blocks
LOW_CLOCK = (
    0.5  # of the highest: less than processors keep up under load; it idles, saves power or is too hot
)
CV_FAR = 4 * CV_LIMIT  # blocks that differ so much come from a machine that may be as far off as a whole
TIMER_LIMIT = 0.01  # of a call; less than half of the mark of an unstable time
SHARES = ("other_load", "steal", "cpu_waiting", "memory_waiting")
COUNTS = ("thermal_throttles", "swapped_pages", "major_faults", "throttled_periods", "throttled_s")
STRIKES = 2  # calls that one interruption may slow: its own, and the next on cold caches
TURNS = "measure in turns: a budget in ref or against --baseline, not in ms"


class Disturbance(Frozen):
    """One reason to doubt a figure."""

    kind: str
    """one word"""
    text: str
    """what happened, with its size"""
    hint: str
    """what would help"""
    slows: bool = True
    """whether it can only make a model look slower than it is; else either way"""
    error: float | None = None
    """how far off the figure may be, as a share of it; None when nobody can say"""


def doubts(measurement: Measurement, figure: str) -> tuple[Disturbance, ...]:
    """Why an absolute figure may be the machine's and not the model's.

    What strikes single calls counts as soon as it strikes half as many as lie above the quantile: 25 % of
    all for p50, 2.5 % for p95, 0.5 % for p99. Every call counts in a mean, as in p99.

    Args:
        measurement: one without ``machine`` is judged by what it has.
        figure: a key of ``QUANTILES``, or ``THROUGHPUT``.
    """
    share = struck_share(figure)
    found = [*_preempted(measurement, share, figure)]
    if measurement.machine is not None:
        found += [
            *_load(measurement, measurement.machine, share, figure),
            *_taken(measurement.machine, share),
            *_hot(measurement.machine),
            *_struck(measurement, measurement.machine, share),
            *_clock(measurement.machine),
        ]
    return (*found, *_unsteady(measurement), *_coarse(measurement))


def reasons(measurement: Measurement) -> tuple[Disturbance, ...]:
    """Why a ratio of models that ran in turns may be wrong: only what does not cancel in it."""
    if not measurement.runs or not measurement.samples_ms:
        text, hint = f"{measurement.name} has no samples", "measure it anew, or give the whole report"
        return (Disturbance(kind="samples", text=text, hint=hint, slows=False),)
    return tuple(_coarse(measurement))


def one_sided(measurement: Measurement, figure: str) -> Disturbance | None:
    """What other programs may have done to a ratio of which this model is one side.

    Args:
        measurement: of the side that seems slower than it is.
        figure: a key of ``QUANTILES``.

    Returns:
        None where they took the core from too few calls to show.
    """
    found = next(_preempted(measurement, struck_share(figure), figure), None)
    if found is None:
        return None
    # A side that is (1 - e) of what was measured moves the ratio by 1 / (1 - e) at most, either way.
    error = None if found.error is None or found.error >= 1 else found.error / (1 - found.error)
    text = f"other programs took the core from {measurement.name}"
    return found.model_copy(update={"slows": False, "error": error, "text": text})


def notes(state: MachineState) -> list[str]:
    """What a reader of the report must know of the machine, whatever will be judged."""
    share = struck_share("p95")
    texts = [each.text for each in (*_taken(state, share), *_hot(state), *_clock(state))]
    if state.other_load is not None and state.other_load > max(share, LEAST_SHARE):
        texts.append(_used(state.other_load))
    if state.throttled_periods:
        texts.append(_throttled(state))
    return texts


def together(states: Sequence[MachineState]) -> MachineState:
    """What went on in several stretches of time, as one: shares by their seconds, counts added up.

    Args:
        states: at least one, in the order they were taken, on the same cores.
    """
    first, last = states[0], states[-1]
    seconds = sum(each.seconds for each in states)

    def share(name: str) -> float | None:
        found = [getattr(each, name) for each in states]
        if None in found:
            return None
        return float(sum(one * each.seconds for one, each in zip(found, states, strict=True)) / seconds)

    def total(name: str) -> Any:
        found = [getattr(each, name) for each in states]
        return None if None in found else sum(found)

    clocks = (
        None if first.clock_mhz is None or last.clock_mhz is None else (first.clock_mhz[0], last.clock_mhz[1])
    )
    return last.model_copy(
        update={
            "seconds": seconds,
            **{name: share(name) for name in SHARES},
            **{name: total(name) for name in COUNTS},
            "clock_mhz": clocks,
            "timer_ns": max(each.timer_ns for each in states),
        }
    )


def struck_share(figure: str) -> float:
    """Share of the calls that must be struck before a figure may show it."""
    return (1 - QUANTILES["p99" if figure == THROUGHPUT else figure]) / 2


def struck_error(measurement: Measurement, figure: str, share: float) -> float | None:
    """How much smaller a figure would be without the slowest calls, as a share of it.

    Calls that were not struck show what the model takes. If they are a share u of all, at least a share
    q u of all calls lie below their q-quantile, so that the true one is not below the q u-quantile of all;
    for a mean, the slowest calls are left out. A struck call leaves cold caches to the next, so each counts
    twice.

    Args:
        measurement: with its samples.
        figure: a key of ``QUANTILES``, or ``THROUGHPUT``.
        share: of the calls that were struck.

    Returns:
        None where that many calls struck leave nothing to go by.
    """
    level = QUANTILES.get(figure, 1.0)
    kept = level * (1 - STRIKES * share)
    if kept <= 0 or not measurement.samples_ms:
        return None
    samples = np.sort(np.asarray(measurement.samples_ms))
    if figure == THROUGHPUT:
        return float(1 - samples[: max(1, int(kept * len(samples)))].mean() / samples.mean())
    low, high = np.quantile(samples, [kept, level])
    return float(1 - low / high)


def _preempted(measurement: Measurement, share: float, figure: str) -> Iterator[Disturbance]:
    if measurement.preemptions > measurement.runs * share:
        text = f"another program took the core {measurement.preemptions} times in {measurement.runs} calls"
        error = struck_error(measurement, figure, measurement.preemptions / measurement.runs)
        yield Disturbance(kind="preempted", text=text, hint=f"stop it, or {TURNS}", error=error)


def _load(measurement: Measurement, state: MachineState, share: float, figure: str) -> Iterator[Disturbance]:
    """Others on the measured cores.

    One busy thread gives its core away only by pre-emption, so that says how many calls were struck, few long
    turns or many short ones. Threads that wait for each other give theirs away uncounted.
    """
    if state.other_load is not None and state.other_load > max(share, LEAST_SHARE):
        counted = measurement.preemptions / max(1, measurement.runs)
        struck = counted if measurement.threads == 1 else max(state.other_load, counted)
        hint = f"stop them, bind to other cores with taskset, or {TURNS}"
        error = struck_error(measurement, figure, struck)
        yield Disturbance(kind="load", text=_used(state.other_load), hint=hint, error=error)


def _used(load: float) -> str:
    return f"other programs used {load:.0%} of the measured cores"


def _taken(state: MachineState, share: float) -> Iterator[Disturbance]:
    """Time in which nothing of ours could run, through no program of this system, or for want of memory."""
    most = max(share, LEAST_SHARE)
    if state.steal is not None and state.steal > most:
        text = f"the hypervisor had the measured cores for {state.steal:.0%} of the time"
        yield Disturbance(kind="steal", text=text, hint=f"take a quieter runner, or {TURNS}")
    if state.memory_waiting is not None and state.memory_waiting > most:
        text = f"programs waited for memory for {state.memory_waiting:.0%} of the time"
        yield Disturbance(kind="memory", text=text, hint="free memory")


def _hot(state: MachineState) -> Iterator[Disturbance]:
    if state.thermal_throttles:
        text = f"the cores were slowed {state.thermal_throttles} times because they were hot"
        yield Disturbance(kind="heat", text=text, hint="let the machine cool, or measure for fewer --seconds")


def _struck(measurement: Measurement, state: MachineState, share: float) -> Iterator[Disturbance]:
    """What stops single calls, counted for all models: this one has its share of the time."""
    own = sum(measurement.samples_ms) / 1e3 / state.seconds if measurement.samples_ms else 1.0
    most = measurement.runs * share
    if state.major_faults * own > most:
        moved = f", {state.swapped_pages} pages were swapped" if state.swapped_pages else ""
        text = f"the measuring process waited for {state.major_faults} pages of memory{moved}"
        yield Disturbance(kind="swap", text=text, hint="free memory")
    if (state.throttled_periods or 0) * own > most:
        # A short run can end before the quota is used up, a long one cannot: both are off.
        hint = f"lift the quota, use fewer --threads, or {TURNS}"
        yield Disturbance(kind="quota", text=_throttled(state), hint=hint, slows=False)


def _throttled(state: MachineState) -> str:
    limit = "" if state.quota_cores is None else f" of {state.quota_cores:g} cores"
    return f"the quota{limit} stopped the process in {state.throttled_periods} periods"


def _clock(state: MachineState) -> Iterator[Disturbance]:
    if state.clock_mhz is None:
        return
    before, after = state.clock_mhz
    change = abs(after / before - 1) if before else 0.0
    if change > CLOCK_CHANGE:
        text = f"the clock went from {before:.0f} to {after:.0f} MHz"
        hint = f"measure for more --seconds, set the governor to performance, or {TURNS}"
        yield Disturbance(kind="clock", text=text, hint=hint, slows=False, error=change)
    limit = state.clock_limit_mhz
    if limit is not None and after < LOW_CLOCK * limit:
        text = f"the clock was at {after:.0f} of {limit:.0f} MHz"
        yield Disturbance(kind="slow clock", text=text, hint=f"set the governor to performance, or {TURNS}")


def _unsteady(measurement: Measurement) -> Iterator[Disturbance]:
    if measurement.cv > CV_FAR:
        text = f"block medians vary by {measurement.cv:.0%} (limit {CV_FAR:.0%})"
        hint = f"measure for more --seconds on a quieter machine, or {TURNS}"
        # Off by the factor 1 + cv, either way: a limit that is further away is decided all the same.
        error = measurement.cv / (1 + measurement.cv)
        yield Disturbance(kind="unsteady", text=text, hint=hint, slows=False, error=error)


def _coarse(measurement: Measurement) -> Iterator[Disturbance]:
    """A clock whose steps are large beside a call."""
    step_ms = 0.0 if measurement.machine is None else measurement.machine.timer_ns / 1e6
    if step_ms > TIMER_LIMIT * measurement.p50.value:
        text = f"the timer's steps of {step_ms:.3g} ms are coarse for calls of {measurement.p50.value:.3g} ms"
        error = step_ms / measurement.p50.value if measurement.p50.value else None
        hint = "use a larger --batch"
        yield Disturbance(kind="timer", text=text, hint=hint, slows=False, error=error)
