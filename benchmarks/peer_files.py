"""What benchmarks.peers measures: our files and those that other tools make, from the same models."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from benchmarks.environments import run
from benchmarks.students import student_name
from squeeze import pipeline
from squeeze.artifact import Artifact
from squeeze.errors import StageFailed
from squeeze.stages.export.stage import ExportSection

__all__ = [
    "EXPORT",
    "INC",
    "MODELOPT",
    "OLIVE",
    "OPENVINO",
    "OPTIMUM",
    "OURS",
    "REFERENCE",
    "SCRIPTS",
    "SQUEEZE",
    "WAYS",
    "Contestant",
    "Subject",
    "Way",
    "contestants",
    "made",
    "subjects",
]

SCRIPTS = Path(__file__).resolve().parent / "peer_tools"
OPTIMUM, OPENVINO, SQUEEZE = "onnxruntime", "openvino", "squeeze"
OLIVE, INC, MODELOPT = "olive", "inc", "modelopt"
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
        held: the environment whose process opens the file; None: the same.
    """

    place: str
    making: str
    fixed: bool = False
    held: str | None = None

    @property
    def opened(self) -> str:
        """The environment whose process opens the file."""
        return self.held or self.place


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
    "Olive dynamic": Way(OLIVE, "dynamic", held=OPTIMUM),
    "Olive static": Way(OLIVE, "static", held=OPTIMUM),
    "Neural Compressor dynamic": Way(INC, "dynamic", held=OPTIMUM),
    "Neural Compressor static": Way(INC, "static", held=OPTIMUM),
    "Neural Compressor SmoothQuant": Way(INC, "smooth", held=OPTIMUM),
    "ModelOpt int8": Way(MODELOPT, "int8", held=OPTIMUM),
    "OpenVINO fp32": Way(OPENVINO, "fp32"),
    "OpenVINO NNCF int8": Way(OPENVINO, "int8"),
    "OpenVINO fp32, fixed length": Way(OPENVINO, "fp32", fixed=True),
    "OpenVINO NNCF int8, fixed length": Way(OPENVINO, "int8", fixed=True),
}
EXPORT = Way(OPTIMUM, "export")
"""From a model of transformers to a graph, as the user of those tools would do it."""


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


def subjects(
    runs: Path, which: str, shapes: Sequence[str], seed: int, texts: int, folder: Path
) -> Iterator[Subject]:
    """The students, then the teacher of the last one."""
    from squeeze.graphs import lean
    from squeeze.models import conversion
    from squeeze.models.storage import load_student
    from squeeze.models.teacher import load_classifier

    def exported(name: str, model: Any) -> Path:
        path = folder / name / "model.onnx"
        path.parent.mkdir()
        lean.export(model, path, lean.OPSET)
        return path

    for shape in shapes:
        made = pipeline.open_run(runs / student_name(which, shape, seed))
        source = made["encoder"].path
        yield Subject(shape, exported(shape, load_student(source)), None, *_cut(made, source, seed, texts))
    source = made["teacher"].path / "members" / "0"
    labels = tuple(made["bundle"].manifest["config"]["task"]["labels"])
    teacher = conversion.read(load_classifier(source, labels, untrained_head=False))
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


def contestants(
    subject: Subject, pythons: Mapping[str, Path], length: int
) -> tuple[list[Contestant], dict[str, Any]]:
    """What can be timed, and the reason for each file that could not be made."""
    texts = subject.fp32.with_name("texts.json")
    texts.write_text(json.dumps(subject.train), encoding="utf-8")
    found: list[Contestant] = _ours(subject)
    failed: dict[str, Any] = {}
    sources = {SQUEEZE: subject.fp32}
    if subject.transformers:
        try:
            sources["optimum"] = made(EXPORT, subject.transformers, subject, pythons, "optimum")
        except StageFailed as error:
            failed["export by optimum"] = {"runtime": OPTIMUM, "failed": error.message}
    for origin, source in sources.items():
        for tool, way in WAYS.items():
            name = f"{tool}; graph of {origin}"
            try:
                path = made(way, source, subject, pythons, origin)
            except StageFailed as error:
                failed[name] = {"runtime": way.place, "failed": error.message}
            else:
                found.append(Contestant(name, way.opened, path, length if way.fixed else None))
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


def made(way: Way, source: Path, subject: Subject, pythons: Mapping[str, Path], origin: str) -> Path:
    """The file of a way, made if it is not there.

    Args:
        way: how.
        source: a graph, or the folder of a model of transformers.
        subject: whose model it is; texts to calibrate on lie beside its graph.
        pythons: of the environments that could be made.
        origin: name of the source.

    Raises:
        StageFailed: the tool could not make it, or its environment could not be made.
    """
    folder = subject.fp32.parent / f"{origin}-{way.place}-{way.making}"
    if not folder.is_dir():
        for place in {way.place, way.opened} - set(pythons):
            raise StageFailed(f"its environment could not be made: {place}")
        typer.echo(f"{subject.name}: making {folder.name}", err=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        script, texts = SCRIPTS / f"make_{way.place}.py", subject.fp32.with_name("texts.json")
        run([pythons[way.place], script, way.making, source.absolute(), partial, texts], partial)
        partial.rename(folder)
    return folder / ("model.xml" if way.place == OPENVINO else "model.onnx")
