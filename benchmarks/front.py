"""Quality against size and latency: squeeze's students and forms beside what other tools make of one teacher.

    python -m benchmarks.front runs/students --set actionable_help --seed 0

One fine-tuned teacher. Every tool compresses it without training, in an environment of its own (see
benchmarks.peers); squeeze does too, and its students of three sizes stand beside; so do models that are no
transformers. Each answers every row of the test and of the test out of event, one text a call. Then all are
timed in turns on one core and one thread: in a block every artefact gets the same validation texts, as
its own tokenizer cuts them. Two times are taken: of the model alone, and from text to label.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.common import RESULTS, Results, cli, ratio, read, write
from benchmarks.datasets import JUDGED, chosen
from benchmarks.environments import Worker, versions
from benchmarks.front_figures import draw
from benchmarks.front_files import (
    MODEL2VEC,
    SKLEARN,
    Entry,
    Failures,
    also,
    of_peers,
    of_text_models,
    of_trained,
)
from benchmarks.front_ours import SHIPPED, of_student, of_teacher
from benchmarks.peer_files import SCRIPTS, Subject, subjects
from benchmarks.peers import CALLS, LEAD, PINNED, WARM, pin, pythons_of, worker
from benchmarks.students import EVERY_SHAPE, SHAPES, student_name
from squeeze import pipeline
from squeeze.artifact import Artifact
from squeeze.core.metrics import confusion, macro_f1
from squeeze.data import dataset
from squeeze.data.dataset import Split
from squeeze.errors import StageFailed
from squeeze.models.hub import resolve

__all__ = ["BESIDE", "PINS", "Work", "f1_difference", "main", "measured", "opened"]

BESIDE = f"{SHAPES[0]} {SHIPPED}"
"""The artefact that all others are held against."""
PINS: Mapping[str, tuple[str, ...]] = {**PINNED, MODEL2VEC: ("model2vec",), SKLEARN: ("scikit-learn",)}
BASE = "builtin:minilm-l6"
RESAMPLED = 1000
"""Draws of test rows behind an interval of macro-F1."""
ENDS = (0.025, 0.975)
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Work:
    """What all artefacts are asked to do.

    Attributes:
        tests: splits to answer; `test` among them.
        texts: that are drawn from to be timed.
        labels: K.
        longest: tokens that a text is cut to.
    """

    tests: Mapping[str, Split]
    texts: Sequence[str]
    labels: int
    longest: int


def main(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="The --out folder of benchmarks.students.")],
    which: Annotated[str, typer.Option("--set", help="Whose teacher and students.")] = "actionable_help",
    shapes: Annotated[str, typer.Option(help="Which students; always tiny.")] = ",".join(EVERY_SHAPE),
    seed: Annotated[int, typer.Option(help="Which students.")] = 0,
    blocks: Annotated[int, typer.Option(help="Blocks; in each, every artefact gets the same 10 texts.")] = 60,
    rows: Annotated[int | None, typer.Option(help="Rows of a test, for a quick try.")] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--also", metavar="NAME=FOLDER", help="A student of another tool; repeatable."),
    ] = None,
    trained: Annotated[
        bool, typer.Option("--trained", help="Only the teacher and students; writes front-SET-trained.json.")
    ] = False,
    tools: Annotated[
        Path, typer.Option("--environments", metavar="DIR", help="Folder of the tools' environments.")
    ] = Path("runs/peers"),
    results: Results = RESULTS,
) -> None:
    """Measure all artefacts of a set; writes front-SET.json."""
    started = time.monotonic()
    wanted = tuple(dict.fromkeys((SHAPES[0], *chosen(shapes, EVERY_SHAPE, "--shapes"))))
    given = also(more or ())
    made = {shape: pipeline.open_run(runs / student_name(which, shape, seed)) for shape in wanted}
    work = _work(made[SHAPES[0]], rows)
    pythons = pythons_of(tools, PINS)
    core = pin()
    with tempfile.TemporaryDirectory() as folder:
        teacher = list(subjects(runs, which, wanted[:1], seed, 1, Path(folder)))[-1]
        entries, failed = _artefacts(made, teacher, work, Path(folder), pythons, trained=trained)
        theirs, unmade = of_trained(given, teacher, Path(folder), pythons)
        usable, dead = opened([*entries, *theirs], work, pythons)
        with ExitStack() as stack:
            places = dict.fromkeys(each.file.place for each in usable)
            workers = {place: stack.enter_context(worker(place, pythons)) for place in places}
            found = {**measured(usable, workers, work, blocks, seed), **failed, **unmade, **dead}
    _show(found)
    settings = {"blocks": blocks, "texts": CALLS, "core": core, "beside": BESIDE}
    settings |= {"seconds": round(time.monotonic() - started)}
    answered = {name: len(split) for name, split in work.tests.items()}
    pins = {place: versions(SCRIPTS / f"{place}.txt", names) for place, names in PINS.items()}
    name = f"{which}-trained" if trained else which
    head = {"set": name, "seed": seed, "rows": answered, **settings, "peers": pins}
    record = read(write(results, f"front-{name}", {**head, "artefacts": found}))
    draw(record, results, tools)


def _work(made: Mapping[str, Artifact], rows: int | None) -> Work:
    data = dataset.load(made["dataset"].path)
    task = made["bundle"].manifest["config"]["task"]
    tests = {name: _head(data.splits[name], rows) for name in JUDGED if name in data.splits}
    return Work(tests, data.splits["validation"].texts, len(task["labels"]), task["max_length"])


def _head(split: Split, rows: int | None) -> Split:
    return Split(split.texts[:rows], split.labels[:rows])


def _artefacts(
    made: Mapping[str, Mapping[str, Artifact]],
    teacher: Subject,
    work: Work,
    folder: Path,
    pythons: Mapping[str, Path],
    *,
    trained: bool,
) -> tuple[list[Entry], Failures]:
    """All that can be made, the uncompressed teacher first; or of ours the teacher and the students alone."""
    first = made[SHAPES[0]]
    data = dataset.load(first["dataset"].path)
    labels = first["bundle"].manifest["config"]["task"]["labels"]
    train = data.splits["train"]
    ours = list(of_teacher(teacher, labels, train.texts, work.longest))
    for shape, each in made.items():
        ours += of_student(shape, each, folder)
    if trained:
        return ours, {}
    theirs, failed = of_peers(teacher, pythons)
    assert teacher.transformers is not None
    sources = {"teacher": teacher.transformers, "minilm": resolve(BASE)}
    cheap, missing = of_text_models(train, data.splits["validation"], sources, folder / "cheap", pythons)
    return [*ours, *theirs, *cheap], {**failed, **missing}


def opened(entries: Sequence[Entry], work: Work, pythons: Mapping[str, Path]) -> tuple[list[Entry], Failures]:
    """Which artefacts answer a text, and why others do not; each in a process that only it can end."""
    usable: list[Entry] = []
    failed: Failures = {}
    for each in entries:
        try:
            with worker(each.file.place, pythons) as probe:
                _open(each, probe, work)
                probe.ask("label_text", each.file.name, texts=work.texts[:1])
        except StageFailed as error:
            failed[each.file.name] = {"runtime": each.file.place, "failed": error.message}
        else:
            usable.append(each)
    return usable, failed


def _open(entry: Entry, held: Worker, work: Work) -> None:
    file = entry.file
    held.ask("open", file.name, path=str(file.path.absolute()), length=None)
    if entry.tokenizer:
        path = str(entry.tokenizer.absolute())
        held.ask("read", file.name, tokenizer=path, longest=work.longest)


def measured(
    entries: Sequence[Entry], workers: Mapping[str, Worker], work: Work, blocks: int, seed: int
) -> dict[str, Any]:
    """Quality, size and times of all artefacts.

    Args:
        entries: the uncompressed teacher first; `BESIDE` among them.
        workers: by environment.
        work: what they are asked to do.
        blocks: rounds in which every artefact is timed.
        seed: of the texts that are timed, and of the order within a round.

    Returns:
        A record for each name.
    """
    for each in entries:
        _open(each, workers[each.file.place], work)
    said = {each.file.name: _answers(each, workers[each.file.place], work) for each in entries}
    alone, whole = _times(entries, workers, work, blocks, seed)
    teacher = said[entries[0].file.name]
    return {
        name: {
            "runtime": each.file.place,
            "ours": each.ours,
            "training": each.training,
            "bytes": each.bytes,
            "tokenizer_bytes": each.tokenizer_bytes,
            "macro_f1": {test: _f1(said[name][test], split, work) for test, split in work.tests.items()},
            "loyalty": float(np.mean(said[name]["test"] == teacher["test"])),
            "f1_above": f1_difference(said[name]["test"], said[BESIDE]["test"], work, seed),
            "ms": round(float(np.median(alone[name])), 4),
            "text_ms": round(float(np.median(whole[name])), 4),
            "against": ratio(alone[name], alone[BESIDE]),
            "text_against": ratio(whole[name], whole[BESIDE]),
        }
        for each in entries
        for name in [each.file.name]
    }


def _answers(entry: Entry, held: Worker, work: Work) -> dict[str, Labels]:
    """Label of every row, by test."""
    typer.echo(f"{entry.file.name}: answering", err=True)
    asked = {name: held.ask("label_text", entry.file.name, texts=s.texts) for name, s in work.tests.items()}
    return {name: np.array(answer["labels"], dtype=np.int64) for name, answer in asked.items()}


def _times(
    entries: Sequence[Entry], workers: Mapping[str, Worker], work: Work, blocks: int, seed: int
) -> tuple[dict[str, list[list[float]]], dict[str, list[list[float]]]]:
    """Milliseconds by name and block, of the model alone and from text to label."""
    draw = np.random.default_rng(seed)
    alone: dict[str, list[list[float]]] = {each.file.name: [] for each in entries}
    whole: dict[str, list[list[float]]] = {each.file.name: [] for each in entries}
    for number in range(blocks):
        texts = [work.texts[row] for row in draw.integers(0, len(work.texts), CALLS)]
        for place in draw.permutation(len(entries)):
            file = entries[place].file
            lead = LEAD if number else WARM
            answer = workers[file.place].ask("time_text", file.name, texts=texts, lead=lead)
            alone[file.name].append(answer["ms"])
            whole[file.name].append(answer["text_ms"])
    return alone, whole


def _f1(said: Labels, split: Split, work: Work) -> float:
    return macro_f1(confusion(said, split.labels, work.labels))


def f1_difference(mine: Labels, other: Labels, work: Work, seed: int) -> dict[str, float]:
    """How far the macro-F1 of some answers to the test lies above that of others.

    The interval is that of the percentiles of the difference over draws of rows with replacement, the same
    rows for both (paired bootstrap, Efron and Tibshirani 1993).

    Args:
        mine: (N,) labels.
        other: (N,) labels.
        work: the test.
        seed: of the draws.
    """
    split = work.tests["test"]
    draw = np.random.default_rng(seed)

    def difference(rows: Labels) -> float:
        truth = split.labels[rows]
        above, below = (macro_f1(confusion(said[rows], truth, work.labels)) for said in (mine, other))
        return above - below

    drawn = [difference(draw.integers(0, len(split), len(split))) for _ in range(RESAMPLED)]
    low, high = np.quantile(drawn, ENDS)
    return {"value": difference(np.arange(len(split))), "low": float(low), "high": float(high)}


def _show(found: Mapping[str, Any]) -> None:
    for name, each in found.items():
        if "failed" in each:
            print(f"  {name:56s} {each['failed']}")
            continue
        quality = f"{100 * each['macro_f1']['test']:5.1f} {100 * each['loyalty']:5.1f} %"
        times = f"{each['ms']:7.3f} {each['text_ms']:7.3f} ms"
        print(f"  {name:56s} {quality} {each['bytes'] / 1e6:6.2f} MB {times}")


if __name__ == "__main__":
    cli(main)
