"""Answer texts with an exported bundle: onnxruntime and tokenizers, nothing else, no network.

for answer in predict(Path("bundle"), ["water is rising on Main Street"]):
    answer.label, answer.probability
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze import latest
from squeeze.errors import Corrupt, DataError, UsageError
from squeeze.runtime import usable_cores
from squeeze.schema import is_text
from squeeze.targets import external, reading
from squeeze.targets.files import readable
from squeeze.targets.ort import guarded, open_session, specs
from squeeze.targets.reading import LABELS, Labels
from squeeze.targets.subjects import TOKENIZER, bundle_forms, shipped_form
from squeeze.tasks import Prediction, Task

__all__ = ["Prediction", "feeds", "predict"]

SHOWN = 60  # characters of a text that fit on one line


def predict(
    bundle: Path | str,
    texts: Iterable[str] | str,
    *,
    form: str | None = None,
    batch_size: int = 1,
    threads: int = 1,
) -> list[Prediction]:
    """Answer every text, in order.

    Args:
        bundle: folder with a model, tokenizer.json and labels.json; checked against its manifest if
            it has one. The folder of a run stands for the bundle of its last complete run.
        texts: none may be empty; a single str is one text.
        form: ``fp32`` or ``int8-dynamic``; by default the form that the run's gate judged, of a bundle the
            last one that was exported.
        batch_size: texts a call, padded to the longest. One by default, because an int8 model with
            dynamic ranges scales a call as a whole: in a batch, a text's figures would depend a
            little on its neighbours.
        threads: threads inside one operator, never more than the usable cores.

    Raises:
        DataError: a text that is empty, no UTF-8 or no str.
        UsageError: no bundle, no such form, or less than one text a call or one thread.
        Corrupt: the bundle has changed, or its parts do not fit together.
        MissingBackend: onnxruntime or tokenizers is not installed, or a file of weights is not there.
        StageFailed: weights lie outside of the model's folder.
    """
    for name, value in (("batch_size", batch_size), ("threads", threads)):
        if value < 1:
            raise UsageError(f"{name}: {value}, must be at least 1")
    given, listed = Path(bundle), _listed(texts)
    bundle, form = latest.resolve_bundle(given)[0], form or latest.judged_form(given)
    if not bundle.is_dir():
        raise UsageError(f"{bundle}: no such folder", hint="give the folder of a bundle")
    forms = bundle_forms(bundle)
    if form not in (None, *forms):
        raise UsageError(f"{bundle}: no form {form}; it holds {', '.join(forms)}")
    names = reading.labels(bundle / LABELS)
    tokenizer = reading.tokenizer(bundle / TOKENIZER, names.max_length)
    path = bundle / forms[form or shipped_form(forms)]
    readable(path)
    external.check(path)
    session, task = open_session(path, threads=min(threads, usable_cores())), names.task()
    return [
        answer
        for start in range(0, len(listed), batch_size)
        for answer in _answer(session, path, tokenizer, names, task, listed[start : start + batch_size])
    ]


def feeds(bundle: Path, texts: Iterable[str] | str) -> list[dict[str, NDArray[np.int64]]]:
    """What the model of a bundle is fed for each text alone: inputs by name, (1, tokens) each.

    Args:
        bundle: as `predict`.
        texts: none may be empty.

    Raises:
        DataError: a text that is empty or no UTF-8.
        Corrupt: its labels or its tokenizer cannot be read.
        MissingBackend: tokenizers is not installed.
    """
    listed = _listed(texts)
    tokenizer = reading.tokenizer(bundle / TOKENIZER, reading.labels(bundle / LABELS).max_length)
    return [reading.inputs([tokenizer.encode(text)]) for text in listed]


def _listed(texts: Iterable[str] | str) -> list[str]:
    """The texts, checked; a single str is one text and no sequence of characters."""
    listed = [texts] if isinstance(texts, str) else list(texts)
    for place, text in enumerate(listed, start=1):
        which = f"text {place} of {len(listed)}"
        if not isinstance(text, str):
            raise DataError(f"{which} is {type(text).__name__}, not str")
        if not text.strip():
            raise DataError(f"{which} is empty")
        if not is_text(text):
            raise DataError(f"{which} is not UTF-8: {text[:SHOWN]!r}")
    return listed


def _answer(
    session: Any, path: Path, tokenizer: Any, names: Labels, task: Task, texts: Sequence[str]
) -> Iterator[Prediction]:
    """Answer one batch."""
    encoded = tokenizer.encode_batch(list(texts))
    values = reading.inputs(encoded)
    expected = sorted(spec.name for spec in specs(session))
    if expected != sorted(values):
        raise Corrupt(
            f"{path}: takes {', '.join(expected)}, a bundle's model takes attention_mask, input_ids"
        )
    with guarded(path, "cannot be run"):
        logits: NDArray[np.float32] = session.run(None, values)[0]
    if logits.shape != (len(texts), len(names.labels)):
        raise Corrupt(f"{path}: gives {logits.shape[-1]} outputs, {LABELS} has {len(names.labels)} labels")
    for encoding, row in zip(encoded, logits, strict=True):
        yield task.decode(
            row, names.state, tokens=sum(encoding.attention_mask), cut=bool(encoding.overflowing)
        )
