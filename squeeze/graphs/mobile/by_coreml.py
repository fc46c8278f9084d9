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

from squeeze.errors import ParityFailed, StageFailed, reason
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
HALF = 0.505
"""Of a step, that rounding may be off: a half, and 1 % of it for fp32."""
READ = (torch.ops.aten.linear.default, torch.ops.aten.embedding.default, torch.ops.aten.slice.Tensor)
"""What reads a weight as it is, or its first rows."""


def unable() -> str:
    """Why this machine cannot run it."""
    return "" if sys.platform == "darwin" else "Core ML runs on macOS only"


def convert(model: Fixed, folder: Path) -> tuple[Path, ...]:
    """Write the package, in fp32.

    Raises:
        StageFailed: coremltools does not take the model.
        ParityFailed: the package takes or holds something else than the model.
    """
    program = _program(model)
    return _saved(_converted(program), program, folder, rounded=False)


def convert_int8(model: Fixed, folder: Path) -> tuple[Path, ...]:
    """Write the same with weights in int8, one step an output channel; products stay in fp32.

    Raises:
        StageFailed: coremltools does not take the model.
        ParityFailed: the package takes or holds something else than the model.
    """
    ways = need("coremltools.optimize.coreml", EXTRA)
    program = _program(model)
    whole = _converted(program)
    with hushed():
        kind = ways.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", weight_threshold=LEAST)
        try:
            made = ways.linear_quantize_weights(whole, ways.OptimizationConfig(global_config=kind))
        except (RuntimeError, TypeError, ValueError) as error:
            raise StageFailed(f"coremltools: the weights cannot be rounded ({reason(error)})") from error
    return _saved(made, program, folder, rounded=True)


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
            raise StageFailed(f"{FOLDER}: Core ML cannot load it ({reason(error)})") from error

    def answer(ids: NDArray[np.int32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
        found = opened.predict(dict(zip(INPUTS, (ids, mask), strict=True)))
        return np.array(found[OUTPUT], dtype=np.float32)

    return answer


def _program(model: Fixed) -> torch.export.ExportedProgram:
    with hushed(), quietly():
        whole = torch.export.export(model, model.example())
        program: torch.export.ExportedProgram = whole.run_decompositions({})
    return program


def _converted(program: torch.export.ExportedProgram) -> Any:
    core = need("coremltools", EXTRA)
    with hushed():
        try:
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
            raise StageFailed(f"coremltools: the model cannot be converted ({reason(error)})") from error


def _saved(
    made: Any, program: torch.export.ExportedProgram, folder: Path, *, rounded: bool
) -> tuple[Path, ...]:
    package = folder / FOLDER
    with hushed():
        made.save(str(package))
    (package / NOTES).unlink(missing_ok=True)
    _hold(package, program, rounded=rounded)
    return tuple(sorted(path for path in package.rglob("*") if path.is_file()))


def _hold(package: Path, program: torch.export.ExportedProgram, *, rounded: bool) -> None:
    """Read the package back: it must take what the model takes and hold the model's weights.

    Raises:
        ParityFailed: it does not.
    """
    spec = need("coremltools", EXTRA).utils.load_spec(str(package))
    kinds = spec.description
    takes = {each.name: tuple(each.type.multiArrayType.shape) for each in kinds.input}
    given = {node.name: tuple(node.meta["val"].shape) for node in program.graph.find_nodes(op="placeholder")}
    wanted = {name: given[name] for name in INPUTS}
    gives = [each.name for each in kinds.output]
    if takes != wanted or gives != [OUTPUT]:
        raise ParityFailed(f"{FOLDER}: takes {takes} and gives {gives}, not {wanted} and {[OUTPUT]}")
    held = list(_constants(spec, package))
    lost = [name for name, value in _weights(program) if not _among(value, held, rounded=rounded)]
    if lost:
        raise ParityFailed(f"{FOLDER}: does not hold {', '.join(lost[:3])} of the model")


def _constants(spec: Any, package: Path) -> Iterator[NDArray[np.float32]]:
    """Every array of floats that the program computes with; rounded ones as what they stand for."""
    load = need("coremltools.converters.mil.frontend.milproto.load", EXTRA).load
    with hushed():
        weights = next(package.rglob("weight.bin")).parent
        program = load(spec, spec.specificationVersion, file_weights_dir=str(weights))
        for op in program.functions["main"].operations:
            if op.op_type.startswith("constexpr_"):  # rounded; widened when the model is loaded
                yield op.materialized_val_inference()
            elif op.op_type == "const" and _is_array(op.outputs[0].val):
                yield op.outputs[0].val


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float32


def _weights(program: torch.export.ExportedProgram) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Matrices of products and tables of look-ups, as far down as they are read.

    What the converter computes with before it writes (relative positions) is not among them.
    """
    for node in program.graph.find_nodes(op="placeholder"):
        name = program.graph_signature.inputs_to_parameters.get(node.name)
        used = [user for user in node.users if user.target in READ]
        if name is None or not used:
            continue
        value = program.state_dict[name].detach().numpy()
        if used[0].target is READ[-1]:
            value = value[: used[0].meta["val"].shape[0]]
        if value.ndim > 1 and value.size >= LEAST:
            yield name, value


def _among(weight: NDArray[np.float32], held: list[NDArray[np.float32]], *, rounded: bool) -> bool:
    """Whether one of the arrays is this one or lies across it; half a step of its row off where rounded."""
    steps = np.abs(weight).max(axis=1, keepdims=True) / STEPS if rounded else np.zeros((1, 1))
    for way, near in ((weight, steps * HALF), (weight.T, steps.T * HALF)):
        if any(bool((np.abs(each - way) <= near).all()) for each in held if each.shape == way.shape):
            return True
    return False
