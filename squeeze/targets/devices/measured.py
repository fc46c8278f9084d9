"""Measure models on a device: golden outputs first, then load time and memory, then all of them in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from squeeze.artifact import digest_file
from squeeze.core.stats import steady
from squeeze.errors import Inconclusive
from squeeze.progress import Progress
from squeeze.targets.cpu import Settings
from squeeze.targets.devices.facts import Condition, Device, big_cores, throttling
from squeeze.targets.devices.golden import Golden, confirmed, goldens
from squeeze.targets.devices.plan import Plan, Planned, Timing
from squeeze.targets.devices.results import Difference
from squeeze.targets.devices.session import Session
from squeeze.targets.figures import of_calls, of_starts
from squeeze.targets.measurement import Measurement
from squeeze.targets.noise import remarks
from squeeze.targets.subjects import Subject, model_bytes

__all__ = ["measure"]

BLOCK_CALLS = 20  # feeds of a block
LEAST_BLOCKS = 10  # a ratio's bootstrap needs 6; a few more make its interval worth reading
RUN_ONCE_S = 120.0  # to load a model and run its feeds once
WARM_TOLERANCE = 0.05
WARM_WINDOWS = 2.5  # of a block's calls each: `steady` compares the last two
LEAST_WARM_S = 0.5
WARM_SHARE = 0.25  # most of a model's time that warming up may take


@dataclass(frozen=True)
class Visit:
    """What all measurements of one visit share."""

    session: Session
    settings: Settings
    device: Device
    idle: Condition
    cores: tuple[int, ...]
    goldens: tuple[Golden, ...]
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """The device."""
        return self.session.transport.name

    @property
    def spinning(self) -> bool:
        """The idle threads of one model would take the cores from the one being timed."""
        return self.settings.threads == 1 or len(self.goldens) == 1

    def plan(
        self,
        models: Sequence[int],
        limit_s: float,
        *,
        calls: int | None = None,
        timing: Timing | None = None,
        outputs: bool = False,
    ) -> Plan:
        """A plan for some of the models, on our cores."""
        return Plan(
            models=[Planned(self.files[m], m, self.goldens[m].feeds[:calls]) for m in models],
            threads=self.settings.threads,
            cores=self.cores,
            limit_s=limit_s,
            timing=timing or Timing(),
            outputs=outputs,
            spinning=self.spinning,
        )


@dataclass(frozen=True)
class Timed:
    """The answer of the process that held all models."""

    calls: int
    answer: Mapping[str, Any]


def measure(
    subjects: Sequence[Subject], settings: Settings, session: Session, progress: Progress
) -> tuple[Measurement, ...]:
    """Measure models on the device of a session.

    Args:
        subjects: at least one.
        settings: as for this machine's processor; models that are compared always get even time.
        session: entered.
        progress: told of each step.

    Raises:
        UsageError: more threads than cores, or a file that is no model.
        MissingBackend: the runner cannot be started there.
        ParityFailed: the device computes something else.
        StageFailed: a model cannot be run, or the connection was lost.
        Inconclusive: the device slowed down while it was measured, or its processor is emulated.
    """
    asked = goldens(subjects, settings, BLOCK_CALLS)
    device, idle = session.describe()
    cores = big_cores(device.cores, settings.threads)
    visit = Visit(session, settings, device, idle, cores, asked, session.bring(asked))
    progress.log(f"{visit.name}: comparing outputs with this machine's")
    everyone = range(len(asked))
    answer = session.run(visit.plan(everyone, RUN_ONCE_S * len(asked), outputs=True), "comparing outputs")
    differences = [confirmed(visit.name, each, session.outputs(answer, m)) for m, each in enumerate(asked)]
    _require_a_real_processor(visit)
    starts = _starts(visit, progress)
    timed = _timed(visit, starts, progress)
    _require_a_steady_pace(visit, timed)
    return tuple(_measurement(visit, m, starts[m], timed, differences[m]) for m in everyone)


def _require_a_real_processor(visit: Visit) -> None:
    """An emulator translates the programs, and its kernel stays that of the machine that it runs on."""
    kernel = visit.session.kernel()
    if kernel not in (None, visit.device.machine):
        raise Inconclusive(
            f"{visit.name}: outputs agree with this machine's, but its {visit.device.machine} is emulated on "
            f"{kernel}: times would mean nothing",
            hint="measure on a device; --target qemu:CPU says what a model computes on an emulated core",
        )


def _starts(visit: Visit, progress: Progress) -> list[list[dict[str, Any]]]:
    """Answers of fresh processes that load one model each, by model."""
    found: list[list[dict[str, Any]]] = []
    repeats = visit.settings.starts
    with progress.task("load", len(visit.goldens) * repeats) as advance:
        for m, each in enumerate(visit.goldens):
            found.append([])
            for _ in range(repeats):
                plan = visit.plan([m], RUN_ONCE_S)
                found[-1].append(visit.session.run(plan, f"loading {each.subject.name}"))
                advance(1, note=each.subject.name)
    return found


def _timed(visit: Visit, starts: Sequence[Sequence[Mapping[str, Any]]], progress: Progress) -> Timed:
    """Time all models in turns; a slow one gets short blocks, so that there are enough of them."""
    settings, count = visit.settings, len(visit.goldens)
    firsts_s = [median(_of_model(each, "first_ms")) / 1e3 for each in starts]
    most_s = settings.max_seconds * count
    calls = max(1, min(BLOCK_CALLS, int(most_s / LEAST_BLOCKS / sum(firsts_s))))
    block_s = calls * max(firsts_s)
    warm_s = min(max(LEAST_WARM_S, WARM_WINDOWS * block_s), WARM_SHARE * settings.max_seconds)
    timing = Timing(warm_s, settings.min_runs, settings.min_seconds, most_s)
    # The last round is finished, not cut; each model's feeds are run once before.
    limit_s = RUN_ONCE_S * count + count * warm_s + most_s + 2 * count * block_s
    progress.log(f"{visit.name}: timing for up to {most_s:.0f} s on cores {_list(visit.cores)}")
    plan = visit.plan(range(count), limit_s, calls=calls, timing=timing)
    return Timed(calls, visit.session.run(plan, "timing"))


def _require_a_steady_pace(visit: Visit, timed: Timed) -> None:
    before, after = (Condition.parse(timed.answer[name]) for name in ("before", "after"))
    samples = [each["samples_ms"] for each in timed.answer["models"]]
    reason = throttling(visit.cores, before, after, samples)
    if reason:
        raise Inconclusive(
            f"{visit.name}: slowed down while it was measured: {reason}",
            hint="let it cool, plug it in, stop other programs; or measure for a shorter time: --seconds",
        )


def _measurement(
    visit: Visit,
    m: int,
    starts: Sequence[Mapping[str, Any]],
    timed: Timed,
    differences: Sequence[Difference],
) -> Measurement:
    """Put one model's answers together."""
    golden, settings = visit.goldens[m], visit.settings
    path = golden.subject.path
    around = _environment(visit, timed.answer, differences)
    timing = _timing_figures(golden, settings, timed, timed.answer["models"][m])
    told = {**timing, "stopped": _stopped(timing["samples_ms"], settings)}
    return Measurement(
        target=visit.name,
        name=golden.subject.name,
        file=path.name,
        form=golden.subject.form,
        sha256=digest_file(path),
        size_bytes=model_bytes(path),
        tokenizer_bytes=golden.subject.tokenizer_bytes,
        threads=settings.threads,
        cores=visit.cores,
        spinning=visit.spinning,
        inputs=dict(golden.inputs),
        **_start_figures(starts),
        **timing,
        environment=around,
        notes=tuple(remarks(told, timing["cv"], around)),
    )


