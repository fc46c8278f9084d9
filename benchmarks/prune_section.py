"""From the record of benchmarks.prune to lines of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from benchmarks.quality import score
from benchmarks.tables import Record, interval, points, reaches, spread, stays, table, three

__all__ = ["prune"]

RECOVERED = 0.99
DIFFERENCE = 1e-5
PREDICTED = 0.15
"""Largest error of a predicted share of the whole student's latency."""
ORDER = ("learned", "taylor", "magnitude", "random")
TEST = "test"


def prune(record: Record) -> list[str]:
    """Macro-F1 by method before and after recovery, sizes and latencies, verdicts."""
    methods: Record = record["methods"]
    first = next(iter(methods.values()))
    whole = [score(run["before"]["quality"][TEST]) for run in first]
    rows = [("uncut", spread(whole), "", "", "")]
    for name in [name for name in ORDER if name in methods]:
        runs = methods[name]
        cut, after = _scores(runs, "cut"), [score(run["quality"][TEST]) for run in runs]
        trained = runs[0]["phases"]
        kept = (spread(after), f"{points(sum(after) / sum(whole))} %") if trained else ("", "")
        rows.append((name, spread(cut), *kept, _heads(runs[0])))
    headers = (
        "method",
        "cut, test macro-F1",
        "recovered",
        "of the uncut student's",
        "heads a layer, first seed",
    )
    return [
        f"{record['set']}, {record['shape']} student, {len(whole)} seeds: {points(record['share'])} % "
        "of heads and of neurons cut; mean (range) in points.",
        "",
        *table(headers, rows),
        "",
        *(f"- {line}" for line in _verdicts(methods, whole)),
        *(_speed(record["speed"]) if record["speed"] else ()),
    ]


def _scores(runs: Sequence[Record], moment: str) -> list[float]:
    return [score(run[moment]["quality"][TEST]) for run in runs]


def _heads(run: Record) -> str:
    return " ".join(map(str, run["cut"]["heads"]))


def _verdicts(methods: Record, whole: Sequence[float]) -> Iterator[str]:
    known = [name for name in ORDER if name in methods]
    for better, worse in pairwise(known):
        pairs = zip(_scores(methods[better], "cut"), _scores(methods[worse], "cut"), strict=True)
        gains = [ours - theirs for ours, theirs in pairs]
        said = "pass" if sum(gains) > 0 else "fail"
        yield f"before recovery, {better} against {worse}, points, seed by seed: {spread(gains)}: {said}"
    for name in known:
        share = sum(score(run["quality"][TEST]) for run in methods[name]) / sum(whole)
        if methods[name][0]["phases"] and name != "random":
            said = f"{100 * share:.2f} %, at least {100 * RECOVERED:g} %"
            yield f"{name} recovers {said}: {reaches(share, RECOVERED)}"
    largest = max(run["difference"] for runs in methods.values() for run in runs)
    yield f"masked against sliced: {largest:.1e}, at most {DIFFERENCE:g}: {stays(largest, DIFFERENCE)}"


def _speed(found: Record) -> Iterator[str]:
    """Each model's latency beside the whole student's, as it was predicted and as it was measured."""
    models: Record = found["models"]
    whole = models["whole"]
    rows, errors = [], []
    for name, each in models.items():
        predicted = each["predicted_ms"] / whole["predicted_ms"]
        measured = each["measured"]["p50"]["value"] / whole["measured"]["p50"]["value"]
        errors.append(abs(predicted - measured))
        rows.append(
            (
                name,
                f"{each['parameters']:,}",
                f"{each['size_bytes'] / 1e6:.2f}",
                three(each["predicted_ms"]),
                interval(each["measured"]["p50"]),
                f"{points(predicted)} %",
                f"{points(measured)} %",
            )
        )
    headers = ("model", "parameters", "MB", "predicted, ms", "p50, ms", "predicted share", "measured share")
    yield from ("", f"{found['form']}, one text of {found['length']} tokens, one thread, in turns:", "")
    yield from table(headers, rows)
    worst = max(errors)
    yield ""
    yield (
        f"- predicted against measured share of the uncut latency: off by {points(worst)} points at most, "
        f"limit {points(PREDICTED)}: {stays(worst, PREDICTED)}"
    )
