"""MODEL_CARD.md: what the bundle is, what it was made of and how good it is.

It is a model card of the Hugging Face format: as README.md of a repository there, its metadata are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from squeeze.artifact import Artifact
from squeeze.core.metrics import Quality
from squeeze.errors import visible
from squeeze.markup import literal
from squeeze.stages.export.card_data import base_of, front_matter, metadata, source_of
from squeeze.stages.export.stage import EngineResult, ExportConfig, ExportResult, FormatResult
from squeeze.targets.devices.results import Functional
from squeeze.tasks import METRICS, State, task_of

__all__ = ["model_card"]

HEAD = """
# {title}: {labels}

Made by squeeze: a student distilled from {family} ({teacher:,} parameters), {student:,} parameters.
{origin}

## How to use

Input is one text of at most {length} tokens; a longer one loses its {loses}. `tokenizer.json` makes
`input_ids` and `attention_mask` (int64, batch x sequence), the output `logits` stands in the order of
`labels.json`. {explained} `{file}` ships.

```sh
pip install squeeze-ondevice
squeeze predict FOLDER "one text"
```

## Training text

"""

QUALITY = """
## Quality on held-out text

Of the teacher, on the test split: {teacher}.

| form | file | size (bytes) | split | rows | {titles} |
|---|---|---|---|---|{rule}
"""

RECALL = """
Recall of each label, by `{file}` on the test split: {recall}.
"""

FORMATS = """
## Other runtimes

For one text of {length} tokens a call: `input_ids` (int32, 1 x {length}, 0 at padding) and `mask`
(float, 1 x 1 x 1 x {length}: 0 where there is a token, -10000 at padding), in this order. ncnn calls them in0
and in1, its result out0, and leaves the first 1 away. Compared with torch on the validation text.

| format | files | weights | size (bytes) | made by | largest difference | labels kept |
|---|---|---|---|---|---|---|
"""

CHECKS = """
## On arm64

Each file ran on emulated cores with ONNX Runtime {version}, on {feeds} inputs of the lengths of the
validation text. The figures say what it computes there against the machine that exported it, and nothing
about how fast.

| file | core | largest difference | of the largest value | values that differ |
|---|---|---|---|---|
"""

TAIL = """
## Limits

The figures hold for text like the test splits above, and for nothing else. Text in other languages,
of other events or of another kind must be measured before it is trusted; a call for help that is
missed costs more than a false alarm, so look at the recall of each label first.
"""

TEST = "test"


def model_card(
    config: ExportConfig,
    inputs: Mapping[str, Artifact],
    result: ExportResult,
    max_length: int,
    side: str = "right",
    state: State | None = None,
) -> str:
    """The card as Markdown, filled from the run's own figures.

    Args:
        config: settings of the stage.
        inputs: its inputs.
        result: what it made.
        max_length: in tokens, as in labels.json.
        side: where longer texts are cut.
        state: what was fitted, as in labels.json.
    """
    task = task_of(config.task)
    teacher, student = inputs["teacher"].result, inputs["encoder"].result
    shipped = list(result.forms.values())[-1]
    labels, keys = [literal(label) for label in config.task.labels], _keys(result)
    head = HEAD.format(
        title=task.title,
        explained=task.explain(state or {}),
        labels=", ".join(labels),
        family=teacher["family"],
        teacher=teacher["parameters"],
        student=student["parameters"],
        origin=_origin(inputs["teacher"]),
        length=max_length,
        loses="beginning" if side == "left" else "end",
        file=shipped.file,
    )
    title = f"{task.title}: {', '.join(map(visible, config.task.labels))}"
    parts = [
        front_matter(metadata(inputs, shipped.quality, title)),
        head,
        "".join(_rows_of(inputs["dataset"])),
        _quality(teacher, keys),
        "".join(_rows(result, keys)),
        _recall(shipped.file, shipped.quality.get(TEST), labels),
        "" if result.engine is None else _engine(result.engine),
        "".join(_formats(result.formats)),
        "".join(_checks(result.checks)),
        TAIL,
    ]
    return "".join(parts)


def _origin(teacher: Artifact) -> str:
    base = base_of(teacher)
    if base is None:
        return (
            "Where its teacher comes from is not recorded; its license and that of the text bind this model."
        )
    if base.license is None:
        return (
            f"The teacher comes from {literal(base.name)}; its license and that of the text bind this model."
        )
    name = f"{literal(base.name)} ({literal(base.license)})"
    return f"The teacher comes from {name}; the license of the text may ask for more."


def _rows_of(found: Artifact) -> Iterator[str]:
    """One line for each split."""
    splits = found.result.get("splits") or {}
    if not splits:
        yield "Not recorded.\n"
    for name, split in splits.items():
        counts = ", ".join(f"{literal(label)} {count:,}" for label, count in split["per_label"].items())
        yield f"- {literal(name)}: {split['rows']:,} texts of {literal(source_of(found, name))}"
        yield f" ({counts})\n" if counts else "\n"


def _keys(result: ExportResult) -> list[str]:
    """The scores of the exported files, in the order in which reports show them."""
    present = {key for made in result.forms.values() for q in made.quality.values() for key in q.scores}
    return [key for key in METRICS if key in present]


def _quality(teacher: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The heading, with the teacher's scores."""
    quality = (teacher.get("quality") or {}).get(TEST)
    scores = {} if quality is None else Quality.parse(quality).scores
    text = ", ".join(f"{METRICS[key].title} {scores[key]:.4f}" for key in keys if key in scores)
    titles = " | ".join(METRICS[key].title for key in keys)
    return QUALITY.format(teacher=text or "not measured", titles=titles, rule="---|" * len(keys))