def _timing_figures(
    golden: Golden, settings: Settings, timed: Timed, answer: Mapping[str, Any]
) -> dict[str, Any]:
    """Samples of one model, and what follows from them."""
    samples, per_block = answer["samples_ms"], timed.calls * answer["passes"]
    blocks = [samples[at : at + per_block] for at in range(0, len(samples), per_block)]
    widths = [golden.widths[: timed.calls]] * len(blocks)
    timing = of_calls(
        blocks,
        widths,
        batch=settings.batch,
        confidence=settings.confidence,
        has_length=golden.has_length,
    )
    return {
        **timing,
        "warmup_runs": len(answer["warmup_ms"]),
        "warm": steady(answer["warmup_ms"], timed.calls, WARM_TOLERANCE),
        "passes": answer["passes"],
        "preemptions": answer["preemptions"],
    }


def _start_figures(starts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Load time, first inference and memory of several fresh processes."""
    peaks, baselines = ([each[name] for each in starts] for name in ("peak_bytes", "baseline_bytes"))
    return of_starts(_of_model(starts, "load_ms"), _of_model(starts, "first_ms"), peaks, baselines)


def _environment(
    visit: Visit, answer: Mapping[str, Any], differences: Sequence[Difference]
) -> dict[str, Any]:
    """What the figures were measured on."""
    device = visit.device
    governors = {each.core: each.governor for each in device.cores}
    found = visit.session.properties
    name = device.model or " ".join(
        found[key] for key in ("ro.product.manufacturer", "ro.product.model") if key in found
    )
    return {
        **device.plain(),
        "cpu": f"{name} ({device.cpu or device.machine})" if name else device.cpu or device.machine,
        "usable_cores": len(device.cores),
        "properties": found,
        "load_average": None,
        "governor": governors[visit.cores[0]],
        "idle": visit.idle.plain(),
        "before": answer["before"],
        "after": answer["after"],
        "onnxruntime": answer["onnxruntime"],
        "runner": visit.session.abi,
        "differences": [each.plain() for each in differences],
        "seed": visit.settings.seed,
    }


def _stopped(samples: Sequence[float], settings: Settings) -> bool:
    return len(samples) < settings.min_runs or sum(samples) < settings.min_seconds * 1e3


def _of_model(starts: Sequence[Mapping[str, Any]], key: str) -> tuple[float, ...]:
    """A figure of the one model of each process."""
    return tuple(float(each["models"][0][key]) for each in starts)


def _list(cores: Sequence[int]) -> str:
    return ", ".join(map(str, cores))
