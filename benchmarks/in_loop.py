"""Stand-ins for the distil stage's teacher signals: one that counts, one that caches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from squeeze.data.teacher_cache import LOGITS, Feature, Spent
from squeeze.distillation.cache import Signals
from squeeze.models import tokens
from squeeze.models.encoder import Outputs
from squeeze.models.inference import to_tensors
from squeeze.models.tokens import Encodings
from squeeze.training.loop import precision

__all__ = ["Counting", "InLoop"]


class Counting(Signals):
    """Squeeze's own signals, with the teacher's forward passes counted before and after `prepare` ends."""

    def count_into(self, passes: dict[str, int]) -> None:
        """Add one to `filling` or `training` for each batch that the teacher reads."""
        self.prepared = False

        def count(*_: Any) -> None:
            passes["training" if self.prepared else "filling"] += 1

        # Every forward pass, in whatever method, looks its tokens up once.
        self.teachers[0].encoder.embedding.register_forward_hook(count)

    def prepare(self, features: Sequence[Feature]) -> Spent:
        """Fill the cache."""
        spent = super().prepare(features)
        self.prepared = True
        return spent


class InLoop(Counting):
    """The first teacher, asked about every batch: last states and logits, nothing kept."""

    def prepare(self, features: Sequence[Feature]) -> Spent:  # noqa: ARG002 (the interface)
        """Only tokenise."""
        first = self.teachers[0]
        longest = min(self.max_length, first.encoder.shape.positions)
        self.whole = tokens.encode(tokens.make_tokenizer(first.tokenizer_json, longest), self.texts)
        self.same = self.whole.digest == self.aligned.digest
        self.prepared = True
        return Spent()

    def release(self) -> None:
        """Not this one: it is asked until the end."""

    def read(self, features: Sequence[Feature], rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """One forward pass, and a second one where a trimmed vocabulary segments the text otherwise."""
        aligned = self._ask(self.aligned, rows)
        found = {name: aligned.hidden[int(name.partition("-")[2])] for name in features if name != LOGITS}
        if LOGITS in features:
            found[LOGITS] = aligned.logits if self.same else self._ask(self.whole, rows).logits
        return {name: value.float() for name, value in found.items()}

    def _ask(self, encoded: Encodings, rows: NDArray[np.int64]) -> Outputs:
        """The teacher's forward pass over a batch."""
        first = self.teachers[0]
        ids, mask = to_tensors(encoded, rows, tokens.pad_id(first.tokenizer_json))
        half = precision() == "bf16"
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            return first.encoder.observe(ids, mask)
