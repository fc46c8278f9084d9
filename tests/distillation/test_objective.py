"""Every loss of a phase, from the name in a profile to a number on a batch."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from squeeze.core import diswot
from squeeze.core.hidden_states import mean_pool, pca_projection
from squeeze.data.teacher_cache import LOGITS, attention, hidden, relations
from squeeze.distillation.config import Phase, phase_faults
from squeeze.distillation.losses import LOSSES
from squeeze.distillation.objective import Objective
from squeeze.models.encoder import Encoder, LayerShape, Outputs
from tests import tiny

NAMES = sorted(LOSSES)


def phase(*losses: Mapping[str, Any], **more: Any) -> Phase:
    usual = {"heads": 4, "layers": "last"}
    return Phase.parse(
        {"name": "p", "losses": [{**settings(loss["name"], usual), **loss} for loss in losses], **more}
    )


def settings(name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that a loss has."""
    return {key: value for key, value in wanted.items() if key in LOSSES[name].model_fields}


def pure(name: str, **settings: Any) -> Any:
    """The function of a loss."""
    return LOSSES[name].parse({"name": name, **settings}).compare  # type: ignore[attr-defined]


def seen_by(teacher: Encoder, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """A batch with all features of a teacher, as the cache gives them: zeros at padding."""
    with torch.no_grad():
        out = teacher.observe(ids, mask, inside=True)
    batch = {"ids": ids, "mask": mask, "labels": out.logits.argmax(1), LOGITS: out.logits}
    for layer in range(1, len(teacher.layers) + 1):
        batch[hidden(layer)] = out.hidden[layer] * mask[:, :, None]
        batch[attention(layer)] = out.attention[layer - 1] * mask[:, None, :, None] * mask[:, None, None, :]
        batch[relations(layer)] = torch.stack(out.relations[layer - 1], dim=2) * mask[:, :, None, None]
    return batch


def labelled(name: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch with labels as a loss wants them: those that the teacher gives, or its values."""
    own = {
        "binary_cross_entropy": lambda logits: (logits > 0).float(),
        "mse": lambda logits: logits,
    }
    return {**batch, "labels": own[name](batch[LOGITS])} if name in own else batch


def value(student: Encoder, spec: Phase, batch: Mapping[str, Tensor], **more: Any) -> float:
    whole = {"teacher": tiny.shape(), "axes": None, "alpha": None, **more}
    with torch.no_grad():
        return float(Objective(student, spec, **whole)(batch))


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_of_the_teacher_has_nothing_to_learn(name):
    teacher = tiny.encoder()
    batch = labelled(name, seen_by(teacher, *tiny.batch()))
    student = copy.deepcopy(teacher)
    spec = phase({"name": name, **settings(name, {"temperature": 2.0})})
    Objective(student, spec, teacher.shape, None, None)(batch).backward()
    loss = value(student, spec, batch)
    steepest = max(float(p.grad.abs().max()) for p in student.parameters() if p.grad is not None)
    if name in ("cross_entropy", "binary_cross_entropy"):  # labels are not the teacher's own probabilities
        assert loss == pytest.approx(float(pure(name)(batch[LOGITS], batch["labels"])), abs=1e-6)
    else:
        assert steepest < 1e-5
    if name not in ("cross_entropy", "binary_cross_entropy", "soft_cross_entropy"):
        assert loss == pytest.approx(0, abs=1e-6)
    assert value(tiny.encoder(seed=1), spec, batch) > loss + 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_matter(name):
    teacher, student = tiny.encoder(), tiny.encoder(seed=1)
    ids, mask = tiny.batch()
    longer_ids = torch.cat([ids, torch.full((len(ids), 3), 17)], dim=1)
    longer_mask = torch.cat([mask, torch.zeros(len(ids), 3, dtype=mask.dtype)], dim=1)
    spec = phase({"name": name, **settings(name, {"layers": "skip"})})
    short = value(student, spec, labelled(name, seen_by(teacher, ids, mask)))
    long = value(student, spec, labelled(name, seen_by(teacher, longer_ids, longer_mask)))
    assert long == pytest.approx(short, rel=1e-4)


def test_text_without_labels_or_values_does_not_count():
    logits = torch.tensor([[1.0, -2.0], [0.5, 0.5]])
    labels = torch.tensor([[1.0, 0.0], [torch.nan, torch.nan]])
    bce, mse = (pure(name)(logits, labels) for name in ("binary_cross_entropy", "mse"))
    assert bce == pytest.approx((math.log1p(math.exp(-1)) + math.log1p(math.exp(-2))) / 2)
    assert mse == pytest.approx((0 + 4) / 2)


def test_the_binary_divergence_is_that_of_two_labels():
    ours, theirs = torch.tensor([[0.3, -4.0]]), torch.tensor([[2.0, 90.0]])
    both = [torch.stack([each, torch.zeros_like(each)], dim=-1)[0] for each in (ours, theirs)]
    for temperature in (1.0, 3.0):
        want = pure("kl", temperature=temperature)(*both)
        assert pure("binary_kl", temperature=temperature)(ours, theirs) == pytest.approx(
            float(want), rel=1e-5
        )


def test_alpha_shares_out_labels_and_teacher():
    batch, student = seen_by(tiny.encoder(), *tiny.batch()), tiny.encoder(seed=1)
    alone = {n: value(student, phase({"name": n}), batch) for n in ("cross_entropy", "kl", "logit_mse")}
    both = phase({"name": "cross_entropy"}, {"name": "kl", "weight": 2.0}, {"name": "logit_mse"})
    for alpha in (0.0, 0.25, 1.0):
        want = alpha * alone["cross_entropy"] + (1 - alpha) * (2 * alone["kl"] + alone["logit_mse"])
        assert value(student, both, batch, alpha=alpha) == pytest.approx(want, rel=1e-5)
    want = alone["cross_entropy"] + 2 * alone["kl"] + alone["logit_mse"]
    assert value(student, both, batch) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("name", ["kl", "soft_cross_entropy"])
def test_a_temperature_softens_both_sides(name):
    batch, student = seen_by(tiny.encoder(), *tiny.batch()), tiny.encoder(seed=1)
    ours = student(batch["ids"], batch["mask"]).detach()
    for temperature in (1.0, 3.0):
        want = pure(name, temperature=temperature)(ours, batch[LOGITS])
        found = value(student, phase({"name": name, "temperature": temperature}), batch)
        assert found == pytest.approx(float(want), rel=1e-5)


def test_topk_takes_its_temperature_and_its_k():
    teacher, student = tiny.encoder(labels=4), tiny.encoder(seed=1, labels=4)
    batch = seen_by(teacher, *tiny.batch())
    ours = student(batch["ids"], batch["mask"]).detach()
    found = set()
    for k, temperature in ((1, 1.0), (2, 1.0), (2, 3.0)):
        want = float(pure("topk_kd", k=k, temperature=temperature)(ours, batch[LOGITS]))
        spec = phase({"name": "topk_kd", "k": k, "temperature": temperature})
        assert value(student, spec, batch) == pytest.approx(want, rel=1e-5)
        found.add(want)
    assert len(found) == 3


def test_gradient_relations_take_labels_and_the_teachers_answer_where_there_is_none():
    batch, student = seen_by(tiny.encoder(), *tiny.batch()), tiny.encoder(seed=1)
    best = batch[LOGITS].argmax(1)
    batch["labels"] = torch.tensor([1 - best[0], -1, best[2], -1])
    with torch.no_grad():
        ours = student.observe(batch["ids"], batch["mask"])
    answers = torch.tensor([1 - best[0], best[1], best[2], best[3]])
    want = diswot.distance(
        diswot.gradient_relations(batch[LOGITS], answers, batch[hidden(3)][:, 0]),
        diswot.gradient_relations(ours.logits, answers, ours.hidden[3][:, 0]),
    )
    found = value(student, phase({"name": "diswot_semantic"}), batch)
    assert found == pytest.approx(float(want), rel=1e-5)


def test_losses_inside_the_network_are_means_over_the_pairs_of_layers():
    """Layers 1 to 3 against 1 to 3, each pair worked out on its own."""
    batch, student = seen_by(tiny.encoder(), *tiny.batch()), tiny.encoder(seed=1)
    mask = batch["mask"]
    with torch.no_grad():
        ours = student.observe(batch["ids"], mask, inside=True)
    layers = (1, 2, 3)
    want: dict[str, list[Any]] = {
        "hidden_mse": [pure("hidden_mse")(ours.hidden[n], batch[hidden(n)], mask) for n in layers],
        "attention_mse": [
            pure("attention_mse")(ours.attention[n - 1], batch[attention(n)], mask) for n in layers
        ],
        "attention_kl": [
            pure("attention_kl")(ours.attention[n - 1], batch[attention(n)], mask) for n in layers
        ],
        "relation_kl": [
            sum(
                pure("relation_kl", heads=2)(part, batch[relations(n)][:, :, place], mask)
                for place, part in enumerate(ours.relations[n - 1])
            )
            for n in layers
        ],
    }
    for name, parts in want.items():
        found = value(student, phase({"name": name, "layers": "skip", **settings(name, {"heads": 2})}), batch)
        assert found == pytest.approx(sum(map(float, parts)) / 3, rel=1e-4), name


class Fixed(Encoder):
    """A student that gives written figures: one text of two tokens, two logits."""

    def observe(self, *_: Any, **__: Any) -> Outputs:
        states = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
        return Outputs(logits=torch.tensor([[0.0, math.log(3)]]), hidden=[states, states])


def test_alpha_by_hand():
    """Answers (1/4, 3/4) against the label 0 and the teacher's (1/2, 1/2)."""
    batch = {"ids": torch.zeros(1, 2), "mask": torch.ones(1, 2), "labels": torch.tensor([0])}
    batch |= {LOGITS: torch.tensor([[0.0, 0.0]]), hidden(1): torch.tensor([[[1.0, 2.0], [3.0, 2.0]]])}
    labels, kl = math.log(4), math.log(2) - math.log(3) / 2  # 1/2 log 2 + 1/2 log 2/3
    answers, states = math.log(3) ** 2 / 2, 1.0  # mean squares: (0, log 3) and (0, 0, 0, 2)
    spec = phase(
        {"name": "cross_entropy", "weight": 3.0},
        {"name": "logit_mse", "weight": 0.5},
        {"name": "kl"},
        {"name": "hidden_mse", "weight": 7.0},
    )
    one = tiny.shape(layers=(LayerShape(heads=1, ffn=1),))
    for alpha in (0.0, 0.25, 1.0):
        want = alpha * 3 * labels + (1 - alpha) * (0.5 * answers + kl) + 7 * states
        assert value(Fixed(one), spec, batch, teacher=one, alpha=alpha) == pytest.approx(want, rel=1e-5)


INSIDE = sorted(name for name, loss in LOSSES.items() if loss.target == "inside")


@pytest.mark.parametrize("name", INSIDE)
def test_alpha_leaves_losses_inside_the_network_as_they_are(name):
    batch, student = seen_by(tiny.encoder(), *tiny.batch()), tiny.encoder(seed=1)
    inside = value(student, phase({"name": name}), batch)
    assert inside > 0
    sides = [value(student, phase({"name": side}), batch) for side in ("cross_entropy", "kl")]
    spec = phase({"name": "cross_entropy"}, {"name": name, "weight": 3.0}, {"name": "kl"})
    for alpha in (0.0, 0.25, 1.0):
        want = alpha * sides[0] + (1 - alpha) * sides[1] + 3 * inside
        assert value(student, spec, batch, alpha=alpha) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.5, "auto"])
