"""Stand-ins for `tensorrt` and `cuda.bindings.runtime` that have the published names and no others.

What they are asked for is held against tests/targets/tensorrt_names.json: an attribute that the version
does not have is an AttributeError, a call with a number of arguments that no overload takes a TypeError.
Behind that they compute: a plan holds its ONNX file, an engine runs it with ONNX Runtime on addresses of
this process, and a recorded CUDA graph replays what was queued.
"""

from __future__ import annotations

import base64
import ctypes
import json
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

NAMES = json.loads((Path(__file__).parent / "tensorrt_names.json").read_text(encoding="utf-8"))
VERSIONS = tuple(sorted(NAMES["tensorrt"], key=lambda version: [int(part) for part in version.split(".")]))
KINDS = {"tensor(int64)": np.int64, "tensor(float)": np.float32, "tensor(int32)": np.int32}


class World:
    """What both stand-ins share: a GPU, its memory, and what was asked for.

    Attributes:
        name, capability: of the GPU.
        devices: how many there are.
        calls: (class or function, attribute, arguments) in order.
        memory: what was allocated on the GPU and not given back.
        pinned: addresses that are pinned.
        recording: what a stream has queued since a capture began; None outside of one.
        spoil: what is added to every output, for engines that compute something else.
        refuse: steps that fail: parse, build, load, cache.
    """

    def __init__(self) -> None:
        self.name, self.capability, self.devices = "NVIDIA Test", (8, 7), 1
        self.calls: list[tuple[str, str, tuple[Any, ...]]] = []
        self.memory: dict[int, Any] = {}
        self.pinned: set[int] = set()
        self.graphs = 0
        self.recording: list[Callable[[], None]] | None = None
        self.spoil = 0.0
        self.refuse: set[str] = set()

    def do(self, work: Callable[[], None]) -> None:
        """Do queued work, or record it."""
        if self.recording is None:
            work()
        else:
            self.recording.append(work)

    def asked(self, kind: str, name: str) -> list[tuple[Any, ...]]:
        """Arguments of all calls of one method."""
        return [arguments for owner, called, arguments in self.calls if (owner, called) == (kind, name)]


WORLD = World()  # of a process that has only one


