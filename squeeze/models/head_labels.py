"""Which output of a teacher's head answers for which label of the task: config.json is enough, no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze.data.checks import same_text
from squeeze.data.labels import whole_number
from squeeze.data.wording import listing, nearest
from squeeze.errors import ProfileError
from squeeze.models.model_folder import read_config
from squeeze.tasks import DEFAULT, TaskSection

__all__ = [
    "OTHERS",
    "Head",
    "Order",
    "check_head",
    "check_problem_type",
    "fitting_map",
    "load_head",
    "match",
    "mismatch",
    "read_config",
    "read_head",
    "refuse_sums",
]

OTHERS = "*"
"""The key of a label map that stands for all labels that no other key names."""
PLACEHOLDER = re.compile(r"label[ _-]?([0-9]{1,9})")
DEFAULT_OUTPUTS = 2  # transformers' own, where a config.json names neither labels nor their number
MOST_OUTPUTS = 100_000


@dataclass(frozen=True)
class Head:
    """The outputs of a classification head.

    Attributes:
        names: of every output, in the order of the outputs.
        place: the folder or model, for messages.
    """

    names: tuple[str, ...]
    place: str

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The n of each output where all are called LABEL_n, or all are plain whole numbers; else None."""
        spelled = [same_text(name) for name in self.names]
        marked = [PLACEHOLDER.fullmatch(name) for name in spelled]
        found = [int(mark[1]) if mark else None for mark in marked]
        if None in found:
            found = [whole_number(name) for name in spelled]
        return tuple(number for number in found if number is not None) if None not in found else None

    @property
    def counted(self) -> bool:
        """Whether the names only count the outputs from 0: they name nothing."""
        return self.numbers is not None and sorted(self.numbers) == list(range(len(self.names)))


@dataclass(frozen=True)
class Order:
    """How a head answers for the labels of the task.

    Attributes:
        groups: for each label the outputs whose probabilities are summed.
        assumed: why the order is no more than an assumption; empty where names or numbers prove it.
    """

    groups: tuple[tuple[int, ...], ...]
    assumed: str = ""

    @property
    def sums(self) -> bool:
        """Whether a label has several outputs, so that the head cannot simply be reordered."""
        return any(len(group) > 1 for group in self.groups)


def read_head(config: Mapping[str, Any], place: str) -> Head:
    """The outputs that a config.json names.

    Raises:
        ProfileError: `id2label` has gaps or names twice, or `label2id` contradicts it.
    """
    by_id = _by_id(config.get("id2label"), place)
    by_name = _by_name(config.get("label2id"), place)
    if by_id is None:
        by_id = by_name if by_name is not None else _unnamed(config.get("num_labels"), place)
    elif by_name is not None and by_name != by_id:
        # Whoever names one of the two often leaves the other at its default, which names nothing.
        default, named = Head(by_id, place).counted, not Head(by_name, place).counted
        if len(by_id) == len(by_name) and default and named:
            by_id = by_name
        elif not Head(by_name, place).counted:
            raise _contradiction(by_id, by_name, place)
    return Head(by_id, place)


def load_head(folder: Path) -> Head:
    """The outputs that a model's config.json names.

    Raises:
        ProfileError: there is no readable config.json, or it contradicts itself.
    """
    return read_head(read_config(folder), str(folder))


def _by_id(table: Any, place: str) -> tuple[str, ...] | None:
    if not isinstance(table, Mapping) or not table:
        return None
    numbers = {whole_number(str(key)): str(name) for key, name in table.items()}
    if None in numbers or sorted(key for key in numbers if key is not None) != list(range(len(table))):
        raise ProfileError(
            f"{place}: id2label of its config.json does not count its outputs from 0 without gaps: "
            f"{listing(str(key) for key in table)}",
            hint="each output of the head needs one entry; mend config.json",
        )
    return tuple(numbers[index] for index in range(len(table)))


def _by_name(table: Any, place: str) -> tuple[str, ...] | None:
    """The names of the outputs as `label2id` has them; None where it is absent or names only some."""
    if not isinstance(table, Mapping) or not table:
        return None
    outputs = {whole_number(str(index)): str(name) for name, index in table.items()}
    if len(outputs) < len(table) or None in outputs or set(outputs) != set(range(len(table))):
        raise ProfileError(
            f"{place}: label2id of its config.json does not give every label an output of its own: "
            f"{listing(f'{name} = {index}' for name, index in table.items())}",
            hint="label2id must be the reverse of id2label; mend config.json",
        )
    return tuple(outputs[index] for index in range(len(table)))


def _unnamed(count: Any, place: str) -> tuple[str, ...]:
    outputs = DEFAULT_OUTPUTS if count is None else count
    if type(outputs) is not int or not 0 < outputs <= MOST_OUTPUTS:
        raise ProfileError(
            f"{place}: num_labels of its config.json is {str(count)[:40]}, not a count of outputs"
        )
    return tuple(f"LABEL_{index}" for index in range(outputs))


