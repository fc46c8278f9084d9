"""The student's shape, and everything in a profile that does not fit its teacher.

`refuse_misfits` runs before anything is computed: a wrong number must not cost an hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from squeeze.core.layer_map import LayerMap, choose_layers
from squeeze.data.teacher_cache import hidden
from squeeze.distillation.config import DistilConfig, Loss, Phase, StudentSection, phase_faults
from squeeze.distillation.terms import NEEDS, layer_pairs
from squeeze.errors import ProfileError
from squeeze.models.shapes import EmbeddingShape, EncoderShape, LayerShape, load_shape

__all__ = [
    "carved_table",
    "heads",
    "kept_layers",
    "layers",
    "neurons",
    "other_pieces",
    "random_shape",
    "reach",
    "refuse_misfits",
    "refuse_phases",
    "student_shape",
]


def refuse_misfits(config: DistilConfig, teachers: Mapping[str, EncoderShape]) -> None:
    """Check student and phases against the teachers.

    Args:
        config: the stage's settings.
        teachers: shape of the first `task` teacher, and of the `base` teacher where a phase asks for it.

    Raises:
        ProfileError: a key asks for what its teacher does not have; the key is named.
    """
    student = student_shape(config, teachers["task"], teachers["task"].vocabulary)
    refuse_phases(config.distil.phases, student, teachers)


def refuse_phases(
    phases: Sequence[Phase], student: EncoderShape, teachers: Mapping[str, EncoderShape]
) -> None:
    """Check phases against a student of known shape and the teachers.

    Raises:
        ProfileError: a loss compares what the two do not have in common.
    """
    for phase in phases:
        _refuse_phase(student, phase, teachers[phase.teacher])


def reach(config: DistilConfig, teacher: EncoderShape) -> int:
    """Tokens of the longest text that the student reads; longer ones are cut."""
    limit = config.task.max_length
    return min(limit, config.student.max_positions or limit, teacher.positions)


def layers(student: StudentSection, teacher: EncoderShape) -> tuple[int, ...]:
    """The teacher's layers that are kept, counted from 0."""
    return kept_layers(student.layers, teacher, "[student] layers", "the teacher")


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


def heads(student: StudentSection, teacher: EncoderShape) -> tuple[int, ...]:
    """How many heads each kept layer keeps."""
    most = [teacher.layers[layer].heads for layer in layers(student, teacher)]
    return _per_layer(student.heads, most, "heads")


def neurons(student: StudentSection, teacher: EncoderShape) -> tuple[int, ...]:
    """How many feed-forward neurons each kept layer keeps."""
    most = [teacher.layers[layer].ffn for layer in layers(student, teacher)]
    return _per_layer(student.ffn, most, "ffn")


def carved_table(student: StudentSection, teacher: EncoderShape) -> EmbeddingShape:
    """How a carved student stores its table: as wide as the teacher's, unless the hidden width is cut."""
    tied = teacher.embedding.width == teacher.hidden  # else it is widened behind the table, and stays
    return _table(student, (student.hidden or teacher.hidden) if tied else teacher.embedding.width)


def student_shape(config: DistilConfig, teacher: EncoderShape, pieces: int) -> EncoderShape:
    """The shape that a student of so many pieces will have.

    Raises:
        ProfileError: the teacher does not have what a key asks for.
    """
    if config.student.init == "random":
        return random_shape(config, teacher, pieces)
    if config.student.init == "path":
        return _earlier(config, teacher)
    positions = min(config.student.max_positions or config.task.max_length, teacher.positions)
    return _carved(config, teacher).model_copy(update={"vocabulary": pieces, "positions": positions})


