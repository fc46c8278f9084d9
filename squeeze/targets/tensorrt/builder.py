"""Build an engine from an ONNX file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze.artifact import digest_file, write_json
from squeeze.errors import StageFailed, UsageError
from squeeze.targets.tensorrt import timing
from squeeze.targets.tensorrt.api import Api, load
from squeeze.targets.tensorrt.card import EngineCard, Precision, card_path
from squeeze.targets.tensorrt.cuda import Cuda
from squeeze.targets.tensorrt.shapes import Shapes

__all__ = ["BuildSettings", "build"]

MEGABYTE = 1 << 20
SHOWN = 3  # parser errors that a message holds


@dataclass(frozen=True)
class BuildSettings:
    """How to build.

    Attributes:
        precision: what the graph is in; kept in the card, nothing is converted here.
        workspace_mb: most memory of the GPU that a kernel may use for itself, in 2^20 bytes.
    """

    precision: Precision
    workspace_mb: int = 1024


def build(
    onnx: Path, plan: Path, shapes: Mapping[str, Shapes], settings: BuildSettings, timings: Path
) -> EngineCard:
    """Build a plan for this GPU and write it, with its card beside it.

    Args:
        onnx: the graph; its types are the engine's.
        plan: where the plan goes.
        shapes: of each input with free sizes.
        settings: how.
        timings: folder of timing caches.

    Raises:
        MissingBackend: no TensorRT, no CUDA or no GPU.
        UsageError: an input with free sizes has no shapes.
        StageFailed: TensorRT cannot parse the file or build the engine; with its reason.
    """
    api, cuda = load(), Cuda()
    started = time.monotonic()
    builder = api.trt.Builder(api.log)
    network = _parse(api, builder, onnx)
    config = _configure(api, builder, network, shapes, settings)
    cache = timing.cache_path(timings, api.version, cuda.device)
    timing.attach(api, config, cache)
    built = builder.build_serialized_network(network, config)
    if built is None:
        raise StageFailed(
            f"{onnx}: TensorRT {api.version} builds no engine ({api.reason()})",
            hint=f"squeeze doctor {onnx.name} says what stands in the way",
        )
    plan.write_bytes(bytes(memoryview(built)))
    timing.keep(config, cache)
    card = EngineCard(
        tensorrt=api.version,
        device=cuda.device,
        precision=settings.precision,
        shapes=dict(shapes),
        workspace_mb=settings.workspace_mb,
        onnx_sha256=digest_file(onnx),
        plan_sha256=digest_file(plan),
        plan_bytes=plan.stat().st_size,
        device_memory_bytes=_activations(api, plan),
        build_seconds=round(time.monotonic() - started, 3),
    )
    write_json(card_path(plan), card.plain())
    return card


def _parse(api: Api, builder: Any, onnx: Path) -> Any:
    network = builder.create_network(api.network_flags)
    parser = api.trt.OnnxParser(network, api.log)
    if parser.parse_from_file(str(onnx)):
        return network
    errors = [parser.get_error(place) for place in range(parser.num_errors)]
    told = "; ".join(f"{error.node_name() or 'graph'}: {error.desc()}" for error in errors[:SHOWN])
    raise StageFailed(
        f"{onnx}: TensorRT {api.version} cannot parse it ({told or api.reason()})",
        hint=f"squeeze doctor {onnx.name} says what stands in the way",
    )


def _configure(
    api: Api, builder: Any, network: Any, shapes: Mapping[str, Shapes], settings: BuildSettings
) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(api.trt.MemoryPoolType.WORKSPACE, settings.workspace_mb * MEGABYTE)
    config.clear_flag(api.trt.BuilderFlag.TF32)  # fp32 in the graph means fp32, and parity is held in it
    profile = builder.create_optimization_profile()
    for place in range(network.num_inputs):
        tensor = network.get_input(place)
        free = any(size < 0 for size in tuple(tensor.shape))
        if free and tensor.name not in shapes:
            raise UsageError(f"input {tensor.name} has free sizes and no shapes were given for it")
        if free:
            given = shapes[tensor.name]
            profile.set_shape(tensor.name, given.least, given.usual, given.most)
    if config.add_optimization_profile(profile) < 0:
        raise StageFailed(f"TensorRT refuses the shapes {dict(shapes)} ({api.reason()})")
    return config


def _activations(api: Api, plan: Path) -> int:
    """Bytes that one execution context takes on the GPU; also shows that the plan can be loaded."""
    engine = api.trt.Runtime(api.log).deserialize_cuda_engine(plan.read_bytes())
    if engine is None:
        raise StageFailed(f"{plan}: built and not loadable ({api.reason()})")
    return int(engine.device_memory_size_v2)
