"""What is exported to be timed: students with random weights, and Hugging Face classes, nothing tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import Encoder, EncoderShape, LayerShape
from squeeze.models.huggingface import transformers

__all__ = ["bert_base", "hugging_face", "random_student"]

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


def random_student(
    vocabulary: int,
    table: EmbeddingShape,
    head_size: int,
    layers: int,
    heads: int,
    ffn: int,
    positions: int = 128,
) -> Encoder:
    """A student with random weights, in evaluation mode; its hidden width is the table's."""
    torch.manual_seed(0)
    return Encoder(
        EncoderShape(
            vocabulary=vocabulary,
            embedding=table,
            hidden=table.width,
            head_size=head_size,
            layers=(LayerShape(heads=heads, ffn=ffn),) * layers,
            positions=positions,
            labels=3,
        )
    ).eval()
