"""The four labelled sets of the data folder, and how a template profile is pointed at one of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.common import PROFILES
from squeeze.errors import UsageError
from squeeze.profile import Profile, load

__all__ = ["JUDGED", "SETS", "LabelledSet", "Recipe", "chosen", "copies", "unlabelled_files"]


@dataclass(frozen=True)
class LabelledSet:
    """One set: `<root>/<name>/{train,validation,test}.csv`.

    Attributes:
        labels: in the order of the model's outputs.
        copies: changed copies of every training text; none where there are more than 8,000.
        more_tests: name of each further test to its file.
    """

    labels: tuple[str, ...]
    copies: int
    more_tests: Mapping[str, str] = field(default_factory=dict)


SETS: Mapping[str, LabelledSet] = {
    "actionable_help": LabelledSet(
        ("request", "offer", "other"),
        0,
        {"out_of_event": "test_out_of_event.csv", "natural": "test_natural.csv"},
    ),
    "crisislex_t6": LabelledSet(("on_topic", "off_topic"), 0, {"out_of_event": "test_out_of_event.csv"}),
    "sst2": LabelledSet(("negative", "positive"), 4),
    "trec6": LabelledSet(("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"), 4),
}
EXTRA_TEXT: Mapping[str, str] = {"chennai_weak": "weak.csv"}
"""Text that is only ever used without its labels."""
JUDGED = ("test", "out_of_event")
"""Tests that the bars are on; others are shown and not judged."""


@dataclass(frozen=True)
class Recipe:
    """A template profile, pointed at a set.

    Attributes:
        template: name of a file below profiles/.
        root: the data folder.
        limit: rows a split, for a quick try.
        extra: further `--set` texts, which win over the rest.
    """

    template: str
    root: Path
    limit: int | None = None
    extra: tuple[str, ...] = ()

    def profile(self, name: str, which: str, seed: int, *overrides: str) -> Profile:
        """The profile of one run.

        Args:
            name: of the run, and of its folder.
            which: the set.
            seed: of the run.
            overrides: `key=value` texts of this run.

        Raises:
            ProfileError: the template and its changes do not make a profile.
        """
        return load(self.path, self.sets(name, which, seed, *overrides)).profile

    @property
    def path(self) -> Path:
        """The template."""
        return PROFILES / f"{self.template}.toml"

    def sets(self, name: str, which: str, seed: int, *overrides: str) -> list[str]:
        """The `--set` texts that make the profile of one run out of the template; see `profile`."""
        return [*self._data(which), f"name={name}", f"seed={seed}", *overrides, *self.extra]

    def _data(self, which: str) -> list[str]:
        found = SETS[which]
        folder = (self.root / which).resolve()
        sets = [f"task.labels={json.dumps(found.labels)}"]
        sets += [
            f"data.{split}={_text(folder / f'{split}.csv')}" for split in ("train", "validation", "test")
        ]
        sets += [f"data.more_tests.{name}={_text(folder / file)}" for name, file in found.more_tests.items()]
        return sets + ([f"data.limit={self.limit}"] if self.limit else [])


def chosen(text: str, known: Sequence[str], what: str) -> tuple[str, ...]:
    """The names of a comma-separated option.

    Raises:
        UsageError: one of them is not known.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in known:
            raise UsageError(f"{what}: {name} is unknown", hint=f"one of {', '.join(known)}")
    return names


def copies(which: str) -> str:
    """`--set` text that gives a set its number of changed copies."""
    return f"distil.augment.copies={SETS[which].copies}"


def unlabelled_files(root: Path, which: str, asked: Sequence[str]) -> str:
    """`--set` text that adds the training text of other sets, without labels.

    Args:
        root: the data folder.
        which: the set that is learned; its own text is labelled already.
        asked: names of sets, or `others` for all labelled ones.
    """
    names = [name for part in asked for name in (SETS if part == "others" else (part,)) if name != which]
    files = [root / name / EXTRA_TEXT.get(name, "train.csv") for name in dict.fromkeys(names)]
    return f"data.unlabelled={json.dumps([str(path.resolve()) for path in files])}"


def _text(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)
