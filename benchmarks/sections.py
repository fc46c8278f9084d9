"""One function for each kind of result: from its JSON record to lines of Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.datasets import JUDGED
from benchmarks.quality import score
from benchmarks.tables import (
    Record,
    interval,
    megabytes,
    points,
    reaches,
    reaches_interval,
    spread,
    stays,
    table,
    three,
)

__all__ = [
    "cache",
    "cost_table",
    "first_run",
    "graph",
    "initialisation",
    "kill",
    "lean",
    "offline",
    "speed",
    "startup",
    "students",
]


@dataclass(frozen=True)
class Bar:
    """What a shape must reach: share of the teacher's macro-F1, megabytes, times faster than BERT-base."""

    share: float
    size_mb: float
    speedup: float


BARS: Mapping[str, Bar] = {"tiny": Bar(0.99, 3.5, 55.0), "small": Bar(0.995, 5.0, 30.0)}
TEACHER_SPEEDUP = 7.0
"""Of the tiny student over its fp32 teacher."""
CARVED_GAIN = 0.03
CACHE_SPEEDUP = 1.5
PREDICTED = 0.95
"""Share of the predictions of the cost table that must be near."""
HELP_S = 0.3
RUN_S, RUN_BYTES = 600.0, 3e9
FORMS = {"int8-dynamic": "int8", "fp32": "fp32"}


def students(record: Record) -> list[str]:
    """Macro-F1 of every model of a set, and the verdicts of its students."""
    tests = [name for name in record["teacher"]["quality"] if name != "validation"]
    tests.sort(key=lambda name: name != "test")
    size = f"{record['teacher']['size_bytes'] / 1e6:.1f}"
    rows = [
        ("TF-IDF + logistic regression", "", *_quality_cells([record["tfidf"]["quality"]], tests, None)),
        ("teacher", size, *_quality_cells([record["teacher"]["quality"]], tests, None)),
    ]
    for shape, made in record["students"].items():
        rows += [_student_row(record, shape, form, made, tests) for form in FORMS if made]
    unlabelled = ", ".join(record["unlabelled"]) or "none"
    trial = f" **A try on {record['limit']} rows a split.**" if record["limit"] else ""
    return [
        f"{record['set']}: macro-F1 in points, mean (range) over seeds, and the share of the teacher's; "
        f"size of model and tokenizer in MB; unlabelled text of other sets: {unlabelled}.{trial}",
        "",
        *table(("model", "MB", *tests), rows),
        "",
        *[f"- {line}" for shape, made in record["students"].items() for line in _bars(record, shape, made)],
    ]


def _student_row(
    record: Record, shape: str, form: str, made: Sequence[Record], tests: Sequence[str]
) -> tuple[str, ...]:
    found = [each["export"]["forms"][form]["quality"] for each in made]
    sizes = _sizes(made, form)
    cells = _quality_cells(found, tests, record["teacher"]["quality"])
    return (f"{shape} {FORMS[form]} ({len(made)} seeds)", megabytes(sizes), *cells)


def _sizes(made: Sequence[Record], form: str) -> list[int]:
    return [each["export"]["forms"][form]["size_bytes"] + each["export"]["tokenizer_bytes"] for each in made]


def _quality_cells(found: Sequence[Record], tests: Sequence[str], teacher: Record | None) -> Iterator[str]:
    for test in tests:
        drawn = spread([score(each[test]) for each in found])
        yield drawn if teacher is None else f"{drawn}, {points(_share(found, teacher, test))} %"


def _share(found: Sequence[Record], teacher: Record, test: str) -> float:
    """Mean over seeds of the share of the teacher's macro-F1."""
    mean = sum(score(each[test]) for each in found) / len(found)
    return float(mean / score(teacher[test]))


def _bars(record: Record, shape: str, made: Sequence[Record]) -> Iterator[str]:
    """Verdicts of the int8 form of a shape; a shape of the fronts alone has no bars."""
    if not made or shape not in BARS:
        return
    bar, found = BARS[shape], [each["export"]["forms"]["int8-dynamic"]["quality"] for each in made]
    largest = max(_sizes(made, "int8-dynamic")) / 1e6
    yield f"{shape}, size {largest:.2f} MB of at most {bar.size_mb:g}: {stays(largest, bar.size_mb)}"
    for test in JUDGED:
        if test in found[0]:
            share = _share(found, record["teacher"]["quality"], test)
            said = f"{100 * share:.2f} % of the teacher, at least {100 * bar.share:g} %"
            yield f"{shape}, {test}: {said}: {reaches(share, bar.share)}"


