"""The little of CUDA that running an engine takes, through NVIDIA's own bindings (`cuda.bindings.runtime`).

torch is not used: an installation that only runs engines has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.errors import MissingBackend, StageFailed
from squeeze.runtime import need
from squeeze.schema import Frozen

__all__ = ["Cuda", "Device"]


class Device(Frozen):
    """A GPU."""

    name: str
    compute_capability: str
    """such as `8.7`"""
    memory_bytes: int
    driver: int
    """newest CUDA version of the driver: 1000 x major + 10 x minor"""
    runtime: int
    """CUDA version of the bindings"""

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.name} (compute capability {self.compute_capability})"


class Cuda:
    """Calls whose errors become one line.

    Args:
        spin: how this thread waits for the GPU: in a loop, which answers soonest and takes a core, or asleep.
        index: which GPU.

    Raises:
        MissingBackend: no bindings, no driver or no GPU.
    """

    def __init__(self, *, spin: bool = True, index: int = 0) -> None:
        self.cudart = need("cuda.bindings.runtime", extra="gpu")
        self._find(index)
        self.call(self.cudart.cudaSetDevice, index)
        waiting = self.cudart.cudaDeviceScheduleSpin if spin else self.cudart.cudaDeviceScheduleBlockingSync
        self.call(self.cudart.cudaSetDeviceFlags, waiting)
        self.device = self._describe(index)

    def _find(self, index: int) -> None:
        code, count = self.cudart.cudaGetDeviceCount()
        if int(code) or not count:
            reason = self._text(code) if int(code) else "none is there"
            raise MissingBackend(
                f"no NVIDIA GPU can be used here: {reason}", hint="run on a machine with one, and its driver"
            )
        if index >= count:
            raise MissingBackend(f"GPU {index}: there are {count}", hint=f"0 to {count - 1}")

    def _text(self, code: Any) -> str:
        _, text = self.cudart.cudaGetErrorString(code)
        return text.decode(errors="replace") if isinstance(text, bytes) else f"CUDA error {int(code)}"

    def _describe(self, index: int) -> Device:
        found = self.call(self.cudart.cudaGetDeviceProperties, index)
        return Device(
            name=found.name.split(b"\0")[0].decode(errors="replace"),
            compute_capability=f"{found.major}.{found.minor}",
            memory_bytes=int(found.totalGlobalMem),
            driver=int(self.call(self.cudart.cudaDriverGetVersion)),
            runtime=int(self.call(self.cudart.cudaRuntimeGetVersion)),
        )

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of the runtime and return what it gives, without its error code.

        Raises:
            StageFailed: the code is not 0.
        """
        code, *found = function(*arguments)
        if int(code):
            raise StageFailed(f"{getattr(function, '__name__', 'CUDA')}: {self._text(code)}")
        return found[0] if len(found) == 1 else found

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes on the GPU."""
        return int(self.call(self.cudart.cudaMalloc, size))

    def free(self, address: int) -> None:
        """Give memory of the GPU back."""
        self.call(self.cudart.cudaFree, address)

    def pinned(self, size: int) -> NDArray[np.uint8]:
        """Bytes of this process that are never swapped out, so that copies need no detour."""
        host = np.zeros(size, np.uint8)
        self.call(
            self.cudart.cudaHostRegister, host.ctypes.data, host.nbytes, self.cudart.cudaHostRegisterDefault
        )
        return host

    def unpin(self, host: NDArray[np.uint8]) -> None:
        """Undo `pinned`."""
        self.call(self.cudart.cudaHostUnregister, host.ctypes.data)

    def stream(self) -> Any:
        """A queue of work that does not wait for the default one."""
        return self.call(self.cudart.cudaStreamCreateWithFlags, self.cudart.cudaStreamNonBlocking)

    def destroy_stream(self, stream: Any) -> None:
        """End a stream."""
        self.call(self.cudart.cudaStreamDestroy, stream)

    def upload(self, address: int, host: NDArray[np.uint8], size: int, stream: Any) -> None:
        """Queue a copy to the GPU."""
        kind = self.cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call(self.cudart.cudaMemcpyAsync, address, host.ctypes.data, size, kind, stream)

    def download(self, host: NDArray[np.uint8], address: int, size: int, stream: Any) -> None:
        """Queue a copy from the GPU."""
        kind = self.cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call(self.cudart.cudaMemcpyAsync, host.ctypes.data, address, size, kind, stream)

    def wait(self, stream: Any) -> None:
        """Until all that is queued is done."""
        self.call(self.cudart.cudaStreamSynchronize, stream)

    def record(self, work: Callable[[], None], stream: Any) -> Any:
        """Record what ``work`` queues as a graph that can be launched at once."""
        mode = self.cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call(self.cudart.cudaStreamBeginCapture, stream, mode)
        work()
        graph = self.call(self.cudart.cudaStreamEndCapture, stream)
        made = self.call(self.cudart.cudaGraphInstantiate, graph, 0)
        self.call(self.cudart.cudaGraphDestroy, graph)
        return made

    def launch(self, graph: Any, stream: Any) -> None:
        """Queue a recorded graph."""
        self.call(self.cudart.cudaGraphLaunch, graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """End a recorded graph."""
        self.call(self.cudart.cudaGraphExecDestroy, graph)
