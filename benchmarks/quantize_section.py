"""From the records of benchmarks.quantize and benchmarks.qat_cost to lines of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.quality import score
from benchmarks.tables import Record, points, reaches, spread, stays, table

__all__ = ["cost", "quantize"]

LOST = {"int8-dynamic": 0.003, "int8-static": 0.003, "int4-weight": 0.010}
"""Macro-F1 that training against the teacher may lose, mean over seeds."""
AGREEMENT, COST = 0.997, 2.5
TEST = "test"
MIB = 1 << 20


def quantize(record: Record) -> list[str]:
    """Macro-F1 by scheme and method in torch and in ONNX Runtime, verdicts."""
    schemes: Record = record["schemes"]
    runs = next(iter(next(iter(schemes.values())).values()))
    whole = [score(run["before"][TEST]) for run in runs]
    rows = [("float", "", spread(whole), "", "")]
    for scheme, methods in schemes.items():
        for method, found in methods.items():
            agreement = min(_agreements(found))
            rows.append(
                (scheme, method, spread(_torch(found)), spread(_onnx(found)), f"{100 * agreement:.2f} %")
            )
    limited = "" if record["rows"] is None else f", {record['rows']} training texts only"
    return [
        f"{record['set']}, {record['shape']} student, {len(whole)} seeds, {record['epochs']} epochs at "
        f"{record['learning_rate']:g}{limited}; macro-F1 on test in points, mean (range).",
        "",
        *table(("scheme", "method", "torch", "ONNX Runtime", "least agreement of labels, any test"), rows),
        "",
        *(f"- {line}" for line in _verdicts(schemes, whole)),
    ]


def _torch(runs: Sequence[Record]) -> list[float]:
    return [score(run["quality"][TEST]) for run in runs]


def _onnx(runs: Sequence[Record]) -> list[float]:
    return [run["onnx"]["splits"][TEST]["macro_f1"] for run in runs]


def _agreements(runs: Sequence[Record]) -> list[float]:
    splits = [(name, said) for run in runs for name, said in run["onnx"]["splits"].items()]
    return [said["agreement"] for name, said in splits if name != "validation"]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _verdicts(schemes: Record, whole: Sequence[float]) -> Iterator[str]:
    for scheme, methods in schemes.items():
        scores = {method: _onnx(found) for method, found in methods.items()}
        if "teacher" in scores:
            lost = _mean(whole) - _mean(scores["teacher"])
            limit = LOST[scheme]
            said = f"loses {100 * lost:.2f} points, at most {points(limit)}"
            yield f"{scheme}, trained against the teacher, {said}: {stays(lost, limit)}"
        for other, what in (
            ("ptq", "rounding alone"),
            ("labels", "labels only"),
            ("student", "its former self"),
        ):
            if "teacher" in scores and other in scores:
                gains = [ours - theirs for ours, theirs in zip(scores["teacher"], scores[other], strict=True)]
                verdict = f": {reaches(_mean(gains), 0.0)}" if other == "ptq" else ""
                yield f"{scheme}, teacher against {what}, points, seed by seed: {spread(gains)}{verdict}"
    least = min(
        share for methods in schemes.values() for found in methods.values() for share in _agreements(found)
    )
    yield (
        f"labels of torch and ONNX Runtime: {100 * least:.2f} % alike, at least {100 * AGREEMENT:g} %: "
        + reaches(least, AGREEMENT)
    )


def cost(record: Record) -> list[str]:
    """Seconds and memory of an epoch beside one in float."""
    found: Record = record["epoch"]
    rows = [
        (
            way,
            f"{each['seconds']:.1f}",
            f"{each['seconds_share']:.2f}",
            f"{each['peak_bytes'] / MIB:.0f}",
            f"{each['peak_bytes_share']:.2f}",
        )
        for way, each in found.items()
    ]
    headers = ("one epoch", "seconds", "times float", "peak MiB of its process", "times float")
    lines = [
        f"{record['set']}, {record['shape']} student, {record['rows']} texts; medians of "
        f"{len(record['rounds'])} epochs, all in turns.",
        "",
        *table(headers, rows),
        "",
    ]
    for what, key in (("time", "seconds_share"), ("memory", "peak_bytes_share")):
        worst = max(each[key] for each in found.values())
        lines.append(f"- {what} of an epoch: {worst:.2f} times float, at most {COST}: {stays(worst, COST)}")
    return lines
