"""Make a file for OpenVINO, in fp32 or quantized by NNCF, and run it once with free, once with fixed length.

    python make_openvino.py WAY SOURCE TARGET TEXTS

SOURCE is an fp32 ONNX graph. TARGET is a folder that gets model.xml and model.bin. TEXTS is a JSON file of
token numbers to calibrate on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import openvino
from run_openvino import open_model
from serving import feed

NAME = "model.xml"
Texts = Sequence[Sequence[int]]


def main() -> None:
    """What the arguments say."""
    way, source, target, texts = sys.argv[1:]
    known: Texts = json.loads(Path(texts).read_text(encoding="utf-8"))
    file = Path(target) / NAME
    WAYS[way](openvino.Core().read_model(source), file, known)
    for length in (None, len(known[0])):
        made = open_model(str(file), length)
        made.run(feed(known[0], made.inputs))


def keep(model: openvino.Model, file: Path, texts: Texts) -> None:  # noqa: ARG001 - called like the other
    """The fp32 graph as it is; by default constants would be stored in fp16."""
    openvino.save_model(model, file, compress_to_fp16=False)


def quantize(model: openvino.Model, file: Path, texts: Texts) -> None:
    """Post-training quantization as NNCF documents it for transformers."""
    import nncf

    inputs = [each.any_name for each in model.inputs]
    made = nncf.quantize(
        model,
        nncf.Dataset([feed(text, inputs) for text in texts]),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(texts),
    )
    openvino.save_model(made, file)


WAYS: Mapping[str, Callable[[openvino.Model, Path, Texts], None]] = {"fp32": keep, "int8": quantize}

if __name__ == "__main__":
    main()
