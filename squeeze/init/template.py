"""The text of a first profile: every value with its unit and effect beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from squeeze.init.recipe import LONG, Choice, StudentShape
from squeeze.init.speed import Recipe

__all__ = ["comment", "duration", "fill", "quote"]

UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def quote(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def comment(text: str) -> str:
    r"""A name as it may stand in a comment: on one line, without control characters.

    >>> comment("a\nb")
    'a\\u000ab'
    """
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def duration(seconds: float) -> str:
    """Seconds in words, no finer than they are known.

    >>> duration(42), duration(200), duration(5000)
    ('1 min', '3 min', '1.4 h')
    """
    return f"{max(1, round(seconds / 60))} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def fill(names: Mapping[str, str], data: str, student: StudentShape, choice: Choice) -> str:
    """The profile as text.

    Args:
        names: `file`, `name`, `task`, `labels`, `text`, `label`, `teacher` and `score`; all but `file` and
            `score` as TOML.
        data: lines that name the sources.
        student: its shape.
        choice: how long it is trained.
    """
    recipe = choice.recipe
    values = {
        **names,
        "taught": comment(names["teacher"]),
        "file": comment(names["file"]),
        "data": data,
        "limit": _limit(recipe),
        "cost": duration(choice.seconds),
        "longer": _longer(choice, comment(names["file"])),
        "finetune": _finetune(recipe),
        "layers": f"{student.layers:<6}",
        "heads": f"{student.heads:<7}",
        "ffn": f"{student.ffn:<9}",
        "table": _table(student),
        "mimic": f"{recipe.mimic:<6}",
        "answer": str(recipe.answer),
        "copies": f"{recipe.copies:<6}",
    }
    return TEMPLATE.format(**values)


def _limit(recipe: Recipe) -> str:
    if recipe.limit is None:
        return "# limit = 1000         # rows of each split at most, for a quick try\n"
    return f"limit = {recipe.limit:<14}# rows of each split at most, so that a first run ends soon\n"


def _longer(choice: Choice, file: str) -> str:
    """The command of the long recipe, as a comment."""
    if not choice.shortened:
        return ""
    changes = {"distil.augment.copies": LONG.copies, "distil.phases.0.epochs": LONG.mimic}
    changes["distil.phases.1.epochs"] = LONG.answer
    if choice.recipe.finetune:
        changes["teacher.finetune.epochs"] = LONG.finetune
    sets = " ".join(f"--set {key}={value}" for key, value in changes.items())
    rows = ", on all rows once `limit` is left out" if choice.recipe.limit is not None else ""
    return (
        f"# Longer: about {duration(choice.long_seconds)} here{rows}, and often a better student:\n"
        f"#        squeeze run {file} {sets}\n"
    )


def _finetune(recipe: Recipe) -> str:
    if not recipe.finetune:
        return FINISHED
    return FINETUNE.format(epochs=f"{recipe.finetune:<6}")


def _table(student: StudentShape) -> str:
    if student.subvectors is None:
        return DENSE
    return PRODUCT.format(subvectors=f"{student.subvectors:<5}")


FINETUNE = """\
[teacher.finetune]     # leave this section out if the model already is a classifier of these labels
epochs = {epochs}        # passes over the training text
learning_rate = 5e-5   # peak step size of AdamW
batch = 32             # texts a step
"""
FINISHED = """\
# no [teacher.finetune]: the model already is a classifier of these labels
"""
DENSE = """\
kind = "dense"         # whole: codes and codebooks would be larger than a table as small as this
"""
PRODUCT = """\
kind = "product"       # "dense": whole; "factorised": low rank; "product": codes and codebooks, smallest
subvectors = {subvectors}     # codes a piece, one byte each; must divide the teacher's width
"""
TEMPLATE = """\
# What:  a small, fast classifier, taught by {taught}.
# Cost:  about {cost} on this machine when it does nothing else; see `squeeze plan {file}`.
# Run:   squeeze run {file}
{longer}
name = {name}          # also the folder below runs/
seed = 0               # start of every random choice; the same seed gives the same weights

[task]
{task}labels = [{labels}]    # as they stand in the data; their order is the order of the outputs
max_length = 128       # tokens; longer texts are cut, longer limits cost time

[data]                 # .csv .tsv .json .jsonl .parquet, builtin:NAME or hf:OWNER/SET; paths from this file
{data}text = {text}          # column of the text
{label}duplicates = "drop"    # training texts that also stand in validation or test; "refuse" stops instead
{limit}# unlabelled = ["more.csv"]   # text without labels: the teacher labels it; more is better
# more_tests = {{ "other-domain" = "other.csv" }}

[teacher]
model = {teacher}

{finetune}
[student]
layers = {layers}        # teacher layers kept, evenly spread; fewer is faster
heads = {heads}        # attention heads a layer, the most important ones; leave out for all of the teacher's
ffn = {ffn}        # feed-forward neurons a layer; likewise

[student.embedding]    # most of a tiny model is its table of word pieces
{table}
[[distil.phases]]      # first: see the text as the teacher does
name = "mimic"
epochs = {mimic}        # passes over texts and copies; distillation wants more than fine-tuning
learning_rate = 4e-4   # peak step size of AdamW
losses = [
  {{ name = "logit_mse" }},
  {{ name = "hidden_mse", weight = 30.0, layers = "skip" }},
]

[[distil.phases]]      # then: give its answers
name = "answer"
epochs = {answer}
learning_rate = 1e-4
losses = [{{ name = "logit_mse" }}]

[distil.augment]       # changed copies of the training texts: worth their time where texts are few
copies = {copies}        # of every text
replace = 0.3          # chance of a word to become a near neighbour
splice = 0.2           # share of copies that join two texts

[export]
forms = ["fp32", "int8-dynamic"]   # model.onnx and model.int8.onnx

[bench]
threads = 1            # threads a call
min_runs = 200         # timed calls at least
min_seconds = 3.0      # seconds of timed calls at least

[budget]               # what the last form must keep; `squeeze run` ends with 1 when it does not
retention = 0.95       # share of the teacher's {score} on the test split
# p95_ms = 5.0         # 95th percentile of latency, milliseconds
# size_mb = 5.0        # model and tokenizer, units of 1,000,000 bytes
"""
