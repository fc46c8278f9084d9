"""The student that a profile describes, resolved against its teacher into plain values.

What does not fit is refused here, before anything is computed: a wrong number must not cost an hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from squeeze.core.layer_map import choose_layers
from squeeze.distillation.config import Phase, StudentSection, VocabularySection, phase_faults
from squeeze.errors import ProfileError
from squeeze.models.shapes import EmbeddingShape, EncoderShape, LayerShape, load_shape

__all__ = [
    "StudentPlan",
    "existing_student",
    "kept_layers",
    "other_pieces",
    "refuse_phases",
    "resolve_student",
]


@dataclass(frozen=True)
class StudentPlan:
    """What a student is made of.

    Attributes:
        init: where its weights come from.
        shape: its layers, heads, neurons, table and positions; with all pieces until a vocabulary is chosen.
        layers: the teacher's layers that a carved student keeps, counted from 0; none for others.
        max_length: tokens of the longest text that it reads; longer ones are cut.
        vocabulary: which pieces it keeps; None: those that it has.
        path: folder of an earlier student.
    """

    init: Literal["carve", "random", "path"]
    shape: EncoderShape
    layers: tuple[int, ...]
    max_length: int
    vocabulary: VocabularySection | None
    path: Path | None = None

    def with_pieces(self, pieces: int) -> EncoderShape:
        """The shape with so many pieces."""
        return self.shape.model_copy(update={"vocabulary": pieces})


def resolve_student(
    student: StudentSection, max_length: int, labels: int, teacher: EncoderShape
) -> StudentPlan:
    """What a `[student]` section means for one teacher.

    Args:
        student: the section.
        max_length: `[task] max_length`.
        labels: how many the task has.
        teacher: shape of the first task teacher.

    Raises:
        ProfileError: the teacher does not have what a key asks for.
    """
    limit = student.max_positions or max_length
    plan = StudentPlan(
        init=student.init,
        shape=teacher.model_copy(update={"positions": min(limit, teacher.positions)}),
        layers=(),
        max_length=min(limit, max_length, teacher.positions),
        vocabulary=student.vocabulary,
        path=None if student.path is None else Path(student.path),
    )
    if plan.path is not None:
        return replace(plan, shape=_earlier(plan.path, plan.max_length, max_length, labels))
    if plan.init == "random":
        return replace(plan, shape=_random(student, labels, teacher, plan.shape.positions))
    layers = kept_layers(student.layers, teacher, "[student] layers", "the teacher")
    return replace(plan, shape=_carved(student, layers, teacher, plan.shape), layers=layers)


def existing_student(folder: Path, max_length: int, teacher: EncoderShape) -> StudentPlan:
    """A student that another stage has made, which is trained further and reads text as it did before."""
    shape = load_shape(folder)
    longest = min(max_length, shape.positions, teacher.positions)
    return StudentPlan("path", shape, (), longest, vocabulary=None, path=folder)


def refuse_phases(
    phases: Sequence[Phase], student: EncoderShape, teachers: Mapping[str, EncoderShape]
) -> None:
    """Check phases against a student of known shape and the teachers.

    Raises:
        ProfileError: a loss compares what the two do not have in common.
    """
    for phase in phases:
        _refuse_phase(student, phase, teachers[phase.teacher])


def kept_layers(wanted: int | tuple[int, ...], of: EncoderShape, key: str, owner: str) -> tuple[int, ...]:
    """So many layers, evenly spread, or those that are named; counted from 0.

    Args:
        wanted: how many, or which.
        of: what they are taken from.
        key: that asks for them, for the message.
        owner: of the layers, for the message.

    Raises:
        ProfileError: there are not so many.
    """
    depth = len(of.layers)
    if isinstance(wanted, int):
        if wanted > depth:
            raise ProfileError(f"{key}: {wanted}, {owner} has {depth}")
        return choose_layers(wanted, depth)
    for layer in wanted:
        if not 0 <= layer < depth:
            raise ProfileError(f"{key}: no layer {layer}, {owner}'s go from 0 to {depth - 1}")
    return wanted


def _random(student: StudentSection, labels: int, teacher: EncoderShape, positions: int) -> EncoderShape:
    """Shape of a student with random weights: the teacher's numbers where the profile says nothing."""
    depth = student.layers if isinstance(student.layers, int) else len(student.layers)
    width = student.hidden or teacher.hidden
    sizes = zip(
        _spread(student.heads or teacher.layers[0].heads, depth),
        _spread(student.ffn or teacher.layers[0].ffn, depth),
        strict=True,
    )
    return EncoderShape(
        vocabulary=teacher.vocabulary,
        embedding=_table(student, width),
        hidden=width,
        head_size=student.head_size or teacher.head_size,
        layers=tuple(LayerShape(heads=h, ffn=f) for h, f in sizes),
        positions=positions,
        labels=labels,
        activation=teacher.activation,
    )