@pytest.mark.parametrize(
    "names",
    [["cross_entropy", "hidden_mse"], ["kl", "hidden_mse"], ["cross_entropy", "diswot_semantic"], ["kl"]],
)
def test_alpha_needs_labels_and_answers(alpha, names):
    with pytest.raises(
        ValidationError, match=r"`alpha` weighs a loss on labels against one on the teacher's answers"
    ):
        phase(*({"name": name} for name in names), alpha=alpha)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, 2])
def test_alpha_is_a_share(alpha):
    with pytest.raises(ValidationError, match="`alpha` lies between 0 and 1"):
        phase({"name": "cross_entropy"}, {"name": "kl"}, alpha=alpha)


def test_a_phase_knows_whether_it_trains_the_head():
    batch = seen_by(tiny.encoder(), *tiny.batch())
    for name in LOSSES:
        student = tiny.encoder(seed=1)
        Objective(student, phase({"name": name}), tiny.shape(), None, None)(labelled(name, batch)).backward()
        moved = student.head.output.weight.grad is not None
        assert phase({"name": name}).trains_head == (moved and name != "diswot_semantic")


@pytest.mark.parametrize(
    ("layers", "theirs"), [("final", [6]), ("last", [4, 5, 6]), ("skip", [2, 4, 6]), ("uniform", [1, 4, 6])]
)
def test_layer_maps_choose_what_is_read(layers, theirs):
    spec = phase({"name": "hidden_mse", "layers": layers}, {"name": "relation_kl", "layers": layers})
    assert spec.features(3, 6) == (*map(hidden, theirs), *map(relations, theirs))


