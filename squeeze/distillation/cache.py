"""The cached outputs of the teachers for every text of the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from squeeze.data.teacher_cache import LOGITS, Feature, Known, Spent, TeacherCache
from squeeze.distillation.teachers import Teacher
from squeeze.models import tokens
from squeeze.models.encoder import Outputs
from squeeze.models.inference import batches_by_length, to_tensors
from squeeze.models.teacher import average
from squeeze.models.tokens import Encodings
from squeeze.stage import Work
from squeeze.tasks import AnswerKind
from squeeze.training.loop import precision

__all__ = ["Signals"]


@dataclass
class Signals:
    """Teacher outputs for a list of texts, read from the cache.

    States and attention are computed on the student's own segmentation (every piece of a student is a
    piece of its teacher), so that tokens stand side by side. Logits come from the teacher's full
    vocabulary, which is what it was trained on, by AutoTokenizer and transformers' own forward pass.

    Attributes:
        teachers: members; inside features come from the first.
        texts: the pool.
        aligned: the student's token numbers, in the first teacher's numbering.
        max_length: where texts are cut.
        work: where the cache lies.
        answers: how outputs are read, which says how those of several teachers are averaged.
    """

    teachers: Sequence[Teacher]
    texts: Sequence[str]
    aligned: Encodings
    max_length: int
    work: Work
    answers: AnswerKind
    _logits: list[TeacherCache] = field(default_factory=list)
    _inside: TeacherCache | None = None

    def prepare(self, features: Sequence[Feature]) -> Spent:
        """Fill the cache with what is missing."""
        spent: list[Spent] = []
        inside = [feature for feature in features if feature != LOGITS]
        asked = self.teachers if LOGITS in features else ()
        own = [teacher.encode(self.texts, self.max_length, self.work.scratch) for teacher in asked]
        first = self.teachers[0]
        if inside:
            self._inside = self._cache(first, self.aligned)
            # Logits cost nothing on the way, and most texts are cut alike with the whole vocabulary.
            spent.append(self._fill(self._inside, first, self.aligned, inside + [LOGITS] * bool(own)))
        self._logits = [self._cache(teacher, rows) for teacher, rows in zip(self.teachers, own, strict=False)]
        for teacher, cache, rows in zip(self.teachers, self._logits, own, strict=False):
            spent.append(self._fill(cache, teacher, rows, [LOGITS], self._known(teacher, rows)))
        return sum(spent, Spent())

    def release(self) -> None:
        """Let go of the teachers' weights: all that will be read is in the cache."""
        for teacher in self.teachers:
            teacher.release()

    def read(self, features: Sequence[Feature], rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """The features of some rows, padded to the longest of them."""
        found: dict[str, Tensor] = {}
        for feature in features:
            if feature == LOGITS:
                each = [np.stack(list(cache.read(LOGITS, rows))) for cache in self._logits]
                found[feature] = torch.from_numpy(self._joint(each))
            elif self._inside is not None:
                found[feature] = torch.from_numpy(self._inside.padded(feature, rows))
        return found

    def _joint(self, logits: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """One teacher's logits as they are (a squared error sees their offset); several averaged."""
        if len(logits) == 1:
            return logits[0]
        return average(logits, [teacher.weight for teacher in self.teachers], self.answers)

    def states(self, feature: Feature, rows: NDArray[np.int64]) -> Tensor:
        """(tokens, H) states of some rows, one after the other."""
        if self._inside is None:
            raise ValueError(f"{feature} was not prepared")
        return torch.from_numpy(np.concatenate(list(self._inside.read(feature, rows))).astype(np.float32))

    def _cache(self, teacher: Teacher, rows: Encodings) -> TeacherCache:
        computed_by = f"{teacher.digest} {precision()}"  # half-precision answers are other answers
        return TeacherCache(self.work.cache, computed_by, rows.digest, rows.lengths, teacher.layout)

    def _known(self, teacher: Teacher, rows: Encodings) -> Known | None:
        """Texts whose logits came along with the states: the first teacher's that are cut alike."""
        if self._inside is None or teacher is not self.teachers[0] or rows.digest == self.aligned.digest:
            return None  # nothing came along, or it lies in this very cache
        return Known(self._inside, np.flatnonzero(rows.same(self.aligned)))

    def _fill(
        self,
        cache: TeacherCache,
        teacher: Teacher,
        rows: Encodings,
        features: Sequence[Feature],
        known: Known | None = None,
    ) -> Spent:
        pad = tokens.pad_id(teacher.tokenizer_json)
        rest = np.arange(len(rows)) if known is None else np.setdiff1d(np.arange(len(rows)), known.rows)

        def forward(
            batch: NDArray[np.int64], wanted: Sequence[Feature]
        ) -> Mapping[Feature, list[NDArray[np.float32]]]:
            ids, mask = to_tensors(rows, batch, pad)
            return _observe(teacher, ids, mask, wanted)

        batches = (rest[batch] for batch in batches_by_length(rows.lengths[rest]))
        return cache.ensure(features, forward, batches, self.work.progress, known)


def _observe(
    teacher: Teacher, ids: Tensor, mask: Tensor, wanted: Sequence[Feature]
) -> dict[Feature, list[NDArray[np.float32]]]:
    """Run the teacher once and cut every feature to the real tokens."""
    # bf16 where it is native: three times as fast, and the states are stored in half precision anyway.
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision() == "bf16"):
        out = teacher.outputs(ids, mask, wanted)
    lengths = mask.sum(1).tolist()
    return {feature: _cut(_pick(out, feature).float(), lengths, feature) for feature in wanted}


def _pick(out: Outputs, feature: Feature) -> Tensor:
    """One feature of a forward pass, padded."""
    name, _, number = feature.partition("-")
    if name == LOGITS:
        return out.logits
    if name == "hidden":
        return out.hidden[int(number)]
    if name == "attention":
        return out.attention[int(number) - 1]
    return torch.stack(out.relations[int(number) - 1], dim=2)


def _cut(padded: Tensor, lengths: list[int], feature: Feature) -> list[NDArray[np.float32]]:
    """One array a text, without what stands at padding."""
    rows = padded.numpy()
    if feature == LOGITS:
        return list(rows)
    if feature.startswith("attention"):
        return [row[:, :n, :n] for row, n in zip(rows, lengths, strict=True)]
    return [row[:n] for row, n in zip(rows, lengths, strict=True)]
