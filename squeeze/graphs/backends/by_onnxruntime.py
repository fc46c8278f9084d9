"""int8 forms by ONNX Runtime's own quantizer (onnxruntime.quantization)."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from squeeze.core.calibration import SHARE, Method
from squeeze.errors import StageFailed, reason
from squeeze.graphs.backends.shaping import Ready, finish, prepare
from squeeze.graphs.watching import Feed
from squeeze.runtime import need
from squeeze.targets.ort import guarded

__all__ = ["METHODS", "dynamic", "static"]

METHODS: Mapping[Method, str] = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
"""How it can cut ranges: our names, and those of its `CalibrationMethod`."""


class Reader:
    """Calibration texts as its calibrators ask for them, in ranges.

    A calibrator keeps every tensor of a range until the range ends, and takes no two lengths within one, so
    ours are of one text each (`CalibStridedMinMax`, which all methods follow).
    """

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = feeds
        self._left: Iterator[Feed] = iter(())

    def __len__(self) -> int:
        return len(self._feeds)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Begin with a range of texts."""
        self._left = iter(self._feeds[start_index:end_index])

    def get_next(self) -> Feed | None:
        """The next text of the range, None at its end."""
        return next(self._left, None)


def dynamic(source: Path, target: Path, weight_bits: int) -> None:
    """Write the form int8-dynamic of an fp32 graph.

    Args:
        source: model.onnx.
        target: where the quantized graph goes.
        weight_bits: 7 or 8; with 7 its integers are within -64..64.

    Raises:
        MissingBackend: its quantizer cannot be loaded.
        StageFailed: it gave up.
    """

    def work(quantizer: ModuleType, ready: Ready, given: Path, made: Path) -> None:
        quantizer.quantize_dynamic(
            given,
            made,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=list(ready.sites),
            per_channel=True,
            reduce_range=weight_bits == 7,
            weight_type=quantizer.QuantType.QInt8,
        )

    _quantize(source, target, work)


def static(source: Path, target: Path, feeds: Sequence[Feed], method: Method, weight_bits: int) -> None:
    """Write the form int8-static of an fp32 graph.

    Args:
        source: model.onnx.
        target: where the quantized graph goes.
        feeds: calls on training text, at least one.
        method: how ranges are cut, one of METHODS.
        weight_bits: as in `dynamic`.

    Raises:
        MissingBackend: its quantizer cannot be loaded.
        StageFailed: it gave up, or there is no text.
    """
    if not feeds:
        raise StageFailed(f"{source}: no text to calibrate on")

    def work(quantizer: ModuleType, ready: Ready, given: Path, made: Path) -> None:
        quantizer.quantize_static(
            given,
            made,
            Reader(feeds),
            quant_format=quantizer.QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=list(ready.sites),
            per_channel=True,
            reduce_range=weight_bits == 7,
            activation_type=quantizer.QuantType.QInt8,
            weight_type=quantizer.QuantType.QInt8,
            calibrate_method=quantizer.CalibrationMethod[METHODS[method]],
            extra_options={
                "ActivationSymmetric": True,
                "CalibTensorRangeSymmetric": True,
                "CalibPercentile": 100 * SHARE,
                "CalibStridedMinMax": 1,
                "OpTypesToExcludeOutputQuantization": ["MatMul"],
            },
        )

    _quantize(source, target, work)


def _quantize(source: Path, target: Path, work: Callable[[ModuleType, Ready, Path, Path], None]) -> None:
    """Prepare the graph, run the quantizer on it, and shape what it made."""
    quantizer = need("onnxruntime.quantization", "train")
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "given.onnx", Path(folder) / "made.onnx"
        ready = prepare(source, given)
        with guarded(source, "cannot be calibrated"), contextlib.redirect_stdout(io.StringIO()):
            try:
                work(quantizer, ready, given, made)
            except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
                raise StageFailed(f"{source}: ONNX Runtime's quantizer gave up: {reason(error)}") from error
        finish(made, target, ready)
