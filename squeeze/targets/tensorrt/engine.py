"""Run an engine: buffers made once, one stream, and a clock that sees only what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from squeeze.errors import SqueezeError, StageFailed, UsageError
from squeeze.targets.tensorrt.api import Api, load
from squeeze.targets.tensorrt.card import card_of, refuse
from squeeze.targets.tensorrt.cuda import Cuda, Device

__all__ = ["Engine", "EngineOptions", "Tensor", "available", "open_engine"]


@dataclass(frozen=True)
class EngineOptions:
    """What is pinned while an engine runs; all of it stands in a measurement.

    Attributes:
        cuda_graph: record each shape once and launch the record: less work for the processor, and one
            execution context a shape.
        spin: wait for the GPU in a loop instead of asleep.
        transfers: whether a call copies its inputs to the GPU and its outputs back.
    """

    cuda_graph: bool = False
    spin: bool = True
    transfers: bool = True


@dataclass(frozen=True)
class Tensor:
    """An input or output with its buffers, which hold its greatest shape.

    Attributes:
        name: as in the graph.
        kind: element type.
        least: its least shape.
        most: its greatest shape.
        host: pinned memory here.
        address: memory on the GPU.
    """

    name: str
    kind: np.dtype[Any]
    least: tuple[int, ...]
    most: tuple[int, ...]
    host: NDArray[np.uint8]
    address: int

    def holds(self, shape: Sequence[int]) -> bool:
        """Whether a shape lies between the least and the greatest."""
        return len(shape) == len(self.most) and all(
            low <= size <= high for low, size, high in zip(self.least, shape, self.most, strict=True)
        )

    def bytes_of(self, shape: Sequence[int]) -> int:
        """Bytes of the tensor in this shape."""
        return int(np.prod(shape, dtype=np.int64)) * self.kind.itemsize

    def view(self, shape: Sequence[int]) -> NDArray[Any]:
        """The pinned memory as an array of this shape."""
        return self.host[: self.bytes_of(shape)].view(self.kind).reshape(shape)


def available() -> tuple[Api, Device]:
    """TensorRT and the GPU of this machine.

    Raises:
        MissingBackend: no TensorRT, no CUDA or no GPU, and how to get what is missing.
    """
    return load(), Cuda().device


def open_engine(plan: Path, options: EngineOptions | None = None) -> Engine:
    """Load a plan.

    Args:
        plan: the file; if a card lies beside it, version and GPU must be those of the card.
        options: what is pinned.

    Raises:
        UsageError: no such file.
        Corrupt: the plan is not the one of its card.
        MissingBackend: no TensorRT, no CUDA, no GPU, or a plan that was built for others.
        StageFailed: TensorRT cannot read it.
    """
    if not plan.is_file() or not plan.stat().st_size:
        raise UsageError(f"{plan}: {'empty file' if plan.is_file() else 'no such file'}")
    chosen = options or EngineOptions()
    card, api, cuda = card_of(plan), load(), Cuda(spin=chosen.spin)
    if card is not None:
        refuse(plan, card, api.version, cuda.device)
    runtime = api.trt.Runtime(api.log)
    engine = runtime.deserialize_cuda_engine(plan.read_bytes())
    if engine is None:
        raise StageFailed(
            f"{plan}: not readable by TensorRT {api.version} on {cuda.device} ({api.reason()})",
            hint="a plan runs only where it was built",
        )
    return Engine(plan, api, cuda, engine, chosen)


class Engine:
    """A loaded plan. Close it, or use it in `with`."""

    def __init__(self, plan: Path, api: Api, cuda: Cuda, engine: Any, options: EngineOptions) -> None:
        self.plan, self.api, self.cuda, self.engine, self.options = plan, api, cuda, engine, options
        self.stream = cuda.stream()
        self.context = self._new_context()
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self._recorded: dict[tuple[tuple[int, ...], ...], tuple[Any, Any]] = {}
        try:
            self._allocate()
        except SqueezeError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """The engine itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give everything back."""
        self.close()

    def run(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """One call: inputs by name -> outputs by name, as arrays of their own."""
        self.bind(feed)()
        return self.fetch()

    def bind(self, feed: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        """Put inputs in place; what is returned does the call, and is all that a clock should see.

        Raises:
            UsageError: a missing input, another type, or a shape that the engine was not built for.
        """
        shapes = tuple(self._place(tensor, feed) for tensor in self.inputs)
        if self.options.cuda_graph:
            return self._replay(shapes)
        self._set(self.context, shapes)
        if not self.options.transfers:
            self._upload(shapes)
            self.cuda.wait(self.stream)
        sizes = self._output_shapes(self.context)

        def call() -> None:
            self._queue(self.context, shapes, sizes)
            self.cuda.wait(self.stream)

        return call

    def fetch(self) -> dict[str, NDArray[Any]]:
        """Outputs of the last call."""
        sizes = self._output_shapes(self.context)
        if not self.options.transfers:
            self._download(sizes)
            self.cuda.wait(self.stream)
        return {each.name: each.view(size).copy() for each, size in zip(self.outputs, sizes, strict=True)}

    def close(self) -> None:
        """Give buffers, graphs and the stream back."""
        for graph, _ in self._recorded.values():
            self.cuda.destroy_graph(graph)
        for tensor in (*self.inputs, *self.outputs):
            self.cuda.unpin(tensor.host)
            self.cuda.free(tensor.address)
        self.cuda.destroy_stream(self.stream)
        self.inputs, self.outputs, self._recorded = [], [], {}

    def _new_context(self) -> Any:
        context = self.engine.create_execution_context()
        if context is None:
            raise StageFailed(f"{self.plan}: no execution context ({self.api.reason()})")
        if not context.set_optimization_profile_async(0, int(self.stream)):  # implied for the first one only
            raise StageFailed(f"{self.plan}: no optimization profile ({self.api.reason()})")
        self.cuda.wait(self.stream)
        return context

    def _allocate(self) -> None:
        """Buffers for the greatest shapes; outputs are known once all inputs are."""
        engine, mode = self.engine, self.api.trt.TensorIOMode
        names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        entering = [name for name in names if engine.get_tensor_mode(name) == mode.INPUT]
        for name in entering:
            self.inputs.append(self._tensor(name, *self._range(name)))
        self._set(self.context, [tensor.most for tensor in self.inputs])
        for name in names:
            if name not in entering:
                most = tuple(self.context.get_tensor_shape(name))
                self.outputs.append(self._tensor(name, most, most))
        self._point(self.context)

    def _range(self, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Least and greatest shape of an input, in the first optimization profile."""
        shape = tuple(self.engine.get_tensor_shape(name))
        if all(size >= 0 for size in shape):
            return shape, shape
        least, _, most = self.engine.get_tensor_profile_shape(name, 0)
        return tuple(least), tuple(most)

    def _tensor(self, name: str, least: tuple[int, ...], most: tuple[int, ...]) -> Tensor:
        kind = np.dtype(self.api.trt.nptype(self.engine.get_tensor_dtype(name)))
        size = max(int(np.prod(most, dtype=np.int64)) * kind.itemsize, 1)
        address = self.cuda.allocate(size)
        return Tensor(name, kind, least, most, self.cuda.pinned(size), address)

    def _point(self, context: Any) -> None:
        for tensor in (*self.inputs, *self.outputs):
            if not context.set_tensor_address(tensor.name, tensor.address):
                raise StageFailed(f"{self.plan}: {tensor.name}: {self.api.reason()}")

    def _place(self, tensor: Tensor, feed: Mapping[str, NDArray[Any]]) -> tuple[int, ...]:
        """Copy one input into its pinned memory; returns its shape."""
        if tensor.name not in feed:
            raise UsageError(f"{self.plan}: input {tensor.name} is missing")
        values = feed[tensor.name]
        if values.dtype != tensor.kind:
            raise UsageError(f"{self.plan}: {tensor.name} is {values.dtype}, the engine takes {tensor.kind}")
        if not tensor.holds(values.shape):
            raise UsageError(
                f"{self.plan}: {tensor.name} is {list(values.shape)}, "
                f"the engine was built for {list(tensor.least)} to {list(tensor.most)}"
            )
        tensor.view(values.shape)[...] = values
        return values.shape

    def _set(self, context: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        for tensor, shape in zip(self.inputs, shapes, strict=True):
            if not context.set_input_shape(tensor.name, shape):
                raise StageFailed(f"{self.plan}: {tensor.name} {list(shape)}: {self.api.reason()}")

    def _output_shapes(self, context: Any) -> list[tuple[int, ...]]:
        return [tuple(context.get_tensor_shape(tensor.name)) for tensor in self.outputs]

    def _upload(self, shapes: Sequence[tuple[int, ...]]) -> None:
        for tensor, shape in zip(self.inputs, shapes, strict=True):
            self.cuda.upload(tensor.address, tensor.host, tensor.bytes_of(shape), self.stream)

    def _download(self, sizes: Sequence[tuple[int, ...]]) -> None:
        for tensor, size in zip(self.outputs, sizes, strict=True):
            self.cuda.download(tensor.host, tensor.address, tensor.bytes_of(size), self.stream)

    def _queue(
        self, context: Any, shapes: Sequence[tuple[int, ...]], sizes: Sequence[tuple[int, ...]]
    ) -> None:
        """Queue one call, with its copies if they count."""
        if self.options.transfers:
            self._upload(shapes)
        if not context.execute_async_v3(int(self.stream)):
            raise StageFailed(f"{self.plan}: the call fails ({self.api.reason()})")
        if self.options.transfers:
            self._download(sizes)

    def _replay(self, shapes: tuple[tuple[int, ...], ...]) -> Callable[[], None]:
        """The call of these shapes as a recorded graph."""
        if shapes not in self._recorded:
            self._recorded[shapes] = self._record(shapes)
        graph, self.context = self._recorded[shapes]
        if not self.options.transfers:
            self._upload(shapes)
            self.cuda.wait(self.stream)

        def call() -> None:
            self.cuda.launch(graph, self.stream)
            self.cuda.wait(self.stream)

        return call

    def _record(self, shapes: tuple[tuple[int, ...], ...]) -> tuple[Any, Any]:
        """Record one shape in a context of its own: a record is void once its context has other shapes."""
        context = self._new_context()
        self._set(context, shapes)
        self._point(context)
        sizes = self._output_shapes(context)
        self._upload(shapes)
        self._queue(context, shapes, sizes)  # what TensorRT does once a shape must not be recorded
        self.cuda.wait(self.stream)
        return self.cuda.record(lambda: self._queue(context, shapes, sizes), self.stream), context
