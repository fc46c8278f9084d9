"""Write a first profile, every value with its unit and effect beside it."""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from squeeze.data import sources
from squeeze.data.config import DataSection
from squeeze.data.labels import label_names_sorted
from squeeze.errors import DataError, UsageError
from squeeze.profile import parse

__all__ = ["Wanted", "render", "write"]

NAMED = ("builtin:", "hf:")  # sources that hold several splits under one name


@dataclass(frozen=True)
class Wanted:
    """What the user said.

    Attributes:
        teacher: `builtin:minilm-l6`, a folder, or a hub name.
        train: labelled text: a file, or a built-in or hub name.
        validation: likewise; the `train` source by default if it is one with splits.
        test: likewise.
        labels: label names in the order of the model's outputs; None: those of the training text, sorted.
        text: column of the text.
        label: column of the label.
    """

    teacher: str
    train: str
    validation: str | None = None
    test: str | None = None
    labels: tuple[str, ...] | None = None
    text: str = "text"
    label: str = "label"


def write(wanted: Wanted, output: Path, *, force: bool = False) -> None:
    """Write the profile; it is checked first, so that what is written also loads.

    Args:
        wanted: what to put in.
        output: the file; paths in the profile are made relative to its folder.
        force: overwrite the file.

    Raises:
        UsageError: the file exists or is a folder, its folder does not, or a split is missing.
        DataError: the labels cannot be read from the training text.
    """
    if output.is_dir():
        raise UsageError(f"{output}: is a folder", hint="give the name of a file")
    if output.exists() and not force:
        raise UsageError(f"{output}: exists already", hint="give --force to overwrite it, or another -o FILE")
    if not output.parent.is_dir():
        raise UsageError(f"{output.parent}: no such folder", hint="make it first, or give another -o FILE")
    section = _section(wanted)
    labels = wanted.labels or _labels(section)
    text = render(wanted, section, labels, output)
    parse(tomllib.loads(text), str(output), output.parent)
    partial = output.with_name(output.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(output)


def _section(wanted: Wanted) -> DataSection:
    slots = {"train": wanted.train, "text": wanted.text, "label": wanted.label}
    for slot, given in (("validation", wanted.validation), ("test", wanted.test)):
        if given is None and not wanted.train.startswith(NAMED):
            hint = f"give --{slot} FILE; never the training text, or the figures mean nothing"
            raise UsageError(f"--{slot}: missing, and {wanted.train} is a single file", hint=hint)
        slots[slot] = given or wanted.train
    return DataSection.parse(slots)


def _labels(section: DataSection) -> tuple[str, ...]:
    found = sources.read(section.train, "train", section)
    labels = label_names_sorted(found.labels or ())
    if len(labels) < 2:
        raise DataError(
            f"{found.place}: one label only ({', '.join(labels)}), a classifier needs two",
            hint="--labels A,B",
        )
    return labels


def render(wanted: Wanted, section: DataSection, labels: tuple[str, ...], output: Path) -> str:
    """The profile as text."""
    values = {
        "file": output.name,
        "name": _quote(re.sub(r"[^A-Za-z0-9_.-]+", "-", output.stem).strip("-._")[:64] or "run"),
        "labels": ", ".join(_quote(label) for label in labels),
        "train": _quote(_relative(str(section.train), output)),
        "validation": _quote(_relative(str(section.validation), output)),
        "test": _quote(_relative(str(section.test), output)),
        "text": _quote(wanted.text),
        "label": _quote(wanted.label),
        "teacher": _quote(_teacher(wanted.teacher, output)),
    }
    return TEMPLATE.format(**values)


def _quote(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _relative(name: str, output: Path) -> str:
    """A path counted from the profile's folder instead of from here."""
    if name.startswith(NAMED):
        return name
    return Path(os.path.relpath(name, output.parent)).as_posix()


def _teacher(name: str, output: Path) -> str:
    """A folder is written so that it is seen to be one; other names stay."""
    if name.startswith(NAMED) or not Path(name).is_dir():
        return name
    path = _relative(name, output)
    return path if path.startswith("../") else f"./{path}"


TEMPLATE = """\
# What:  a small, fast classifier, taught by {teacher}.
# Cost:  see `squeeze plan {file}`; a small set takes minutes on two cores.
# Run:   squeeze run {file}

name = {name}          # also the folder below runs/
seed = 0               # start of every random choice; the same seed gives the same weights

[task]
labels = [{labels}]    # as they stand in the data; their order is the order of the outputs
max_length = 128       # tokens; longer texts are cut, longer limits cost time

[data]                 # .csv .tsv .jsonl .parquet, builtin:NAME or hf:OWNER/SET; paths count from this file
train = {train}
validation = {validation}
test = {test}
text = {text}          # column of the text
label = {label}        # column of the label
duplicates = "drop"    # training texts that also stand in validation or test; "refuse" stops instead
# unlabelled = ["more.csv"]   # text without labels: the teacher labels it; more is better
# more_tests = {{ "other-domain" = "other.csv" }}

[teacher]
model = {teacher}

[teacher.finetune]     # leave this section out if the model already is a classifier of these labels
epochs = 4             # passes over the training text
learning_rate = 5e-5   # peak step size of AdamW
batch = 32             # texts a step

[student]
layers = 3             # teacher layers kept, evenly spread; fewer is faster
# heads = 4            # attention heads a layer; the teacher's by default, the least important go first
# ffn = 384            # feed-forward neurons a layer; likewise

[student.embedding]    # most of a tiny model is its table of word pieces
kind = "product"       # "dense": whole; "factorised": low rank; "product": codes and codebooks, smallest
subvectors = 64        # codes a piece, one byte each; must divide the teacher's width

[[distil.phases]]      # first: see the text as the teacher does
name = "mimic"
epochs = 8             # passes over texts and copies; distillation wants more than fine-tuning
learning_rate = 4e-4   # peak step size of AdamW
losses = [
  {{ name = "logit_mse" }},
  {{ name = "hidden_mse", weight = 30.0, layers = "skip" }},
]

[[distil.phases]]      # then: give its answers
name = "answer"
epochs = 3
learning_rate = 1e-4
losses = [{{ name = "logit_mse" }}]

[distil.augment]       # changed copies of the training texts: worth their time where texts are few
copies = 4             # of every text
replace = 0.3          # chance of a word to become a near neighbour
splice = 0.2           # share of copies that join two texts

[export]
forms = ["fp32", "int8-dynamic"]   # model.onnx and model.int8.onnx

[bench]
threads = 1            # threads a call
min_runs = 200         # timed calls at least
min_seconds = 3.0      # seconds of timed calls at least

[budget]               # what the last form must keep; `squeeze run` ends with 1 when it does not
retention = 0.95       # share of the teacher's macro-F1 on the test split
# p95_ms = 5.0         # 95th percentile of latency, milliseconds
# size_mb = 5.0        # model and tokenizer, units of 1,000,000 bytes
"""
