"""Which teacher layer each student layer learns from.

A map is a tuple of (student, teacher) pairs. Both count hidden states as BERT does: 1 is the output
of the first layer, n and m the last of student and teacher; 0, the embedding output, is in no map
and a loss that wants it adds the pair (0, 0). Attention maps of layer k go with hidden state k.

Every map needs n <= m; all but `final` give each student layer one teacher layer, in rising order
and none twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["LAYER_MAPS", "LayerMap", "choose_layers", "final", "last", "skip", "uniform"]

LayerMap: TypeAlias = tuple[tuple[int, int], ...]


def last(student_layers: int, teacher_layers: int) -> LayerMap:
    """The last n teacher layers: student k learns from teacher m - n + k (PKD-last, arXiv:1908.09355).

    >>> last(3, 6)
    ((1, 4), (2, 5), (3, 6))
    """
    _check(student_layers, teacher_layers)
    return tuple((k, teacher_layers - student_layers + k) for k in range(1, student_layers + 1))


def skip(student_layers: int, teacher_layers: int) -> LayerMap:
    """Every (m/n)-th teacher layer: student k learns from teacher k * m / n (TinyBERT, BiStil).

    The last layers always meet. Where n does not divide m the teacher layer is the nearest, halves
    go up; the papers only use whole steps.

    >>> skip(3, 6), skip(3, 4)
    (((1, 2), (2, 4), (3, 6)), ((1, 1), (2, 3), (3, 4)))
    """
    _check(student_layers, teacher_layers)
    return tuple((k, _nearest(k * teacher_layers, student_layers)) for k in range(1, student_layers + 1))


def uniform(student_layers: int, teacher_layers: int) -> LayerMap:
    """Evenly spread, first and last included: student k learns from 1 + (k - 1)(m - 1)/(n - 1).

    The nearest layer, halves go up. A student of one layer learns from the last.

    >>> uniform(3, 6), uniform(1, 6)
    (((1, 1), (2, 4), (3, 6)), ((1, 6),))
    """
    _check(student_layers, teacher_layers)
    if student_layers == 1:
        return ((1, teacher_layers),)
    return tuple(
        (k, 1 + _nearest((k - 1) * (teacher_layers - 1), student_layers - 1))
        for k in range(1, student_layers + 1)
    )


def final(student_layers: int, teacher_layers: int) -> LayerMap:
    """Only the last hidden states meet, whatever the depths.

    >>> final(3, 6)
    ((3, 6),)
    """
    _check(student_layers, teacher_layers)
    return ((student_layers, teacher_layers),)


def choose_layers(wanted: int, of: int) -> tuple[int, ...]:
    """Evenly spread teacher layers, the last one among them: those that the layer map ``skip`` teaches.

    >>> choose_layers(3, 6), choose_layers(4, 12), choose_layers(3, 4)
    ((1, 3, 5), (2, 5, 8, 11), (0, 2, 3))
    """
    return tuple(teacher - 1 for _, teacher in skip(wanted, of))


LAYER_MAPS: dict[str, Callable[[int, int], LayerMap]] = {
    "final": final,
    "last": last,
    "skip": skip,
    "uniform": uniform,
}


def _nearest(numerator: int, denominator: int) -> int:
    """The quotient rounded to the nearest integer, halves up, without floats."""
    return (2 * numerator + denominator) // (2 * denominator)


def _check(student_layers: int, teacher_layers: int) -> None:
    """Refuse a student without layers or with more than its teacher."""
    if not 1 <= student_layers <= teacher_layers:
        raise ValueError(f"student layers must be 1..{teacher_layers}, got {student_layers}")
