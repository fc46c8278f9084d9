"""Quantize an ONNX graph by nvidia-modelopt on the CPU, and run it once.

    python make_modelopt.py WAY SOURCE TARGET TEXTS

SOURCE is an fp32 graph. TARGET is a folder that gets a model.onnx. TEXTS is a JSON file of token numbers to
calibrate on. Weights are stored in int8 alone (`dq_only`), and what stays in float stays in fp32: the default
for it is fp16, which is for GPUs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from modelopt.onnx.quantization import quantize
from onnxruntime.quantization import CalibrationDataReader
from run_onnxruntime import open_model
from serving import Feed, feed

NAME = "model.onnx"
WAYS = ("int8",)


class _Reader(CalibrationDataReader):  # type: ignore[misc] # ONNX Runtime ships no types
    def __init__(self, path: str, texts: Sequence[Sequence[int]]) -> None:
        inputs = open_model(path, None).inputs
        self.known = [feed(text, inputs) for text in texts]
        self.feeds = iter(self.known)

    def get_next(self) -> Feed | None:
        return next(self.feeds, None)

    def get_first(self) -> Feed:
        return self.known[0]

    def rewind(self) -> None:
        self.feeds = iter(self.known)


def main() -> None:
    """What the arguments say."""
    way, source, target, texts = sys.argv[1:]
    assert way in WAYS
    known: Sequence[Sequence[int]] = json.loads(Path(texts).read_text(encoding="utf-8"))
    file = str(Path(target) / NAME)
    quantize(
        source,
        quantize_mode=way,
        calibration_data_reader=_Reader(source, known),
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        dq_only=True,
        output_path=file,
    )
    model = open_model(file, None)
    model.run(feed(known[0], model.inputs))


if __name__ == "__main__":
    main()
