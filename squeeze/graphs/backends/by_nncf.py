"""The form int8-static by NNCF on the ONNX graph.

Activations are symmetric (its preset `performance`): for a transformer it would take zero-points otherwise,
which TensorRT refuses. SmoothQuant moves outliers from activations into weights, by factors before a product.

Where the score falls by more than is allowed, NNCF starts again with accuracy control, which gives products
back to float, those first whose rounding costs most. Then it goes without SmoothQuant: a product that is
given back gets its first weights back and keeps the factors, and so computes something else (nncf 3.4).
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.core.calibration import Method
from squeeze.errors import StageFailed, reason
from squeeze.graphs.backends.shaping import Ready, finish, prepare
from squeeze.graphs.watching import Feed
from squeeze.runtime import need
from squeeze.targets.ort import CPU, guarded, installed, options

__all__ = ["METHODS", "Control", "static"]

METHODS: Mapping[Method, str] = {"minmax": "MINMAX", "percentile": "MEAN_QUANTILE", "mse": "HISTOGRAM"}
"""How it can cut ranges: our names, and those of its `RangeEstimatorParametersSet`."""
Item = tuple[Feed, Any]


@dataclass(frozen=True)
class Control:
    """How much worse the form may be.

    Attributes:
        feeds: calls on validation text, one text each.
        labels: their right answers, one a row.
        score: from (N, K) outputs and the rows' labels to what must not fall.
        row_scores: from the same to (N,) how right each row is.
        drop: by how much it may.
    """

    feeds: Sequence[Feed]
    labels: NDArray[Any]
    score: Callable[[NDArray[np.float32], NDArray[Any]], float]
    row_scores: Callable[[NDArray[np.float32], NDArray[Any]], NDArray[np.float64]]
    drop: float

    @property
    def items(self) -> list[Item]:
        """Calls with their answers."""
        return list(zip(self.feeds, self.labels, strict=True))

    def of(self, graph: Any, threads: int) -> float:
        """The score of an onnx.ModelProto."""
        return _scored(graph, self.items, self, threads)[0]


def static(
    source: Path,
    target: Path,
    feeds: Sequence[Feed],
    method: Method,
    weight_bits: int,
    control: Control,
    threads: int,
) -> None:
    """Write the form int8-static of an fp32 graph.

    Args:
        source: model.onnx.
        target: where the quantized graph goes.
        feeds: calls on training text, at least one.
        method: how ranges are cut, one of METHODS.
        weight_bits: 7 or 8; with 7 its integers are within -64..64.
        control: what may be lost, against the graph with int8 tables.
        threads: inside one operator, where a model is scored; NNCF's own sessions take all cores.

    Raises:
        MissingBackend: it is not installed.
        StageFailed: it gave up, or there is no text.
    """
    if not feeds:
        raise StageFailed(f"{source}: no text to calibrate on")
    nncf = need("nncf", "nncf")
    onnx = installed("onnx")
    with tempfile.TemporaryDirectory() as folder, _silent(nncf):
        given, made = Path(folder) / "given.onnx", Path(folder) / "made.onnx"
        ready = prepare(source, given)
        graph, texts = onnx.load(given), nncf.Dataset(list(feeds))
        asked = {**_settings(nncf, ready), "subset_size": len(feeds)}
        with guarded(source, "cannot be run"), _told(nncf, source):
            smooth = _advanced(nncf, method, weight_bits, smooth=True)
            model = nncf.quantize(graph, texts, advanced_parameters=smooth, **asked)
            lost = control.of(graph, threads) - control.of(model, threads)
            if lost > control.drop:
                plain = _advanced(nncf, method, weight_bits, smooth=False)
                model = _controlled(nncf, graph, texts, control, threads, plain, asked)
        onnx.save(model, made)
        finish(made, target, ready)


def _controlled(
    nncf: ModuleType,
    graph: Any,
    texts: Any,
    control: Control,
    threads: int,
    advanced: Any,
    asked: Mapping[str, Any],
) -> Any:
    """The graph with as many products in float as the score asks for."""
    return nncf.quantize_with_accuracy_control(
        graph,
        texts,
        nncf.Dataset(control.items, lambda item: item[0]),
        lambda model, some: _scored(model, some, control, threads),
        max_drop=control.drop,
        drop_type=nncf.DropType.ABSOLUTE,
        advanced_quantization_parameters=advanced,
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(num_ranking_workers=1),
        **asked,
    )


def _settings(nncf: ModuleType, ready: Ready) -> dict[str, Any]:
    """What is quantized."""
    return {
        "model_type": nncf.ModelType.TRANSFORMER,
        "preset": nncf.QuantizationPreset.PERFORMANCE,
        "ignored_scope": nncf.IgnoredScope(names=list(ready.others), validate=False),
    }


def _advanced(nncf: ModuleType, method: Method, weight_bits: int, *, smooth: bool) -> Any:
    """How it is quantized; `smooth` is for SmoothQuant (Xiao et al. 2023, arXiv:2211.10438)."""
    fix = installed("nncf.quantization.advanced_parameters").OverflowFix
    ranges = installed("nncf.quantization.range_estimator").RangeEstimatorParametersSet
    # A negative alpha switches it off.
    alphas = {} if smooth else {"smooth_quant_alphas": nncf.AdvancedSmoothQuantParameters(matmul=-1)}
    return nncf.AdvancedQuantizationParameters(
        overflow_fix=fix.ENABLE if weight_bits == 7 else fix.DISABLE,
        activations_range_estimator_params=getattr(ranges, METHODS[method]),
        disable_bias_correction=True,  # nothing would tell a shifted bias from a wrong one
        **alphas,
    )


def _scored(graph: Any, items: Iterable[Item], control: Control, threads: int) -> tuple[float, list[float]]:
    """The score of a graph, and text by text how right it is, by which NNCF chooses texts to rank on."""
    settings = options(threads=threads)
    session = installed("onnxruntime").InferenceSession(graph.SerializeToString(), settings, providers=[CPU])
    pairs = [(session.run(["logits"], feed)[0], label) for feed, label in items]
    logits = np.concatenate([one for one, _ in pairs])
    labels = np.array([label for _, label in pairs])
    return control.score(logits, labels), control.row_scores(logits, labels).tolist()


@contextlib.contextmanager
def _silent(nncf: ModuleType) -> Iterator[None]:
    """Without its notes and bars, which go to the standard output."""
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@contextlib.contextmanager
def _told(nncf: ModuleType, source: Path) -> Iterator[None]:
    """Its errors as one line. Its own classes have no base that is theirs alone."""
    own = (one for one in vars(nncf.errors).values() if isinstance(one, type))
    kinds: tuple[type[Exception], ...] = (*own, AssertionError, KeyError, RuntimeError, TypeError, ValueError)
    try:
        yield
    except kinds as error:
        raise StageFailed(f"{source}: NNCF gave up: {reason(error)}") from error
