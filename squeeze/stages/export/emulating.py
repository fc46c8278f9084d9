"""The bundle's files on emulated arm64 cores: that they load there, and compute what they compute here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from squeeze.stage import Work
from squeeze.stages.export.stage import ExportConfig, FormResult
from squeeze.targets.cpu import Settings
from squeeze.targets.devices import functional
from squeeze.targets.devices.address import parse
from squeeze.targets.devices.results import Functional
from squeeze.targets.devices.visiting import Habits, visit
from squeeze.targets.subjects import TOKENIZER, Subject, vocabulary_size

__all__ = ["check"]


def check(
    config: ExportConfig, forms: Mapping[str, FormResult], lengths: Sequence[int], work: Work
) -> tuple[Functional, ...]:
    """Run every file of the bundle on every core that `[export] check` names.

    Args:
        config: of the stage.
        forms: what the bundle holds, its files and tokenizer.json in ``work.out``.
        lengths: tokens of the validation texts; inputs have these, their ids are random.
        work: where files are.

    Raises:
        MissingBackend: an emulator or its runner went away since the run began.
        ParityFailed: a file computes something else there.
        StageFailed: a file cannot be run there.
    """
    subjects = tuple(_subjects(forms, lengths, work))
    found: list[Functional] = []
    for target in config.export.check:
        with visit(parse(target), Habits(), work.progress) as session:
            found += functional.check(subjects, Settings(seed=config.seed), session, work.progress)
    return tuple(found)


def _subjects(forms: Mapping[str, FormResult], lengths: Sequence[int], work: Work) -> Iterator[Subject]:
    """Every form, and its twin in ONNX Runtime's own format."""
    known = vocabulary_size(work.out / TOKENIZER)
    for form, made in forms.items():
        for file in (made.file, *([made.ort.file] if made.ort else [])):
            yield Subject(work.out / file, file, form, known, tuple(lengths))
