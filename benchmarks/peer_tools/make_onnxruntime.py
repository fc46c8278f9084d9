"""Make an ONNX file in one of the ways of optimum-onnx or of ONNX Runtime itself, and run it once.

    python make_onnxruntime.py WAY SOURCE TARGET TEXTS

SOURCE is an fp32 graph, for the way `export` the folder of a transformers model. TARGET is a folder that
gets a model.onnx. TEXTS is a JSON file of token numbers to calibrate on.
"""

from __future__ import annotations

import functools
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from run_onnxruntime import open_model
from serving import Feed, feed

NAME = "model.onnx"
Texts = Sequence[Sequence[int]]


def main() -> None:
    """What the arguments say."""
    way, source, target, texts = sys.argv[1:]
    known: Texts = json.loads(Path(texts).read_text(encoding="utf-8"))
    WAYS[way](Path(source), Path(target), known)
    model = open_model(str(Path(target) / NAME), None)
    model.run(feed(known[0], model.inputs))


def export(source: Path, target: Path, texts: Texts) -> None:  # noqa: ARG001 - all ways are called alike
    """From a transformers classifier, as optimum does it."""
    from optimum.exporters.onnx import main_export

    main_export(str(source), target, task="text-classification")


def keep(source: Path, target: Path, texts: Texts) -> None:  # noqa: ARG001
    """The fp32 graph as it is."""
    shutil.copyfile(source, target / NAME)


def optimum(source: Path, target: Path, texts: Texts, per_channel: bool) -> None:  # noqa: ARG001
    """Dynamic quantization by optimum-onnx with its settings for AVX2."""
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    quantizer = ORTQuantizer.from_pretrained(source.parent, file_name=source.name)
    settings = AutoQuantizationConfig.avx2(is_static=False, per_channel=per_channel)
    quantizer.quantize(save_dir=target, quantization_config=settings)
    (target / f"{source.stem}_quantized.onnx").rename(target / NAME)


def dynamic(source: Path, target: Path, texts: Texts, **settings: Any) -> None:  # noqa: ARG001
    """Dynamic quantization by ONNX Runtime."""
    quantize_dynamic(source, target / NAME, **settings)


def static(source: Path, target: Path, texts: Texts, **settings: Any) -> None:
    """Static quantization by ONNX Runtime in QDQ, after the clean-up that it asks for.

    Without symbolic inference of shapes, which ends at an operator of our graph that it does not know.
    """
    clean = target / "clean.onnx"
    quant_pre_process(source, clean, skip_symbolic_shape=True)
    quantize_static(clean, target / NAME, _Reader(clean, texts), **settings)
    clean.unlink()


class _Reader(CalibrationDataReader):  # type: ignore[misc] # ONNX Runtime ships no types
    def __init__(self, path: Path, texts: Texts) -> None:
        inputs = open_model(str(path), None).inputs
        self.feeds = iter([feed(text, inputs) for text in texts])

    def get_next(self) -> Feed | None:
        return next(self.feeds, None)


WAYS: Mapping[str, Callable[[Path, Path, Texts], None]] = {
    "export": export,
    "fp32": keep,
    "optimum": functools.partial(optimum, per_channel=False),
    "optimum-channels": functools.partial(optimum, per_channel=True),
    "dynamic": dynamic,
    "dynamic-channels": functools.partial(dynamic, per_channel=True),
    "dynamic-reduced": functools.partial(dynamic, reduce_range=True),
    "dynamic-channels-reduced": functools.partial(dynamic, per_channel=True, reduce_range=True),
    "static": static,
    "static-channels": functools.partial(static, per_channel=True),
}

if __name__ == "__main__":
    main()
