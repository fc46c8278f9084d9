"""What the measuring process runs a model with: ONNX Runtime on a processor or a GPU, or TensorRT.

All of them have ``run(None, feed)`` and ``get_inputs()``, as a session of ONNX Runtime has. Those of a GPU
also have ``bind(feed)``: it puts the inputs in place and gives the call that a clock should see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from squeeze.errors import MissingBackend, StageFailed
from squeeze.targets.inputs import TYPES, Feed
from squeeze.targets.ort import BRINGS, CPU, installed, open_session

__all__ = [
    "ENGINES",
    "ON_CPU",
    "PROVIDERS",
    "EngineSession",
    "OrtGpuSession",
    "device",
    "left_to_cpu",
    "open_model",
    "prepared",
]

ENGINES = (".plan", ".engine")
PROVIDERS: Mapping[str, str] = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
ON_CPU: Mapping[str, str] = {
    "cpu": CPU,
    "xnnpack": "XnnpackExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
TEXT_INPUTS = ("input_ids", "attention_mask")  # of a bundle, the only source of several lengths
KIND = {np.dtype(kind): name for name, kind in TYPES.items()}
HINT = "pip uninstall onnxruntime, then pip install 'squeeze-ondevice[gpu]'"


@dataclass(frozen=True)
class Input:
    """An input of an engine, in ONNX Runtime's words."""

    name: str
    type: str
    shape: tuple[int | None, ...]


def open_model(path: Path, request: Mapping[str, Any]) -> Any:
    """Open a file as a request wants it: on the processor, or on the GPU when the request has `gpu`."""
    pinned = request.get("gpu")
    if pinned is None:
        return _on_cpu(path, request)
    if path.suffix in ENGINES:
        return EngineSession(path, pinned)
    return OrtGpuSession(path, request)


def left_to_cpu(path: Path, request: Mapping[str, Any]) -> bool:
    """Whether a provider for the processor leaves some of a model to ONNX Runtime's own kernels.

    Such a session opens without a word, and refuses to open where that is forbidden.
    """
    if request.get("gpu") is not None or request["provider"] == CPU:
        return False
    try:
        _on_cpu(path, request, {"session.disable_cpu_ep_fallback": "1"})
    except StageFailed:
        return True
    return False


def _on_cpu(path: Path, request: Mapping[str, Any], entries: Mapping[str, str] | None = None) -> Any:
    """A session on the processor that has the provider it was opened with.

    Raises:
        MissingBackend: the provider is not installed, or could not be loaded.
    """
    provider, threads = request["provider"], str(request["threads"])
    own = {  # both bring threads of their own
        ON_CPU["xnnpack"]: {"intra_op_num_threads": threads},
        ON_CPU["openvino"]: {"device_type": "CPU", "num_of_threads": threads},
    }.get(provider)
    session = open_session(
        path,
        threads=request["threads"],
        spinning=request["spinning"],
        provider=provider,
        provider_options=own,
        entries=entries,
    )
    used = session.get_providers()
    if used[0] != provider:
        raise MissingBackend(
            f"{provider} could not be loaded, {used[0]} was used instead", hint=BRINGS[provider]
        )
    return session


def prepared(session: Any, values: Feed) -> Callable[[], Any]:
    """One call with its inputs in place."""
    bind = getattr(session, "bind", None)
    call: Callable[[], Any] = bind(values) if bind else partial(session.run, None, values)
    return call


class EngineSession:
    """A plan in TensorRT."""

    def __init__(self, path: Path, pinned: Mapping[str, Any]) -> None:
        from squeeze.targets.tensorrt import EngineOptions, open_engine

        options = EngineOptions(pinned["cuda_graph"], pinned["spin"], pinned["transfers"])
        self.engine = open_engine(path, options)

    def bind(self, values: Feed) -> Callable[[], Any]:
        """Put inputs in place."""
        return self.engine.bind(values)

    def run(self, _: None, values: Feed) -> list[Any]:
        """One call; outputs in the engine's order."""
        return list(self.engine.run(values).values())

    def get_inputs(self) -> list[Input]:
        """What the engine takes; a size between least and greatest is free."""
        return [
            Input(
                tensor.name,
                KIND[tensor.kind],
                tuple(
                    low if low == high else None for low, high in zip(tensor.least, tensor.most, strict=True)
                ),
            )
            for tensor in self.engine.inputs
        ]

    def get_providers(self) -> list[str]:
        """Who computes."""
        return [f"TensorRT {self.engine.api.version}"]


