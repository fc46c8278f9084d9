"""Our default form against what other tools make of the same models, every tool in its own environment.

    python -m benchmarks.peers runs/students --set sst2 --seed 0

Environments are made below --environments from the pins in benchmarks/peer_tools/ and kept. Every file is
made by the tool's own functions there, and run by a process there that sleeps until it is asked: so all files
of a model are timed in turns, block by block in random order, on one core, although their libraries could
not be loaded side by side. The labels that a file gives stand beside its time, for what is wrong can be fast.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.common import RESULTS, ROOT, Results, cli, ratio, write
from benchmarks.environments import Worker, environment, run, versions
from benchmarks.students import SHAPES, student_name
from squeeze import pipeline
from squeeze.artifact import Artifact
from squeeze.errors import StageFailed
from squeeze.stages.export.stage import ExportSection

__all__ = ["OURS", "WAYS", "Contestant", "Subject", "Way", "main", "measured"]

SCRIPTS = Path(__file__).resolve().parent / "peer_tools"
OPTIMUM, OPENVINO, SQUEEZE = "onnxruntime", "openvino", "squeeze"
PINNED: Mapping[str, tuple[str, ...]] = {
    OPTIMUM: ("optimum-onnx", "optimum", "transformers", "torch", "onnxruntime"),
    OPENVINO: ("openvino", "nncf"),
}
"""Of each foreign environment, what its result depends on most."""
CALLS = 10
"""Timed calls of one file in a block."""
LEAD = 3
"""Calls before them that nobody times: another process had the caches."""
WARM = 30
CALIBRATION_TEXTS = 300
"""NNCF's default; ONNX Runtime's static quantization and ours get the same ones."""
REFERENCE = "fp32"
OURS = (REFERENCE, "int8-dynamic, 8 bits", "int8-dynamic, 7 bits", "int8-static, 7 bits")


@dataclass(frozen=True)
class Way:
    """How a tool makes a file and opens it.

    Attributes:
        place: the environment.
        making: which way of its make script.
        fixed: whether it is opened for one length only, which some runtimes make faster.
    """

    place: str
    making: str
    fixed: bool = False


WAYS: Mapping[str, Way] = {
    "ONNX Runtime fp32": Way(OPTIMUM, "fp32"),
    "optimum-onnx avx2": Way(OPTIMUM, "optimum"),
    "optimum-onnx avx2, per channel": Way(OPTIMUM, "optimum-channels"),
    "quantize_dynamic": Way(OPTIMUM, "dynamic"),
    "quantize_dynamic, per channel": Way(OPTIMUM, "dynamic-channels"),
    "quantize_dynamic, reduced range": Way(OPTIMUM, "dynamic-reduced"),
    "quantize_dynamic, per channel, reduced range": Way(OPTIMUM, "dynamic-channels-reduced"),
    "quantize_static": Way(OPTIMUM, "static"),
    "quantize_static, per channel": Way(OPTIMUM, "static-channels"),
    "OpenVINO fp32": Way(OPENVINO, "fp32"),
    "OpenVINO NNCF int8": Way(OPENVINO, "int8"),
    "OpenVINO fp32, fixed length": Way(OPENVINO, "fp32", fixed=True),
    "OpenVINO NNCF int8, fixed length": Way(OPENVINO, "int8", fixed=True),
}


@dataclass(frozen=True)
class Subject:
    """A model, and text as its tokenizer cuts it.

    Attributes:
        name: in the results.
        fp32: the graph that squeeze exports.
        transformers: folder of the same model for transformers; None for students.
        pieces: size of the vocabulary.
        train: texts to calibrate on, token numbers.
        validation: texts to label.
    """

    name: str
    fp32: Path
    transformers: Path | None
    pieces: int
    train: list[list[int]]
    validation: list[list[int]]


@dataclass(frozen=True)
class Contestant:
    """One file, opened in one way.

    Attributes:
        name: of what made it.
        place: the environment whose process holds it.
        path: the file.
        length: tokens that it is opened for; None: any.
    """

    name: str
    place: str
    path: Path
    length: int | None = None

    @property
    def bytes(self) -> int:
        """Size of all files of the model."""
        return sum(each.stat().st_size for each in self.path.parent.glob(f"{self.path.stem}.*"))


def main(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="The --out folder of benchmarks.students.")],
    which: Annotated[str, typer.Option("--set", help="Whose students.")] = "sst2",
    seed: Annotated[int, typer.Option(help="Which student.")] = 0,
    length: Annotated[int, typer.Option(help="Tokens a text.")] = 48,
    blocks: Annotated[int, typer.Option(help="Blocks; in each, every file runs 10 times.")] = 60,
    texts: Annotated[int, typer.Option(help="Validation texts to label, at most.")] = 1000,
    environments: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the tools' environments.")
    ] = Path("runs/peers"),
    results: Results = RESULTS,
) -> None:
    """Measure squeeze and its peers on the students and their teacher; writes peers-SET.json."""
    started = time.monotonic()
    pythons = _pythons(environments)
    core = _pin()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for subject in _subjects(runs, which, seed, texts, Path(folder)):
            contestants, failed = _contestants(subject, pythons, length)
            with ExitStack() as stack:
                workers = {place: stack.enter_context(_worker(place, pythons)) for place in pythons}
                found[subject.name] = {
                    **measured(contestants, workers, subject, blocks, length, seed),
                    **failed,
                }
            _show(subject.name, found[subject.name])
    spent = round(time.monotonic() - started)
    print(f"{spent} s in all")
    settings = {"tokens": length, "blocks": blocks, "core": core, "seconds": spent, "default": _default()}
    pins = {place: versions(SCRIPTS / f"{place}.txt", names) for place, names in PINNED.items()}
    write(results, f"peers-{which}", {"set": which, "seed": seed, **settings, "peers": pins, "models": found})


def _default() -> str:
    """What `squeeze` ships when a profile says nothing about it."""
    section = ExportSection()
    return f"{section.forms[-1]}, {section.weight_bits} bits"


def _pythons(environments: Path) -> dict[str, Path]:
    made = {place: environment(environments / place, SCRIPTS / f"{place}.txt") for place in PINNED}
    return {SQUEEZE: Path(sys.executable), **made}


def _pin() -> int | None:
    """Stay on one core, as every process started from here then does; None where no system call can."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))  # the first one has most of the interrupts
    os.sched_setaffinity(0, {core})
    return core


