"""Distil with TextBrewer, as its example for SST-2 does: GeneralDistiller, teacher in the loop.

    python train_textbrewer.py PLAN

See training.py for the plan.
"""

from __future__ import annotations

from typing import Any

import torch
from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig
from torch.utils.data import DataLoader, RandomSampler
from training import Best, Plan, Rows, classifier, clock, pad_batch, parameter_groups, read, since, write
from transformers import get_linear_schedule_with_warmup


def main() -> None:
    """What the plan says."""
    plan, texts = read()
    torch.manual_seed(plan.seed)
    teacher = classifier(plan.teacher, output_hidden_states=True)
    student = classifier(plan.student, output_hidden_states=True)
    rows = Rows(texts["train"], plan.padding)
    loader = DataLoader(rows, sampler=RandomSampler(rows), batch_size=plan.batch, collate_fn=pad_batch)
    steps = len(loader) * plan.epochs
    optimizer = torch.optim.AdamW(parameter_groups(student, plan.weight_decay), lr=plan.learning_rate)
    distiller = GeneralDistiller(
        train_config=TrainingConfig(device="cpu", output_dir=plan.out),
        distill_config=objective(plan),
        model_T=teacher,
        model_S=student,
        adaptor_T=adaptor,
        adaptor_S=adaptor,
    )
    best = Best(plan, texts)
    started = clock()
    with distiller:
        distiller.train(
            optimizer,
            loader,
            num_epochs=plan.epochs,
            scheduler_class=get_linear_schedule_with_warmup,
            scheduler_args={
                "num_warmup_steps": round(plan.warmup * steps),
                "num_training_steps": steps,
            },
            max_grad_norm=plan.clip,
            callback=lambda model, step: best.look(model),  # noqa: ARG005 - TextBrewer's names
        )
    write(plan, since(started), len(rows) * plan.epochs, best, ["textbrewer"])


def objective(plan: Plan) -> DistillationConfig:
    """Its losses with our weights; it does not multiply by the square of the temperature itself."""
    return DistillationConfig(
        temperature=plan.temperature,
        kd_loss_type="ce",
        kd_loss_weight=plan.answers * plan.temperature**2,
        hard_label_weight=0,
        intermediate_matches=[
            {
                "layer_T": theirs,
                "layer_S": ours,
                "feature": "hidden",
                "loss": "hidden_mse",
                "weight": plan.states / len(plan.pairs),
            }
            for ours, theirs in plan.pairs
        ],
    )


def adaptor(batch: dict[str, Any], outputs: Any) -> dict[str, Any]:
    """What its losses read; with a mask they leave padding out."""
    return {
        "logits": outputs.logits,
        "hidden": outputs.hidden_states,
        "inputs_mask": batch["attention_mask"],
    }


if __name__ == "__main__":
    main()
