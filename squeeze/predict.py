"""Answer texts with an exported bundle: onnxruntime and tokenizers, nothing else, no network.

for answer in predict(Path("bundle"), ["water is rising on Main Street"]):
    answer.label, answer.probability
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from squeeze.core.metrics import softmax
from squeeze.errors import Corrupt, DataError, UsageError
from squeeze.runtime import usable_cores
from squeeze.schema import Frozen, is_text
from squeeze.targets.ort import guarded, installed, open_session, specs
from squeeze.targets.subjects import TOKENIZER, bundle_forms, shipped_form

__all__ = ["Prediction", "feeds", "predict"]

LABELS = "labels.json"
SHOWN = 60  # characters of a text that fit on one line


class Prediction(Frozen):
    """The answer for one text."""

    label: str
    probability: float
    """of the label, 0..1"""
    probabilities: Mapping[str, float]
    """of all labels, in the order of the model's outputs"""
    tokens: int
    """tokens the model saw"""
    cut: bool
    """whether the text was longer than the model reads"""


class Labels(Frozen):
    """What labels.json holds."""

    labels: tuple[str, ...] = Field(min_length=2)
    max_length: int = Field(ge=1)


def predict(
    bundle: Path, texts: Sequence[str], *, form: str | None = None, batch_size: int = 1, threads: int = 1
) -> list[Prediction]:
    """Answer every text, in order.

    Args:
        bundle: folder with a model, tokenizer.json and labels.json; checked against its manifest if
            it has one.
        texts: none may be empty.
        form: ``fp32`` or ``int8-dynamic``; the form that ships by default.
        batch_size: texts a call, padded to the longest. One by default, because an int8 model with
            dynamic ranges scales a call as a whole: in a batch, a text's figures would depend a
            little on its neighbours.
        threads: threads inside one operator, never more than the usable cores.

    Raises:
        DataError: a text that is empty or no UTF-8.
        UsageError: no bundle, or no such form.
        Corrupt: the bundle has changed, or its parts do not fit together.
        MissingBackend: onnxruntime or tokenizers is not installed.
    """
    _check(texts)
    if not bundle.is_dir():
        raise UsageError(f"{bundle}: no such folder", hint="give the folder of a bundle")
    forms = bundle_forms(bundle)
    if form not in (None, *forms):
        raise UsageError(f"{bundle}: no form {form}; it holds {', '.join(forms)}")
    names = _labels(bundle / LABELS)
    tokenizer = _tokenizer(bundle / TOKENIZER, names.max_length)
    path = bundle / forms[form or shipped_form(forms)]
    session = open_session(path, threads=min(threads, usable_cores()))
    return [
        answer
        for start in range(0, len(texts), batch_size)
        for answer in _answer(session, path, tokenizer, names, texts[start : start + batch_size])
    ]


def feeds(bundle: Path, texts: Sequence[str]) -> list[dict[str, NDArray[np.int64]]]:
    """What the model of a bundle is fed for each text alone: inputs by name, (1, tokens) each.

    Args:
        bundle: as `predict`.
        texts: none may be empty.

    Raises:
        DataError: a text that is empty or no UTF-8.
        Corrupt: its labels or its tokenizer cannot be read.
        MissingBackend: tokenizers is not installed.
    """
    _check(texts)
    tokenizer = _tokenizer(bundle / TOKENIZER, _labels(bundle / LABELS).max_length)
    return [_values([tokenizer.encode(text)]) for text in texts]


def _check(texts: Sequence[str]) -> None:
    for place, text in enumerate(texts, start=1):
        if not text.strip():
            raise DataError(f"text {place} of {len(texts)} is empty")
        if not is_text(text):
            raise DataError(f"text {place} of {len(texts)} is not UTF-8: {text[:SHOWN]!r}")


def _labels(path: Path) -> Labels:
    try:
        return Labels.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Corrupt(f"{path}: cannot be read ({error.strerror})", hint="export the bundle again") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "document"
        raise Corrupt(f"{path}: {where}: {first['msg']}", hint="export the bundle again") from error


def _tokenizer(path: Path, max_length: int) -> Any:
    """A tokenizer that cuts at max_length and pads a batch to its longest text."""
    library = installed("tokenizers")
    try:
        document = path.read_text(encoding="utf-8")
        padding = json.loads(document).get("padding") or {}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise Corrupt(
            f"{path}: not a readable tokenizer ({error})", hint="export the bundle again"
        ) from error
    tokenizer = _parse(library, document, path)
    tokenizer.enable_truncation(max_length)
    # Padded places are masked, so any id that exists does: the tokenizer's own, or the first.
    tokenizer.enable_padding(
        pad_id=int(padding.get("pad_id", 0)), pad_token=padding.get("pad_token", "[PAD]")
    )
    return tokenizer


def _parse(library: Any, document: str, path: Path) -> Any:
    try:
        return library.Tokenizer.from_str(document)
    except Exception as error:
        raise Corrupt(
            f"{path}: not a readable tokenizer ({error})", hint="export the bundle again"
        ) from error


def _answer(
    session: Any, path: Path, tokenizer: Any, names: Labels, texts: Sequence[str]
) -> Iterator[Prediction]:
    """Answer one batch."""
    encoded = tokenizer.encode_batch(list(texts))
    values = _values(encoded)
    expected = sorted(spec.name for spec in specs(session))
    if expected != sorted(values):
        raise Corrupt(
            f"{path}: takes {', '.join(expected)}, a bundle's model takes attention_mask, input_ids"
        )
    with guarded(path, "cannot be run"):
        logits: NDArray[np.float32] = session.run(None, values)[0]
    if logits.shape != (len(texts), len(names.labels)):
        raise Corrupt(f"{path}: gives {logits.shape[-1]} outputs, {LABELS} has {len(names.labels)} labels")
    for each, row in zip(encoded, softmax(logits), strict=True):
        yield _prediction(names.labels, row, tokens=sum(each.attention_mask), cut=bool(each.overflowing))


def _values(encoded: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
    """One call's inputs."""
    return {
        "input_ids": np.array([each.ids for each in encoded], dtype=np.int64),
        "attention_mask": np.array([each.attention_mask for each in encoded], dtype=np.int64),
    }


def _prediction(labels: Sequence[str], row: NDArray[np.float64], *, tokens: int, cut: bool) -> Prediction:
    best = int(row.argmax())
    return Prediction(
        label=labels[best],
        probability=float(row[best]),
        probabilities={label: float(share) for label, share in zip(labels, row, strict=True)},
        tokens=tokens,
        cut=cut,
    )
