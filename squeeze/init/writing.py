"""From what the user names to a profile that loads, plans and runs."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from squeeze import pipeline
from squeeze.data import sources
from squeeze.data.config import DataSection
from squeeze.data.labels import label_names_sorted
from squeeze.data.opening import home
from squeeze.data.sample import sample
from squeeze.data.table import Table
from squeeze.errors import DataError, UsageError
from squeeze.init.columns import REGRESSION, Columns, choose
from squeeze.init.recipe import Choice, StudentShape, shape
from squeeze.init.recipe import choose as choose_recipe
from squeeze.init.speed import Machine, Texts, measure
from squeeze.init.teacher import TeacherFacts, read_teacher
from squeeze.init.template import duration, fill, quote
from squeeze.profile import parse
from squeeze.runtime import usable_cores
from squeeze.schema import is_text
from squeeze.tasks import DEFAULT, METRICS, TASKS

__all__ = ["Wanted", "Written", "write"]

BUILTIN, HUB = "builtin:", "hf:"
NAMED = (BUILTIN, HUB)  # sources that hold several splits under one name
SHARE = 0.1
"""Part of a single file that becomes validation, and part that becomes test."""
MAX_LENGTH = 128
"""Tokens of a text at most, as the profile says."""
BUSY = 0.6
"""Share of a core below which the machine is called busy."""
PIECES = 1.35
"""Tokens of a word, on average; a script without spaces has one for about SIGNS bytes."""
SIGNS = 6


@dataclass(frozen=True)
class Wanted:
    """What the user said.

    Attributes:
        teacher: `builtin:minilm-l6`, a folder, or a hub name.
        train: labelled text: a file, or a built-in or hub name.
        validation: likewise; the `train` source by default if it is one with splits.
        test: likewise.
        labels: label names in the order of the model's outputs; None: those of the training text.
        text: column of the text; None: it is found by name and content.
        label_columns: columns of the label; one is found likewise.
    """

    teacher: str
    train: str
    validation: str | None = None
    test: str | None = None
    labels: tuple[str, ...] | None = None
    text: str | None = None
    label_columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Written:
    """What a profile was written on.

    Attributes:
        notes: what was assumed, one line each.
        warnings: of the checks that `squeeze plan` makes, and of a busy machine.
        seconds: the run is predicted to take.
    """

    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float


def write(
    wanted: Wanted,
    output: Path,
    *,
    runs: Path = Path("runs"),
    force: bool = False,
    machine: Machine | None = None,
) -> Written:
    """Write the profile; what `squeeze plan` would refuse is refused before.

    Args:
        wanted: what to put in.
        output: the file; paths in the profile are made relative to its folder.
        runs: folder of all runs, for the checks of `squeeze plan`.
        force: overwrite the file.
        machine: how fast this one is; None: it is measured.

    Raises:
        UsageError: the file exists or is a folder, its folder does not, or a split is missing.
        DataError: the data is no text with one label a row, or which columns are meant is not clear.
        ProfileError: the teacher cannot be one.
        MissingBackend: a library, a package or the hub is needed and not there.
    """
    _refuse_output(output, force=force)
    columns, section = _columns(wanted)
    tables = _tables(section, columns)
    labels = wanted.labels or _labels(tables["train"], columns)
    teacher = read_teacher(_expanded(wanted.teacher), labels, columns.problem_type)
    if teacher.head.finished and wanted.labels is None:
        labels = teacher.head.order
    student = shape(teacher)
    machine = machine or measure(usable_cores())
    choice = choose_recipe(teacher, student, _texts(tables), machine)
    text = _render(wanted, columns, labels, output, student, choice)
    profile = parse(tomllib.loads(text), str(output), output.parent)
    steps = pipeline.plan(profile, runs)
    partial = output.with_name(output.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(output)
    warnings = tuple(line for step in steps for line in step.warnings)
    return Written(
        notes=tuple(_notes(wanted, columns, labels, teacher, choice)),
        warnings=(*warnings, *_busy(machine)),
        seconds=choice.seconds,
    )


def _refuse_output(output: Path, *, force: bool) -> None:
    if output.is_dir():
        raise UsageError(f"{output}: is a folder", hint="give the name of a file")
    if output.exists() and not force:
        raise UsageError(f"{output}: exists already", hint="give --force to overwrite it, or another -o FILE")
    if not output.parent.is_dir():
        raise UsageError(f"{output.parent}: no such folder", hint="make it first, or give another -o FILE")


def _columns(wanted: Wanted) -> tuple[Columns, DataSection]:
    """The columns, and the sources to read; of a single file all rows stand in `train`."""
    if (wanted.validation is None) != (wanted.test is None) and not wanted.train.startswith(NAMED):
        missing, given = ("validation", "test") if wanted.validation is None else ("test", "validation")
        raise UsageError(
            f"--{missing}: missing, --{given} is given",
            hint=f"give --{missing} FILE, or neither: --train is then split in three",
        )
    if wanted.train.startswith("builtin:"):  # its columns are known
        columns = Columns(wanted.text or "text", wanted.label_columns or ("label",))
    else:
        columns = choose(sample(wanted.train), wanted.text, wanted.label_columns)
    slots = {"train": wanted.train, "text": columns.text}
    slots["validation"], slots["test"] = wanted.validation or wanted.train, wanted.test or wanted.train
    return columns, DataSection.parse(slots)


def _tables(section: DataSection, columns: Columns) -> Mapping[str, Table]:
    """All splits; those that share a file with `train` are part of it."""
    slots = {"train": section.train, "validation": section.validation, "test": section.test}
    named = str(section.train).startswith(NAMED)
    return {
        slot: sources.read(source, slot, section, columns.cells)
        for slot, source in slots.items()
        if source is not None and (slot == "train" or named or source != section.train)
    }


def _labels(table: Table, columns: Columns) -> tuple[str, ...]:
    if columns.problem_type == REGRESSION:
        return columns.labels
    cells = [(label,) if isinstance(label, str) else label for label in table.labels or ()]
    labels = label_names_sorted({name for cell in cells for name in cell if name})
    if len(labels) < 2:
        raise DataError(
            f"{table.place}: one label only ({', '.join(labels)}), a classifier needs two",
            hint="--labels A,B",
        )
    return labels


def _texts(tables: Mapping[str, Table]) -> Texts:
    """How many texts are read, and their length."""
    rows = {slot: len(table) for slot, table in tables.items()}
    if len(rows) == 1:
        part = rows["train"] * SHARE
        rows = {"train": int(rows["train"] - 2 * part), "validation": int(part), "test": int(part)}
    lengths = [min(MAX_LENGTH, _length(text)) for text in tables["train"].texts]
    return Texts(rows["train"], rows["validation"] + rows["test"], sum(lengths) / max(1, len(lengths)))


def _length(text: str) -> float:
    """Tokens of a text, those that frame it included."""
    return 2 + max(PIECES * len(text.split()), len(text.encode("utf-8", "surrogatepass")) / SIGNS)


def _busy(machine: Machine) -> Iterator[str]:
    if machine.share < BUSY:
        yield (
            f"the machine is busy: this process got {machine.share:.0%} of a core, and the run may take"
            f" {1 / max(machine.share, 0.01):.0f} times as long as said"
        )


def _notes(
    wanted: Wanted, columns: Columns, labels: Sequence[str], teacher: TeacherFacts, choice: Choice
) -> Iterator[str]:
    """What was assumed."""
    if wanted.text is None or not wanted.label_columns:
        yield f"text column {columns.text!r}, label column {', '.join(map(repr, columns.labels))}"
    if columns.problem_type != DEFAULT:
        yield f"the labels look like {columns.problem_type}"
    if columns.unused:
        yield f"not used: {', '.join(map(repr, columns.unused))}"
    if wanted.labels is None:
        by = ", in the order of the teacher's outputs" if teacher.head.finished else ""
        yield f"{len(labels)} labels{by}: {', '.join(labels[:8])}{', ...' if len(labels) > 8 else ''}"
    if _split(wanted):
        yield f"{wanted.train} is split: {SHARE:.0%} for validation, {SHARE:.0%} for test"
    if teacher.head.note:
        yield f"teacher: {teacher.head.note}"
    yield from _shortened(choice)


def _shortened(choice: Choice) -> Iterator[str]:
    if choice.recipe.limit is not None:
        yield f"at most {choice.recipe.limit} rows of each split, so that a first run ends soon"
    if choice.shortened:
        yield (
            f"a short recipe; the longer one (about {duration(choice.long_seconds)}) stands at the top of"
            " the profile"
        )


def _split(wanted: Wanted) -> bool:
    return wanted.validation is None and wanted.test is None and not wanted.train.startswith(NAMED)


def _render(
    wanted: Wanted,
    columns: Columns,
    labels: Sequence[str],
    output: Path,
    student: StudentShape,
    choice: Choice,
) -> str:
    names = {
        "file": shlex.quote(output.name),
        "name": quote(re.sub(r"[^A-Za-z0-9_.-]+", "-", output.stem).strip("-._")[:64] or "run"),
        "labels": ", ".join(map(quote, labels)),
        "text": quote(columns.text),
        "task": _task(columns),
        "label": _label(columns),
        "score": METRICS[TASKS[columns.problem_type].primary].title,
        "teacher": quote(_model(wanted.teacher, output)),
    }
    text = fill(names, "".join(_sources(wanted, output)), student, choice)
    if not is_text(text):
        raise UsageError(
            "a name is not UTF-8 text, which a profile has to be", hint="rename the file or the column"
        )
    return text


def _task(columns: Columns) -> str:
    """Lines of `[task]` that only some tasks have."""
    if columns.problem_type == DEFAULT:
        return ""
    lines = [f"problem_type = {quote(columns.problem_type)}"]
    if columns.separator:
        lines.append(f"separator = {quote(columns.separator)}        # between the labels of one text")
    return "".join(f"{line}\n" for line in lines)


def _label(columns: Columns) -> str:
    """The line of `[data]` that names the column of the label; numbers are named by `[task] labels`."""
    if columns.problem_type == REGRESSION:
        return ""
    return f"label = {quote(columns.labels[0])}        # column of the label\n"


def _sources(wanted: Wanted, output: Path) -> Iterator[str]:
    yield f"train = {quote(_source(wanted.train, output))}\n"
    if _split(wanted):
        yield (
            f'split = {{ by = "random", validation = {SHARE}, test = {SHARE} }}'
            "   # parts of `train`; name files instead where you have them\n"
        )
        return
    for slot, source in (("validation", wanted.validation), ("test", wanted.test)):
        yield f"{slot} = {quote(_source(source or wanted.train, output))}\n"


def _source(name: str, output: Path) -> str:
    """A source as the profile names it; what comes with the package or from the hub keeps its name."""
    if name.startswith(HUB):
        return HUB + _model(name.removeprefix(HUB), output)
    return name if name.startswith(BUILTIN) else _relative(name, output)


def _model(name: str, output: Path) -> str:
    """A folder is written so that it is seen to be one; other names stay."""
    if name.startswith(BUILTIN) or not home(name).is_dir():
        return name
    path = _relative(name, output)
    return path if path.startswith("../") else f"./{path}"


def _expanded(name: str) -> str:
    """A model's name, a path in the home folder in full."""
    return str(home(name)) if name.startswith("~") else name


def _relative(name: str, output: Path) -> str:
    """A path counted from the profile's folder instead of from here."""
    return Path(os.path.relpath(home(name), output.parent)).as_posix()
