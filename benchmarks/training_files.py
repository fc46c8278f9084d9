"""What benchmarks.training_peers trains, one student a seed, in the form of every tool; and who judges it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import SETS, Recipe
from benchmarks.quality import macro_f1
from squeeze import pipeline
from squeeze.artifact import Artifact, write_json

__all__ = ["LAYERS", "LENGTH", "Objective", "Subject", "judged", "subject", "trained"]

LENGTH = 128
"""Tokens that the peers' examples pad to, and at which all texts are cut."""
LAYERS, HEADS, NEURONS = 3, 12, 384
"""The tiny student, with all heads: transformers' BERT cannot hold fewer of the teacher's size."""


@dataclass(frozen=True)
class Objective:
    """How every tool trains.

    Attributes:
        epochs: passes over the texts.
        batch: texts a step.
        learning_rate: peak step size of AdamW.
        weight_decay: of matrices.
        clip: largest norm of the gradient.
        warmup: share of the steps in which the step size rises; then it falls to zero in a line.
        temperature: softens both sides' answers.
        answers: weight of the divergence of the answers, times the square of the temperature.
        states: weight of the mean squared difference of hidden states, mean over pairs of layers.
        pairs: which student layer is held against which teacher layer.
    """

    epochs: int = 3
    batch: int = 32
    learning_rate: float = 4e-4
    weight_decay: float = 0.01
    clip: float = 1.0
    warmup: float = 0.1
    temperature: float = 2.0
    answers: float = 1.0
    states: float = 30.0
    pairs: tuple[tuple[int, int], ...] = ((1, 2), (2, 4), (3, 6))

    def phase(self) -> str:
        """`--set` text of it for squeeze; `skip` gives the pairs."""
        losses = (
            f'{{name = "kl", weight = {self.answers}, temperature = {self.temperature}}}, '
            f'{{name = "hidden_mse", weight = {self.states}, layers = "skip"}}'
        )
        settings = (
            f'name = "kd", epochs = {self.epochs}, batch = {self.batch}, '
            f"learning_rate = {self.learning_rate}, weight_decay = {self.weight_decay}, "
            f'clip = {self.clip}, warmup = {self.warmup}, decay = "linear", losses = [{losses}]'
        )
        return f"distil.phases=[{{{settings}}}]"


@dataclass(frozen=True)
class Subject:
    """One student before its training.

    Attributes:
        which: the set.
        seed: of the student's start and of the order of its texts.
        labels: in the order of the outputs.
        teacher: its folder for transformers.
        start: squeeze's artefact of the student.
        transformers: the same for transformers, without dropout, which squeeze does not have.
        texts: JSON file of the token numbers for the peers.
        test: texts to judge by, and their labels.
        rows: training texts.
        recipe: makes the profile of the run of squeeze.
    """

    which: str
    seed: int
    labels: tuple[str, ...]
    teacher: Path
    start: Path
    transformers: Path
    texts: Path
    test: tuple[tuple[str, ...], Any]
    rows: int
    recipe: Recipe

    def sets(self, objective: Objective) -> list[str]:
        """`--set` texts of the run of squeeze that trains the student."""
        student = ('student.init="path"', f"student.path={json.dumps(str(self.start))}")
        return self.recipe.sets(
            "squeeze", self.which, self.seed, *_common(self.teacher), *student, objective.phase()
        )


def _common(teacher: Path) -> tuple[str, ...]:
    """A dense table of the whole vocabulary, so that every tool reads the same tokens; no copies of texts."""
    return (
        f"teacher.model={json.dumps(str(teacher))}",
        f"task.max_length={LENGTH}",
        "distil.augment.copies=0",
        "student.vocabulary.trim=false",
        'student.embedding.kind="dense"',
    )


def subject(recipe: Recipe, which: str, seed: int, teacher: Path, out: Path, folder: Path) -> Subject:
    """Carve the student of a seed and write all that the tools read.

    Args:
        recipe: of the student's profile.
        which: the set.
        seed: of the student.
        teacher: folder of the fine-tuned teacher.
        out: folder of all runs.
        folder: for what is written; made here.
    """
    from squeeze.data import dataset

    carved = (
        f"student.layers={LAYERS}",
        f"student.heads={HEADS}",
        f"student.ffn={NEURONS}",
        # No epoch: the student as it is carved. This loss asks the teacher nothing.
        'distil.phases=[{name = "none", epochs = 0, losses = [{name = "cross_entropy"}]}]',
    )
    profile = recipe.profile(f"{which}-start-{seed}", which, seed, *_common(teacher), *carved)
    made = pipeline.run(profile, out, until="distil", wait=True).artifacts
    start = made["encoder"].path
    folder.mkdir(parents=True)
    splits = dataset.load(made["dataset"].path).splits
    return Subject(
        which=which,
        seed=seed,
        labels=SETS[which].labels,
        teacher=teacher,
        start=start.resolve(),
        transformers=_without_dropout(start / "transformers", folder / "student"),
        texts=_texts(teacher, splits, folder / "texts.json"),
        test=(tuple(splits["test"].texts), splits["test"].labels),
        rows=len(splits["train"]),
        recipe=recipe,
    )


def _without_dropout(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    path = target / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    none = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"), 0.0)
    write_json(path, {**config, **none})
    return target.resolve()


def _texts(teacher: Path, splits: Mapping[str, Any], path: Path) -> Path:
    """Token numbers as squeeze's student reads them: the teacher's tokenizer, whole vocabulary."""
    from squeeze.models import tokens

    tokenizer = tokens.make_tokenizer(tokens.read_spec(teacher), LENGTH)

    def numbers(split: str) -> list[list[int]]:
        encoded = tokens.encode(tokenizer, splits[split].texts)
        return [encoded[row].tolist() for row in range(len(encoded))]

    said = {"train": numbers("train"), "validation": numbers("validation")}
    path.write_text(
        json.dumps({**said, "labels": np.asarray(splits["validation"].labels).tolist()}), encoding="utf-8"
    )
    return path.resolve()


def judged(folder: Path, of: Subject) -> float:
    """Macro-F1 on the test texts of what a tool has trained, by the same code for all.

    Args:
        folder: a student of squeeze, or a BERT of transformers.
        of: what was trained.
    """
    from squeeze.models import conversion, storage, tokens
    from squeeze.models.inference import logits
    from squeeze.models.teacher import load_classifier

    if (folder / storage.SHAPE).is_file():
        model = storage.load_student(folder)
    else:
        model = conversion.read(load_classifier(folder, of.labels, untrained_head=False)).eval()
    texts, labels = of.test
    spec = tokens.read_spec(of.teacher)
    encoded = tokens.encode(tokens.make_tokenizer(spec, LENGTH), texts)
    return macro_f1(logits(model, encoded, tokens.pad_id(spec), len(of.labels)), labels)


def trained(folder: Path) -> Artifact:
    """The student's artefact in the folder of a run."""
    return pipeline.open_run(folder)["encoder"]
