"""What the teacher and the shipped file say to every text of the test splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from squeeze.core.metrics import confusion, softmax
from squeeze.data.dataset import Dataset, Split
from squeeze.distillation.config import PREDICTIONS
from squeeze.errors import Corrupt, SqueezeError
from squeeze.predict import predict
from squeeze.progress import Progress
from squeeze.tasks.text_classification.task import LabelPrediction

__all__ = ["MOST_ROWS", "Answers", "Change", "Kind", "SplitAnswers", "read"]

SEEN = ("train", "validation")  # splits that something was chosen on
MOST_ROWS = 20_000  # texts of a split that are answered: a minute at 3 ms each

Floats = NDArray[np.float64]
Kind = Literal["lost", "gained", "other"]
"""Of a change: the right answer is lost, is gained, or both answers are wrong."""


@dataclass(frozen=True)
class Change:
    """A text to which the shipped file answers otherwise than the teacher.

    Attributes:
        row: place in the split, counted from 0.
        truth: label, 0..K-1, as are the answers.
        before: the teacher's answer.
        after: the shipped file's.
        confidence: of the teacher in its answer and of the file in its own, 0..1.
    """

    row: int
    truth: int
    before: int
    after: int
    confidence: tuple[float, float]

    @property
    def kind(self) -> Kind:
        """What became of the right answer."""
        if self.before == self.truth:
            return "lost"
        return "gained" if self.after == self.truth else "other"


@dataclass(frozen=True)
class SplitAnswers:
    """One split; N texts, K labels.

    Attributes:
        name: of the split.
        rows: texts it has; N is less where it was cut.
        texts: N texts.
        truth: (N,) labels.
        teacher: (N, K) probabilities, or None.
        shipped: (N, K) probabilities, or None.
    """

    name: str
    rows: int
    texts: tuple[str, ...]
    truth: NDArray[np.int64]
    teacher: Floats | None
    shipped: Floats | None

    def confusion(self, said: Floats) -> NDArray[np.int64]:
        """(K, K) counts of one side's answers; the row is the truth."""
        return confusion(said.argmax(axis=1), self.truth, classes=said.shape[1])

    def changes(self) -> list[Change]:
        """What is answered otherwise: lost answers first, and in each kind the surest answer of the file."""
        if self.teacher is None or self.shipped is None:
            return []
        found = list(_changes(self.truth, self.teacher, self.shipped))
        order = ("lost", "other", "gained")
        return sorted(found, key=lambda each: (order.index(each.kind), -each.confidence[1], each.row))


@dataclass(frozen=True)
class Answers:
    """All test splits, test first.

    Attributes:
        splits: with the answers that could be had.
        file: that answered, or None.
        missing: why there are no answers of the teacher or of a file; empty where there are.
    """

    splits: tuple[SplitAnswers, ...]
    file: str | None
    missing: str


def _changes(truth: NDArray[np.int64], teacher: Floats, shipped: Floats) -> Iterator[Change]:
    before, after = teacher.argmax(axis=1), shipped.argmax(axis=1)
    for row in np.flatnonzero(before != after).tolist():
        was, now = int(before[row]), int(after[row])
        sure = (float(teacher[row, was]), float(shipped[row, now]))
        yield Change(row=row, truth=int(truth[row]), before=was, after=now, confidence=sure)


def read(
    labels: Sequence[str],
    texts: Dataset,
    teacher: Path | None,
    bundle: tuple[Path, str, str] | None,
    progress: Progress,
    most_rows: int = MOST_ROWS,
) -> Answers:
    """Read what is stored of the teacher, and ask the shipped file.

    Args:
        labels: names of the K labels.
        texts: all splits of the dataset.
        teacher: folder of the teacher, where there is one.
        bundle: its folder, and the form and file that ship, where there are any.
        progress: where answering is shown.
        most_rows: texts of a split that are read at most.

    Raises:
        Corrupt: the dataset or the stored answers are not of these labels.
    """
    held = {name: split for name, split in texts.splits.items() if name not in SEEN and len(split)}
    stored = {} if teacher is None else _stored(teacher / PREDICTIONS)
    shipped, missing = _shipped(labels, held, bundle, progress, most_rows)
    if teacher is None:
        missing = "The run has no teacher yet."
    made = []
    for name, split in held.items():
        before = None if teacher is None else _of_split(stored, name, len(split), len(labels), teacher)
        said = None if before is None else before[:most_rows]
        truth = _truth(name, split, len(labels))[:most_rows]
        made.append(
            SplitAnswers(name, len(split), tuple(split.texts[:most_rows]), truth, said, shipped.get(name))
        )
    return Answers(tuple(made), None if bundle is None else bundle[2], missing)


def _shipped(
    labels: Sequence[str],
    held: Mapping[str, Split],
    bundle: tuple[Path, str, str] | None,
    progress: Progress,
    most_rows: int,
) -> tuple[dict[str, Floats], str]:
    """Probabilities by split, and why there are none."""
    if bundle is None:
        return {}, "The run has no exported file yet."
    found: dict[str, Floats] = {}
    try:
        for name, split in held.items():
            found[name] = _asked(bundle, labels, name, split.texts[:most_rows], progress)
    except SqueezeError as error:
        return {}, f"{bundle[2]} could not be asked here: {error.message}."
    return found, ""


def _truth(name: str, split: Split, classes: int) -> NDArray[np.int64]:
    if split.labels.min() < 0 or split.labels.max() >= classes:
        raise Corrupt(f"{name}.arrow: a label outside 0..{classes - 1}", hint="run again with --fresh")
    labels: NDArray[np.int64] = split.labels
    return labels


def _stored(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise Corrupt(f"{path}: not readable ({error})", hint="run again with --fresh") from error


def _of_split(
    stored: dict[str, NDArray[np.float32]], name: str, rows: int, classes: int, folder: Path
) -> Floats:
    """Probabilities of one split."""
    found = stored.get(name)
    if found is None or found.shape != (rows, classes) or not np.isfinite(found).all():
        message = f"{folder / PREDICTIONS}: has no {rows} x {classes} finite numbers for {name}"
        raise Corrupt(message, hint="run again with --fresh")
    return softmax(found)


def _asked(
    bundle: tuple[Path, str, str], labels: Sequence[str], name: str, texts: Sequence[str], progress: Progress
) -> Floats:
    """Probabilities that a file gives."""
    folder, form, file = bundle
    with progress.task(f"answer {name} by {file}", 1) as advance:
        answers = predict(folder, texts, form=form)
        advance(1)
    predicted = [answer for answer in answers if isinstance(answer, LabelPrediction)]
    if any(tuple(one.probabilities) != tuple(labels) for one in predicted) or len(predicted) < len(texts):
        raise Corrupt(f"{folder}: labels.json has other labels than the task")
    found = np.array([list(one.probabilities.values()) for one in predicted], dtype=np.float64)
    if not np.isfinite(found).all():
        raise Corrupt(f"{folder / file}: gives numbers that are not finite")
    return found
