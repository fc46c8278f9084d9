"""Results of devices as text. A functional result has a table of its own, without a column for a time."""

from __future__ import annotations

from collections.abc import Iterator

from squeeze.errors import visible
from squeeze.markup import code, literal, table
from squeeze.targets.devices.facts import Condition, Device
from squeeze.targets.devices.results import Functional, FunctionalReport

__all__ = ["description", "functional"]

HEAD = ("model", "output", "largest difference", "of its largest value", "values that differ")


def functional(report: FunctionalReport) -> str:
    """Differences of each output, and what they do not say."""
    rows = [row for each in report.results for row in _rows(each)]
    first = report.results[0]
    return (
        f"{table(HEAD, rows)}\n\nRan on {literal(first.target)} with onnxruntime {first.onnxruntime}, "
        f"{first.feeds} inputs, compared with this machine.\n"
        "Functional: it says what the model computes there, and nothing about how fast.\n"
    )


def description(name: str, device: Device, condition: Condition, properties: dict[str, str]) -> str:
    """What a device is, one line a fact."""
    return "\n".join(
        f"{visible(key):<12} {visible(value)}" for key, value in _facts(name, device, condition, properties)
    )


def _rows(each: Functional) -> Iterator[tuple[str, ...]]:
    for one in each.differences:
        yield (
            code(each.name),
            literal(one.output),
            f"{one.largest:.3g}",
            f"{one.share:.3g} (limit {each.limit:g})",
            f"{one.unequal} of {one.values}",
        )


def _facts(
    name: str, device: Device, condition: Condition, properties: dict[str, str]
) -> Iterator[tuple[str, str]]:
    yield "target", name
    if device.model:
        yield "model", device.model
    yield "system", f"{device.system} {device.release}, {device.machine}"
    yield "processor", device.cpu or "unknown"
    yield "memory", f"{device.memory_bytes / 1e6:.0f} MB"
    for each in device.cores:
        clock = f"{each.most_khz / 1e6:.2f} GHz" if each.most_khz else "clock unknown"
        yield (
            f"core {each.core}",
            f"{clock}, capacity {each.capacity or '?'}, governor {each.governor or '?'}",
        )
    if condition.hottest is not None:
        yield "hottest", f"{condition.hottest:.0f} °C"
    yield from properties.items()
