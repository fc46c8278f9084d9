"""What the `[data]` section may say; light, so that profiles load without numpy or pyarrow."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from squeeze.schema import Frozen

__all__ = ["RANDOM", "DataSection", "Source", "SplitSection", "source_key", "split_name_fault"]

TAKEN = ("train", "validation", "test", "unlabelled")
SPLIT_NAME = re.compile(r"[a-z0-9_-]{1,64}")


def split_name_fault(name: str) -> str | None:
    """Why a further test cannot have this name, which also is a file's; None where it can."""
    if name in TAKEN:
        return f"the name is taken; choose another than {', '.join(TAKEN)}"
    if not SPLIT_NAME.fullmatch(name):
        return "a test's name has 1 to 64 of a-z, 0-9, _ and -"
    return None


class Source(Frozen):
    """One source of text: a file, a built-in set or a set of the Hugging Face hub."""

    name: str = Field(min_length=1)
    """path (.csv .tsv .json .jsonl, also with .gz; .parquet), `builtin:crisis-demo` or `hf:owner/set`"""
    split: str | None = None
    """split of a hub or built-in set; the slot's own name (train, validation, test) by default"""
    subset: str | None = None
    """configuration of a hub set"""
    text: str | None = None
    """name of the text column, or path of a nested value (`body.text`); `[data] text` by default"""
    label: str | None = None
    """name of the label column, or path of a nested value; `[data] label` by default"""


AnySource: TypeAlias = Annotated[str, Field(min_length=1)] | Source
"""A source by its name alone, or with more about it."""


RANDOM = "random"
"""The split that is by no column."""


class SplitSection(Frozen):
    """How one labelled source becomes train, validation and test."""

    by: str = Field(default=RANDOM, min_length=1)
    """`random` (by label, near-duplicates together), `date` (newest rows last), `event` or another column"""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """share of the rows"""
    test: float = Field(default=0.1, gt=0, lt=1)
    """share of the rows"""


class DataSection(Frozen):
    """The `[data]` section."""

    train: AnySource
    """labelled text to learn from"""
    validation: AnySource | None = None
    """labelled text to choose on: early stop, parity, calibration; needed unless `split` is given"""
    test: AnySource | None = None
    """labelled text that is only reported on; needed unless `split` is given"""
    split: SplitSection | None = None
    """makes validation and test out of `train`, by the seed; no files are written"""
    more_tests: Mapping[str, AnySource] = Field(default_factory=dict, max_length=64)
    """further test sets by name, such as an out-of-domain one"""
    unlabelled: tuple[AnySource, ...] = Field(default=(), max_length=256)
    """text without labels: the teacher labels it for distillation"""
    text: str = "text"
    """name of the text column; of nested values the path, as in `body.text`"""
    label: str | None = None
    """name of the label column; likewise. By default `label`, or `labels` where a text may have several; the
    columns of a regression are called as `[task] labels`"""
    duplicates: Literal["refuse", "drop"] = "refuse"
    """training texts that also stand in validation or a test: `drop` removes them from training"""
    near_duplicates: Literal["drop", "refuse", "keep"] = "drop"
    """training texts that nearly equal one of validation or a test: `drop` removes them from training"""
    limit: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """keep only so many rows of each split (a quick try)"""

    def duplicates_in_use(self) -> str:
        """What happens to equal texts: nobody can take out of a split what is made here."""
        return self.duplicates if self.split is None else "drop"


def source_key(slot: str, source: Source | str, section: DataSection) -> tuple[str | None, ...]:
    """What says that two sources are one: the file or the split, and the column of the text."""
    spec = Source(name=source) if isinstance(source, str) else source
    if spec.name.startswith(("builtin:", "hf:")):
        return (spec.name, spec.subset, spec.split or slot, spec.text)
    return (os.path.normpath(spec.name), spec.text or section.text)
