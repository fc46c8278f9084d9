"""From a record of benchmarks.front to lines of Markdown: the table, the fronts, and the bar in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.pareto import Bar, Point, bar, front, winners
from benchmarks.tables import Record, interval, megabytes, points, table, three

__all__ = ["AXES", "artefacts", "fronts"]

AXES = {"size": "bytes", "latency": "ms"}
"""Drawings, by the cost on their axis."""
FASTER, SHARE = 3.0, 1 / 3
"""Aims: the tiny student is that many times faster than what is as good, at this share of its bytes."""
TRAINING = {
    "none": "none",
    "labels": "its own, on labels",
    "distilled": "distilled by squeeze",
    "theirs": "by its tool",
}
HEADERS = (
    "artefact",
    "training",
    "test",
    "out of event",
    "as the teacher, %",
    "above tiny, points",
    "MB",
    "tokenizer MB",
    "model alone, ms",
    "text to label, ms",
    "alone, times of tiny",
    "text to label, times of tiny",
    "front",
)


def artefacts(record: Record) -> list[Point]:
    """What was measured, as points."""
    return [
        Point(
            name,
            each["ours"],
            each["macro_f1"]["test"],
            each["bytes"],
            each["text_ms"],
            each["against"]["value"],
            each["text_against"]["value"],
        )
        for name, each in record["artefacts"].items()
        if "failed" not in each
    ]


def fronts(record: Record) -> list[str]:
    """Quality, size and time of all artefacts of a set, drawn and in words."""
    known = artefacts(record)
    pins = ", ".join(
        f"{name} {version}" for each in record["peers"].values() for name, version in each.items()
    )
    which, rows = record["set"], " and ".join(f"{rows} of {name}" for name, rows in record["rows"].items())
    return [
        f"### {which}",
        "",
        f"One teacher, students of seed {record['seed']}; macro-F1 on {rows.replace('_', ' ')} rows; "
        f"{record['blocks']} blocks of {record['texts']} validation texts, one thread, one text a call, all "
        f"in turns on one core. MB: files of the model, its tokenizer.json apart. Alone: without what cuts "
        f"the text. {pins}.",
        "",
        *table(HEADERS, _rows(record, known)),
        "",
        *(f"![macro-F1 against {axis}](results/front-{which}-{axis}.svg)\n" for axis in AXES),
        *_on_fronts(known),
        *_post_training(record, known),
        *_dominated(known),
        *_bar(known, record["beside"]),
        *_start(record),
    ]


def _start(record: Record) -> Iterator[str]:
    """Why a student that another tool trained is not far from tiny."""
    if any(each.get("training") == "theirs" for each in record["artefacts"].values()):
        yield (
            "- students trained by other tools begin as squeeze's carved student of tiny's depth, with all "
            "heads and pieces: what makes tiny faster and smaller than them is fewer of both, its table, "
            "and how its graph is written and rounded"
        )


def _rows(record: Record, known: Sequence[Point]) -> Iterator[tuple[str, ...]]:
    on = {axis: {each.name for each in front(known, [cost])} for axis, cost in AXES.items()}
    for name, each in record["artefacts"].items():
        if "failed" in each:
            yield (name, f"not made: {each['failed'].replace('|', '/')}", *("" for _ in HEADERS[2:]))
            continue
        quality = each["macro_f1"]
        yield (
            f"**{name}**" if each["ours"] else name,
            TRAINING[each["training"]],
            points(quality["test"]),
            points(quality["out_of_event"]) if "out_of_event" in quality else "",
            points(each["loyalty"]),
            _apart(each["f1_above"]),
            megabytes([each["bytes"]]),
            megabytes([each["tokenizer_bytes"]]) if each["tokenizer_bytes"] else "",
            f"{each['ms']:.3f}",
            f"{each['text_ms']:.3f}",
            interval(each["against"]),
            interval(each["text_against"]),
            ", ".join(axis for axis in AXES if name in on[axis]),
        )


def _apart(found: Record) -> str:
    value, low, high = (f"{100 * found[key]:+.1f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _on_fronts(known: Sequence[Point]) -> Iterator[str]:
    for axis, cost in AXES.items():
        yield f"- front by macro-F1 and {axis}: {_listed(front(known, [cost]))}"


def _post_training(record: Record, known: Sequence[Point]) -> Iterator[str]:
    plain = [each for each in known if record["artefacts"][each.name]["training"] == "none"]
    for axis, cost in AXES.items():
        yield f"- of those without training, front by macro-F1 and {axis}: {_listed(front(plain, [cost]))}"


def _listed(found: Sequence[Point]) -> str:
    return ", ".join(f"**{each.name}**" if each.ours else each.name for each in found)


def _dominated(known: Sequence[Point]) -> Iterator[str]:
    beaten = winners(known)
    if not beaten:
        yield "- no artefact of others dominates one of squeeze's front (macro-F1, size, text to label): pass"
    for mine, other in beaten:
        yield f"- {other.name} dominates **{mine.name}** (macro-F1, size, text to label): fail"


def _bar(known: Sequence[Point], name: str) -> Iterator[str]:
    tiny = next(each for each in known if each.name == name)
    beside = bar(tiny, known, FASTER, SHARE)
    aim = f"at least {FASTER:g} times faster, at most {three(SHARE)} of its size"
    if not beside:
        yield f"- no artefact of others has the macro-F1 of {name}: nothing to be {aim}"
        return
    yield f"- {name} beside the fastest of others of at least its macro-F1 ({aim}): {_against(beside[0])}"
    smallest = min(beside, key=lambda each: each.point.bytes)
    if smallest is not beside[0]:
        yield f"- and beside the smallest: {_against(smallest)}"
    missed = [each for each in beside if not (each.fast and each.small)]
    for each in missed:
        if each not in (beside[0], smallest):
            yield f"- not beaten: {_against(each)}"
    beaten = len(beside) - len(missed)
    yield f"- of {len(beside)} artefacts of others of at least its macro-F1, {beaten} are beaten by that much"


def _against(found: Bar) -> str:
    """Figures and the verdict, with what it fails by."""
    point = found.point
    said = (
        f"{point.name}, {points(point.f1)}: {point.alone:.2f} times faster alone, {point.whole:.2f} from "
        f"text to label, {three(found.share)} of its size: "
    )
    if found.fast and found.small:
        return f"{said}pass"
    why = [
        *(["not fast enough"] if not found.fast else []),
        *(["not small enough"] if not found.small else []),
    ]
    return f"{said}fail, {' and '.join(why)}"
