"""ONNX files in ONNX Runtime with its default settings, but for one thread."""

from __future__ import annotations

import onnxruntime
from serving import Model, serve


def open_model(path: str, length: int | None) -> Model:
    """A session on one thread; any length."""
    assert length is None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return Model([each.name for each in session.get_inputs()], lambda feed: session.run(None, feed)[0])


if __name__ == "__main__":
    serve(open_model)
