"""The metadata of the model card, as the Hugging Face hub reads it (hub-docs, modelcard.md).

What is not known is left out, and no path of the machine that made the bundle is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from squeeze.artifact import Artifact
from squeeze.core.metrics import Quality

__all__ = ["BASES", "Base", "base_of", "front_matter", "metadata", "source_of"]

HUB = "hf:"
BUILTIN = "builtin:"
CORPUS_LANGUAGE = "en"  # of squeeze/data/corpus
CHOSEN_ON = "validation"
"""The split that a student was chosen on, whose figures are no result."""


class Base(NamedTuple):
    """A teacher whose origin is known."""

    name: str
    license: str | None = None
    language: str | None = None


BASES: Mapping[str, Base] = {
    "builtin:minilm-l6": Base("sentence-transformers/all-MiniLM-L6-v2", "apache-2.0", "en"),
}
"""Of the built-in models, as their own cards say."""


def metadata(inputs: Mapping[str, Artifact], quality: Mapping[str, Quality], title: str) -> dict[str, Any]:
    """What stands above the card.

    Args:
        inputs: of the export stage.
        quality: of the file that ships, by split.
        title: of the model.
    """
    base = base_of(inputs["teacher"])
    data = _config(inputs["dataset"], "data")
    names = [_name(data.get(slot)) for slot in ("train", "validation", "test")]
    language = CORPUS_LANGUAGE if names[0].startswith(BUILTIN) else base and base.language
    found: dict[str, Any] = {
        "language": [language] if language else None,
        "license": base and base.license,
        "library_name": "onnx",
        "pipeline_tag": "text-classification",
        "base_model": base and base.name,
        "datasets": sorted({name.removeprefix(HUB) for name in names if _on_hub(name)}),
        "metrics": sorted({entry["type"] for entry in _metrics(next(iter(quality.values()), None))}),
        "tags": ["squeeze", "distillation", "quantization"],
        "model-index": [{"name": title, "results": _results(data, quality)}],
    }
    return {key: value for key, value in found.items() if value}


def base_of(teacher: Artifact) -> Base | None:
    """The published model that a teacher comes from; None for a folder, and for several."""
    model = _config(teacher, "teacher").get("model")
    if not isinstance(model, str) or Path(model).is_absolute():
        return None
    return BASES.get(model) if model.startswith(BUILTIN) else Base(model)


def source_of(dataset: Artifact, split: str) -> str:
    """Where a split comes from: a name, or that of a file without its folder."""
    data = _config(dataset, "data")
    further = data.get("more_tests")
    entry = data.get(split) or (further.get(split) if isinstance(further, dict) else None)
    name = _name(entry)
    return name if _on_hub(name) or name.startswith(BUILTIN) else Path(name.removeprefix(HUB)).name or split


def front_matter(value: Mapping[str, Any]) -> str:
    """Metadata as YAML between its lines of dashes.

    >>> print(front_matter({"tags": ["a"], "model-index": [{"name": "b: c", "results": []}]}))
    ---
    tags:
    - a
    model-index:
    - name: 'b: c'
      results: []
    ---
    """
    return f"---\n{yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=1_000)}---"


def _results(data: Mapping[str, Any], quality: Mapping[str, Quality]) -> list[dict[str, Any]]:
    return [_result(split, data, found) for split, found in quality.items() if split != CHOSEN_ON]


def _result(split: str, data: Mapping[str, Any], found: Quality) -> dict[str, Any]:
    further = data.get("more_tests")
    name = _name(data.get(split) or (further.get(split) if isinstance(further, dict) else None))
    kind = name.removeprefix(HUB) if _on_hub(name) else "private"
    if name.startswith(BUILTIN):
        kind = name.removeprefix(BUILTIN)
    return {
        "task": {"type": "text-classification"},
        "dataset": {"name": split, "type": kind, "split": split},
        "metrics": _metrics(found),
    }


HUB_METRICS: Mapping[str, Mapping[str, Any]] = {
    "accuracy": {"type": "accuracy"},
    "macro_f1": {"type": "f1", "name": "macro-F1", "args": {"average": "macro"}},
    "micro_f1": {"type": "f1", "name": "micro-F1", "args": {"average": "micro"}},
    "pearson": {"type": "pearsonr"},
    "spearman": {"type": "spearmanr"},
}
"""Scores under the names that the hub has for them."""


def _metrics(quality: Quality | None) -> list[dict[str, Any]]:
    scores = {} if quality is None else quality.scores
    return [{**about, "value": round(scores[key], 4)} for key, about in HUB_METRICS.items() if key in scores]


def _config(found: Artifact, section: str) -> Mapping[str, Any]:
    config = found.manifest.get("config")
    value = config.get(section) if isinstance(config, dict) else None
    return value if isinstance(value, dict) else {}


def _name(entry: Any) -> str:
    """Of a source that is written as a name, or as a table with more about it."""
    name = entry.get("name") if isinstance(entry, dict) else entry
    return name if isinstance(name, str) else ""


def _on_hub(name: str) -> bool:
    return name.startswith(HUB) and not Path(name.removeprefix(HUB)).is_absolute()
