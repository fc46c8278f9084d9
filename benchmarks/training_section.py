"""From a record of benchmarks.training_peers to lines of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

from benchmarks.tables import Record, spread, stays, table, three

__all__ = ["training_peers"]

SQUEEZE = "squeeze"


def training_peers(record: Record) -> list[str]:
    """Texts a second, memory and macro-F1 of all tools, and whether the aims are reached."""
    tools, of = record["tools"], record["objective"]
    pins = ", ".join(
        f"{name} {version}" for each in record["peers"].values() for name, version in each.items()
    )
    return [
        f"{record['set']}, {record['training_texts']} training texts, {of['epochs']} epochs in batches of "
        f"{of['batch']}, {record['threads']} threads; {pins}. Every tool trains the same student (3 layers, "
        f"dense table, no dropout) from the same start under the same teacher, with the same objective: "
        f"divergence of the answers at temperature {of['temperature']:g}, and mean squared difference of "
        f"three hidden states times {of['states']:g}. Peers have the teacher in the loop; squeeze fills a "
        f"cache of its answers first, which counts. Validation after each epoch counts for none, and every "
        f"tool keeps its best epoch. Peak memory is that of all processes together; for squeeze, of a whole "
        f"`squeeze run` up to the exported files. Figures are means over seeds, with their range; * pads as "
        f"the tool's own example.",
        "",
        *table(
            (
                "tool",
                "texts/s",
                "squeeze sees times as many",
                "peak MB",
                "macro-F1 on test",
                "seconds in all",
            ),
            [(_name(name, each), *_cells(each, tools.get(SQUEEZE))) for name, each in tools.items()],
        ),
        "",
        *_verdicts(tools),
    ]


def _name(name: str, each: Record) -> str:
    return f"{name}*" if each["example"] else name


def _cells(each: Record, squeeze: Record | None) -> tuple[str, ...]:
    runs = _done(each)
    if not runs:
        return ("", "", "", "", f"not trained: {each['runs'][0]['failed'].replace('|', '/')}")
    ours = squeeze is not None and each["tool"] != SQUEEZE and _speedups(squeeze, each)
    return (
        _range([run["per_second"] for run in runs]),
        _range(ours) if ours else "",
        _range([run["peak_bytes"] / 1e6 for run in runs]) if _weighed(runs) else "-",
        spread([run["macro_f1"] for run in runs]),
        _range([run["process_s"] for run in runs]),
    )


def _weighed(runs: Sequence[Record]) -> bool:
    """Whether the record has peaks: those of an early one counted the watching process and were taken out."""
    return all("peak_bytes" in run for run in runs)


def _done(each: Record) -> list[dict[str, Any]]:
    return [run for run in each["runs"] if "failed" not in run]


def _pairs(squeeze: Record, other: Record) -> Iterator[tuple[Record, Record]]:
    """Runs of both sides with the same seed."""
    theirs = {run["seed"]: run for run in _done(other)}
    return ((run, theirs[run["seed"]]) for run in _done(squeeze) if run["seed"] in theirs)


def _speedups(squeeze: Record, other: Record) -> list[float]:
    return [ours["per_second"] / theirs["per_second"] for ours, theirs in _pairs(squeeze, other)]


def _range(values: Sequence[float]) -> str:
    middle = three(mean(values))
    return middle if len(values) == 1 else f"{middle} ({three(min(values))} to {three(max(values))})"


def _verdicts(tools: Record) -> Iterator[str]:
    squeeze = tools.get(SQUEEZE)
    if squeeze is None or not _done(squeeze):
        return
    filled = [run["per_second_cache_filled"] for run in _done(squeeze)]
    yield f"- squeeze with the cache filled by an earlier run: {_range(filled)} texts/s"
    trained = {name: each for name, each in tools.items() if each["tool"] != SQUEEZE and _done(each)}
    for name, each in trained.items():
        faster = _speedups(squeeze, each)
        for aim in each["aims"]:
            yield (
                f"- {name}: squeeze sees {_range(faster)} times as many texts a second, "
                f"at least {aim:g}: {_all(faster, aim)}"
            )
        gaps = [100 * (ours["macro_f1"] - theirs["macro_f1"]) for ours, theirs in _pairs(squeeze, each)]
        yield (
            f"- {name}: macro-F1 of squeeze's students less theirs {_signed(gaps)} points, "
            f"at least 0: {_mean(gaps)}"
        )
    if trained:
        yield _memory(squeeze, trained)


def _memory(squeeze: Record, trained: Record) -> str:
    """The peak of squeeze against that of the leanest peer, means over seeds."""
    if not all(_weighed(_done(each)) for each in (squeeze, *trained.values())):
        return "- peak memory: not measured"
    peaks = {name: mean(run["peak_bytes"] for run in _done(each)) for name, each in trained.items()}
    leanest = min(peaks, key=lambda name: peaks[name])
    ours = mean(run["peak_bytes"] for run in _done(squeeze))
    return (
        f"- peak of `squeeze run` {ours / 1e6:.0f} MB, at most that of the leanest peer, {leanest}, "
        f"{peaks[leanest] / 1e6:.0f} MB: {stays(ours, peaks[leanest])}"
    )


def _all(values: Sequence[float], limit: float) -> str:
    """Whether every seed reaches a limit, or none; else nobody knows."""
    if min(values) >= limit:
        return "pass"
    return "fail" if max(values) < limit else "inconclusive"


def _mean(gaps: Sequence[float]) -> str:
    """Whether the mean is not below 0; a lower mean of gaps of both signs says little."""
    if mean(gaps) >= 0:
        return "pass"
    return "fail" if max(gaps) < 0 else "inconclusive"


def _signed(gaps: Sequence[float]) -> str:
    return f"{mean(gaps):+.1f} ({min(gaps):+.1f} to {max(gaps):+.1f})"
