"""ncnn: model.ncnn.param and model.ncnn.bin, for arm processors and Vulkan; converted by pnnx.

pnnx works beside the file it reads and leaves several of its own there, so it gets a folder of its own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from squeeze.errors import StageFailed
from squeeze.graphs.lean import quietly
from squeeze.graphs.mobile.fixed import Answer, Fixed
from squeeze.runtime import need
from squeeze.targets.devices.commands import Late, call

__all__ = ["convert", "open_model"]

EXTRA = "ncnn"
FILES = ("model.ncnn.param", "model.ncnn.bin")
CONVERT_S = 300.0


def convert(model: Fixed, folder: Path) -> tuple[Path, ...]:
    """Write the graph as text and its weights, in fp32.

    Raises:
        StageFailed: pnnx does not take the model.
    """
    program = str(need("pnnx", EXTRA).EXEC_PATH)
    with tempfile.TemporaryDirectory() as scratch:
        traced = Path(scratch) / "model.pt"
        with quietly():
            torch.jit.trace(model, model.example()).save(str(traced))  # type: ignore[no-untyped-call]
        shapes = f"inputshape=[1,{model.length}]i32,[1,1,1,{model.length}]f32"
        try:
            done = call([program, traced.name, shapes, "fp16=0"], timeout_s=CONVERT_S, folder=Path(scratch))
        except Late as error:
            raise StageFailed(f"pnnx: no answer after {CONVERT_S:.0f} s") from error
        made = [Path(scratch) / name for name in FILES]
        if done.code or not all(path.is_file() for path in made):
            raise StageFailed(f"pnnx: the model cannot be converted ({done.last_line or done.code})")
        return tuple(Path(shutil.copyfile(path, folder / path.name)) for path in made)


def open_model(files: Sequence[Path]) -> Answer:
    """Open it on this machine's processor, in fp32 throughout."""
    ncnn = need("ncnn", EXTRA)
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = 1
    for each in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, each, False)
    if net.load_param(str(files[0])) or net.load_model(str(files[1])):
        raise StageFailed(f"{files[0].name}: ncnn cannot load it")

    def answer(ids: NDArray[np.int32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
        with net.create_extractor() as extractor:
            # ncnn knows no batch; a Mat shares memory with its array, which must not be a temporary one.
            extractor.input("in0", ncnn.Mat(ids[0]).clone())
            extractor.input("in1", ncnn.Mat(mask[0]).clone())
            code, found = extractor.extract("out0")
            if code:
                raise StageFailed(f"{files[0].name}: ncnn cannot run it (status {code})")
            return np.array(found, dtype=np.float32).reshape(1, -1)

    return answer