def _variables(place: str) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT)} if place == SQUEEZE else {}


def _worker(place: str, pythons: Mapping[str, Path]) -> Worker:
    return Worker([pythons[place], SCRIPTS / f"run_{place}.py"], _variables(place))


def _subjects(runs: Path, which: str, seed: int, texts: int, folder: Path) -> Iterator[Subject]:
    """The students, then the teacher of the last one."""
    from squeeze.graphs import lean
    from squeeze.models import families
    from squeeze.models.storage import load_student
    from squeeze.models.teacher import load_classifier

    def exported(name: str, model: Any) -> Path:
        path = folder / name / "model.onnx"
        path.parent.mkdir()
        lean.export(model, path, lean.OPSET)
        return path

    for shape in SHAPES:
        made = pipeline.open_run(runs / student_name(which, shape, seed))
        source = made["encoder"].path
        yield Subject(shape, exported(shape, load_student(source)), None, *_cut(made, source, seed, texts))
    source = made["teacher"].path / "members" / "0"
    labels = tuple(made["bundle"].manifest["config"]["task"]["labels"])
    teacher = families.read(load_classifier(source, labels, untrained_head=False))
    yield Subject("teacher", exported("teacher", teacher), source, *_cut(made, source, seed, texts))


def _cut(
    made: Mapping[str, Artifact], source: Path, seed: int, texts: int
) -> tuple[int, list[list[int]], list[list[int]]]:
    """Pieces of a model's tokenizer; texts to calibrate on and to label, as it cuts them."""
    from squeeze.data import dataset
    from squeeze.models import tokens

    longest = made["bundle"].manifest["config"]["task"]["max_length"]
    tokenizer = tokens.make_tokenizer(tokens.read_spec(source), longest)
    splits = dataset.load(made["dataset"].path).splits
    train = splits["train"].texts
    some = np.random.default_rng(seed).permutation(len(train))[:CALIBRATION_TEXTS]

    def numbers(chosen: Sequence[str]) -> list[list[int]]:
        encoded = tokens.encode(tokenizer, chosen)
        return [encoded[row].tolist() for row in range(len(encoded))]

    return (
        tokenizer.get_vocab_size(),
        numbers([train[row] for row in some]),
        numbers(splits["validation"].texts[:texts]),
    )


