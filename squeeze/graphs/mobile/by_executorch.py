"""ExecuTorch: model.pte for Android, iOS and Linux on arm64 and x86, computed by XNNPACK on the processor.

What XNNPACK does not take (look-ups, norms, splits) ExecuTorch's own kernels do. The int8 form is rounded by
PyTorch's quantizer (torchao's PT2E) for XNNPACK: weights in int8 with one step an output, inputs with one
step a row, found anew on each call. Products that are narrow stay in float, as in our own forms.

The table of pieces is rounded by us (rounded.py). torchao's quantizer for look-ups would round tables of
codes too, and makes an operator that ends the process where token numbers are int32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from squeeze.errors import StageFailed, reason
from squeeze.graphs.mobile.fixed import Answer, Fixed
from squeeze.graphs.mobile.rounded import with_int8_tables
from squeeze.graphs.sites import LEAST_WIDTH
from squeeze.runtime import hushed, need

__all__ = ["convert", "convert_int8", "open_model"]

EXTRA = "executorch"
FILE, METHOD = "model.pte", "forward"
REFUSALS = (RuntimeError, ValueError, TypeError, AssertionError)
"""What torch's exporter and ExecuTorch raise, beside ExecuTorch's two errors of its own."""


def convert(model: Fixed, folder: Path) -> tuple[Path, ...]:
    """Write the program, its weights in it, in fp32.

    Raises:
        StageFailed: ExecuTorch does not take the model.
    """
    return _written(model, folder, rounds=False)


def convert_int8(model: Fixed, folder: Path) -> tuple[Path, ...]:
    """Write the program with weights and table in int8.

    Raises:
        StageFailed: ExecuTorch or its quantizer does not take the model.
    """
    return _written(with_int8_tables(model), folder, rounds=True)


def open_model(files: Sequence[Path]) -> Answer:
    """Open it on this machine's processor.

    Raises:
        StageFailed: it is no program, or none that this version runs.
    """
    path = files[0]
    with hushed():
        runtime = need("executorch.runtime", EXTRA).Runtime.get()
        # Counting makes the threads, and with them notes about the processor; they belong in here too.
        need("executorch.extension.pybindings.portable_lib", EXTRA)._threadpool_get_thread_count()
        try:
            method = runtime.load_program(path).load_method(METHOD)
        except (RuntimeError, KeyError) as error:
            raise StageFailed(f"{path.name}: ExecuTorch cannot load it ({reason(error)})") from error

    def answer(ids: NDArray[np.int32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            (found,) = method.execute((torch.from_numpy(ids), torch.from_numpy(mask)))
        except RuntimeError as error:
            raise StageFailed(f"{path.name}: ExecuTorch cannot run it ({reason(error)})") from error
        return np.array(found.numpy(), dtype=np.float32)

    return answer


def _written(model: Fixed, folder: Path, *, rounds: bool) -> tuple[Path, ...]:
    """Export, round where that is wanted, hand to XNNPACK what it takes, write."""
    with hushed():
        errors = need("executorch.exir.error", EXTRA)
        try:
            program = torch.export.export(model, model.example())
            lowered = _lowered(_rounded(program, model) if rounds else program)
        except (*REFUSALS, errors.ExportError, errors.InternalError) as error:
            raise StageFailed(f"executorch: the model cannot be converted ({reason(error)})") from error
    path = folder / FILE
    with path.open("wb") as file:
        lowered.write_to_file(file)
    return (path,)


def _lowered(program: ExportedProgram) -> Any:
    """The program as ExecuTorch writes it."""
    xnnpack = need("executorch.backends.xnnpack.partition.xnnpack_partitioner", EXTRA)
    edge = need("executorch.exir", EXTRA).to_edge_transform_and_lower(
        program, partitioner=[xnnpack.XnnpackPartitioner()]
    )
    return edge.to_executorch()


def _rounded(program: ExportedProgram, model: Fixed) -> ExportedProgram:
    """The program with int8 weights. PT2E wants it to run once; dynamic steps learn nothing from that."""
    xnnpack = need("executorch.backends.xnnpack.quantizer.xnnpack_quantizer", EXTRA)
    pt2e = need("torchao.quantization.pt2e.quantize_pt2e", EXTRA)
    settings = xnnpack.get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    quantizer = xnnpack.XNNPACKQuantizer().set_global(settings).set_filter_function(_is_wide)
    # It would make float tensors of numbers, those in indices too (MPNet's distances); products need none.
    quantizer.transform_for_annotation = _as_it_is
    prepared = pt2e.prepare_pt2e(program.module(), quantizer)
    prepared(*model.example())
    return torch.export.export(pt2e.convert_pt2e(prepared), model.example())


def _as_it_is(graph: torch.fx.GraphModule) -> torch.fx.GraphModule:
    return graph


def _is_wide(node: torch.fx.Node) -> bool:
    """Whether a product has at least 16 inputs and outputs."""
    weight = node.args[1]
    return isinstance(weight, torch.fx.Node) and min(weight.meta["val"].shape) >= LEAST_WIDTH
