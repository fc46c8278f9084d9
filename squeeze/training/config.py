"""What every training has in common; light, so that profiles load without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from squeeze.schema import Frozen

__all__ = ["Schedule"]


class Schedule(Frozen):
    """How one training walks: shared by fine-tuning and by distillation phases."""

    epochs: int = Field(default=3, ge=0, le=100_000)
    """passes over the text"""
    batch: int = Field(default=32, ge=1, le=65_536)
    """texts a step; batches hold texts of similar length"""
    learning_rate: float = Field(default=3e-4, gt=0, le=1)
    """peak step size of AdamW"""
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    """decoupled decay of weight matrices (not of biases, norms, unread rows of a dense table)"""
    warmup: float = Field(default=0.1, ge=0, le=1)
    """share of the steps in which the step size rises from zero"""
    decay: Literal["linear", "cosine", "constant"] = "linear"
    """how the step size falls after warm-up"""
    clip: float = Field(default=1.0, gt=0, le=1e6)
    """largest gradient norm"""
    patience: int | None = Field(default=None, ge=1, le=100_000)
    """stop after so many epochs without a better validation score; never by default"""
    checkpoint_seconds: float = Field(default=60.0, ge=0, le=1e6)
    """how much work a kill may lose at most"""
