"""OpenVINO IR: model.xml and model.bin, for processors, GPUs and NPUs of Intel, and for arm64.

Read from ONNX by the runtime itself. Its converter for Python would do it from torch, but tells its maker
about each conversion; the runtime tells nobody. That it was imported it would tell too: squeeze.runtime.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from squeeze.errors import StageFailed, reason
from squeeze.graphs.lean import OPSET, quietly
from squeeze.graphs.mobile.fixed import INPUTS, OUTPUT, Answer, Fixed
from squeeze.runtime import need

__all__ = ["convert", "open_model"]

EXTRA = "openvino"


def convert(model: Fixed, folder: Path) -> tuple[Path, ...]:
    """Write the graph and its weights, in fp32.

    Raises:
        StageFailed: OpenVINO does not take the model.
    """
    openvino = need("openvino", EXTRA)
    path = folder / "model.xml"
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "model.onnx"
        with quietly():
            torch.onnx.export(
                model,
                model.example(),
                graph,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                external_data=False,
                verbose=False,
            )
        try:
            openvino.save_model(openvino.Core().read_model(graph), path, compress_to_fp16=False)
        except RuntimeError as error:
            raise StageFailed(f"openvino: the model cannot be converted ({reason(error)})") from error
    return path, path.with_suffix(".bin")


def open_model(files: Sequence[Path]) -> Answer:
    """Open it on this machine's processor, in fp32 where the processor would rather take halves."""
    openvino = need("openvino", EXTRA)
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(files[0], "CPU", options)

    def answer(ids: NDArray[np.int32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
        found = compiled({INPUTS[0]: ids, INPUTS[1]: mask})
        return np.array(found[OUTPUT], dtype=np.float32)

    return answer
