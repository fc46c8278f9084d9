"""The five answers at the top of a run: how small, how fast, how good, what changed, may I ship it."""

from __future__ import annotations

from collections import Counter

from squeeze.report.coverage import NOTHING, coverage, outcome
from squeeze.report.evidence import Evidence
from squeeze.report.model import ModelRow, RunReport
from squeeze.report.page import words
from squeeze.report.page.parts import Card, Cell, Part, Table, Tone, Words, row
from squeeze.report.teacher_time import of_one
from squeeze.stages.gate.stage import Check, GateResult
from squeeze.targets.measurement import Measurement
from squeeze.tasks import METRICS

__all__ = ["budget", "cards", "shipped_measurement", "shipped_row", "verdict"]

TEST = "test"
CPU = "cpu"  # the target that the teacher is timed on
MOST_WARNINGS = 40
VERDICTS: dict[str, tuple[str, Tone]] = {
    "pass": ("Yes", "good"),
    "fail": ("No", "bad"),
    "inconclusive": ("Not known", "unsure"),
}
MARKS: dict[str, tuple[str, Tone]] = {
    "pass": ("pass", "good"),
    "fail": ("FAIL", "bad"),
    "inconclusive": ("inconclusive", "unsure"),
}


def cards(found: Evidence) -> tuple[Card, ...]:
    """The five answers; one that the run cannot give says why."""
    return (_small(found), _fast(found), _good(found), _changed(found), _ship(found))


def shipped_row(found: Evidence) -> ModelRow | None:
    """The figures of the file that ships."""
    return next((each for each in found.report.rows if each.name == found.form), None)


def shipped_measurement(found: Evidence) -> Measurement | None:
    """The measurement of the file that ships."""
    if found.bench is None or found.form is None or found.export is None:
        return None
    file = found.export.forms[found.form].file
    return next((each for each in found.bench.measurements if each.file == file), None)


def verdict(gate: GateResult | None) -> Cell:
    """The verdict in one word."""
    if gate is None:
        return Cell("not judged", tone="unsure")
    return Cell(*_toned(MARKS[gate.verdict]))


def _toned(mark: tuple[str, Tone]) -> tuple[str, str, Tone]:
    return mark[0], "", mark[1]


def _teacher(found: Evidence) -> ModelRow | None:
    return next((each for each in found.report.rows if each.name == "teacher"), None)


def _small(found: Evidence) -> Card:
    shipped, teacher = shipped_row(found), _teacher(found)
    if shipped is None or shipped.size_bytes is None:
        return Card("How small?", "Not known", ("The run has no exported file yet.",), "unsure")
    lines = ["model file and tokenizer"]
    if teacher is not None and teacher.size_bytes and shipped.size_bytes:
        ratio = words.times(teacher.size_bytes / shipped.size_bytes)
        lines.append(f"{ratio} times smaller than the teacher's {words.megabytes(teacher.size_bytes)} MB")
    return Card("How small?", f"{words.megabytes(shipped.size_bytes)} MB", tuple(lines))


def _fast(found: Evidence) -> Card:
    timed = shipped_measurement(found)
    if timed is None:
        return Card("How fast?", "Not known", ("The run was not measured: it has no bench.",), "unsure")
    lines = [f"median; 95 % within {words.milliseconds(timed.p95.value)} ms"]
    cpu = str(timed.environment.get("cpu", "unknown processor"))
    calls = f"{words.things(timed.batch, 'text')} a call, {words.things(timed.threads, 'thread')}"
    lines.append(f"{calls}, {cpu}")
    faster = found.report.teacher_time
    if faster is not None and found.form is not None and timed.target == CPU:
        lines.append(of_one(faster, found.form))
    return Card("How fast?", f"{words.milliseconds(timed.p50.value)} ms", tuple(lines))


def _good(found: Evidence) -> Card:
    shipped, teacher = shipped_row(found), _teacher(found)
    if shipped is None or TEST not in shipped.quality:
        return Card("How good?", "Not known", ("The run has no exported file yet.",), "unsure")
    quality = shipped.quality[TEST]
    lines = [f"{METRICS[quality.primary].title} on {quality.rows:,} test texts"]
    if teacher is not None and TEST in teacher.quality and shipped.retention is not None:
        whole = words.percent(teacher.quality[TEST].score)
        lines.append(f"{words.percent(shipped.retention)} % of the teacher's {whole}")
    return Card("How good?", words.percent(quality.score), tuple(lines))


def _changed(found: Evidence) -> Card:
    question = "What changed?"
    test = None
    if found.answers is not None:
        test = next((each for each in found.answers.splits if each.name == TEST), None)
    if test is None or test.shipped is None or test.teacher is None:
        why = found.answers.missing if found.answers is not None else "The run has no data yet."
        return Card(question, "Not known", (why or "There is no test split.",), "unsure")
    changes = test.changes()
    kinds = Counter(each.kind for each in changes)
    share = words.percent(len(changes) / len(test.texts))
    lines = (
        f"of {len(test.texts):,} test texts have another answer than the teacher's ({share} %)",
        f"{kinds['lost']:,} right answers lost, {kinds['gained']:,} gained",
    )
    return Card(question, f"{len(changes):,}", lines)


def _ship(found: Evidence) -> Card:
    gate = found.report.gate
    if gate is None:
        return Card("May I ship it?", "Not judged", (NOTHING,), "unsure")
    answer, tone = VERDICTS[gate.verdict]
    lines = [outcome(gate), *coverage(found.report)]
    if found.report.warnings:
        lines.append(f"{words.things(len(found.report.warnings), 'warning')} below.")
    return Card("May I ship it?", answer, tuple(lines), tone)


def budget(report: RunReport) -> tuple[Part, ...]:
    """Every limit with what was measured, and what the stages warn of."""
    warnings = tuple(Words(f"Warning: {line}") for line in report.warnings[:MOST_WARNINGS])
    if left := len(report.warnings) - len(warnings):
        warnings += (Words(f"{words.things(left, 'more warning')} not listed.", quiet=True),)
    if report.gate is None:
        return (Words(NOTHING, quiet=True), *warnings)
    rows = tuple(_limit(each) for each in report.gate.checks)
    return (Table(("limit", "measured", "allowed", "verdict", "note"), rows), *warnings)


def _limit(check: Check) -> tuple[Cell, ...]:
    value = words.ABSENT if check.value is None else f"{check.value:.4g} {check.unit}".strip()
    mark = Cell(*_toned(MARKS[check.verdict]))
    return row(check.name, value, f"{check.limit:.4g} {check.unit}".strip(), mark, check.note)
