"""A student as a teacher, and what all kinds share: answers, states and attention for token numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from squeeze.artifact import digest_file, digest_json
from squeeze.data.teacher_cache import LOGITS, Feature, Layout
from squeeze.models import storage, tokens
from squeeze.models.encoder import Encoder, Outputs
from squeeze.models.tokens import Encodings

__all__ = ["Teacher", "reads_inside"]


@dataclass(frozen=True)
class Teacher:
    """A student of ours, whose answers are learned again; other kinds say what they do otherwise.

    Attributes:
        encoder: its weights; students are carved out of it, and it gives attention and states.
        tokenizer_json: its tokenizer, as the file has it.
        weight: its share in the average.
        digest: of its weights file, its config and its shape, which say what is computed with them.
    """

    encoder: Encoder
    tokenizer_json: dict[str, Any]
    weight: float
    digest: str

    @classmethod
    def load(cls, folder: Path, labels: tuple[str, ...], tokenizer_folder: Path | None = None) -> Self:  # noqa: ARG003
        """Read a student's folder: its shape, weights and tokenizer."""
        encoder = storage.load_student(folder)
        digest = digest_json([digest_file(folder / storage.WEIGHTS), encoder.shape.plain()])
        return cls(encoder, tokens.read_spec(folder), 1.0, digest)

    @property
    def layout(self) -> Layout:
        """Widths for the cache."""
        shape = self.encoder.shape
        return Layout(
            shape.labels, shape.hidden, tuple(layer.heads for layer in shape.layers), shape.head_size
        )

    def encode(self, texts: Sequence[str], max_length: int, folder: Path | None = None) -> Encodings:
        """Its own token numbers, cut at `max_length` or where its positions end; they lie in the folder."""
        longest = min(max_length, self.encoder.shape.positions)
        return tokens.encode(tokens.make_tokenizer(self.tokenizer_json, longest), texts, folder)

    def outputs(self, ids: Tensor, mask: Tensor, wanted: Sequence[Feature]) -> Outputs:
        """One forward pass.

        Args:
            ids: (B, T) token numbers.
            mask: (B, T).
            wanted: features that the outputs have to hold.
        """
        out = self.encoder.observe(ids, mask, inside=reads_inside(wanted))
        with torch.autocast("cpu", enabled=False):  # the answers are learned, and the head costs nothing
            out.logits = self.encoder.classify(out.hidden[-1].float())
        return out

    def release(self) -> None:
        """Free the weights."""
        self.encoder.to("meta")


def reads_inside(wanted: Sequence[Feature]) -> bool:
    """Whether features are asked for that only our encoder gives: attention and relations."""
    return any(not feature.startswith(("hidden", LOGITS)) for feature in wanted)