def test_pooled_mimicry_reads_the_last_states_only_and_logits_come_once():
    spec = phase({"name": "pooled_mimic"}, {"name": "kl"}, {"name": "logit_mse"})
    assert spec.features(3, 6) == (hidden(6), LOGITS)


def test_losses_on_logits_do_not_mind_a_deeper_student():
    deep = tiny.encoder(layers=(LayerShape(heads=4, ffn=64),) * 4)
    batch = seen_by(tiny.encoder(), *tiny.batch())
    assert phase({"name": "kl"}).features(4, 3) == (LOGITS,)
    assert value(deep, phase({"name": "kl"}), batch) > 0


def test_a_narrower_student_is_compared_on_fixed_axes():
    teacher, student = tiny.encoder(), tiny.encoder(seed=1, hidden=16)
    batch = seen_by(teacher, *tiny.batch())
    axes = pca_projection(batch[hidden(3)][batch["mask"].bool()], 16)
    objective = Objective(
        student, phase({"name": "hidden_mse", "layers": "final"}), teacher.shape, axes, None
    )
    states = student.observe(batch["ids"], batch["mask"]).hidden[-1]
    want = pure("hidden_mse")(states, batch[hidden(3)] @ axes, batch["mask"])
    assert float(objective(batch).detach()) == pytest.approx(float(want.detach()), rel=1e-5)
    assert {name for name, _ in objective.named_parameters()} == {
        f"student.{name}" for name, _ in student.named_parameters()
    }