class OrtGpuSession:
    """An ONNX file on a GPU through ONNX Runtime, which must really use it: its fallback is the processor.

    Raises:
        MissingBackend: the provider is not installed, or could not be loaded.
    """

    def __init__(self, path: Path, request: Mapping[str, Any]) -> None:
        self.transfers = bool(request["gpu"]["transfers"])
        provider = request["provider"]
        options = provider_options(provider, request.get("lengths"), int(request.get("batch", 1)))
        self.session = open_session(
            path, threads=request["threads"], provider=provider, provider_options=options
        )
        used = self.session.get_providers()
        if used[0] != provider:
            raise MissingBackend(f"{provider} could not be loaded, {used[0]} was used instead", hint=HINT)
        self.session.disable_fallback()

    def bind(self, values: Feed) -> Callable[[], Any]:
        """With copies: as the session does it. Without: inputs lie on the GPU and outputs stay there."""
        if self.transfers:
            return partial(self.session.run, None, values)
        value = installed("onnxruntime").OrtValue
        binding = self.session.io_binding()
        for name, each in values.items():
            binding.bind_ortvalue_input(name, value.ortvalue_from_numpy(each, "cuda", 0))
        for output in self.session.get_outputs():
            binding.bind_output(output.name, "cuda")
        binding.synchronize_inputs()

        def call() -> None:
            self.session.run_with_iobinding(binding)
            binding.synchronize_outputs()

        return call

    def run(self, names: None, values: Feed) -> Any:
        """One call."""
        return self.session.run(names, values)

    def get_inputs(self) -> Any:
        """What the model declares."""
        return self.session.get_inputs()

    def get_providers(self) -> list[str]:
        """Who computes."""
        found: list[str] = self.session.get_providers()
        return found


def provider_options(provider: str, lengths: Sequence[int] | None, batch: int) -> dict[str, str]:
    """Shapes for the TensorRT provider, which would build again, on the clock, for each new length."""
    if provider != PROVIDERS["tensorrt"] or not lengths or len(set(lengths)) < 2:
        return {}
    sizes = {"min": (1, min(lengths)), "opt": (batch, sorted(lengths)[len(lengths) // 2])}
    sizes["max"] = (batch, max(lengths))
    return {
        f"trt_profile_{name}_shapes": ",".join(f"{each}:{rows}x{length}" for each in TEXT_INPUTS)
        for name, (rows, length) in sizes.items()
    }


def device(request: Mapping[str, Any]) -> dict[str, Any]:
    """Which GPU there is, and whether what the request needs is installed.

    Raises:
        MissingBackend: what is missing, and how to get it.
    """
    from squeeze.targets.tensorrt.api import load
    from squeeze.targets.tensorrt.cuda import Cuda

    suffixes = {Path(model["path"]).suffix for model in request["models"]}
    facts: dict[str, Any] = {}
    if suffixes - {*ENGINES}:
        offered = installed("onnxruntime").get_available_providers()
        if request["provider"] not in offered:
            known = ", ".join(name for name in offered if name != CPU) or "processors only"
            raise MissingBackend(
                f"{request['provider']} is not part of the installed onnxruntime, which is for {known}",
                hint=HINT,
            )
    if suffixes & {*ENGINES}:
        facts["tensorrt"] = load().version
    found = Cuda().device
    return {
        **facts,
        "gpu": found.name,
        "compute_capability": found.compute_capability,
        "gpu_memory_bytes": found.memory_bytes,
        "cuda_driver": found.driver,
        "cuda_runtime": found.runtime,
    }
