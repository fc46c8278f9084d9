"""Quantize an ONNX graph by the ONNX part of Intel Neural Compressor, and run it once.

    python make_inc.py WAY SOURCE TARGET TEXTS

That part is now the package onnx-neural-compressor; neural-compressor has none since its release 3.8. SOURCE
is an fp32 graph. TARGET is a folder that gets a model.onnx. TEXTS is a JSON file of token numbers to
calibrate on. Weights have 7 bits where the processor has no VNNI, as a warning of it asks for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx_neural_compressor import data_reader, utility
from onnx_neural_compressor.quantization import QuantFormat, config, quantize
from run_onnxruntime import open_model
from serving import Feed, feed

NAME = "model.onnx"
CPU = "CPUExecutionProvider"
Texts = Sequence[Sequence[int]]


class _Reader(data_reader.CalibrationDataReader):  # type: ignore[misc] # it ships no types
    """Texts one by one, all padded to the longest where it is asked for."""

    def __init__(self, path: str, texts: Texts, padded: bool = False) -> None:
        inputs = open_model(path, None).inputs
        longest = max(map(len, texts)) if padded else 0
        self.known = [_padded(feed(text, inputs), longest) for text in texts]
        self.feeds = iter(self.known)

    def get_next(self) -> Feed | None:
        return next(self.feeds, None)

    def rewind(self) -> None:
        self.feeds = iter(self.known)


def _padded(known: Feed, longest: int) -> Feed:
    """With zeros behind: the piece [PAD] of BERT, which its mask leaves out."""
    return {
        name: np.pad(value, ((0, 0), (0, max(0, longest - value.shape[1])))) for name, value in known.items()
    }


def main() -> None:
    """What the arguments say."""
    way, source, target, texts = sys.argv[1:]
    known: Texts = json.loads(Path(texts).read_text(encoding="utf-8"))
    file = str(Path(target) / NAME)
    quantize(source, file, WAYS[way](source, known))
    model = open_model(file, None)
    model.run(feed(known[0], model.inputs))


def dynamic(source: str, texts: Texts) -> Any:  # noqa: ARG001 - all ways are called alike
    """Its dynamic quantization."""
    return config.DynamicQuantConfig(execution_provider=CPU, reduce_range=_narrow())


def static(source: str, texts: Texts, padded: bool = False, **settings: Any) -> Any:
    """Its static quantization in QDQ, as its example for BERT has it."""
    return config.StaticQuantConfig(
        calibration_data_reader=_Reader(source, texts, padded),
        quant_format=QuantFormat.QDQ,
        calibration_sampling_size=len(texts),
        execution_provider=CPU,
        reduce_range=_narrow(),
        extra_options=settings,
    )


def smooth(source: str, texts: Texts) -> Any:
    """Static after SmoothQuant, which moves the range of activations into weights; it wants one length."""
    return static(source, texts, padded=True, SmoothQuant=True, SmoothQuantCalibIter=len(texts))


def _narrow() -> bool:
    return not utility.CpuInfo().vnni


WAYS: Mapping[str, Callable[[str, Texts], Any]] = {"dynamic": dynamic, "static": static, "smooth": smooth}

if __name__ == "__main__":
    main()