def speed(record: Record) -> list[str]:
    """Latency of every model, ratios, verdicts."""
    ratios = record["ratios"]
    names = ("BERT-base fp32", "teacher fp32")
    rows = [
        (
            name,
            interval(found["p50"]),
            f"{(found['size_bytes'] + found['tokenizer_bytes']) / 1e6:.1f}",
            *(
                interval(pair, " x") if (pair := ratios.get(f"{name} against {other}")) else ""
                for other in names
            ),
        )
        for name, found in record["models"].items()
    ]
    longer = record["lengthening"]
    bars = [
        (shape, other, limit)
        for shape, bar in BARS.items()
        for other, limit in ((names[0], bar.speedup), (names[1], TEACHER_SPEEDUP if shape == "tiny" else 0.0))
        if limit
    ]
    first = next(iter(record["models"].values()))
    return [
        f"{record['set']}: one thread, batch 1, {first['sequence']['mean']:.1f} tokens on average (minimum "
        f"{first['sequence']['minimum']}, maximum {first['sequence']['maximum']}), p50 in ms; all models in "
        "turns in one process.",
        "",
        *table(("model", "p50, ms", "MB", *(f"faster than {name}" for name in names)), rows),
        "",
        f"The students' tokenizer makes the texts {longer:.3f} times as long; verdicts are made after "
        "dividing by it.",
        "",
        *[
            f"- {shape} int8, at least {limit:g} x {other}: "
            f"{reaches_interval(ratios[f'{shape} int8 against {other}'], limit, longer)}"
            for shape, other, limit in bars
        ],
        *[f"- {name}: {note}" for name, found in record["models"].items() for note in found["notes"]],
    ]


def graph(record: Record) -> list[str]:
    """Lean graph against Hugging Face's, by shape and length."""
    rows = [
        (
            name,
            length,
            interval(found["lean_p50_ms"]),
            interval(found["plain_p50_ms"]),
            interval(found["ratio"], " x"),
            reaches_interval(found["ratio"], 1.0),
        )
        for name, shape in record["shapes"].items()
        for length, found in shape["lengths"].items()
    ]
    return table(("shape", "tokens", "lean, ms", "as it comes, ms", "faster", "verdict"), rows)


def lean(record: Record) -> list[str]:
    """What undoing each choice costs, by form."""
    rows = [
        (form, name, interval(record["p50_ms"][f"{name} {form}"]), interval(found, " x"))
        for form, variants in record["worth"].items()
        for name, found in variants.items()
    ]
    whole = ", ".join(
        f"{form} {interval(record['p50_ms'][f'as exported {form}'])} ms" for form in record["worth"]
    )
    return [
        f"The tiny student at {record['tokens']} tokens, one thread; as exported: {whole}.",
        "",
        *table(("form", "undone", "p50, ms", "slower than as exported"), rows),
    ]


def initialisation(record: Record) -> list[str]:
    """Carved against random, by embedding."""
    rows = []
    for kind, pairs in record["pairs"].items():
        carve, random = (
            [score(pair[start]["quality"]["test"]) for pair in pairs] for start in ("carve", "random")
        )
        gains = [ours - theirs for ours, theirs in zip(carve, random, strict=True)]
        mean = sum(gains) / len(gains)
        rows.append((kind, spread(carve), spread(random), spread(gains), reaches(mean, CARVED_GAIN)))
    seeds = len(next(iter(record["pairs"].values())))
    return [
        f"{record['set']}, test macro-F1 in points, mean (range) over {seeds} seeds, "
        f"equal epochs; at least {points(CARVED_GAIN)} points better."
        + (f" **A try on {record['limit']} rows a split.**" if record["limit"] else ""),
        "",
        *table(("embedding", "carved", "random", "gain", "verdict"), rows),
    ]


def cache(record: Record) -> list[str]:
    """Samples per second with and without the cache, and the teacher's work."""
    pairs = record["pairs"]
    rows = []
    for side in ("cached", "in_loop"):
        runs = [pair[side] for pair in pairs]
        speeds = sorted(run["per_second"] for run in runs)
        counts = (f"{runs[0]['passes_filling']}", f"{runs[0]['passes_training']}")
        rows.append(
            (
                side.replace("_", " "),
                f"{speeds[len(speeds) // 2]:.0f}",
                f"{speeds[0]:.0f} to {speeds[-1]:.0f}",
                *counts,
            )
        )
    headers = ("teacher", "texts/s, median", "range", "teacher passes before training", "during all epochs")
    found = record["speedup"]
    again = record["second_run"]
    return [
        f"{record['set']}, {record['training_texts']} texts, {record['epochs']} epochs, "
        f"{len(pairs)} runs of each side in turns; the time to fill the cache counts.",
        "",
        *table(headers, rows),
        "",
        f"- {interval(found, ' x')}, at least {CACHE_SPEEDUP:g} x: {reaches_interval(found, CACHE_SPEEDUP)}",
        f"- a second run: {again['passes_filling'] + again['passes_training']} teacher passes",
    ]