class Surface:
    """An object with the published members of its class only."""

    def __init__(self, world: World, version: str, kind: str, inner: Any) -> None:
        self.__dict__.update(world=world, version=version, kind=kind, inner=inner)

    def _members(self) -> Mapping[str, Any]:
        return NAMES["tensorrt"][self.version]["classes"][self.kind]

    def _known(self, name: str) -> None:
        if name not in self._members():
            raise AttributeError(f"{self.kind} of TensorRT {self.version} has no {name}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        self._known(name)
        value = getattr(self.inner, name)
        overloads = self._members()[name]
        if not overloads:
            self.world.calls.append((self.kind, name, ()))
            return value

        def call(*arguments: Any) -> Any:
            fits = [
                sum(not one.endswith("=") for one in each) <= len(arguments) <= len(each)
                for each in overloads
            ]
            if not any(fits):
                raise TypeError(f"{self.kind}.{name} takes {overloads}, got {len(arguments)} arguments")
            self.world.calls.append((self.kind, name, arguments))
            return value(*arguments)

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        self._known(name)
        self.world.calls.append((self.kind, name, (value,)))
        setattr(self.inner, name, value)


def enumeration(world: World, version: str, kind: str) -> Any:
    """Members of an enumeration as integers, in an order of this version's own."""
    members = [name for name in NAMES["tensorrt"][version]["classes"][kind] if name not in ("name", "value")]
    return Surface(world, version, kind, types.SimpleNamespace(**{n: i for i, n in enumerate(members)}))


def fake_tensorrt(world: World, version: str) -> types.ModuleType:
    """The module `tensorrt` of one version."""
    module = types.ModuleType("tensorrt")

    def surface(kind: str, inner: Any) -> Surface:
        return Surface(world, version, kind, inner)

    class ILogger:
        """Can be derived from, as the real one."""

        ERROR, INTERNAL_ERROR, WARNING, INFO, VERBOSE = range(5)

    made = {
        "__version__": version,
        "ILogger": ILogger,
        "Builder": lambda log: surface("Builder", Builder(world, surface, log)),
        "OnnxParser": lambda network, log: surface("OnnxParser", Parser(world, surface, network, log)),
        "Runtime": lambda log: surface("Runtime", Runtime(world, surface, log, version)),
        "nptype": lambda kind: kind,
        **{
            kind: enumeration(world, version, kind)
            for kind in ("BuilderFlag", "MemoryPoolType", "NetworkDefinitionCreationFlag", "TensorIOMode")
        },
    }
    published = {*NAMES["tensorrt"][version]["module"], "__version__"}
    assert set(made) <= published
    module.__dict__.update(made)
    return module


class Builder:
    def __init__(self, world: World, surface: Any, log: Any) -> None:
        self.world, self.surface, self.log = world, surface, log

    def create_network(self, flags: int = 0) -> Any:
        return self.surface("INetworkDefinition", Network(self.surface))

    def create_builder_config(self) -> Any:
        return self.surface("IBuilderConfig", Config(self.world, self.surface))

    def create_optimization_profile(self) -> Any:
        return self.surface("IOptimizationProfile", Profile())

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        if "build" in self.world.refuse:
            self.log.log(0, "no kernel\n was found")
            return None
        plan = {
            "device": self.world.name,
            "onnx": base64.b64encode(network.inner.onnx).decode(),
            "profiles": [profile.inner.shapes for profile in config.inner.profiles],
        }
        return json.dumps(plan).encode()


class Network:
    def __init__(self, surface: Any) -> None:
        self.surface, self.onnx = surface, b""
        self.tensors: list[Any] = []

    @property
    def num_inputs(self) -> int:
        return len(self.tensors)

    def get_input(self, place: int) -> Any:
        return self.surface("ITensor", self.tensors[place])


class Parser:
    def __init__(self, world: World, surface: Any, network: Any, log: Any) -> None:
        self.world, self.surface, self.network, self.num_errors = world, surface, network, 0

    def parse_from_file(self, path: str) -> bool:
        if "parse" in self.world.refuse:
            self.num_errors = 1
            return False
        inner = self.network.inner
        inner.onnx = Path(path).read_bytes()
        session = onnxruntime.InferenceSession(inner.onnx)
        inner.tensors = [
            types.SimpleNamespace(name=node.name, shape=sizes(node.shape)) for node in session.get_inputs()
        ]
        return True

    def get_error(self, place: int) -> Any:
        told = types.SimpleNamespace(desc=lambda: "no importer for Det", node_name=lambda: "Det_0")
        return self.surface("ParserError", told)


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, name: str, least: Any, usual: Any, most: Any) -> None:
        self.shapes[name] = [tuple(least), tuple(usual), tuple(most)]


class Config:
    def __init__(self, world: World, surface: Any) -> None:
        self.world, self.surface = world, surface
        self.profiles: list[Any] = []
        self.cache: Any = None

    def set_memory_pool_limit(self, pool: int, size: int) -> None:
        assert size > 0

    def clear_flag(self, flag: int) -> None:
        assert isinstance(flag, int)

    def add_optimization_profile(self, profile: Any) -> int:
        if "profile" in self.world.refuse:
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, stored: bytes) -> Any:
        kept = bytes(stored) or f"measured on {self.world.name}".encode()
        return self.surface("ITimingCache", types.SimpleNamespace(serialize=lambda: kept))

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if not ignore_mismatch and self.world.name.encode() not in cache.inner.serialize():
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self.cache


class Runtime:
    def __init__(self, world: World, surface: Any, log: Any, version: str) -> None:
        self.world, self.surface, self.log, self.version = world, surface, log, version

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        if "load" in self.world.refuse:
            self.log.log(0, "the engine plan file is not compatible with this version of TensorRT")
            return None
        return self.surface("ICudaEngine", Engine(self.world, self.surface, json.loads(plan), self.version))


