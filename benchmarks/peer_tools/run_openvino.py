"""ONNX and OpenVINO files in OpenVINO on the CPU: hint LATENCY, one thread."""

from __future__ import annotations

import openvino
from serving import Model, serve

SETTINGS = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}


def open_model(path: str, length: int | None) -> Model:
    """A compiled model; with a length, reshaped to one text of that many tokens before."""
    core = openvino.Core()
    model = core.read_model(path)
    if length is not None:
        model.reshape({each: [1, length] for each in model.inputs})
    compiled = core.compile_model(model, "CPU", SETTINGS)
    return Model([each.any_name for each in compiled.inputs], lambda feed: compiled(feed)[0])


if __name__ == "__main__":
    serve(open_model)
