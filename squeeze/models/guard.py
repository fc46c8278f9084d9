"""The proof that a teacher is read as transformers reads it, made before anything is spent.

Students are carved from our copy of a teacher and ship one tokenizer.json. Both are compared, uncut, with
AutoTokenizer's ids and with the logits of transformers' own forward pass on texts of the task. What
differs is refused with the first text that shows it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from squeeze.data.table import Table
from squeeze.errors import ProfileError
from squeeze.models import conversion, tokens
from squeeze.models.encoder import Encoder, parameters
from squeeze.models.inference import logits
from squeeze.models.tokens import Encodings, TeacherTokenizer

__all__ = [
    "REPORT",
    "TOLERANCE",
    "Logits",
    "largest_difference",
    "prove",
    "refuse_strangers",
    "refuse_uncounted",
    "settle_positions",
]

TOLERANCE = 1e-4
"""Largest difference of a logit, for logits of size one; that of larger ones in proportion."""

ROWS = 256
"""Texts whose logits are compared at most; token numbers are compared on all texts."""
WORK = 4e11
"""Parameters times tokens at most: some seconds of two cores. A large model is compared on fewer texts."""
LEAST = 16
"""Texts that are compared in any case."""
SHOWN = 40
"""Characters of a text in a message."""
REPORT = (
    "squeeze does not read this model as transformers does: please report it, with its config and tokenizer"
)


class Logits(nn.Module):
    """A Hugging Face classifier as (token numbers, mask) -> logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T), (B, T) -> (B, K)."""
        answers: Tensor = self.model(input_ids=ids, attention_mask=mask).logits
        return answers


def prove(
    folder: Path, model: Any, tokenizer: TeacherTokenizer, texts: Table, max_length: int
) -> tuple[str, ...]:
    """Compare what would be carved and shipped with what transformers computes.

    Args:
        folder: of the teacher, for messages.
        model: its classifier in evaluation mode; `settle_positions` is applied to it.
        tokenizer: its tokenizer.
        texts: of the task.
        max_length: longest input in tokens.

    Returns:
        Warnings.

    Raises:
        ProfileError: a text has other token numbers or other logits, or logits that are not finite.
    """
    uncounted = settle_positions(folder, model, tokenizer)
    shape = conversion.shape_of(model)
    reach = min(max_length, shape.positions)
    encoded = tokenizer.encode(texts.texts, reach)
    _refuse_other_ids(folder, tokenizer, encoded, texts, reach)
    refuse_strangers(folder, encoded, shape.vocabulary)
    warnings = refuse_uncounted(folder, tokenizer, uncounted, texts, encoded)
    rows = _chosen(encoded, parameters(model), rows_counted(encoded, uncounted))
    answers = _answers(Logits(model), encoded, rows, shape.labels)
    _refuse_not_finite(folder, answers, texts, rows)
    ours = _answers(conversion.read(model), encoded, rows, shape.labels)
    _refuse_other_answers(folder, answers, ours, texts, rows)
    return warnings


def settle_positions(folder: Path, model: Any, tokenizer: TeacherTokenizer) -> frozenset[int]:
    """Have a RoBERTa or MPNet count positions from 0 to the end, as students do, or refuse it.

    These families do not count a piece of one number, which is meant to be the padding. Where that is the
    piece before every text, to start one row earlier and count it gives the same positions: then the number
    in the model's config is lowered.

    Returns:
        Numbers of the pieces that are not counted inside a text.

    Raises:
        ProfileError: such a piece stands in every text.
    """
    skipped = conversion.uncounted(model)
    if skipped is None:
        return frozenset()
    known = set(tokenizer.auto.get_vocab().values())
    frame = tokenizer.auto("")["input_ids"]
    if skipped not in frame:
        return frozenset({skipped}) & known
    free = skipped - 1 == tokenizer.auto.pad_token_id or skipped - 1 not in known
    if frame[0] == skipped not in frame[1:] and free and conversion.can_start_earlier(model):
        model.config.pad_token_id = skipped - 1  # read when weights are read; what runs here stays as it was
        return frozenset({skipped, skipped - 1}) & known
    raise ProfileError(
        f"{folder}: pad_token_id {skipped} is the piece {tokenizer.piece(skipped)!r} of its tokenizer, which"
        f" stands in every text; {model.config.model_type} does not count its position, students do",
        hint="train it with a tokenizer whose padding piece has that number",
    )


def refuse_uncounted(
    folder: Path, tokenizer: TeacherTokenizer, uncounted: frozenset[int], texts: Table, encoded: Encodings
) -> tuple[str, ...]:
    """Refuse texts whose positions the teacher counts otherwise, because `pad_token_id` names a common piece.

    Returns:
        A warning where the piece is the padding, or stands in none of these texts.

    Raises:
        ProfileError: it is another piece, and a text holds it.
    """
    odd = np.setdiff1d(np.arange(len(encoded)), rows_counted(encoded, uncounted))
    pieces = ", ".join(repr(tokenizer.piece(number)) for number in sorted(uncounted))
    meant = tokenizer.auto.pad_token_id in uncounted or not uncounted
    rule = "the teacher does not count the position of that piece, students do"
    if len(odd) and not meant:
        raise ProfileError(
            f"{folder}: pad_token_id is the piece {pieces} of its tokenizer, which {_named(texts, odd[0])}"
            f" holds: {rule}",
            hint="train it with a tokenizer whose padding piece has that number",
        )
    if len(odd):
        held = f"{len(odd)} of {len(texts)} texts hold {pieces}, first {_named(texts, odd[0])}"
        return (f"{folder}: {held}: {rule}",)
    return (
        () if meant else (f"{folder}: pad_token_id is the piece {pieces}: in a text that holds it, {rule}",)
    )


def rows_counted(encoded: Encodings, uncounted: frozenset[int]) -> NDArray[np.int64]:
    """Rows in which every token counts, where `settle_positions` gave the pieces that do not."""
    kept = [row for row in range(len(encoded)) if uncounted.isdisjoint(encoded[row][1:].tolist())]
    return np.array(kept, dtype=np.int64)


def refuse_strangers(folder: Path, encoded: Encodings, rows: int) -> None:
    """Refuse a tokenizer that names pieces which the model has no row for: it belongs to another model."""
    highest = int(encoded.values.max(initial=0))
    if highest >= rows:
        raise ProfileError(
            f"{folder}: its tokenizer gives piece {highest}, its table has {rows} rows",
            hint="the files of the tokenizer and model.safetensors must belong together",
        )


def largest_difference(theirs: NDArray[np.float32], ours: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) the largest difference of each row, of logits of size one."""
    size = np.maximum(1.0, np.abs(theirs).max(axis=1).astype(np.float64))
    difference: NDArray[np.float64] = np.abs(theirs.astype(np.float64) - ours).max(axis=1) / size
    return difference