def _carved(
    student: StudentSection, layers: Sequence[int], teacher: EncoderShape, whole: EncoderShape
) -> EncoderShape:
    """Shape of a student that is cut out of its teacher; `whole` has all but what is cut."""
    if student.head_size not in (None, teacher.head_size):
        raise ProfileError(
            f"[student] head_size: {student.head_size}, carved heads keep the teacher's {teacher.head_size}",
            hint='leave it out, or use init = "random"',
        )
    if (student.hidden or 0) > teacher.hidden:
        raise ProfileError(
            f"[student] hidden: {student.hidden}, the teacher has {teacher.hidden}",
            hint='a carved student is never wider; use init = "random"',
        )
    if student.hidden == teacher.embedding.width < teacher.hidden:
        raise ProfileError(
            f"[student] hidden: {student.hidden} is the width of the teacher's table, which is widened",
            hint="take another width: a student as wide as its table widens nothing",
        )
    hidden = student.hidden or teacher.hidden
    tied = teacher.embedding.width == teacher.hidden  # else it is widened behind the table, and stays
    sizes = zip(
        _per_layer(student.heads, [teacher.layers[layer].heads for layer in layers], "heads"),
        _per_layer(student.ffn, [teacher.layers[layer].ffn for layer in layers], "ffn"),
        strict=True,
    )
    return whole.model_copy(
        update={
            "hidden": hidden,
            "embedding": _table(student, hidden if tied else teacher.embedding.width),
            "layers": tuple(LayerShape(heads=h, ffn=f) for h, f in sizes),
        }
    )


def _earlier(path: Path, longest: int, max_length: int, labels: int) -> EncoderShape:
    shape = load_shape(path)
    if shape.labels != labels:
        raise ProfileError(f"[student] path: {path} has {shape.labels} labels, [task] labels names {labels}")
    if min(max_length, shape.positions) != longest:  # export cuts at this length
        raise ProfileError(
            f"[student] path: {path} reads {shape.positions} tokens, one of this profile reads {longest}",
            hint=f"set [task] max_length to {min(longest, shape.positions)}",
        )
    return shape


def other_pieces(path: Path, pieces: int, wanted: int) -> ProfileError:
    """The error of an earlier student with another vocabulary."""
    return ProfileError(
        f"[student] path: {path} has {pieces} pieces, this profile's vocabulary has {wanted}",
        hint="use the [student.vocabulary] and the teacher that it was made with",
    )


def _refuse_phase(student: EncoderShape, phase: Phase, teacher: EncoderShape) -> None:
    for key, message in phase_faults(phase, student.labels):
        raise ProfileError(f"phase {phase.name}, {key}: {message}")
    for loss in phase.losses:
        for message, hint in loss.misfits(student, teacher):
            raise ProfileError(f"phase {phase.name}, {message}", hint=hint)


def _per_layer(value: int | tuple[int, ...] | None, most: Sequence[int], name: str) -> tuple[int, ...]:
    """One number a kept layer, none above the teacher's."""
    values = tuple(most) if value is None else _spread(value, len(most))
    for place, (wanted, limit) in enumerate(zip(values, most, strict=True)):
        if wanted > limit:
            raise ProfileError(f"[student] {name}: {wanted} in layer {place}, the teacher has {limit}")
    return values


def _spread(value: int | tuple[int, ...], depth: int) -> tuple[int, ...]:
    return (value,) * depth if isinstance(value, int) else value


def _table(student: StudentSection, width: int) -> EmbeddingShape:
    asked = student.embedding
    place = "[student.embedding]"
    if asked.kind == "factorised" and asked.rank > width:
        raise ProfileError(f"{place} rank: {asked.rank}, the table is {width} wide")
    if asked.kind == "product" and width % asked.subvectors:
        raise ProfileError(
            f"{place} subvectors: {asked.subvectors} does not divide the table's width {width}"
        )
    return EmbeddingShape(
        kind=asked.kind,
        width=width,
        rank=asked.rank if asked.kind == "factorised" else 1,
        subvectors=asked.subvectors if asked.kind == "product" else 1,
        codewords=asked.codewords,
    )