def cost_table(record: Record) -> list[str]:
    """Predicted against measured latency, every student listed."""
    made, near = record["table"], record["near"]
    rows = [
        (
            f"{row['student']} {FORMS[row['form']]}",
            ", ".join(f"{heads}/{neurons}" for heads, neurons in row["layers"]),
            *(
                f"{three(found)}, {100 * error:+.1f} %"
                for found, error in zip(row["measured_ms"], row["errors"], strict=True)
            ),
        )
        for row in record["rows"]
    ]
    verdicts = [
        f"- {FORMS[form]}: {100 * found['share']:.1f} % within {100 * near:g} %, "
        f"at least {100 * PREDICTED:g} %: {reaches(found['share'], PREDICTED)}; "
        f"worst {100 * found['worst']:+.1f} %, mean without sign {100 * found['mean']:.1f} %"
        for form, found in record["forms"].items()
    ]
    return [
        f"{record['students']} random students of hidden width 384 that the table never saw, one thread; "
        f"the table: {made['probes']} probes at {', '.join(map(str, made['lengths']))} tokens, in turns with "
        f"the students, {made['seconds']:.0f} s in all. Layers are heads/neurons; then the measured latency "
        "in ms and the error of the prediction.",
        "",
        *table(("student", "layers", *(f"{length} tokens" for length in record["lengths"])), rows),
        "",
        *verdicts,
        *_few("table", made["notes"]),
        *_few("students", record["notes"]),
    ]


def _few(what: str, notes: Sequence[str], most: int = 3) -> Iterator[str]:
    """The first notes of many files, and how many more there are."""
    yield from (f"- {what}: {note}" for note in notes[:most])
    if len(notes) > most:
        yield f"- {what}: {len(notes) - most} notes more"


def kill(record: Record) -> list[str]:
    """How often it was killed, where, and whether the digests are the same."""
    where = Counter(stage for run in record["runs"] for stage in run["killed_in"])
    said = ", ".join(f"{stage} {count}" for stage, count in where.most_common())
    same = sum(run["digests"] == record["digests"] for run in record["runs"])
    return [
        f"- {record['profile']}, {record['undisturbed_s']:.0f} s undisturbed: {record['kills']} kills in "
        f"{len(record['runs'])} runs, all of which ended; killed in: {said}",
        f"- same digests of {', '.join(record['digests'])}: {same} of {len(record['runs'])} runs: "
        f"{'pass' if record['same'] else 'fail'}",
    ]


def offline(record: Record) -> list[str]:
    """Whether it runs without a network and opens no internet socket."""
    return [
        f"- {record['profile']} in a namespace with {record['interfaces']} alone: "
        f"exit {record['isolated_exit']}",
        f"- under strace: exit {record['traced_exit']}, {record['internet_sockets']} internet sockets; "
        f"others: {record['sockets']}",
        f"- {record['verdict']}",
    ]


def startup(record: Record) -> list[str]:
    """Time of the help, and bench without torch."""
    found = sorted(record["help_s"])
    median = record["help_median_s"]
    bench = record["bench_without_torch"]
    return [
        f"- `squeeze --help`: median {median:.3f} s of {len(found)} runs "
        f"({found[0]:.3f} to {found[-1]:.3f}), at most {HELP_S:g} s: {stays(median, HELP_S)}",
        f"- `squeeze bench` where {', '.join(bench['absent'])} are not installed: exit {bench['exit']}: "
        f"{stays(bench['exit'], 0)}",
    ]


def first_run(record: Record) -> list[str]:
    """Wall time and memory of the first run in a fresh clone."""
    return [
        f"- {record['profile']}, installed in {record['install_s']} s, exit {record['exit']}",
        f"- `make run` after install: {record['seconds']:.0f} s, at most {RUN_S:g}: "
        f"{stays(record['seconds'], RUN_S)}",
        f"- peak of all processes together {record['peak_bytes'] / 1e9:.2f} GB (largest process "
        f"{record['largest_process_bytes'] / 1e9:.2f}), at most {RUN_BYTES / 1e9:g}: "
        f"{stays(record['peak_bytes'], RUN_BYTES)}",
    ]