class Engine:
    device_memory_size_v2 = 4096

    def __init__(self, world: World, surface: Any, plan: Any, version: str) -> None:
        self.world, self.surface, self.profiles = world, surface, plan["profiles"]
        self.session = onnxruntime.InferenceSession(base64.b64decode(plan["onnx"]))
        self.inputs = {node.name: node for node in self.session.get_inputs()}
        self.nodes = {**self.inputs, **{node.name: node for node in self.session.get_outputs()}}
        self.modes = enumeration(World(), version, "TensorIOMode")
        self.num_io_tensors = len(self.nodes)

    def get_tensor_name(self, place: int) -> str:
        return list(self.nodes)[place]

    def get_tensor_mode(self, name: str) -> int:
        return self.modes.INPUT if name in self.inputs else self.modes.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return KINDS[self.nodes[name].type]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return sizes(self.nodes[name].shape)

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        return [tuple(shape) for shape in self.profiles[profile][name]]

    def create_execution_context(self) -> Any:
        return self.surface("IExecutionContext", Context(self))


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.world = engine, engine.world
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.ready: set[Any] = set()
        self.profile: int | None = None

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.profile = profile
        return profile < len(self.engine.profiles)

    def set_input_shape(self, name: str, shape: Any) -> bool:
        assert self.profile is not None
        least, _, most = self.engine.get_tensor_profile_shape(name, self.profile)
        self.shapes[name] = tuple(shape)
        return all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self.shapes:
            return self.shapes[name]
        zeros = {
            each: np.zeros(shape, self.engine.get_tensor_dtype(each)) for each, shape in self.shapes.items()
        }
        return self.engine.session.run([name], zeros)[0].shape

    def execute_async_v3(self, stream: int) -> bool:
        key = tuple(self.shapes.items())
        if self.world.recording is not None and key not in self.ready:
            raise RuntimeError("the first call with a shape may not be recorded")
        self.ready = {key}
        self.world.do(lambda: self._compute(dict(self.shapes), key))
        return True

    def _compute(self, shapes: Mapping[str, tuple[int, ...]], key: Any) -> None:
        assert tuple(self.shapes.items()) == key, "a record is void once its context has other shapes"
        feed = {
            name: np.frombuffer(read(self.addresses[name], size_of(shape, kind)), kind).reshape(shape)
            for name, shape in shapes.items()
            for kind in [np.dtype(self.engine.get_tensor_dtype(name))]
        }
        outputs = [name for name in self.engine.nodes if name not in self.engine.inputs]
        for name, values in zip(outputs, self.engine.session.run(outputs, feed), strict=True):
            write(self.addresses[name], (values + self.world.spoil).astype(values.dtype).tobytes())


class Code(int):
    """An error code."""


class Cudart(types.ModuleType):
    """The module `cuda.bindings.runtime` of one version."""

    def __init__(self, world: World, version: str = "13.5.0") -> None:
        super().__init__("cuda.bindings.runtime")
        self.world, self.published = world, NAMES["cuda"][version]
        self.inner = Functions(world)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self.published:
            raise AttributeError(f"cuda.bindings.runtime has no {name}")
        value = getattr(self.inner, name)
        if self.published[name] is None:
            return value
        wanted = len(self.published[name])

        def call(*arguments: Any) -> Any:
            if len(arguments) != wanted:
                raise TypeError(f"{name} takes {self.published[name]}, got {len(arguments)} arguments")
            self.world.calls.append(("cuda", name, arguments))
            return value(*arguments)

        call.__name__ = name
        return call


class Functions:
    """What the functions of the runtime do here."""

    cudaDeviceScheduleSpin, cudaDeviceScheduleBlockingSync = 1, 4  # noqa: N815
    cudaHostRegisterDefault, cudaStreamNonBlocking = 0, 1  # noqa: N815
    cudaMemcpyKind = types.SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815
    cudaStreamCaptureMode = types.SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815

    def __init__(self, world: World) -> None:
        self.world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self, SPELLED[name])

    def count(self) -> Any:
        return Code(0 if self.world.devices else 100), self.world.devices

    def text(self, code: Any) -> Any:
        return Code(0), b"no CUDA-capable device is detected" if code == 100 else b"out of memory"

    def properties(self, index: int) -> Any:
        major, minor = self.world.capability
        found = types.SimpleNamespace(
            name=self.world.name.encode() + b"\0\0", major=major, minor=minor, totalGlobalMem=8 << 30
        )
        return Code(0), found

    def done(self, *arguments: Any) -> Any:
        return (Code(0),)

    def number(self) -> Any:
        return Code(0), 12060

    def malloc(self, size: int) -> Any:
        if size > 1 << 40:
            return Code(2), None
        block = np.zeros(size, np.uint8)
        self.world.memory[block.ctypes.data] = block
        return Code(0), block.ctypes.data

    def release(self, address: int) -> Any:
        del self.world.memory[address]
        return (Code(0),)

    def register(self, address: int, size: int, flags: int) -> Any:
        self.world.pinned.add(address)
        return (Code(0),)

    def unregister(self, address: int) -> Any:
        self.world.pinned.remove(address)
        return (Code(0),)

    def stream(self, flags: int) -> Any:
        return Code(0), 77

    def copy(self, target: int, source: int, size: int, kind: int, stream: Any) -> Any:
        host, device = (source, target) if kind == 1 else (target, source)
        assert host in self.world.pinned
        assert device in self.world.memory
        assert size <= self.world.memory[device].nbytes
        self.world.do(lambda: move(target, source, size))
        return (Code(0),)

    def begin(self, stream: Any, mode: int) -> Any:
        self.world.recording = []
        return (Code(0),)

    def end(self, stream: Any) -> Any:
        recorded, self.world.recording = self.world.recording, None
        return Code(0), recorded

    def instantiate(self, graph: Any, flags: int) -> Any:
        self.world.graphs += 1
        return Code(0), graph

    def launch(self, graph: Any, stream: Any) -> Any:
        for work in graph:
            work()
        return (Code(0),)

    def drop(self, graph: Any) -> Any:
        self.world.graphs -= 1
        return (Code(0),)


