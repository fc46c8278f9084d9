"""Make a file for OpenVINO, in fp32 or quantized by NNCF, and run it once with free, once with fixed length.

    python make_openvino.py WAY SOURCE TARGET TEXTS

SOURCE is an fp32 ONNX graph. TARGET is a folder that gets model.xml and model.bin. TEXTS is a JSON file of
token numbers to calibrate on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import openvino
from run_openvino import open_model
from serving import feed

NAME = "model.xml"


def main() -> None:
    """What the arguments say."""
    way, source, target, texts = sys.argv[1:]
    known = json.loads(Path(texts).read_text(encoding="utf-8"))
    model = openvino.Core().read_model(source)
    file = Path(target) / NAME
    if way == "int8":
        openvino.save_model(quantized(model, known), file)
    else:
        openvino.save_model(model, file, compress_to_fp16=False)
    for length in (None, len(known[0])):
        made = open_model(str(file), length)
        made.run(feed(known[0], made.inputs))


def quantized(model: openvino.Model, texts: Sequence[Sequence[int]]) -> openvino.Model:
    """Post-training quantization as NNCF documents it for transformers."""
    import nncf

    inputs = [each.any_name for each in model.inputs]
    return nncf.quantize(
        model,
        nncf.Dataset([feed(text, inputs) for text in texts]),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(texts),
    )


if __name__ == "__main__":
    main()
