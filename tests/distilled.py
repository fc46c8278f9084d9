"""Inputs, settings and one call for tests of the stages behind the teacher, on tiny random models.

where = distilled.inputs(tmp_path)                    dataset and teacher as artefacts
config = distilled.config(student={...}, phases=[...])
made = distilled.distil(config, where, tmp_path)      the encoder artefact, without a manifest on disk
all_of_it = distilled.chain(tmp_path)                 the three together, what the export stage takes
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from squeeze.artifact import Artifact
from squeeze.data import dataset
from squeeze.distillation.config import DistilConfig
from squeeze.models import conversion, tokens
from squeeze.models.inference import logits
from squeeze.models.teacher import average, load_classifier
from squeeze.stages.distil.run import run
from squeeze.stages.export.stage import ExportConfig
from tests import tiny

KD: dict[str, Any] = {
    "name": "kd",
    "epochs": 2,
    "batch": 16,
    "learning_rate": 1e-3,
    "losses": [{"name": "logit_mse"}, {"name": "hidden_mse"}],
}


def other_spec() -> dict[str, Any]:
    """The tiny tokenizer with fewer pieces in another order: another segmentation, other numbers."""
    spec = tiny.spec()
    gone = {"flood", "wat", "##ing", "##ers", "shelter", "blankets"}
    pieces = [piece for piece in spec["model"]["vocab"] if piece not in gone]
    specials = pieces[: len(tiny.SPECIALS)]
    spec["model"]["vocab"] = {p: i for i, p in enumerate([*specials, *pieces[: len(specials) - 1 : -1]])}
    return spec


def inputs(
    folder: Path, members: Sequence[str] = ("bert",), *, base: bool = False, **changes: Any
) -> dict[str, Artifact]:
    """A dataset and a teacher; a second member reads with another tokenizer; `changes` are of its config."""
    data = dataset.load(tiny.dataset(folder / "dataset"))
    teacher = folder / "teacher"
    said: list[dict[str, Any]] = []
    for index, family in enumerate(members):
        place = tiny.save_classifier(teacher / "members" / str(index), family, seed=index, **changes)
        spec = tiny.spec() if index == 0 else other_spec()
        tokens.write_spec(place / "tokenizer.json", spec)
        (place / "member.json").write_text(json.dumps({"model": family, "weight": 1.0 + index}))
        said.append(_predictions(place, spec, data))
    if base:
        tiny.classifier(members[0], labels=("a", "b", "c"), seed=7).save_pretrained(teacher / "base")
    weights = [1.0 + index for index in range(len(members))]
    save_file(
        {split: average([one[split] for one in said], weights, "softmax") for split in said[0]},
        teacher / "predictions.safetensors",
    )
    result = {"family": members[0], "parameters": 1}
    return {
        "dataset": tiny.artifact(folder / "dataset", "dataset"),
        "teacher": tiny.artifact(teacher, "teacher", result),
    }


def _predictions(place: Path, spec: Mapping[str, Any], data: dataset.Dataset) -> dict[str, Any]:
    reader = conversion.read(load_classifier(place, tiny.LABELS, untrained_head=False))
    tokenizer = tokens.make_tokenizer(dict(spec), tiny.POSITIONS)
    return {
        split: logits(reader, tokens.encode(tokenizer, rows.texts), 0, len(tiny.LABELS))
        for split, rows in data.splits.items()
        if split != "train"
    }


def config(
    student: Mapping[str, Any] | None = None, phases: Sequence[Mapping[str, Any]] = (KD,), **more: Any
) -> DistilConfig:
    """Settings of the distil stage; `more` are keys of [distil]."""
    return DistilConfig.parse(
        {
            "seed": 3,
            "task": {"labels": list(tiny.LABELS), "max_length": 32},
            "student": {"layers": 2, "heads": 2, "ffn": 32, **(student or {})},
            "distil": {"phases": list(phases), "importance_batches": 2, **more},
        }
    )


def distil(
    config: DistilConfig, where: Mapping[str, Artifact], folder: Path, name: str = "distil"
) -> Artifact:
    """Run the stage."""
    work = tiny.work(folder, name)
    result = run(config, where, work)
    return tiny.artifact(work.out, "encoder", result.plain())


def chain(folder: Path, student: Mapping[str, Any] | None = None) -> dict[str, Artifact]:
    """Dataset, teacher and a student, with a dense table unless told otherwise."""
    where = inputs(folder)
    return {**where, "encoder": distil(config(student), where, folder)}


def export_config(max_length: int = 32, **export: Any) -> ExportConfig:
    """Settings of the export stage; `export` are keys of [export]."""
    task = {"labels": list(tiny.LABELS), "max_length": max_length}
    return ExportConfig.parse({"seed": 3, "task": task, "export": export})
