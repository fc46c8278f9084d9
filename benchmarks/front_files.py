"""What benchmarks.front measures: every artefact of one set, each with what cuts its text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import typer

from benchmarks.environments import run
from benchmarks.peer_files import (
    EXPORT,
    OLIVE,
    OPTIMUM,
    SCRIPTS,
    SQUEEZE,
    WAYS,
    Contestant,
    Subject,
    Way,
    made,
)
from squeeze.data.dataset import Split
from squeeze.errors import StageFailed, UsageError
from squeeze.targets.subjects import TOKENIZER

__all__ = [
    "MODEL2VEC",
    "SKLEARN",
    "TEXT_WAYS",
    "Entry",
    "Failures",
    "Training",
    "also",
    "of_peers",
    "of_text_models",
    "of_trained",
]

MODEL2VEC, SKLEARN = "model2vec", "sklearn"
Training = Literal["none", "labels", "distilled", "theirs"]
"""What an artefact takes after the teacher is fine-tuned: nothing; its own training on the labels;
distillation by squeeze; training by another tool."""
Failures = dict[str, dict[str, Any]]
TEXT_WAYS: Mapping[str, Way] = {
    "TF-IDF + logistic regression": Way(SKLEARN, "tfidf"),
    "model2vec of the teacher": Way(MODEL2VEC, "teacher"),
    "model2vec of MiniLM": Way(MODEL2VEC, "minilm"),
    "model2vec of MiniLM, int8": Way(MODEL2VEC, "minilm-int8"),
}
"""Models that cut their text themselves."""
TRAINED_WAYS = ("ONNX Runtime fp32", "quantize_dynamic", "quantize_dynamic, reduced range")
"""What is made of students that other tools trained."""


@dataclass(frozen=True)
class Entry:
    """One artefact.

    Attributes:
        file: what is opened, and where.
        training: what it takes after the teacher is fine-tuned.
        tokenizer: what cuts its text; None: the model does it itself.
    """

    file: Contestant
    training: Training
    tokenizer: Path | None = None

    @property
    def ours(self) -> bool:
        """Whether squeeze made it."""
        return self.file.place == SQUEEZE

    @property
    def bytes(self) -> int:
        """Size of the model's files without its tokenizer.json."""
        if self.ours:
            return self.file.path.stat().st_size  # forms of a bundle lie in one folder
        if not self.file.path.is_dir():
            return self.file.bytes
        return sum(path.stat().st_size for path in self.file.path.iterdir() if path.name != TOKENIZER)

    @property
    def tokenizer_bytes(self) -> int:
        """Size of its tokenizer.json; 0 where what cuts the text is among the model's files."""
        path = self.tokenizer or self.file.path / TOKENIZER
        return path.stat().st_size if path.is_file() else 0


def of_peers(teacher: Subject, pythons: Mapping[str, Path]) -> tuple[list[Entry], Failures]:
    """What every tool makes of the fine-tuned model without training, and why it could not.

    Each begins where its user would: Olive with the folder of transformers, the others with the graph that
    optimum exports from it. What is opened for one length only is left out: texts have many.

    Args:
        teacher: the fine-tuned model.
        pythons: of the environments that could be made.
    """
    texts, source = teacher.fp32.with_name("texts.json"), teacher.transformers
    assert source is not None
    texts.write_text(json.dumps(teacher.train), encoding="utf-8")
    found: list[Entry] = []
    failed: Failures = {}
    for tool, way in WAYS.items():
        if way.fixed:
            continue
        try:
            origin = source if way.place == OLIVE else made(EXPORT, source, teacher, pythons, "optimum")
            path = made(way, origin, teacher, pythons, "front")
        except StageFailed as error:
            failed[tool] = {"runtime": way.place, "failed": error.message}
        else:
            found.append(Entry(Contestant(tool, way.opened, path), "none", source / TOKENIZER))
    return found, failed