def _refuse_other_ids(
    folder: Path, tokenizer: TeacherTokenizer, theirs: Encodings, texts: Table, reach: int
) -> None:
    """Hold the tokenizer.json that would ship to AutoTokenizer's numbers."""
    shipped = tokens.make_tokenizer(json.loads(tokens.spec_text(tokenizer.spec, reach)), reach)
    ours = tokens.encode(shipped, texts.texts)
    for index in np.flatnonzero(~theirs.same(ours))[:1]:
        expected, found = theirs[index].tolist(), ours[index].tolist()
        pairs = zip(expected, found, strict=False)
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))
        raise ProfileError(
            f"{folder}: {_named(texts, index)}: the tokenizer that would ship gives token {at} the number"
            f" {found[at : at + 1]}, AutoTokenizer gives {expected[at : at + 1]}",
            hint=REPORT,
        )


def _chosen(encoded: Encodings, size: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows to compare, in order: the longest and others from everywhere, as many as take some seconds."""
    if not len(rows):
        return rows
    longest = rows[np.argsort(encoded.lengths[rows], kind="stable")[::-1][: LEAST // 2]]
    spread = rows[np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(np.int64)]
    order = np.array(list(dict.fromkeys([*longest[:1], *spread[::LEAST], *longest, *spread])))[:ROWS]
    affordable = np.cumsum(encoded.lengths[order]) <= WORK / size
    most = max(LEAST, int(affordable.sum()))
    return np.sort(order[:most])


def _answers(
    model: Encoder | Logits, encoded: Encodings, rows: NDArray[np.int64], labels: int
) -> NDArray[np.float32]:
    return logits(model, Encodings.of([encoded[int(row)].tolist() for row in rows]), 0, labels)


def _refuse_not_finite(
    folder: Path, answers: NDArray[np.float32], texts: Table, rows: NDArray[np.int64]
) -> None:
    for row in rows[~np.isfinite(answers).all(axis=1)][:1]:
        raise ProfileError(
            f"{folder}: {_named(texts, row)}: its answers are not finite",
            hint="its weights are, so numbers overflow inside: take an earlier checkpoint",
        )


def _refuse_other_answers(
    folder: Path,
    theirs: NDArray[np.float32],
    ours: NDArray[np.float32],
    texts: Table,
    rows: NDArray[np.int64],
) -> None:
    found = largest_difference(theirs, ours)
    for index in np.flatnonzero(~(found <= TOLERANCE))[:1]:
        raise ProfileError(
            f"{folder}: {_named(texts, rows[index])}: the copy that students are carved from answers"
            f" {_figures(ours[index])}, transformers {_figures(theirs[index])}",
            hint=REPORT,
        )


def _named(texts: Table, index: int | np.int64) -> str:
    text = texts.texts[int(index)]
    short = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return f"{texts.place}: row {texts.rows[int(index)]} ({short!r})"


def _figures(row: NDArray[np.float32]) -> str:
    return "[" + ", ".join(f"{value:.5g}" for value in row[:4]) + (", ...]" if len(row) > 4 else "]")