def random_shape(config: DistilConfig, teacher: EncoderShape, pieces: int) -> EncoderShape:
    """Shape of a student with random weights: the teacher's numbers where the profile says nothing."""
    student = config.student
    depth = student.layers if isinstance(student.layers, int) else len(student.layers)
    width = student.hidden or teacher.hidden
    each = zip(
        _spread(student.heads or teacher.layers[0].heads, depth),
        _spread(student.ffn or teacher.layers[0].ffn, depth),
        strict=True,
    )
    return EncoderShape(
        vocabulary=pieces,
        embedding=_table(student, width),
        hidden=width,
        head_size=student.head_size or teacher.head_size,
        layers=tuple(LayerShape(heads=h, ffn=f) for h, f in each),
        positions=min(student.max_positions or config.task.max_length, teacher.positions),
        labels=len(config.task.labels),
        activation=teacher.activation,
    )


def _carved(config: DistilConfig, teacher: EncoderShape) -> EncoderShape:
    student = config.student
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
    each = zip(heads(student, teacher), neurons(student, teacher), strict=True)
    return teacher.model_copy(
        update={
            "hidden": student.hidden or teacher.hidden,
            "embedding": carved_table(student, teacher),
            "layers": tuple(LayerShape(heads=h, ffn=f) for h, f in each),
        }
    )


def _earlier(config: DistilConfig, teacher: EncoderShape) -> EncoderShape:
    path = config.student.path
    found = load_shape(Path(str(path)))
    if found.labels != len(config.task.labels):
        raise ProfileError(
            f"[student] path: {path} has {found.labels} labels, [task] labels names {len(config.task.labels)}"
        )
    here = reach(config, teacher)
    if min(config.task.max_length, found.positions) != here:  # export cuts at this length
        raise ProfileError(
            f"[student] path: {path} reads {found.positions} tokens, a student of this profile reads {here}",
            hint=f"set [task] max_length to {min(here, found.positions)}",
        )
    return found


def other_pieces(config: DistilConfig, found: int, wanted: int) -> ProfileError:
    """The error of an earlier student with another vocabulary."""
    return ProfileError(
        f"[student] path: {config.student.path} has {found} pieces, this profile's vocabulary has {wanted}",
        hint="use the [student.vocabulary] and the teacher that it was made with",
    )


def _refuse_phase(student: EncoderShape, phase: Phase, teacher: EncoderShape) -> None:
    for key, message in phase_faults(phase, student.labels):
        raise ProfileError(f"phase {phase.name}, {key}: {message}")
    depth, limit = len(student.layers), len(teacher.layers)
    inner = [loss for loss in phase.losses if NEEDS[loss.name].feature is not None]
    if inner and depth > limit:
        raise ProfileError(
            f"[student] layers: {depth}, the {phase.teacher} teacher of phase {phase.name} has {limit}",
            hint=f"{inner[0].name} compares layer with layer; leave it out, or take fewer layers",
        )
    for loss in inner:
        if NEEDS[loss.name].feature is hidden and student.hidden > teacher.hidden:
            raise ProfileError(
                f"[student] hidden: {student.hidden}, the {phase.teacher} teacher has {teacher.hidden}",
                hint=f"{loss.name} of phase {phase.name} needs a student that is no wider",
            )
        if loss.name == "relation_kl":
            _refuse_relation_heads(loss, phase, student, teacher)


def _refuse_relation_heads(loss: Loss, phase: Phase, student: EncoderShape, teacher: EncoderShape) -> None:
    pairs = layer_pairs(loss, len(student.layers), len(teacher.layers))
    for width in _attention_widths(pairs, student, teacher):
        if width % loss.heads:
            raise ProfileError(
                f"phase {phase.name}, relation_kl heads: {loss.heads} does not divide"
                f" an attention width of {width}",
                hint="attention width = heads x head_size of a layer; both sides are cut into so many parts",
            )


def _attention_widths(pairs: LayerMap, student: EncoderShape, teacher: EncoderShape) -> Iterator[int]:
    for ours, theirs in pairs:
        yield student.layers[ours - 1].heads * student.head_size
        yield teacher.layers[theirs - 1].heads * teacher.head_size


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