def _contestants(
    subject: Subject, pythons: Mapping[str, Path], length: int
) -> tuple[list[Contestant], dict[str, Any]]:
    """What can be timed, and the reason for each file that could not be made."""
    texts = subject.fp32.with_name("texts.json")
    texts.write_text(json.dumps(subject.train), encoding="utf-8")
    found, failed = _ours(subject), {}
    sources = {SQUEEZE: subject.fp32}
    if subject.transformers:
        sources["optimum"] = _made(Way(OPTIMUM, "export"), subject.transformers, subject, pythons, "optimum")
    for origin, source in sources.items():
        for tool, way in WAYS.items():
            name = f"{tool}; graph of {origin}"
            try:
                path = _made(way, source, subject, pythons, origin)
            except StageFailed as error:
                failed[name] = {"runtime": way.place, "failed": error.message}
            else:
                found.append(Contestant(name, way.place, path, length if way.fixed else None))
    return found, failed


def _ours(subject: Subject) -> list[Contestant]:
    from squeeze.graphs import int8, static
    from squeeze.graphs.calibration import calibrate
    from squeeze.stages.export.calibrating import feed

    fp32 = subject.fp32
    paths = [fp32, *(fp32.parent / f"{SQUEEZE}-{number}" / "model.onnx" for number in range(1, len(OURS)))]
    for path in paths[1:]:
        path.parent.mkdir()
    int8.quantize(fp32, paths[1], weight_bits=8)
    int8.quantize(fp32, paths[2], weight_bits=7)
    feeds = [feed(np.array(text, dtype=np.int32)) for text in subject.train]
    static.quantize(fp32, paths[3], calibrate(fp32, feeds, ExportSection().calibration, 1), weight_bits=7)
    return [Contestant(name, SQUEEZE, path) for name, path in zip(OURS, paths, strict=True)]


def _made(way: Way, source: Path, subject: Subject, pythons: Mapping[str, Path], origin: str) -> Path:
    """The file of a way, made if it is not there."""
    folder = subject.fp32.parent / f"{origin}-{way.place}-{way.making}"
    if not folder.is_dir():
        typer.echo(f"{subject.name}: making {folder.name}", err=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        script, texts = SCRIPTS / f"make_{way.place}.py", subject.fp32.with_name("texts.json")
        run([pythons[way.place], script, way.making, source, partial, texts], {})
        partial.rename(folder)
    return folder / ("model.xml" if way.place == OPENVINO else "model.onnx")


def measured(
    contestants: Sequence[Contestant],
    workers: Mapping[str, Worker],
    subject: Subject,
    blocks: int,
    length: int,
    seed: int,
) -> dict[str, Any]:
    """Labels, sizes and times of all files.

    Args:
        contestants: ours among them, the fp32 graph first.
        workers: by environment.
        subject: whose texts they label.
        blocks: rounds in which every file is timed.
        length: tokens of the texts that are timed, whose numbers are random.
        seed: of these numbers and of the order within a round.

    Returns:
        A record for each name.
    """
    draw = np.random.default_rng(seed)
    texts = draw.integers(0, subject.pieces, (CALLS, length)).tolist()
    for each in contestants:
        workers[each.place].ask("open", each.name, path=str(each.path), length=each.length)
    labels = {
        each.name: workers[each.place].ask("label", each.name, texts=subject.validation)["labels"]
        for each in contestants
        if each.length is None
    }
    times: dict[str, list[list[float]]] = {each.name: [] for each in contestants}
    for number in range(blocks):
        lead = LEAD if number else WARM
        for place in draw.permutation(len(contestants)):
            each = contestants[place]
            answer = workers[each.place].ask("time", each.name, texts=texts, lead=lead)
            times[each.name].append(answer["ms"])
    reference = labels[REFERENCE]
    return {
        each.name: {
            "runtime": each.place,
            "p50_ms": round(float(np.median(times[each.name])), 4),
            "bytes": each.bytes,
            "kept_labels": _share(labels.get(each.name), reference),
            "against": {name: ratio(times[each.name], times[name]) for name in OURS},
        }
        for each in contestants
    }


def _share(labels: Sequence[int] | None, reference: Sequence[int]) -> float | None:
    """Share of texts with the label of the reference; None for a file that takes one length only."""
    return None if labels is None else float(np.mean(np.equal(labels, reference)))


def _show(name: str, found: Mapping[str, Any]) -> None:
    print(name)
    for contestant, each in found.items():
        if "failed" in each:
            print(f"  {contestant:66s} {each['failed']}")
            continue
        share, kept = each["against"][_default()]["value"], each["kept_labels"]
        same = "" if kept is None else f"{100 * kept:5.1f} % of labels"
        print(
            f"  {contestant:66s} {each['p50_ms']:8.3f} ms {share:6.3f} x {each['bytes'] / 1e6:6.2f} MB {same}"
        )


if __name__ == "__main__":
    cli(main)