def _contradiction(by_id: tuple[str, ...], by_name: tuple[str, ...], place: str) -> ProfileError:
    if len(by_id) != len(by_name):
        what = f"id2label has {len(by_id)} labels, label2id has {len(by_name)}"
    else:
        at = next(i for i, (one, other) in enumerate(zip(by_id, by_name, strict=True)) if one != other)
        what = f"output {at} is {by_id[at]!r} in id2label and {by_name[at]!r} in label2id"
    return ProfileError(
        f"{place}: its config.json contradicts itself: {what}",
        hint="mend config.json, or give [teacher.finetune]",
    )


def match(head: Head, labels: Sequence[str], label_map: Mapping[str, str] | None = None) -> Order | None:
    """The outputs that answer for each label; None when it is a head for other labels.

    Names count first, whatever their order and case. Where all labels are whole numbers, LABEL_n and the
    name "n" are the label n. Else a head that only counts its outputs (LABEL_0, ...) is taken in its
    order, which is an assumption.

    Args:
        head: of the teacher.
        labels: of the task.
        label_map: the teacher's label to the task's; several may have one.

    Raises:
        ProfileError: the map names what the teacher or the task does not have, or leaves something out.
    """
    if label_map:
        return Order(_mapped(head, labels, label_map))
    if len(head.names) != len(labels):
        return None
    order = _same_names(head.names, labels)
    return Order(order) if order is not None else _by_number(head, labels)


def _same_names(names: Sequence[str], labels: Sequence[str]) -> tuple[tuple[int, ...], ...] | None:
    for spelling in (str, same_text):
        theirs, ours = [list(map(spelling, some)) for some in (names, labels)]
        if sorted(theirs) == sorted(ours) and len(set(theirs)) == len(theirs):
            place = {name: index for index, name in enumerate(theirs)}
            return tuple((place[name],) for name in ours)
    return None


def _by_number(head: Head, labels: Sequence[str]) -> Order | None:
    numbers, wanted = head.numbers, [whole_number(label) for label in labels]
    if numbers is None or len(set(numbers)) < len(numbers):
        return None
    known = [number for number in wanted if number is not None]
    place = {number: index for index, number in enumerate(numbers)}
    if len(set(known)) < len(known):
        return None  # "1" and "01" are one number
    if sorted(known) == sorted(numbers):
        return Order(tuple((place[number],) for number in known))
    if not head.counted:
        return None
    first = f"its head only counts its outputs ({', '.join(head.names[:2])}, ...)"
    if len(known) == len(labels):
        rank = {number: index for index, number in enumerate(sorted(known))}
        groups = tuple((place[rank[number]],) for number in known)
        return Order(
            groups, f"{first}; they are taken for the labels {listing(sorted(labels, key=int))} in this order"
        )
    groups = tuple((place[k],) for k in range(len(labels)))
    return Order(groups, f"{first}; they are taken in the order of [task] labels: {listing(labels)}")


def _mapped(head: Head, labels: Sequence[str], label_map: Mapping[str, str]) -> tuple[tuple[int, ...], ...]:
    target = _named(head, label_map)
    rest = [index for index in range(len(head.names)) if index not in target]
    if rest and OTHERS not in label_map:
        raise ProfileError(
            f"[task.label_map]: {len(rest)} labels of {head.place} stand for nothing: "
            f"{listing(repr(head.names[index]) for index in rest)}",
            hint=f'name each, or give "{OTHERS}" = "{labels[-1]}" for all others',
        )
    if OTHERS in label_map and not rest:
        raise ProfileError(
            f'[task.label_map] "{OTHERS}": has no effect, every label of {head.place} is named'
        )
    target |= dict.fromkeys(rest, label_map.get(OTHERS, ""))
    outputs: dict[str, list[int]] = {label: [] for label in labels}
    for output, label in sorted(target.items()):
        outputs[label].append(output)
    groups = tuple(map(tuple, outputs.values()))
    missing = [label for label, group in zip(labels, groups, strict=True) if not group]
    if missing:
        raise ProfileError(
            f"[task.label_map]: nothing of {head.place} stands for {listing(map(repr, missing))}",
            hint=f"its labels are: {', '.join(head.names)}",
        )
    return groups


def _named(head: Head, label_map: Mapping[str, str]) -> dict[int, str]:
    """The label of each output that the map names."""
    spellings = [_places(head, spelling) for spelling in (str, same_text)]
    if not any(whole_number(name) is not None for name in head.names):
        spellings.append({str(index): [index] for index in range(len(head.names))})
    target: dict[int, str] = {}
    for key, label in label_map.items():
        if key != OTHERS:
            output = _output(head, key, spellings)
            if output in target:
                raise ProfileError(f"[task.label_map] {key!r}: names an output of {head.place} a second time")
            target[output] = label
    return target