def of_text_models(
    train: Split, validation: Split, sources: Mapping[str, Path], folder: Path, pythons: Mapping[str, Path]
) -> tuple[list[Entry], Failures]:
    """Models that are no transformers: fitted to the labelled text, with settings chosen on validation.

    Args:
        train: labelled text.
        validation: to choose by.
        sources: folder of a model of transformers by the first word of a way.
        folder: where they go.
        pythons: of the environments that could be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = folder / "labelled.json"
    splits = {"train": train, "validation": validation}
    plain = {name: {"texts": split.texts, "labels": split.labels.tolist()} for name, split in splits.items()}
    texts.write_text(json.dumps(plain), encoding="utf-8")
    found: list[Entry] = []
    failed: Failures = {}
    for name, way in TEXT_WAYS.items():
        source = sources.get(way.making.partition("-")[0], folder)
        try:
            path = _fitted(way, source, folder / f"{way.place}-{way.making}", texts, pythons)
        except StageFailed as error:
            failed[name] = {"runtime": way.place, "failed": error.message}
        else:
            found.append(Entry(Contestant(name, way.opened, path), "labels"))
    return found, failed


def _fitted(way: Way, source: Path, target: Path, texts: Path, pythons: Mapping[str, Path]) -> Path:
    if way.place not in pythons:
        raise StageFailed(f"its environment could not be made: {way.place}")
    typer.echo(f"making {target.name}", err=True)
    target.mkdir()
    script = SCRIPTS / f"make_{way.place}.py"
    run([pythons[way.place], script, way.making, source.absolute(), target, texts], target)
    return target


def also(given: Iterable[str]) -> dict[str, Path]:
    """Students that other tools trained, by name: `NAME=FOLDER` of transformers, with a tokenizer.json.

    Raises:
        UsageError: one has no name or no folder, or two have one name.
    """
    found: dict[str, Path] = {}
    for each in given:
        name, _, place = each.partition("=")
        if not name or not place:
            raise UsageError(f"--also {each}: no {'folder' if name else 'name'}", hint="NAME=FOLDER")
        if name in found:
            raise UsageError(f"--also {each}: {name} is given twice", hint="give each a name of its own")
        found[name] = Path(place)
    return found


def of_trained(
    given: Mapping[str, Path], teacher: Subject, folder: Path, pythons: Mapping[str, Path]
) -> tuple[list[Entry], Failures]:
    """What a user makes of students that other tools trained: optimum's export, and ONNX Runtime's int8.

    Args:
        given: from `also`; one that is not there is a failure of its tool.
        teacher: whose texts are calibrated on.
        folder: where the files go.
        pythons: of the environments that could be made.
    """
    found: list[Entry] = []
    failed: Failures = {}
    for number, (name, source) in enumerate(given.items()):
        place = folder / f"trained-{number}"
        place.mkdir(parents=True)
        (place / "texts.json").write_text(json.dumps(teacher.train), encoding="utf-8")
        subject = replace(teacher, name=name, fp32=place / "model.onnx", transformers=source)
        missing = [file for file in ("config.json", TOKENIZER) if not (source / file).is_file()]
        if missing:
            lacks = f"no {' and no '.join(missing)} in {source.name}"
            failed[name] = {"runtime": OPTIMUM, "failed": lacks}
            continue
        try:
            origin = made(EXPORT, source, subject, pythons, "optimum")
        except StageFailed as error:
            failed[name] = {"runtime": OPTIMUM, "failed": error.message}
            continue
        for tool in TRAINED_WAYS:
            said = f"{name}, {tool}"
            try:
                path = made(WAYS[tool], origin, subject, pythons, "front")
            except StageFailed as error:
                failed[said] = {"runtime": OPTIMUM, "failed": error.message}
            else:
                found.append(Entry(Contestant(said, OPTIMUM, path), "theirs", source / TOKENIZER))
    return found, failed
