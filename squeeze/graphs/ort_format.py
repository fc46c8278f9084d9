"""A model in ONNX Runtime's own format, which mobile builds of it read.

The graph is optimized once, here, and the file holds the result (the "Fixed" style of ONNX Runtime's own
converter). The other style, optimizing on the device, fails on static int8 graphs.
"""

from __future__ import annotations

from pathlib import Path

from squeeze.targets.ort import CPU, guarded, installed, options

__all__ = ["convert"]

DEVICE_BOUND = ["NchwcTransformer"]
"""Lays tensors out for the processor of this machine; the file would run on no other."""


def convert(source: Path, target: Path) -> None:
    """Write an ONNX file in the ORT format.

    int8 weights are stored as this machine computes with them: on x86 as uint8, whose products are exact
    on every processor.

    Args:
        source: an ONNX file.
        target: where the .ort file goes.

    Raises:
        StageFailed: ONNX Runtime cannot convert the model.
    """
    runtime, settings = installed("onnxruntime"), options(threads=1)
    settings.optimized_model_filepath = str(target)
    settings.add_session_config_entry("session.save_model_format", "ORT")
    with guarded(source, "cannot be converted"):
        runtime.InferenceSession(str(source), settings, providers=[CPU], disabled_optimizers=DEVICE_BOUND)
