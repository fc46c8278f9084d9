"""Reference graphs: Hugging Face classes through torch.onnx.export as it comes, nothing tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from squeeze.models.huggingface import transformers

__all__ = ["bert_base", "hugging_face"]

INPUTS = ("input_ids", "attention_mask")


def hugging_face(model: Any, path: Path) -> None:
    """Write a sequence classifier as fp32 ONNX with free batch and length.

    Args:
        model: an instance of one of the ``...ForSequenceClassification`` classes.
        path: where the file goes.
    """
    model.eval()
    ids = torch.ones(2, 8, dtype=torch.int64)
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    program = torch.onnx.export(
        model,
        (),
        kwargs={"input_ids": ids, "attention_mask": ids.clone()},
        dynamo=True,
        input_names=list(INPUTS),
        output_names=["logits"],
        dynamic_shapes=dict.fromkeys(INPUTS, axes),
        verbose=False,
    )
    assert program is not None
    program.save(str(path), external_data=False)


def bert_base(labels: int) -> Any:
    """BERT-base (12 layers x 768, 30,522 pieces) with random weights: its speed is that of the real one."""
    library = transformers()
    torch.manual_seed(0)
    return library.BertForSequenceClassification(library.BertConfig(num_labels=labels))
