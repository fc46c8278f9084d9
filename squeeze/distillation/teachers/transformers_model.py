"""A classifier of transformers: AutoTokenizer and its own forward pass give the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from squeeze.artifact import digest_file, digest_json
from squeeze.data.teacher_cache import LOGITS, Feature
from squeeze.distillation.teachers.base import Teacher, reads_inside
from squeeze.models import conversion, tokens
from squeeze.models.encoder import Outputs
from squeeze.models.teacher import exact_head, load_classifier
from squeeze.models.tokens import Encodings, TeacherTokenizer

__all__ = ["TransformersTeacher"]


@dataclass(frozen=True)
class TransformersTeacher(Teacher):
    """A model of transformers, and the same weights read into our encoder.

    Attributes:
        model: the classifier, whose forward pass gives the logits.
        tokenizer: AutoTokenizer's.
    """

    model: nn.Module
    tokenizer: TeacherTokenizer

    @classmethod
    def load(cls, folder: Path, labels: tuple[str, ...], tokenizer_folder: Path | None = None) -> Self:
        """Read a member's folder; a model that was not trained for the task gets a fresh head."""
        torch.manual_seed(0)  # a base teacher has a fresh head, which no loss reads, but which must not vary
        model = load_classifier(folder, labels, untrained_head=tokenizer_folder is not None)
        tokenizer = tokens.load_tokenizer(tokenizer_folder or folder)
        encoder = conversion.read(model, share=True)
        files = [digest_file(folder / name) for name in ("model.safetensors", "config.json")]
        digest = digest_json([*files, encoder.shape.plain()])
        return cls(encoder, tokenizer.spec, 1.0, digest, model, tokenizer)

    def encode(self, texts: Sequence[str], max_length: int, folder: Path | None = None) -> Encodings:
        """Its own token numbers, cut at `max_length` or where its positions end; they lie in the folder."""
        return self.tokenizer.encode(texts, min(max_length, self.encoder.shape.positions), folder)

    def outputs(self, ids: Tensor, mask: Tensor, wanted: Sequence[Feature]) -> Outputs:
        """Logits of its own forward pass, and its states with them; the rest comes from our encoder."""
        if LOGITS not in wanted:
            return super().outputs(ids, mask, wanted)
        inside = reads_inside(wanted)
        states = not inside and any(feature.startswith("hidden") for feature in wanted)
        with exact_head(self.model):
            own: Any = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=states)
        if not inside:
            return Outputs(own.logits, list(own.hidden_states or ()))
        return replace(self.encoder.observe(ids, mask, inside=True), logits=own.logits)

    def release(self) -> None:
        """Free the weights."""
        super().release()
        self.model.to("meta")
