"""What came in and what goes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from squeeze.report.collecting import parsed
from squeeze.report.evidence import Evidence
from squeeze.report.evidence.origin import setting
from squeeze.report.page import words
from squeeze.report.page.parts import Cell, Fold, Part, Section, Table, Words, row
from squeeze.stages.export.results import FormatResult
from squeeze.stages.teacher.stage import TeacherResult
from squeeze.targets.devices.results import Functional

__all__ = ["flow"]

MOST_LABELS = 40


def flow(found: Evidence) -> Section:
    """Text and teacher in, files out."""
    return Section("flow", "What came in and what goes out", (*_data(found), *_teacher(found), *_out(found)))


def _data(found: Evidence) -> Iterator[Part]:
    if found.data is None:
        yield Words("The run has no data yet.", quiet=True)
        return
    rows = tuple(
        row(
            name,
            words.count(split.rows),
            words.count(split.dropped_duplicates),
            words.count(split.dropped_near_duplicates),
            split.source,
        )
        for name, split in found.data.splits.items()
    )
    yield Table(("text in", "rows", "duplicates dropped", "near-duplicates dropped", "source"), rows)
    labels = found.report.labels
    shown = tuple(
        row(label, *(words.count(split.per_label.get(label)) for split in found.data.splits.values()))
        for label in labels[:MOST_LABELS]
    )
    left = len(labels) - len(shown)
    more = (Words(f"{left:,} more labels are not listed.", quiet=True),) if left else ()
    table = Table(("label", *found.data.splits), shown)
    yield Fold(f"Rows of each of the {len(labels):,} labels", (table, *more))


def _teacher(found: Evidence) -> Iterator[Part]:
    result = parsed(found.stages.get("teacher"), TeacherResult)
    if result is None:
        yield Words("The run has no teacher yet.", quiet=True)
        return
    named = setting(found.stages["teacher"], "teacher", "model")
    tuned = setting(found.stages["teacher"], "teacher", "finetune") is not None
    yield Table(
        ("teacher in", ""),
        (
            row("model", named if isinstance(named, str) else "several, averaged"),
            row("fine-tuned here", "yes" if tuned else "no"),
            row("shape", f"{result.family}, {result.layers} layers of {result.hidden}, {result.heads} heads"),
            row("parameters", words.count(result.parameters)),
            row("weights", f"{words.megabytes(result.size_bytes)} MB"),
        ),
    )


def _out(found: Evidence) -> Iterator[Part]:
    if found.export is None:
        yield Words("Nothing goes out yet: the run has no export.", quiet=True)
        return
    rows = []
    for form, made in found.export.forms.items():
        ships = Cell("ships", tone="good") if form == found.form else Cell("")
        agreed = f"{100 * made.parity.agreement:.2f}"
        rows.append(row(made.file, form, words.megabytes(made.size_bytes), agreed, made.parity.source, ships))
        if made.ort is not None:
            size = words.megabytes(made.ort.size_bytes)
            rows.append(
                row(made.ort.file, form, size, f"{100 * made.ort.parity.agreement:.2f}", made.file, "")
            )
    if found.export.engine is not None:
        engine = found.export.engine
        kept = f"{100 * engine.parity.agreement:.2f}"
        named = f"TensorRT {engine.tensorrt}, {engine.precision}"
        rows.append(row(engine.file, named, words.megabytes(engine.size_bytes), kept, engine.source, ""))
    for name, other in found.export.formats.items():
        rows.append(_other(name, other))
    rows.append(row("tokenizer.json", "", words.megabytes(found.export.tokenizer_bytes), "", "", ""))
    yield Table(("file out", "form", "MB", "labels kept %", "compared with", ""), tuple(rows))
    yield Words(
        "Labels kept: validation texts with the same label as what the file was made from.", quiet=True
    )
    if found.export.checks:
        yield _emulated(found.export.checks)


def _other(name: str, made: FormatResult) -> tuple[Cell, ...]:
    """The format of another runtime; one that was not run here keeps no labels and says why."""
    files, size = ", ".join(made.files), words.megabytes(made.size_bytes)
    if made.parity is None:
        return row(files, name, size, "-", f"not checked: {made.unchecked}", "")
    return row(files, name, size, f"{100 * made.parity.agreement:.2f}", made.parity.source, "")


def _emulated(checks: Sequence[Functional]) -> Table:
    """What each file computes on emulated cores, against the machine that exported it."""
    rows = tuple(
        row(
            each.file,
            each.target.removeprefix("qemu:"),
            f"{one.largest:.2g}",
            f"{one.share:.2g} of {each.limit:g}",
            f"{one.unequal} of {one.values}",
        )
        for each in checks
        for one in each.differences
    )
    headers = (
        "file",
        "emulated core",
        "largest difference",
        "of the largest value, limit",
        "values that differ",
    )
    return Table(headers, rows)
