"""What all candidates of a search are judged on: teacher, text in every vocabulary, tables, cost table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from squeeze.artifact import Artifact
from squeeze.costs.measure import cost_table
from squeeze.costs.request import CostRequest
from squeeze.costs.table import CostTable
from squeeze.data import dataset
from squeeze.data.dataset import Dataset
from squeeze.data.texts import joined
from squeeze.distillation import pool as pools
from squeeze.distillation import shape as shapes
from squeeze.distillation import start
from squeeze.distillation.config import AugmentSection, DistilConfig
from squeeze.distillation.material import fewer
from squeeze.distillation.pool import Pool
from squeeze.distillation.start import Vocabulary
from squeeze.distillation.teachers import Teacher, load_teachers
from squeeze.errors import ProfileError
from squeeze.models import carve, tokens
from squeeze.models.encoder import Encoder, EncoderShape
from squeeze.models.inference import to_tensors
from squeeze.models.tokens import Encodings
from squeeze.scores import subjects as scores
from squeeze.scores.table import SCORES, available, score_all
from squeeze.stage import Work
from squeeze.stages.search.judging import Judge, limits
from squeeze.stages.search.space import Candidate, Space, all_of, extremes, settings
from squeeze.stages.search.stage import SearchConfig

__all__ = ["FORM", "Ground", "prepare"]

FORM = "int8-dynamic"  # what ships, unless [budget] form says another
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)  # lengths at which the cost table is measured
BATCH = 64  # texts on which untrained students are held against their teacher


@dataclass(frozen=True)
class Reading:
    """The text in one vocabulary.

    Attributes:
        words: the pieces.
        lengths: token counts of the validation text.
        spec_bytes: size of tokenizer.json.
        batch: (B, T) token numbers and (B, T) mask of the texts that are scored on.
    """

    words: Vocabulary
    lengths: tuple[int, ...]
    spec_bytes: int
    batch: tuple[Tensor, Tensor]


@dataclass
class Ground:
    """Everything that is computed once a search.

    Attributes:
        config: the stage's settings.
        first: the first task teacher.
        data: all splits.
        pool: labelled training text, `[search] rows` of it.
        aligned: the pool in the teacher's own numbers.
        rows: of the pool that are scored on.
        work: cache and progress.
    """

    config: SearchConfig
    first: Teacher
    data: Dataset
    pool: Pool
    aligned: Encodings
    rows: NDArray[np.int64]
    work: Work
    _readings: dict[int, Reading] = field(default_factory=dict)
    _axes: dict[int, Tensor] = field(default_factory=dict)

    @property
    def teacher(self) -> Encoder:
        """The teacher that students come out of."""
        return self.first.encoder

    @cached_property
    def carver(self) -> carve.Carver:
        """What carves candidates out of the teacher."""
        return carve.Carver(self.teacher)

    @cached_property
    def importance(self) -> carve.Importance:
        """What the teacher's heads and neurons are worth on the task's text."""
        settings = DistilConfig(
            seed=self.config.seed,
            task=self.config.task,
            student=self.config.student,
            distil=self.config.distil,
        )
        return start.importance(settings, self.teacher, self.pool, self.aligned)

    @property
    def form(self) -> str:
        """The exported form whose latency and size count."""
        named = self.config.budget.form if self.config.budget else None
        return named or FORM

    def distil(self, candidate: Candidate) -> DistilConfig:
        """The settings of a training of this candidate."""
        student = settings(candidate, self.config.student, self.teacher.shape.hidden)
        return DistilConfig(
            seed=self.config.seed, task=self.config.task, student=student, distil=self.config.distil
        )

    def reading(self, candidate: Candidate) -> Reading:
        """The text in the candidate's vocabulary."""
        if candidate.pieces not in self._readings:
            self._readings[candidate.pieces] = self._read(self.distil(candidate))
        return self._readings[candidate.pieces]

    def shape(self, candidate: Candidate) -> EncoderShape:
        """The candidate's shape, its true number of pieces included."""
        pieces = len(self.reading(candidate).words.kept)
        return shapes.student_shape(self.distil(candidate), self.teacher.shape, pieces)

    def cut(self, candidate: Candidate) -> carve.Cut:
        """What is kept of the teacher; a narrower student keeps the widest subspace."""
        config = self.distil(candidate)
        width = config.student.hidden
        if width is not None and width not in self._axes:
            self._axes[width] = start.axes(self.teacher, config, self.pool, self.aligned)
        axes = None if width is None else self._axes[width]
        return start.cut_of(config, self.teacher.shape, self.importance, self.reading(candidate).words, axes)

    def _read(self, config: DistilConfig) -> Reading:
        texts = joined(self.data.splits["train"].texts, self.data.unlabelled)
        whole = self.teacher.shape
        words = start.choose_vocabulary(self.first.spec, texts, config.student.vocabulary, whole.vocabulary)
        tokenizer = tokens.make_tokenizer(words.spec, shapes.reach(config, whole))
        held_out = tokens.encode(tokenizer, self.data.splits["validation"].texts)
        scored = tokens.encode(tokenizer, [self.pool.texts[row] for row in self.rows])
        batch = to_tensors(scored, np.arange(len(self.rows)), tokens.pad_id(words.spec))
        size = len(tokens.spec_text(words.spec).encode())
        return Reading(words, tuple(int(n) for n in held_out.lengths), size, batch)

    def judge(self, space: Space) -> Judge:
        """What says of a candidate what it costs and what it is worth.

        Raises:
            ProfileError: `[search.score]` names what cannot be computed here.
        """
        search, form = self.config.search, self.form
        table = self._cost_table(space)
        usual = int(np.median(self.reading(all_of(space)[0]).lengths))
        against = self._against(lambda shape: table.latency_ms(shape, form, usual))
        return Judge(
            shape=self.shape,
            latencies=lambda shape, lengths: table.latencies_ms(shape, form, lengths),
            lengths=lambda candidate: self.reading(candidate).lengths,
            tokenizer_bytes=lambda candidate: self.reading(candidate).spec_bytes,
            score=lambda candidate: self._scores(candidate, against),
            every=lambda candidate: self._every_score(candidate, against),
            form=form,
            limits=limits(self.config.budget, search.headroom),
            weights=search.score,
        )

    def _cost_table(self, space: Space) -> CostTable:
        """Of the space on this machine; measured where it is not known yet."""
        corners = extremes(space)
        # Every vocabulary: the grid's ends must hold for each of them.
        one = corners[0].plain()
        each = [Candidate.model_validate({**one, "pieces": pieces}) for pieces in space["pieces"]]
        lengths = np.concatenate([self.reading(candidate).lengths for candidate in each])
        grid = {max(1, int(length)) for length in np.quantile(lengths, QUANTILES)}
        request = CostRequest.spanning([self.shape(each) for each in corners], grid)
        return cost_table(request, self.work.cache, 1, self.work.progress)

    def _against(self, latency: Callable[[EncoderShape], float]) -> scores.Ground:
        """The teacher's side of all scores."""
        ids, mask = to_tensors(self.aligned, self.rows, tokens.pad_id(self.first.spec))
        labels = torch.from_numpy(self.pool.labels[self.rows])
        return scores.Ground(
            self.teacher, ids, mask, labels, self.importance, seed=self.config.seed, latency=latency
        )

    def _scores(self, candidate: Candidate, against: scores.Ground) -> dict[str, float]:
        """All cheap scores, and the costly ones that have a weight."""
        subject = self._subject(candidate)
        here = available(subject, against)
        absent = [name for name in self.config.search.score if name not in here]
        if absent:
            raise ProfileError(
                f"[search.score] {absent[0]}: needs a student that is carved out of its teacher",
                hint=f"with [student] init = {self.config.student.init!r} take {', '.join(here)}",
            )
        names = [name for name in here if name in self.config.search.score or not SCORES[name].costly]
        return score_all(subject, against, names)

    def _every_score(self, candidate: Candidate, against: scores.Ground) -> dict[str, float]:
        subject = self._subject(candidate)
        return score_all(subject, against, available(subject, against))

    def _subject(self, candidate: Candidate) -> scores.Candidate:
        ids, mask = self.reading(candidate).batch
        if self.config.student.init != "carve":
            return scores.Candidate(self.shape(candidate), ids=ids, mask=mask)
        cut = self.cut(candidate)
        return scores.Candidate(self.shape(candidate), partial(self.carver, cut), cut, ids=ids, mask=mask)


def prepare(config: SearchConfig, inputs: Mapping[str, Artifact], work: Work) -> Ground:
    """Load data and teacher; what only some candidates need is computed when it is asked for."""
    data = dataset.load(inputs["dataset"].path)
    first = load_teachers(inputs["teacher"].path, "task", config.task.labels)[0]
    part = fewer(data, config.search.rows, config.seed)
    table = first.encoder.embedding.table().detach().numpy()
    length = config.task.max_length
    pool = pools.build(part, first.spec, table, AugmentSection(), length, config.seed)
    tokenizer = tokens.make_tokenizer(first.spec, min(length, first.encoder.shape.positions))
    rng = np.random.default_rng(config.seed)
    rows = np.sort(rng.permutation(len(pool.texts))[:BATCH])
    return Ground(config, first, data, pool, tokens.encode(tokenizer, pool.texts, work.scratch), rows, work)
