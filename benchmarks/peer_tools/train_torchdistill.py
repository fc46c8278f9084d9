"""Distil with torchdistill: a DistillationBox with forward hooks, teacher in the loop.

    python train_torchdistill.py PLAN

See training.py for the plan. What its examples keep in YAML stands here as the dict that it becomes. It has
no loss on hidden states that leaves padding out, so one is registered, as its documentation says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torchvision_beside_cpu  # noqa: F401 - before torchdistill, which imports torchvision
from torch import Tensor, nn
from torch.utils.data import RandomSampler
from torchdistill.core.distillation import get_distillation_box
from torchdistill.core.interfaces.registry import register_forward_proc_func
from torchdistill.datasets.registry import register_collate_func
from torchdistill.losses.registry import register_mid_level_loss
from torchdistill.optim.registry import register_optimizer, register_scheduler
from training import Best, Plan, Rows, classifier, clock, pad_batch, parameter_groups, read, since, write
from transformers import get_linear_schedule_with_warmup

register_collate_func(pad_batch)
register_scheduler(get_linear_schedule_with_warmup)

Hooked = Mapping[str, Mapping[str, Any]]


@register_optimizer
def optimizer_no_decay(module: nn.Module, weight_decay: float, **settings: Any) -> torch.optim.Optimizer:
    """AdamW whose decay spares biases and norms; torchdistill's examples register one like it."""
    return torch.optim.AdamW(parameter_groups(module, weight_decay), **settings)


@register_forward_proc_func
def forward_batch_keeping_mask(
    model: nn.Module,
    sample_batch: dict[str, Tensor],
    targets: None = None,  # noqa: ARG001 - torchdistill's names
    supp_dict: None = None,  # noqa: ARG001
) -> Tensor:
    """Run the model on a batch; what comes back stands under "." for the losses."""
    model(**sample_batch)
    return sample_batch["attention_mask"]


@register_mid_level_loss
class MaskedStatesLoss(nn.Module):
    """Mean squared difference of hidden states over real tokens, mean over pairs of modules.

    Args:
        pairs: path of the student's module and of the teacher's.
    """

    def __init__(self, pairs: list[tuple[str, str]], **_: Any) -> None:
        super().__init__()
        self.pairs = pairs

    def forward(self, student: Hooked, teacher: Hooked, *_: Any) -> Tensor:
        """From what the hooks hold to a scalar."""
        mask = student["."]["output"].unsqueeze(-1)
        return torch.stack(
            [
                self._gap(student[ours]["output"], teacher[theirs]["output"], mask)
                for ours, theirs in self.pairs
            ]
        ).mean()

    @staticmethod
    def _gap(ours: Tensor, theirs: Tensor, mask: Tensor) -> Tensor:
        return ((ours - theirs).square() * mask).sum() / (mask.sum() * ours.shape[-1])


def main() -> None:
    """What the plan says."""
    plan, texts = read()
    torch.manual_seed(plan.seed)
    teacher, student = classifier(plan.teacher), classifier(plan.student)
    rows, best = Rows(texts["train"], plan.padding), Best(plan, texts)
    steps = -(-len(rows) // plan.batch) * plan.epochs
    device = torch.device("cpu")
    box = get_distillation_box(
        teacher, student, {"train": rows}, settings(plan, steps), device, None, distributed=False, lr_factor=1
    )
    started = clock()
    for epoch in range(box.num_epochs):
        box.pre_epoch_process(epoch=epoch)
        for batch in box.train_data_loader:
            box.post_forward_process(loss=box.forward_process(batch, targets=None, supp_dict=None))
        best.look(box.student_model)
        box.post_epoch_process()
    write(plan, since(started), len(rows) * plan.epochs, best, ["torchdistill"])


def settings(plan: Plan, steps: int) -> dict[str, Any]:
    """The `train` section of a configuration of torchdistill."""
    pairs = [(place(ours), place(theirs)) for ours, theirs in plan.pairs]
    return {
        "num_epochs": plan.epochs,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler},
            "collate_fn": "pad_batch",
            "requires_supp": False,
            "kwargs": {"batch_size": plan.batch, "num_workers": 0},
        },
        "teacher": {**_model([theirs for _, theirs in pairs]), "requires_grad": False},
        "student": {**_model([ours for ours, _ in pairs]), "requires_grad": True},
        "optimizer": {
            "key": "optimizer_no_decay",
            "kwargs": {"lr": plan.learning_rate, "weight_decay": plan.weight_decay},
            "filters_params": False,
            "max_grad_norm": plan.clip,
        },
        "scheduler": {
            "key": "get_linear_schedule_with_warmup",
            "kwargs": {"num_warmup_steps": round(plan.warmup * steps), "num_training_steps": steps},
            "scheduling_step": 1,
        },
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": _terms(plan, pairs)}},
    }


def _model(paths: list[str]) -> dict[str, Any]:
    return {
        "forward_proc": "forward_batch_keeping_mask",
        "forward_hook": {"input": [], "output": ["classifier", *paths]},
    }


def _terms(plan: Plan, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Both losses; without labels its KDLoss does not multiply by the square of the temperature."""
    sides = {f"{side}_module_path": "classifier" for side in ("student", "teacher")}
    ends = {f"{side}_module_io": "output" for side in ("student", "teacher")}
    kd = {**sides, **ends, "temperature": plan.temperature, "alpha": 0, "reduction": "batchmean"}
    return {
        "kd": {
            "criterion": {"key": "KDLoss", "kwargs": kd},
            "weight": plan.answers * plan.temperature**2,
        },
        "states": {
            "criterion": {"key": "MaskedStatesLoss", "kwargs": {"pairs": pairs}},
            "weight": plan.states,
        },
    }


def place(layer: int) -> str:
    """Path of the module that gives the hidden state after a layer; 0 is the embedding's output."""
    return f"bert.encoder.layer.{layer - 1}" if layer else "bert.embeddings"


if __name__ == "__main__":
    main()
