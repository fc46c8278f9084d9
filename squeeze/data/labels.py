"""Label names: which of them are whole numbers, their order, and the names that a file gives to classes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from squeeze.data.table import as_label
from squeeze.data.wording import rows_text
from squeeze.errors import DataError

__all__ = [
    "class_label",
    "class_labels",
    "class_names",
    "label_list",
    "label_names_sorted",
    "number_kind",
    "whole_number",
]

WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
WHOLE_VALUE = re.compile(r"[+-]?[0-9]{1,18}(\.0{0,30})?")
DECIMAL = re.compile(r"[+-]?([0-9]{1,18}\.?[0-9]{0,30}|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?")
NO_LABELS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((list, tuple), "lists, which looks like multi-label or token data,"),
    ((dict,), "tables, which looks like nested data,"),
    ((bytes,), "bytes"),
    ((float,), "numbers with a fraction, which looks like regression data,"),
)
ONE_LABEL = "one label a row is expected, as text or whole number; name its column with `label`"
HUGGINGFACE = b"huggingface"  # the key under which `datasets` keeps its features in a file's schema


def whole_number(name: str) -> int | None:
    """The whole number that a label name is; None for any other name.

    >>> whole_number("7"), whole_number("007"), whole_number("-1"), whole_number("1.0")
    (7, 7, -1, None)
    """
    return int(name) if WHOLE.fullmatch(name) else None


def number_kind(values: Iterable[str]) -> Literal["whole", "fraction"] | None:
    """What numbers the values are, if all of them are numbers.

    A point alone makes no fraction: a missing value elsewhere in its column gave it to a whole number.

    >>> number_kind(["1", "2.0"]), number_kind(["1", "2.5"]), number_kind(["1", "x"])
    ('whole', 'fraction', None)
    """
    numbers = [value.strip() for value in values]
    if all(WHOLE_VALUE.fullmatch(number) for number in numbers):
        return "whole"
    return "fraction" if all(DECIMAL.fullmatch(number) for number in numbers) else None


def label_names_sorted(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once: whole numbers in the order of numbers, all else in the order of text.

    >>> label_names_sorted(["10", "2", "-1", "10"]), label_names_sorted(["b", "10", "a"])
    (('-1', '2', '10'), ('10', 'a', 'b'))
    """
    unique = sorted(set(names))
    numbers = {name: number for name in unique if (number := whole_number(name)) is not None}
    return tuple(sorted(unique, key=numbers.__getitem__) if len(numbers) == len(unique) else unique)


def class_names(metadata: Mapping[bytes, bytes] | None, column: str) -> list[str] | None:
    """The names of a column's classes, from the metadata that `datasets` writes into Arrow and Parquet files.

    Args:
        metadata: of the file's schema.
        column: name of the label column, whose values are classes or lists of them, or a path to it.

    Returns:
        One name a class; None where the file names none.
    """
    try:
        feature = json.loads((metadata or {})[HUGGINGFACE])["info"]["features"]
        for part in (column,) if column in feature else column.split("."):
            feature = feature[part]
        feature = feature.get("feature", feature)
        names = feature["names"] if feature["_type"] == "ClassLabel" else None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return names if len(set(names)) == len(names) else None


def class_labels(
    values: Sequence[Any], names: Sequence[str] | None, place: str, rows: Sequence[int]
) -> tuple[str, ...]:
    """The cells of a typed format's label column as label names.

    Args:
        values: one a row.
        names: of the classes that whole numbers stand for, or None.
        place: the source in words.
        rows: numbers of the rows.

    Raises:
        DataError: some hold no single label; says what the data looks like.
    """
    for kinds, what in NO_LABELS:
        wrong = [
            row
            for row, value in zip(rows, values, strict=True)
            if isinstance(value, kinds) and _is_odd(value)
        ]
        if wrong:
            raise DataError(f"{place}: the label column holds {what} in {rows_text(wrong)}", hint=ONE_LABEL)
    known: dict[str, str] = {}
    return tuple(known.setdefault(name, name) for name in (class_label(value, names) for value in values))


def _is_odd(value: Any) -> bool:
    return not isinstance(value, float) or (value == value and not value.is_integer())


def class_label(value: Any, names: Sequence[str] | None) -> str:
    """The class's name; sets without public labels hold -1, which has none and stays as it is.

    >>> class_label(1, ["no", "yes"]), class_label(-1, ["no", "yes"]), class_label(1, None)
    ('yes', '-1', '1')
    """
    known = names is not None and type(value) is int and 0 <= value < len(names)
    return names[value] if names is not None and known else as_label(value)


def label_list(value: Any, names: Sequence[str] | None, separator: str) -> tuple[str, ...]:
    """The names in one cell: a list, a list in JSON, or names with a sign between them.

    >>> label_list("joy | fear", None, "|"), label_list('["joy", 2]', None, "|"), label_list([1], "ab", "")
    (('joy', 'fear'), ('joy', '2'), ('b',))
    >>> label_list("", None, "|"), label_list(None, None, "|"), label_list("[odd", None, "|")
    ((), (), ('[odd',))
    """
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if isinstance(value, str):
        value = [part.strip() for part in value.split(separator)] if value.strip() else ()
    items = value if isinstance(value, list | tuple) else () if value is None else (value,)
    return tuple(class_label(item, names) for item in items)
