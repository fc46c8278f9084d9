"""Write the bundle: every form converted from the one before it, compared, then measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from squeeze.artifact import Artifact, write_json
from squeeze.data import dataset
from squeeze.data.batches import pad
from squeeze.data.dataset import Dataset
from squeeze.distillation.config import PREDICTIONS
from squeeze.errors import ParityFailed
from squeeze.graphs import lean as graph
from squeeze.graphs import ort_format
from squeeze.graphs.difference import Difference, by_site, lost, told
from squeeze.graphs.scales import Scales
from squeeze.graphs.watching import Feed
from squeeze.models import tokens
from squeeze.models.encoder import Encoder
from squeeze.models.storage import load_student
from squeeze.models.tokens import Encodings
from squeeze.quantization import storage as quantization
from squeeze.quantization.forms import Recipe, convert, recipe_of
from squeeze.quantization.plan import Scheme
from squeeze.quantization.storage import FLOAT_PREDICTIONS, Quantization
from squeeze.runtime import give_back
from squeeze.stage import Work
from squeeze.stages.export import borrowed, emulating, engine, mobile, parity
from squeeze.stages.export.calibrating import calibrated, feed, training_feeds
from squeeze.stages.export.card import model_card
from squeeze.stages.export.parity import Validation
from squeeze.stages.export.stage import (
    ExportConfig,
    ExportResult,
    FormName,
    FormResult,
    OrtFile,
    ParityReport,
    Tolerance,
)
from squeeze.targets.ort import guarded, open_session
from squeeze.targets.reading import LABELS, Labels
from squeeze.targets.subjects import FORM_FILES, TOKENIZER
from squeeze.tasks import Task, qualities, task_of

__all__ = ["run"]

BATCH = 16  # texts a call in the check of padded batches
INSPECTED = 32  # validation texts on which each product is compared
SAME = Tolerance(max_abs=1e-5, agreement=1.0, metric_drop=0.0)
"""The ORT format holds the same graph: what differs can only be the order of sums."""
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Ground:
    """What every form is measured on.

    Attributes:
        data: all splits.
        encoded: held-out splits in the student's token numbers.
        tokenizer: what makes these.
        task: what the outputs stand for.
        teacher: the teacher's answers by split.
        reach: longest input in tokens.
        work: where files go.
    """

    data: Dataset
    encoded: Mapping[str, Encodings]
    tokenizer: Tokenizer
    task: Task
    teacher: Mapping[str, Logits]
    reach: int
    work: Work

    def predict(self, path: Path) -> dict[str, Logits]:
        """Logits of an ONNX file on every held-out split, one text a call.

        Texts are not batched: dynamic quantization takes one scale for the whole call, so a text's
        answer would depend on its neighbours, and on the device it has none.
        """
        session = open_session(path, threads=self.work.threads)
        total = sum(map(len, self.encoded.values()))
        found: dict[str, Logits] = {}
        with guarded(path, "cannot be run"), self.work.progress.task(f"check {path.name}", total) as advance:
            for split, rows in self.encoded.items():
                each = [session.run(["logits"], feed(rows[row]))[0] for row in range(len(rows))]
                found[split] = np.concatenate(each)
                advance(len(rows))
        return found

    def judge(
        self, path: Path, source: str, before: Mapping[str, Logits], tolerance: Tolerance
    ) -> tuple[FormResult, dict[str, Logits]]:
        """Compare a file with what it was made from, then measure it.

        Raises:
            ParityFailed: it changed by more than its tolerance on the validation text.
        """
        found = self.predict(path)
        report = self._held(path, source, before, found, tolerance)
        measured = qualities(self.task, found, self.data, self.teacher)
        size = path.stat().st_size
        return FormResult(file=path.name, size_bytes=size, parity=report, quality=measured), found

    def judge_ort(self, path: Path, before: Mapping[str, Logits]) -> OrtFile:
        """Write a file once more in the ORT format and hold it to the same answers.

        Raises:
            ParityFailed: it does not give them.
        """
        target = path.with_suffix(".ort")
        ort_format.convert(path, target)
        report = self._held(target, path.name, before, self.predict(target), SAME)
        return OrtFile(file=target.name, size_bytes=target.stat().st_size, parity=report)

    def _held(
        self,
        path: Path,
        source: str,
        before: Mapping[str, Logits],
        after: Mapping[str, Logits],
        tolerance: Tolerance,
    ) -> ParityReport:
        report = parity.compare(source, before["validation"], after["validation"], self.truth)
        parity.hold(path.name, report, tolerance)
        return report

    @property
    def truth(self) -> Validation:
        """What conversions are judged by."""
        return Validation(self.data.splits["validation"].labels, self.task, self.data.state)

    def feeds(self, most: int | None = None) -> list[Feed]:
        """Validation texts, one a call; all of them or the first few."""
        rows = self.encoded["validation"]
        return [feed(rows[row]) for row in range(len(rows))[:most]]

    def differences(self, fp32: Path, path: Path) -> tuple[Difference, ...]:
        """Of all products of a form, on some validation texts."""
        return by_site(fp32, path, self.feeds(INSPECTED), self.work.threads)

    def hold_batches(self, path: Path, alone: Logits, tolerance: Tolerance) -> None:
        """Run the validation text in padded batches, which must change no answer.

        A graph that forgets its mask passes every test of one text a call.

        Raises:
            ParityFailed: logits differ from those of each text alone by more than the tolerance.
        """
        session, rows = open_session(path, threads=self.work.threads), self.encoded["validation"]
        together: list[Logits] = []
        with guarded(path, "cannot be run on a padded batch"):
            for start in range(0, len(rows), BATCH):
                ids, mask = pad([rows[row] for row in range(start, min(start + BATCH, len(rows)))], 0)
                together.append(session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0])
        report = parity.compare("each text alone", alone, np.concatenate(together), self.truth)
        parity.hold(f"{path.name} in padded batches", report, tolerance)


def run(config: ExportConfig, inputs: Mapping[str, Artifact], work: Work) -> ExportResult:
    """Make model.onnx, the quantized forms that are asked for, and what belongs to them."""
    torch.set_num_threads(work.threads)
    student = load_student(inputs["encoder"].path)
    ground = _ground(config, inputs, student, work)
    forms, shipped = _forms(config, inputs["encoder"].path, student, ground)
    rows, truth = ground.encoded["validation"], ground.truth
    built = engine.make(config.export.tensorrt, forms, rows, truth, ground.reach, work)
    lengths, said = tuple(int(length) for length in rows.lengths), _said(inputs["encoder"].path)
    tokenizer_bytes = _tokenizer(inputs["encoder"].path, work.out, ground.reach)
    result = ExportResult(
        forms=forms,
        tokenizer_bytes=tokenizer_bytes,
        lengths=lengths,
        engine=built,
        formats=mobile.make(config.export, student, said, rows, truth, ground.reach, work),
        checks=emulating.check(config, forms, lengths, work),
    )
    return _bundle(config, inputs, ground, result, shipped)


def _forms(
    config: ExportConfig, encoder: Path, student: Encoder, ground: Ground
) -> tuple[dict[str, FormResult], Logits]:
    """Every form that was asked for, and what the one that ships gives on validation.

    fp32 is always made, since the others are made from it.
    """
    settings, work = config.export, ground.work
    fp32 = work.out / FORM_FILES["fp32"]
    with work.progress.task(f"export {fp32.name}", 1) as advance:
        graph.export(student, fp32, settings.opset)
        advance(1)
    trained = quantization.load(encoder)
    said = _said(encoder)
    made: dict[str, FormResult] = {}
    made["fp32"], found = ground.judge(fp32, "torch", said, settings.fp32_tolerance)
    ground.hold_batches(fp32, found["validation"], settings.fp32_tolerance)
    answers = {"fp32": found}
    wanted = _wanted(settings.forms, trained)
    for form in wanted:
        if form == "fp32":
            continue
        if trained is not None and form == trained.record.scheme:
            rounded = load_file(encoder / PREDICTIONS)
            made[form], answers[form] = _trained(form, fp32, config, trained, rounded, ground)
        else:
            made[form], answers[form] = _quantized(form, fp32, config, found, ground)
    if settings.ort:
        for form in wanted:
            twin = ground.judge_ort(work.out / made[form].file, answers[form])
            made[form] = made[form].model_copy(update={"ort": twin})
    if "fp32" not in wanted:
        fp32.unlink()
    return {name: made[name] for name in wanted}, answers[wanted[-1]]["validation"]


def _said(encoder: Path) -> dict[str, Logits]:
    """Logits of the model in torch before anything was rounded, by split."""
    rounded = (encoder / FLOAT_PREDICTIONS).is_file()
    return dict(load_file(encoder / (FLOAT_PREDICTIONS if rounded else PREDICTIONS)))


def _wanted(forms: Sequence[FormName], trained: Quantization | None) -> tuple[FormName, ...]:
    """The forms to make; what `[quantize]` trained is always made, and ships."""
    if trained is None:
        return tuple(forms)
    return (*(form for form in forms if form != trained.record.scheme), trained.record.scheme)


def _quantized(
    form: Scheme, fp32: Path, config: ExportConfig, found: Mapping[str, Logits], ground: Ground
) -> tuple[FormResult, dict[str, Logits]]:
    """A form of what was never rounded, held against fp32."""
    settings, path = config.export, ground.work.out / FORM_FILES[form]
    if borrowed.is_borrowed(form, settings):
        training = training_feeds(config, ground.data.splits["train"], ground.tokenizer)
        texts = borrowed.Texts(training, ground.feeds(), ground.truth)
        borrowed.write(form, fp32, path, settings, texts, ground.work)
    else:
        convert(form, fp32, path, _recipe(form, fp32, config, ground))
    return _judged(form, fp32, (fp32.name, found), settings.tolerance(form), config, ground)


def _recipe(form: Scheme, fp32: Path, config: ExportConfig, ground: Ground) -> Recipe:
    """How a form of what was never rounded is made."""
    scales = Scales()
    if form == "int8-static":
        train = ground.data.splits["train"]
        scales = calibrated(fp32, config, train, ground.tokenizer, ground.work)
    return Recipe(
        scales,
        weight_bits=config.export.weight_bits,
        table_bits=config.export.table_bits if form == "int4-weight" else 8,
        block=config.export.int4_block,
    )


def _trained(
    form: Scheme,
    fp32: Path,
    config: ExportConfig,
    found: Quantization,
    rounded: Mapping[str, Logits],
    ground: Ground,
) -> tuple[FormResult, dict[str, Logits]]:
    """The form that the quantize stage computed in torch, held against what it computed there."""
    convert(form, fp32, ground.work.out / FORM_FILES[form], recipe_of(found))
    return _judged(form, fp32, ("torch, rounded", rounded), config.export.rounded_tolerance, config, ground)


def _judged(
    form: Scheme,
    fp32: Path,
    before: tuple[str, Mapping[str, Logits]],
    tolerance: Tolerance,
    config: ExportConfig,
    ground: Ground,
) -> tuple[FormResult, dict[str, Logits]]:
    """One quantized form that is written, whoever wrote it.

    Its answers are held against those of its source within `tolerance`, and each of its products against
    what the fp32 product gives on the same input.
    """
    path = ground.work.out / FORM_FILES[form]
    give_back()  # converting held the model several times, and so will comparing
    inside = ground.differences(fp32, path)
    give_back()
    try:
        made, answers = ground.judge(path, *before, tolerance)
    except ParityFailed as error:
        raise ParityFailed(error.message, hint=f"{error.hint}; {told(inside)}") from error
    parity.hold_products(path.name, fp32.name, inside, lost(fp32, path), config.export.tolerance(form))
    largest = max((each.output for each in inside), default=0.0)
    return made.model_copy(update={"product": largest}), answers


def _ground(config: ExportConfig, inputs: Mapping[str, Artifact], student: Encoder, work: Work) -> Ground:
    data = dataset.load(inputs["dataset"].path)
    reach = min(config.task.max_length, student.shape.positions)
    tokenizer = tokens.make_tokenizer(tokens.read_spec(inputs["encoder"].path), reach)
    encoded = {n: tokens.encode(tokenizer, split.texts) for n, split in data.splits.items() if n != "train"}
    teacher = load_file(inputs["teacher"].path / PREDICTIONS)
    return Ground(data, encoded, tokenizer, task_of(config.task), teacher, reach, work)


def _tokenizer(encoder: Path, out: Path, reach: int) -> int:
    """Write tokenizer.json beside the model files, with the length where it cuts; returns its bytes."""
    tokens.write_spec(out / TOKENIZER, tokens.read_spec(encoder), reach)
    return (out / TOKENIZER).stat().st_size


def _bundle(
    config: ExportConfig,
    inputs: Mapping[str, Artifact],
    ground: Ground,
    result: ExportResult,
    shipped: Logits,
) -> ExportResult:
    """Labels and card beside the model files."""
    out, task = ground.work.out, ground.task
    reading = Labels(
        labels=config.task.labels,
        max_length=ground.reach,
        problem_type=config.task.problem_type,
        state=task.fit(shipped, ground.data.splits["validation"].labels, ground.data.state),
    )
    write_json(out / LABELS, reading.plain())
    side = tokens.cut_side(tokens.read_spec(out))
    card = model_card(config, inputs, result, ground.reach, side, reading.state)
    (out / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return result