def _rows(result: ExportResult, keys: Sequence[str]) -> Iterator[str]:
    for form, made in result.forms.items():
        for split, quality in made.quality.items():
            scores = (f"{quality.scores[key]:.4f}" if key in quality.scores else "-" for key in keys)
            cells = (form, made.file, f"{made.size_bytes:,}", literal(split), str(quality.rows), *scores)
            yield f"| {' | '.join(cells)} |\n"


def _recall(file: str, found: Quality | None, labels: list[str]) -> str:
    if found is None or not found.recall:
        return ""
    each = (f"{label} {recall:.4f}" for label, recall in zip(labels, found.recall, strict=True))
    return RECALL.format(file=file, recall=", ".join(each))


def _engine(made: EngineResult) -> str:
    return (
        f"\n`{made.file}` is {made.source} in {made.precision} for TensorRT {made.tensorrt} on {made.device} "
        f"and runs nowhere else; it keeps {100 * made.parity.agreement:.2f} % of the labels of "
        f"{made.parity.rows} validation texts.\n"
    )


def _formats(found: Mapping[str, FormatResult]) -> Iterator[str]:
    """One row for each format of another runtime."""
    if found:
        yield FORMATS.format(length=next(iter(found.values())).length)
    for name, made in found.items():
        files = ", ".join(f"`{file}`" for file in made.files)
        libraries = ", ".join(f"{library} {version}" for library, version in made.libraries.items())
        size = f"{made.precision} | {made.size_bytes:,}"
        yield f"| {name} | {files} | {size} | {libraries} | {_compared(made)} |\n"


def _compared(made: FormatResult) -> str:
    """Largest difference and labels kept; the reason, and nothing like a pass, where it was not run."""
    if made.parity is None:
        return f"not checked: {literal(made.unchecked)} | -"
    return f"{made.parity.max_abs:.2g} | {100 * made.parity.agreement:.2f} % of {made.parity.rows}"


def _checks(found: Sequence[Functional]) -> Iterator[str]:
    """One row for each file on each emulated core."""
    if found:
        yield CHECKS.format(feeds=found[0].feeds, version=found[0].onnxruntime)
    for each in found:
        core = each.target.removeprefix("qemu:")
        for one in each.differences:
            share = f"{one.share:.2g} (limit {each.limit:g})"
            yield f"| {each.file} | {core} | {one.largest:.2g} | {share} | {one.unequal} of {one.values} |\n"
