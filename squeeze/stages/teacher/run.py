"""Load or fine-tune every teacher, and write down what they say about every split."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor, nn

from squeeze.artifact import Artifact, write_json
from squeeze.data.dataset import Dataset, load
from squeeze.data.table import Table
from squeeze.distillation.config import PREDICTIONS
from squeeze.errors import StageFailed
from squeeze.models import conversion, guard, hub, tokens
from squeeze.models.encoder import Encoder, embedding_parameters, parameters
from squeeze.models.guard import Logits
from squeeze.models.head_labels import load_head
from squeeze.models.inference import logits, to_tensors
from squeeze.models.label_order import check_order
from squeeze.models.teacher import average, load_classifier, save_classifier, standardise_head
from squeeze.models.tokens import Encodings, TeacherTokenizer
from squeeze.stage import Work
from squeeze.stages.teacher.stage import FineTune, Member, TeacherConfig, TeacherResult
from squeeze.tasks import DEFAULT, State, Task, TaskSection, qualities, task_of
from squeeze.training.loop import Job, train
from squeeze.training.rows import rows_read

__all__ = ["run"]

CUT = 0.01  # share of texts that are cut, above which it is worth a line
HELD = 16  # validation texts on which the copy of a teacher is compared with it once more


@dataclass(frozen=True)
class Ground:
    """What every member stands on.

    Attributes:
        config: the stage's settings.
        data: all text.
        work: where files and checkpoints go.
    """

    config: TeacherConfig
    data: Dataset
    work: Work


@dataclass(frozen=True)
class Taught:
    """One finished member.

    Attributes:
        family: its architecture.
        encoder: its weights, read into our encoder.
        said: logits (N, K) of every held-out split.
        warnings: what its labels leave open.
    """

    family: str
    encoder: Encoder
    said: dict[str, NDArray[np.float32]]
    warnings: tuple[str, ...]


def run(config: TeacherConfig, inputs: Mapping[str, Artifact], work: Work) -> TeacherResult:
    """Make `members/<i>/`, `base/` when it is wanted, and `predictions.safetensors`."""
    started = time.monotonic()
    torch.set_num_threads(work.threads)
    ground = Ground(config, load(inputs["dataset"].path), work)
    members = config.teacher.members
    taught = [_member(ground, index, member) for index, member in enumerate(members)]
    weights = [member.weight for member in members]
    task = task_of(config.task)
    averaged = {
        split: average([one.said[split] for one in taught], weights, task.answers) for split in taught[0].said
    }
    save_file(averaged, work.out / PREDICTIONS)
    first = taught[0].encoder.shape
    return TeacherResult(
        family=taught[0].family,
        layers=len(first.layers),
        hidden=first.hidden,
        heads=first.layers[0].heads,
        parameters=sum(parameters(one.encoder) for one in taught),
        embedding_parameters=sum(embedding_parameters(one.encoder) for one in taught),
        size_bytes=sum(p.stat().st_size for p in (work.out / "members").rglob("*.safetensors")),
        quality=qualities(task, averaged, ground.data),
        seconds=time.monotonic() - started,
        warnings=tuple(line for one in taught for line in one.warnings),
    )


def _member(ground: Ground, index: int, member: Member) -> Taught:
    """One teacher: its folder is written, its encoder and its logits come back.

    Token numbers are AutoTokenizer's, and logits those of transformers' own forward pass.
    """
    config, data, work = ground.config, ground.data, ground.work
    folder = hub.resolve(member.model)
    finetune = config.teacher.finetune
    torch.manual_seed(config.seed + index)  # of a fresh head and of dropout
    label_map = member.map_to(config.task)
    model = load_classifier(
        folder,
        config.task.labels,
        untrained_head=finetune is not None,
        label_map=label_map,
        problem_type=config.task.problem_type,
    )
    if finetune is None and "scale" in data.state:
        standardise_head(model, data.state["mean"], data.state["scale"])
    tokenizer = tokens.load_tokenizer(folder)
    uncounted = guard.settle_positions(folder, model, tokenizer)
    shape = conversion.shape_of(model)
    # No tokenizer reaches further than the teacher's own positions.
    reach = min(config.task.max_length, shape.positions)
    encoded = {name: tokenizer.encode(split.texts, reach) for name, split in data.splits.items()}
    for name, rows in encoded.items():
        guard.refuse_strangers(folder, rows, shape.vocabulary)
        guard.refuse_uncounted(folder, tokenizer, uncounted, _table(name, data.splits[name].texts), rows)
    pad = tokens.pad_id(tokenizer.spec)
    if index == 0 and config.teacher.keep_base:
        save_classifier(model, work.out / "base")
    if finetune is not None:
        _finetune(ground, f"teacher-{index}", model, finetune, encoded, pad)
    _write(work.out / "members" / str(index), model, tokenizer, member)
    encoder, labels = conversion.read(model), len(config.task.labels)
    said = {n: logits(Logits(model), rows, pad, labels) for n, rows in encoded.items() if n != "train"}
    some = guard.rows_counted(encoded["validation"], uncounted)[:HELD]
    _hold(member, encoder, said, encoded["validation"], some)
    warnings = () if finetune else _check_order(member, config.task, said["validation"], data)
    if index == 0:
        warnings += _cut_texts(encoded, reach)
    return Taught(str(model.config.model_type), encoder, said, warnings)


def _check_order(
    member: Member, task: TaskSection, said: NDArray[np.float32], data: Dataset
) -> tuple[str, ...]:
    """Hold the answers on validation against its labels; what the order of the outputs leaves open.

    Raises:
        ProfileError: the outputs stand for other labels than they are taken for.
    """
    if task.problem_type != DEFAULT:
        return ()
    head = load_head(hub.resolve(member.model))
    return check_order(head, said, data.splits["validation"].labels, task.labels, member.map_to(task))


def _cut_texts(encoded: Mapping[str, Encodings], reach: int) -> tuple[str, ...]:
    """One line that counts the texts which fill the longest input, by splits where they are many."""
    full = {split: int((rows.lengths >= reach).sum()) for split, rows in encoded.items()}
    many = [
        f"{count:,} of {len(encoded[split]):,} in {split}"
        for split, count in full.items()
        if count > CUT * len(encoded[split])
    ]
    return (f"texts that fill all {reach} tokens, longer ones are cut: {', '.join(many)}",) if many else ()


def _table(split: str, texts: Sequence[str]) -> Table:
    return Table(tuple(texts), None, tuple(range(1, len(texts) + 1)), split)


def _write(out: Path, model: Any, tokenizer: TeacherTokenizer, member: Member) -> None:
    """The member's folder, which AutoTokenizer reads as it reads the teacher's own.

    Raises:
        StageFailed: it does not.
    """
    save_classifier(model, out)
    tokenizer.copy(out)
    write_json(out / "member.json", {"model": member.model, "weight": member.weight})
    if tokens.load_tokenizer(out).spec != tokenizer.spec:
        raise StageFailed(
            f"{member.model}: AutoTokenizer reads the copy of its tokenizer's files otherwise",
            hint=guard.REPORT,
        )


def _hold(
    member: Member,
    encoder: Encoder,
    said: Mapping[str, NDArray[np.float32]],
    validation: Encodings,
    some: NDArray[np.int64],
) -> None:
    """Hold the copy that students are carved from to the teacher's own answers on some validation text.

    Raises:
        StageFailed: it gives others, or the teacher's are not finite.
    """
    if not all(np.isfinite(rows).all() for rows in said.values()):
        raise StageFailed(
            f"teacher {member.model}: its answers are not finite", hint="lower the learning rate"
        )
    rows = Encodings.of([validation[row].tolist() for row in some])
    copied = logits(encoder, rows, 0, encoder.shape.labels)
    found = guard.largest_difference(said["validation"][some], copied).max(initial=0.0)
    if found > guard.TOLERANCE:
        raise StageFailed(
            f"teacher {member.model}: the copy that students are carved from differs by {found:.2g}",
            hint=guard.REPORT,
        )


class _Supervised(nn.Module):
    """The task's loss on the labels."""

    def __init__(self, model: nn.Module, task: Task, state: State) -> None:
        super().__init__()
        self.model, self.task, self.state = model, task, state

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean loss of one batch."""
        out: Any = self.model(input_ids=batch["ids"], attention_mask=batch["mask"])
        return self.task.loss(out.logits.float(), batch["labels"], self.state)


def _finetune(
    ground: Ground, name: str, model: Any, schedule: FineTune, encoded: Mapping[str, Encodings], pad: int
) -> None:
    """Train in place; the epoch with the best primary score on validation is kept."""
    task = task_of(ground.config.task)
    labels = {split: ground.data.splits[split].labels for split in ("train", "validation")}

    def collate(rows: NDArray[np.int64]) -> dict[str, Tensor]:
        ids, mask = to_tensors(encoded["train"], rows, pad)
        return {"ids": ids, "mask": mask, "labels": torch.from_numpy(labels["train"][rows])}

    def evaluate() -> dict[str, float]:
        model.eval()
        found = logits(Logits(model), encoded["validation"], pad, len(ground.config.task.labels))
        measured = task.scores(found, labels["validation"])
        return {"score": measured.score, **measured.scores}

    job = Job(
        name,
        _Supervised(model, task, ground.data.state),
        encoded["train"].lengths,
        collate,
        evaluate,
        ground.config.seed,
    )
    read = np.append(encoded["train"].values, pad)
    with rows_read(model, model.get_input_embeddings(), read):
        train(job, schedule, ground.work.scratch, ground.work.progress)
    model.eval()
