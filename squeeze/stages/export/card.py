"""MODEL_CARD.md: what the bundle is, what it was made of and how good it is."""

from __future__ import annotations

from collections.abc import Mapping

from squeeze.artifact import Artifact
from squeeze.core.metrics import Quality
from squeeze.stages.export.stage import EngineResult, ExportConfig, ExportResult

__all__ = ["model_card"]

HEAD = """---
library_name: onnx
pipeline_tag: text-classification
tags: [squeeze, distillation, quantization]
---
# Text classifier: {labels}

Made by squeeze: a student distilled from {family} ({teacher:,} parameters), {student:,} parameters.
Input is one text of at most {length} tokens; `tokenizer.json` makes `input_ids` and `attention_mask`
(int64, batch x sequence), the output `logits` stands in the order of `labels.json`.

## Quality on held-out text

| form | file | size (bytes) | split | rows | accuracy | macro-F1 | agreement with the teacher |
|---|---|---|---|---|---|---|---|
"""

TAIL = """
## Limits

The figures hold for text like the test splits above, and for nothing else. Text in other languages,
of other events or of another kind must be measured before it is trusted; a call for help that is
missed costs more than a false alarm, so look at the recall of each label in `manifest.json`.
"""


def model_card(
    config: ExportConfig, inputs: Mapping[str, Artifact], result: ExportResult, max_length: int
) -> str:
    """The card as Markdown, filled from the run's own figures; max_length in tokens, as in labels.json."""
    teacher, student = inputs["teacher"].result, inputs["encoder"].result
    head = HEAD.format(
        labels=", ".join(config.task.labels),
        family=teacher["family"],
        teacher=teacher["parameters"],
        student=student["parameters"],
        length=max_length,
    )
    rows = [
        f"| {form} | {made.file} | {made.size_bytes:,} | {split} | {_figures(found)} |"
        for form, made in result.forms.items()
        for split, found in made.quality.items()
    ]
    return head + "\n".join(rows) + "\n" + _engine(result.engine) + TAIL


def _engine(made: EngineResult | None) -> str:
    if made is None:
        return ""
    share = f"{100 * made.parity.agreement:.2f} %"
    return (
        f"\n`{made.file}` is {made.source} in {made.precision} for TensorRT {made.tensorrt} on "
        f"{made.device}, and runs nowhere else; it keeps {share} of {made.parity.rows} validation labels.\n"
    )


def _figures(found: Quality) -> str:
    loyalty = "-" if found.label_loyalty is None else f"{found.label_loyalty:.4f}"
    return f"{found.rows} | {found.accuracy:.4f} | {found.macro_f1:.4f} | {loyalty}"
