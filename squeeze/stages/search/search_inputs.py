"""What all candidates of a search are evaluated on: teacher, text in every vocabulary, cost table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
from squeeze.distillation import initialize
from squeeze.distillation import pool as pools
from squeeze.distillation.config import AugmentSection
from squeeze.distillation.inputs import subsample
from squeeze.distillation.pool import Pool
from squeeze.distillation.resolve import StudentPlan, resolve_student
from squeeze.distillation.teachers import Teacher, load_teachers
from squeeze.distillation.tokenized import Vocabulary, choose_vocabulary
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
from squeeze.tasks import task_of

__all__ = ["FORM", "SearchInputs", "load_inputs"]

FORM = "int8-dynamic"  # what ships, unless [budget] form says another
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)  # lengths at which the cost table is measured
BATCH = 64  # texts on which untrained students are held against their teacher


@dataclass(frozen=True)
class TokenizedText:
    """The text in one vocabulary.

    Attributes:
        vocabulary: the pieces.
        lengths: token counts of the validation text.
        tokenizer_bytes: size of tokenizer.json.
        batch: (B, T) token numbers and (B, T) mask of the texts that are scored on.
    """

    vocabulary: Vocabulary
    lengths: tuple[int, ...]
    tokenizer_bytes: int
    batch: tuple[Tensor, Tensor]


@dataclass
class SearchInputs:
    """Everything that is loaded or computed once a search.

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
    _tokenized: dict[int, TokenizedText] = field(default_factory=dict)
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
        return initialize.importance(self.teacher, self._batches(), task_of(self.config.task))

    def _batches(self) -> Iterator[initialize.Batch]:
        count = self.config.distil.importance_batches
        return initialize.labelled_batches(self.pool, self.aligned, 0, count, self.config.seed)

    @property
    def form(self) -> str:
        """The exported form whose latency and size count."""
        named = self.config.budget.form if self.config.budget else None
        return named or FORM

    def plan(self, candidate: Candidate) -> StudentPlan:
        """What the candidate is made of."""
        student = settings(candidate, self.config.student, self.teacher.shape.hidden)
        task = self.config.task
        return resolve_student(student, task.max_length, len(task.labels), self.teacher.shape)

    def tokenized(self, candidate: Candidate) -> TokenizedText:
        """The text in the candidate's vocabulary."""
        if candidate.pieces not in self._tokenized:
            self._tokenized[candidate.pieces] = self._tokenize(self.plan(candidate))
        return self._tokenized[candidate.pieces]

    def shape(self, candidate: Candidate) -> EncoderShape:
        """The candidate's shape, its true number of pieces included."""
        return self.plan(candidate).with_pieces(len(self.tokenized(candidate).vocabulary.kept))

    def cut(self, candidate: Candidate) -> carve.Cut:
        """What is kept of the teacher; a narrower student keeps the widest subspace."""
        plan, vocabulary = self.plan(candidate), self.tokenized(candidate).vocabulary
        width, axes = plan.shape.hidden, None
        if width < self.teacher.shape.hidden:
            if width not in self._axes:
                self._axes[width] = initialize.axes(self.teacher, self._batches(), width)
            axes = self._axes[width]
        return initialize.cut_of(plan, self.importance, vocabulary, self.config.seed, axes)

    def _tokenize(self, plan: StudentPlan) -> TokenizedText:
        texts = joined(self.data.splits["train"].texts, self.data.unlabelled)
        assert plan.vocabulary is not None
        pieces = self.teacher.shape.vocabulary
        vocabulary = choose_vocabulary(self.first.tokenizer_json, texts, plan.vocabulary, pieces)
        tokenizer = tokens.make_tokenizer(vocabulary.tokenizer_json, plan.max_length)
        held_out = tokens.encode(tokenizer, self.data.splits["validation"].texts)
        scored = tokens.encode(tokenizer, [self.pool.texts[row] for row in self.rows])
        pad = tokens.pad_id(vocabulary.tokenizer_json)
        return TokenizedText(
            vocabulary,
            lengths=tuple(int(n) for n in held_out.lengths),
            tokenizer_bytes=len(tokens.spec_text(vocabulary.tokenizer_json).encode()),
            batch=to_tensors(scored, np.arange(len(self.rows)), pad),
        )

    def judge(self, space: Space) -> Judge:
        """What says of a candidate what it costs and what it is worth.

        Raises:
            ProfileError: `[search.score]` names what cannot be computed here.
        """
        search, form = self.config.search, self.form
        table = self._cost_table(space)
        usual = int(np.median(self.tokenized(all_of(space)[0]).lengths))
        against = self._against(lambda shape: table.latency_ms(shape, form, usual))
        return Judge(
            shape=self.shape,
            latencies=lambda shape, lengths: table.latencies_ms(shape, form, lengths),
            lengths=lambda candidate: self.tokenized(candidate).lengths,
            tokenizer_bytes=lambda candidate: self.tokenized(candidate).tokenizer_bytes,
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
        lengths = np.concatenate([self.tokenized(candidate).lengths for candidate in each])
        grid = {max(1, int(length)) for length in np.quantile(lengths, QUANTILES)}
        request = CostRequest.spanning([self.shape(each) for each in corners], grid)
        return cost_table(request, self.work.cache, 1, self.work.progress)

    def _against(self, latency: Callable[[EncoderShape], float]) -> scores.Ground:
        """The teacher's side of all scores."""
        ids, mask = to_tensors(self.aligned, self.rows, tokens.pad_id(self.first.tokenizer_json))
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
        ids, mask = self.tokenized(candidate).batch
        if self.config.student.init != "carve":
            return scores.Candidate(self.shape(candidate), ids=ids, mask=mask)
        cut = self.cut(candidate)
        return scores.Candidate(self.shape(candidate), partial(self.carver, cut), cut, ids=ids, mask=mask)


def load_inputs(config: SearchConfig, artifacts: Mapping[str, Artifact], work: Work) -> SearchInputs:
    """Load data and teacher; what only some candidates need is computed when it is asked for."""
    data = dataset.load(artifacts["dataset"].path)
    first = load_teachers(artifacts["teacher"].path, "task", config.task.labels)[0]
    part = subsample(data, config.search.rows, config.seed)
    table = first.encoder.embedding.table().detach().numpy()
    length = config.task.max_length
    pool = pools.build(part, first.tokenizer_json, table, AugmentSection(), length, config.seed)
    tokenizer = tokens.make_tokenizer(first.tokenizer_json, min(length, first.encoder.shape.positions))
    rng = np.random.default_rng(config.seed)
    rows = np.sort(rng.permutation(len(pool.texts))[:BATCH])
    aligned = tokens.encode(tokenizer, pool.texts, work.scratch)
    return SearchInputs(config, first, data, pool, aligned, rows, work)
