"""Core ML: model.mlpackage, a folder, for iOS 16 and macOS 13 on; converted from torch by coremltools.

Only macOS has what runs it. Elsewhere the package is read back and what it holds is compared: inputs, output,
and every weight with the student's own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from squeeze.errors import ParityFailed, StageFailed
from squeeze.graphs.lean import quietly
from squeeze.graphs.mobile.fixed import INPUTS, OUTPUT, Answer, Fixed
from squeeze.runtime import hushed, need

__all__ = ["convert", "convert_int8", "open_model", "unable"]

EXTRA = "coreml"
FOLDER = "model.mlpackage"
NOTES = "executorch_debug_handle_mapping.json"
"""What coremltools leaves in a package for a debugger; its manifest does not name it."""
LEAST = 512
"""Values of the smallest weight that is rounded; biases and norms stay in fp32."""
STEPS = 127.0
"""Of a rounded weight on each side of 0."""


def unable() -> str:
    """Why this machine cannot run it."""
    return "" if sys.platform == "darwin" else "Core ML runs on macOS only"


def convert(model: Fixed, folder: Path) -> tuple[Path, ...]:
    """Write the package, in fp32.

    Raises:
        StageFailed: coremltools does not take the model.
        ParityFailed: the package takes or holds something else than the model.
    """
    return _saved(_converted(model), model, folder, rounded=False)


def convert_int8(model: Fixed, folder: Path) -> tuple[Path, ...]:
    """Write the same with weights in int8, one step an output channel; products stay in fp32.

    Raises:
        StageFailed: coremltools does not take the model.
        ParityFailed: the package takes or holds something else than the model.
    """
    ways = need("coremltools.optimize.coreml", EXTRA)
    whole = _converted(model)
    with hushed():
        kind = ways.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", weight_threshold=LEAST)
        try:
            made = ways.linear_quantize_weights(whole, ways.OptimizationConfig(global_config=kind))
        except (RuntimeError, TypeError, ValueError) as error:
            raise StageFailed(f"coremltools: the weights cannot be rounded ({_reason(error)})") from error
    return _saved(made, model, folder, rounded=True)


def open_model(files: Sequence[Path]) -> Answer:
    """Open it on the processor of a Mac.

    Raises:
        StageFailed: Core ML cannot load it.
    """
    core = need("coremltools", EXTRA)
    package = next(parent for parent in files[0].parents if parent.name == FOLDER)
    with hushed():
        try:
            opened = core.models.MLModel(str(package), compute_units=core.ComputeUnit.CPU_ONLY)
        except (RuntimeError, ValueError) as error:
            raise StageFailed(f"{FOLDER}: Core ML cannot load it ({_reason(error)})") from error

    def answer(ids: NDArray[np.int32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
        found = opened.predict(dict(zip(INPUTS, (ids, mask), strict=True)))
        return np.array(found[OUTPUT], dtype=np.float32)

    return answer


def _converted(model: Fixed) -> Any:
    core = need("coremltools", EXTRA)
    with hushed(), quietly():
        try:
            program = torch.export.export(model, model.example()).run_decompositions({})
            return core.convert(
                program,
                convert_to="mlprogram",
                outputs=[core.TensorType(name=OUTPUT)],
                compute_precision=core.precision.FLOAT32,
                compute_units=core.ComputeUnit.CPU_ONLY,
                minimum_deployment_target=core.target.iOS16,
                skip_model_load=True,
            )
        except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise StageFailed(f"coremltools: the model cannot be converted ({_reason(error)})") from error


def _saved(made: Any, model: Fixed, folder: Path, *, rounded: bool) -> tuple[Path, ...]:
    package = folder / FOLDER
    with hushed():
        made.save(str(package))
    (package / NOTES).unlink(missing_ok=True)
    _hold(package, model, rounded=rounded)
    return tuple(sorted(path for path in package.rglob("*") if path.is_file()))


def _hold(package: Path, model: Fixed, *, rounded: bool) -> None:
    """Read the package back: it must take what the model takes and hold the model's weights.

    Raises:
        ParityFailed: it does not.
    """
    spec = need("coremltools", EXTRA).utils.load_spec(str(package))
    kinds = spec.description
    takes = {each.name: tuple(each.type.multiArrayType.shape) for each in kinds.input}
    wanted = {name: tuple(value.shape) for name, value in zip(INPUTS, model.example(), strict=True)}
    gives = [each.name for each in kinds.output]
    if takes != wanted or gives != [OUTPUT]:
        raise ParityFailed(f"{FOLDER}: takes {takes} and gives {gives}, not {wanted} and {[OUTPUT]}")
    held = list(_constants(spec, package))
    lost = [name for name, value in _weights(model) if not _among(value, held, rounded=rounded)]
    if lost:
        raise ParityFailed(f"{FOLDER}: does not hold {', '.join(lost[:3])} of the model")


def _constants(spec: Any, package: Path) -> Iterator[NDArray[np.float32]]:
    """Every array of floats that the program computes with; rounded ones as what they stand for."""
    load = need("coremltools.converters.mil.frontend.milproto.load", EXTRA).load
    with hushed():
        weights = next(package.rglob("weight.bin")).parent
        program = load(spec, spec.specificationVersion, file_weights_dir=str(weights))
        for op in program.functions["main"].operations:
            for given in op.outputs:
                if isinstance(given.val, np.ndarray) and given.val.dtype == np.float32:
                    yield given.val


def _weights(model: Fixed) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, value in model.named_parameters():
        if value.numel() >= LEAST and value.ndim > 1:
            yield name, value.detach().numpy()


def _among(weight: NDArray[np.float32], held: list[NDArray[np.float32]], *, rounded: bool) -> bool:
    """Whether one of the arrays is this one or lies across it; half a step off where it is rounded."""
    near = float(np.abs(weight).max()) / STEPS / 2 * 1.01 if rounded else 0.0
    same = (np.abs(each - way) for way in (weight, weight.T) for each in held if each.shape == way.shape)
    return any(apart.max() <= near for apart in same)


def _reason(error: Exception) -> str:
    """The last line of what a library says."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
