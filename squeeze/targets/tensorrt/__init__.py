"""TensorRT engines: built from ONNX files, run, and refused where they were not built for.

    api, device = available()                       # MissingBackend: no TensorRT, no CUDA or no GPU
    card = build(onnx, plan, shapes, BuildSettings("fp16"), timings)
    with open_engine(plan) as engine:
        logits = engine.run({"input_ids": ids, "attention_mask": mask})["logits"]

Everything of the `tensorrt` module that is used here exists in the published bindings of TensorRT 10
and 11 (tests/targets/test_tensorrt_names.py); where the two differ, api.py decides.
"""

from __future__ import annotations

from squeeze.targets.tensorrt.api import Api
from squeeze.targets.tensorrt.builder import BuildSettings, build
from squeeze.targets.tensorrt.card import EngineCard, card_of
from squeeze.targets.tensorrt.cuda import Cuda, Device
from squeeze.targets.tensorrt.engine import Engine, EngineOptions, available, open_engine
from squeeze.targets.tensorrt.shapes import Shapes, shapes_for

__all__ = [
    "Api",
    "BuildSettings",
    "Cuda",
    "Device",
    "Engine",
    "EngineCard",
    "EngineOptions",
    "Shapes",
    "available",
    "build",
    "card_of",
    "open_engine",
    "shapes_for",
]