def _places(head: Head, spelling: Callable[[str], str]) -> dict[str, list[int]]:
    """The outputs of each name, as it is spelled."""
    places: dict[str, list[int]] = {}
    for index, name in enumerate(head.names):
        places.setdefault(spelling(name), []).append(index)
    return places


def _output(head: Head, key: str, spellings: Sequence[Mapping[str, Sequence[int]]]) -> int:
    """The output that a key of the map names: as it is, but for case, or by its number."""
    for places, spelled in zip(spellings, (key, same_text(key), key), strict=False):
        if len(places.get(spelled, ())) == 1:
            return places[spelled][0]
    raise ProfileError(
        f"[task.label_map] {key!r}: not a label of {head.place}{nearest(key, head.names)}",
        hint=f"its labels are: {', '.join(head.names)}",
    )


def mismatch(head: Head, labels: Sequence[str]) -> ProfileError:
    """A head that answers for other labels than the task's."""
    if len(head.names) < 2:
        return ProfileError(
            f"{head.place}: its head has {len(head.names)} output, which looks like regression;"
            f" the task has {len(labels)} labels",
            hint="add [teacher.finetune], which gives it a new head",
        )
    lines = ", ".join(f"{_quoted(name)} = {_quoted(labels[0])}" for name in head.names[:1])
    return ProfileError(
        f"{head.place}: its labels are {listing(map(repr, head.names))},"
        f" the task's are {listing(map(repr, labels))}",
        hint=f"say which is which in [task.label_map] ({lines}, ...), or add [teacher.finetune]",
    )


def fitting_map(head: Head, order: Order, labels: Sequence[str], fits: Sequence[int]) -> str:
    """The label map under which the k-th of the task's present outputs answers for label `fits[k]`."""
    target = {output: labels[fits[k]] for k, group in enumerate(order.groups) for output in group}
    entries = ", ".join(f"{_quoted(name)} = {_quoted(target[i])}" for i, name in enumerate(head.names))
    return f"label_map = {{ {entries} }}"


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")


def check_problem_type(config: Mapping[str, Any], place: str, problem_type: str) -> str:
    """Hold what a head's outputs stand for against the task.

    transformers takes one output without a `problem_type` for a regression, and several for a softmax.

    Args:
        config: its config.json.
        place: what it is called in messages.
        problem_type: of the task.

    Returns:
        What is assumed; empty where config.json says it.

    Raises:
        ProfileError: its outputs stand for something else.
    """
    named = config.get("problem_type")
    if named is None:
        outputs = len(read_head(config, place).names)
        if problem_type == DEFAULT or (outputs == 1 and problem_type == "regression"):
            return ""
        return f"config.json names no problem_type; its outputs are taken for {problem_type}"
    if named != problem_type:
        raise ProfileError(
            f"{place}: its head is made for {str(named)[:40]}, [task] problem_type is {problem_type}",
            hint="give that problem_type, or add [teacher.finetune], which gives it a new head",
        )
    return ""


def check_head(
    config: Mapping[str, Any],
    place: str,
    task: TaskSection,
    label_map: Mapping[str, str] | None,
    *,
    trained: bool,
) -> tuple[str, ...]:
    """What can be known of a teacher's labels before it is loaded.

    Args:
        config: its config.json.
        place: what it is called in messages.
        task: what its outputs shall stand for.
        label_map: the teacher's label to the task's.
        trained: whether it is fine-tuned: then a head for other labels is replaced, and no order is assumed.

    Returns:
        Warnings, one line each.

    Raises:
        ProfileError: the head is for other labels, config.json contradicts itself, or the map does not fit.
    """
    try:
        head = read_head(config, place)
    except ProfileError:
        if trained and not label_map:
            return ()  # a fresh head
        raise
    order = match(head, task.labels, label_map)
    if order is not None:
        refuse_sums(head, order, task.problem_type)
    if trained:
        return ()
    assumed = check_problem_type(config, place, task.problem_type)
    if order is None:
        raise mismatch(head, task.labels)
    return tuple(f"teacher {place}: {line}" for line in (assumed, order.assumed) if line)


def refuse_sums(head: Head, order: Order, problem_type: str) -> None:
    """Refuse several labels for one where their probabilities exclude nothing and cannot be summed.

    Raises:
        ProfileError: the map gives a label several outputs, and the task is not one label a text.
    """
    if order.sums and problem_type != DEFAULT:
        raise ProfileError(
            f"[task.label_map]: several labels of {head.place} stand for one, whose probabilities are summed,"
            f" and those of {problem_type} do not exclude each other",
            hint="map one label to one",
        )