def test_a_learned_projection_is_trained_and_stays_outside_the_student():
    student = tiny.encoder(seed=1, hidden=16)
    batch = seen_by(tiny.encoder(), *tiny.batch())
    axes = torch.eye(32)[:, :16]
    spec = phase({"name": "kl"}, {"name": "hidden_mse", "projection": "learned"})
    objective = Objective(student, spec, tiny.shape(), axes, None)
    objective(batch).backward()
    [(name, projection)] = objective.parts.named_parameters()
    assert (name, projection.shape) == ("1.projection.weight", (32, 16))
    assert projection.grad is not None
    assert student.state_dict().keys() == Encoder(student.shape).state_dict().keys()


def test_a_projection_between_equal_widths_is_none():
    spec = phase({"name": "hidden_mse", "projection": "learned"})
    assert not list(Objective(tiny.encoder(), spec, tiny.shape(), None, None).parts.parameters())


def test_pooled_mimicry_has_fixed_axes_alone():
    student, spec = tiny.encoder(seed=1, hidden=16), phase({"name": "pooled_mimic"})
    batch, axes = seen_by(tiny.encoder(), *tiny.batch()), torch.eye(32)[:, :16]
    objective = Objective(student, spec, tiny.shape(), axes, None)
    states = student.observe(batch["ids"], batch["mask"]).hidden[-1]
    ours, theirs = (mean_pool(one, batch["mask"]) for one in (states, batch[hidden(3)][..., :16]))
    assert float(objective(batch).detach()) == pytest.approx(
        float((ours - theirs).square().mean().detach()), rel=1e-5
    )
    assert not list(objective.parts.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_has_no_settings_without_effect(name):
    """Every setting that it has changes its value; every other one is refused."""
    teacher, student = tiny.encoder(labels=4), tiny.encoder(seed=1, hidden=16, labels=4)
    batch = seen_by(teacher, *tiny.batch())
    sides = {"teacher": teacher.shape, "axes": torch.eye(32)[:, :16]}
    changed = {"temperature": 3.0, "layers": "final", "projection": "learned", "heads": 2, "k": 2}
    for key, other in changed.items():
        if key in LOSSES[name].model_fields:
            before = value(student, phase({"name": name}), batch, **sides)
            assert value(student, phase({"name": name, key: other}), batch, **sides) != before, key
        else:
            with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
                Phase.parse({"name": "p", "losses": [{"name": name, key: other}]})


def test_every_loss_has_a_file_of_its_name_and_says_what_it_serves():
    for name, loss in LOSSES.items():
        assert loss.__module__ == f"squeeze.distillation.losses.{name}"
        assert get_args(loss.model_fields["name"].annotation) == (name,)
        assert loss.answer_kinds <= {"softmax", "sigmoid", "real"}
    for kind in ("softmax", "sigmoid", "real"):  # every task can learn from labels and from answers
        targets = {loss.target for loss in LOSSES.values() if kind in loss.answer_kinds}
        assert targets == {"labels", "answers", "inside"}


def test_a_loss_that_does_not_fit_the_task_is_named_with_those_that_do():
    ((key, message),) = phase_faults(phase({"name": "cross_entropy"}), 3, "sigmoid")
    assert key == "losses.0.name"
    assert message == "cross_entropy does not fit the task's outputs; try binary_cross_entropy"
    assert list(phase_faults(phase({"name": "binary_kl"}), 3, "sigmoid")) == []
    ((_, message),) = phase_faults(phase({"name": "kl"}), 1, "real")
    assert message == "kl does not fit the task's outputs; try logit_mse"


@pytest.mark.parametrize("name", sorted(name for name, loss in LOSSES.items() if loss.logits))
def test_a_base_teacher_gives_no_logits(name):
    with pytest.raises(ValidationError, match=f"no head for this task, so {name} has no target"):
        phase({"name": name}, {"name": "hidden_mse"}, teacher="base")


def test_text_without_labels_has_no_cross_entropy():
    with pytest.raises(ValidationError, match="cross_entropy needs labels"):
        phase({"name": "cross_entropy"}, {"name": "kl"}, data="unlabelled")
    assert phase({"name": "kl"}, data="unlabelled").data == "unlabelled"
    assert phase({"name": "hidden_mse"}, teacher="base").teacher == "base"
