"""What the training scripts of all peers share: the plan, its texts as batches, the check after an epoch.

It needs PyTorch and transformers alone, for it runs in environments of other tools. A plan is a JSON file
with the fields of `Plan`.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from transformers import AutoModelForSequenceClassification

__all__ = [
    "Best",
    "Plan",
    "Rows",
    "classifier",
    "clock",
    "macro_f1",
    "pad_batch",
    "parameter_groups",
    "read",
    "since",
    "write",
]

Batch = dict[str, Tensor]
Times = tuple[float, float]


@dataclass(frozen=True)
class Plan:
    """One training.

    Attributes:
        teacher: folder of a classifier for transformers.
        student: folder of the one to train, with the weights that it starts with.
        texts: JSON file of `train`, `validation` and `labels`, those of the validation texts.
        out: folder for what is made.
        seed: of the order of the texts.
        padding: tokens that every text is padded to; None: as many as the longest of its batch has.
        epochs, batch, learning_rate, weight_decay, clip: as everywhere.
        warmup: share of the steps in which the step size rises; then it falls to zero in a line.
        temperature: softens both sides' answers.
        answers: weight of the divergence of the answers, times the square of the temperature.
        states: weight of the mean squared difference of hidden states, mean over pairs.
        pairs: which student layer is held against which teacher layer; 0 is the embedding's output.
    """

    teacher: str
    student: str
    texts: str
    out: str
    seed: int
    padding: int | None
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    clip: float
    warmup: float
    temperature: float
    answers: float
    states: float
    pairs: Sequence[Sequence[int]]


def read() -> tuple[Plan, dict[str, Any]]:
    """The plan that the first argument names, and its texts."""
    plan = Plan(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    return plan, json.loads(Path(plan.texts).read_text(encoding="utf-8"))


def classifier(folder: str, **changes: Any) -> Any:
    """The model of a folder; nothing is fetched."""
    return AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True, **changes)


class Rows(Dataset[Batch]):
    """Texts as tensors, padded beforehand where a length is given.

    Args:
        texts: token numbers.
        padding: tokens of every row; None: texts stay as long as they are.
    """

    def __init__(self, texts: Sequence[Sequence[int]], padding: int | None) -> None:
        self._rows = [_row(text, padding or len(text)) for text in texts]

    def __len__(self) -> int:
        """Number of texts."""
        return len(self._rows)

    def __getitem__(self, row: int) -> Batch:
        """Token numbers and mask of one text, (T,) each."""
        return self._rows[row]


def _row(text: Sequence[int], length: int) -> Batch:
    empty = length - len(text)
    return {
        "input_ids": torch.tensor([*text, *[0] * empty]),
        "attention_mask": torch.tensor([1] * len(text) + [0] * empty),
    }


def pad_batch(rows: Sequence[Batch]) -> Batch:
    """Rows as one batch, (B, T) each, padded to the longest of them."""
    return {name: pad_sequence([row[name] for row in rows], batch_first=True) for name in rows[0]}


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay, biases and norms do not."""
    parameters = [each for each in model.parameters() if each.requires_grad]
    return [
        {"params": [each for each in parameters if each.ndim > 1], "weight_decay": weight_decay},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]


class Best:
    """Keeps the student of the epoch with the best macro-F1 on the validation texts, the latest of equals.

    Args:
        plan: says where.
        texts: says on what.

    Attributes:
        scores: of the epochs.
        spent: seconds here, which are no training; see `clock`.
    """

    def __init__(self, plan: Plan, texts: dict[str, Any]) -> None:
        self._rows = Rows(texts["validation"], None)
        self._labels = torch.tensor(texts["labels"])
        self._plan = plan
        self.scores: list[float] = []
        self.spent = (0.0, 0.0)

    def look(self, model: Any) -> None:
        """Judge the model after an epoch and save it when none before was better."""
        started, training = clock(), model.training
        model.eval()
        size = self._plan.batch
        with torch.no_grad():
            said = [
                model(
                    **pad_batch([self._rows[row] for row in range(start, min(start + size, len(self._rows)))])
                )
                for start in range(0, len(self._rows), size)
            ]
        score = macro_f1(torch.cat([each.logits for each in said]).argmax(-1), self._labels)
        if score >= max(self.scores, default=0.0):
            model.save_pretrained(Path(self._plan.out) / "student")
        self.scores.append(score)
        model.train(training)
        self.spent = plus(self.spent, since(started))


def macro_f1(said: Tensor, labels: Tensor) -> float:
    """Mean F1 of the labels that occur.

    Args:
        said: (N,) label numbers.
        labels: (N,) the true ones.
    """
    found = []
    for label in sorted(set(labels.tolist())):
        right = ((said == label) & (labels == label)).sum()
        found.append(2 * right / ((said == label).sum() + (labels == label).sum()))
    return float(torch.stack(found).mean())


def clock() -> Times:
    """Seconds by the wall clock and of processors, of all threads together."""
    return time.perf_counter(), time.process_time()


def since(started: Times) -> Times:
    """Seconds that have gone since a reading of `clock`."""
    now = clock()
    return now[0] - started[0], now[1] - started[1]


def plus(one: Times, other: Times) -> Times:
    """Both together."""
    return one[0] + other[0], one[1] + other[1]


def write(plan: Plan, spent: Times, texts: int, best: Best, packages: Sequence[str]) -> None:
    """Write result.json.

    Args:
        plan: says where.
        spent: seconds of the training and the validation in it, which is not counted.
        texts: that the student has seen, every epoch anew.
        best: the validation.
        packages: whose versions matter.
    """
    known = {name: importlib.metadata.version(name) for name in ("torch", "transformers", *packages)}
    result = {
        "seconds": spent[0] - best.spent[0],
        "cpu_seconds": spent[1] - best.spent[1],
        "texts": texts,
        "validation": best.scores,
        "validation_seconds": best.spent[0],
        "threads": torch.get_num_threads(),
        "versions": known,
    }
    (Path(plan.out) / "result.json").write_text(json.dumps(result), encoding="utf-8")