SPELLED = {
    "cudaGetDeviceCount": "count",
    "cudaGetErrorString": "text",
    "cudaGetDeviceProperties": "properties",
    "cudaDriverGetVersion": "number",
    "cudaRuntimeGetVersion": "number",
    "cudaMalloc": "malloc",
    "cudaFree": "release",
    "cudaHostRegister": "register",
    "cudaHostUnregister": "unregister",
    "cudaStreamCreateWithFlags": "stream",
    "cudaMemcpyAsync": "copy",
    "cudaStreamBeginCapture": "begin",
    "cudaStreamEndCapture": "end",
    "cudaGraphInstantiate": "instantiate",
    "cudaGraphLaunch": "launch",
    "cudaGraphExecDestroy": "drop",
    **dict.fromkeys(
        (
            "cudaSetDevice",
            "cudaSetDeviceFlags",
            "cudaStreamSynchronize",
            "cudaStreamDestroy",
            "cudaGraphDestroy",
        ),
        "done",
    ),
}


def sizes(shape: Any) -> tuple[int, ...]:
    """A shape of ONNX Runtime as TensorRT writes it: -1 for a free size."""
    return tuple(size if isinstance(size, int) else -1 for size in shape)


def size_of(shape: Any, kind: np.dtype[Any]) -> int:
    return int(np.prod(shape)) * kind.itemsize


def read(address: int, size: int) -> bytes:
    return ctypes.string_at(address, size)


def move(target: int, source: int, size: int) -> None:
    ctypes.memmove(target, source, size)


def write(address: int, data: bytes) -> None:
    ctypes.memmove(address, data, len(data))


PACKAGES = {
    "tensorrt/__init__.py": "sys.modules[__name__] = fake.fake_tensorrt(fake.WORLD, {version!r})",
    "cuda/__init__.py": "",
    "cuda/bindings/__init__.py": "",
    "cuda/bindings/runtime.py": "sys.modules[__name__] = fake.Cudart(fake.WORLD)",
}


def install_for_workers(monkeypatch: Any, folder: Path, version: str = VERSIONS[-1], spoil: str = "") -> None:
    """The same for processes that are started: packages of these names on their path.

    Args:
        folder: where the packages go.
        version: of TensorRT.
        spoil: what to change of the world, as Python.
    """
    for name, content in PACKAGES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        head = f"import sys\nfrom tests.targets import fake_tensorrt as fake\n{spoil}\n"
        path.write_text(head + content.format(version=version), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")


def install(
    monkeypatch: Any, world: World, version: str | None = VERSIONS[-1], cuda: str | None = "13.5.0"
) -> None:
    """Let `import tensorrt` and `import cuda.bindings.runtime` find the stand-ins; None: not there."""
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(world, version) if version else None)
    parts = ("cuda", "cuda.bindings", "cuda.bindings.runtime")
    for part in parts[:2]:
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part) if cuda else None)
    monkeypatch.setitem(sys.modules, parts[2], Cudart(world, cuda) if cuda else None)
