"""The quantize stage; see stage.py for its settings and README.md for when to use it."""

from __future__ import annotations

from squeeze.stages.quantize.stage import STAGE

__all__ = ["STAGE"]
