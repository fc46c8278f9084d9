"""Write down which names the published Python bindings of TensorRT and CUDA have.

    python -m tools.tensorrt_names

The wheels `tensorrt-cu12-bindings` hold an extension module that wants TensorRT's libraries, which are
gigabytes and need a GPU to be of use. Its class definitions need none of them: with empty libraries that
have the wanted symbols, the module can be imported and asked for its names, and its docstrings have the
signatures. Nothing of TensorRT is called. Needs a C compiler, `pip` and the package index; the result,
tests/targets/tensorrt_names.json, is committed and nothing else is.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "tests" / "targets" / "tensorrt_names.json"
# The one of JetPack 6, the last of major 10, the first and the newest of major 11.
TENSORRT = ("10.3.0", "10.16.1.11", "11.0.0.114", "11.4.0.106")
CUDA = ("12.9.5", "13.5.0")
CLASSES = [
    "Builder",
    "BuilderFlag",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "ITensor",
    "ITimingCache",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "Runtime",
    "TensorIOMode",
]
SYMBOLS = [
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
]
CONSTANTS = ("cudaDeviceSchedule", "cudaHostRegister", "cudaMemcpyKind", "cudaStream")  # of CUDA, that matter
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")

ASK_TENSORRT = """
import json, sys
import tensorrt_bindings as trt
members = lambda kind: [name for name in dir(kind) if not name.startswith("_")]
told = lambda member: member.__doc__ if callable(member) else None
classes = {name: {each: told(getattr(getattr(trt, name), each)) for each in members(getattr(trt, name))}
           for name in sys.argv[1:]}
print(json.dumps({"version": trt.__version__, "module": members(trt), "classes": classes}))
"""
ASK_CUDA = """
import json
import cuda.bindings.runtime as cudart
names = [name for name in dir(cudart) if name.startswith("cuda")]
print(json.dumps({name: getattr(cudart, name).__doc__ if callable(getattr(cudart, name)) else None
                  for name in names}))
"""


def main() -> None:
    """Download, ask, write."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        names = {
            "source": "tools/tensorrt_names.py, from the wheels tensorrt-cu12-bindings and cuda-bindings",
            "tensorrt": {version: ask_tensorrt(work, version) for version in TENSORRT},
            "cuda": {version: ask_cuda(work, version) for version in CUDA},
        }
    TARGET.write_text(compact(names), encoding="utf-8")
    print(f"{TARGET}: {len(names['tensorrt'])} versions of TensorRT, {len(names['cuda'])} of CUDA")


def compact(names: Any) -> str:
    """JSON with one line a name."""
    text = json.dumps(names, indent=1, sort_keys=True)
    lists = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")
    for _ in range(2):  # a list, then a list of lists
        text = lists.sub(lambda found: "[" + re.sub(r"\s+", " ", found.group(1)) + "]", text)
    return (
        re.sub(
            r"\[\s+(\[[^{}]*?\])\s+\]", lambda found: "[" + re.sub(r"\s+", " ", found.group(1)) + "]", text
        )
        + "\n"
    )


def ask_tensorrt(work: Path, version: str) -> dict[str, Any]:
    """Names of the module and its classes that matter; a method has its parameters, a list an overload."""
    place = unpack(work, "tensorrt-cu12-bindings", version)
    libraries = empty_libraries(place, version.split(".")[0])
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": str(place)}
    found = ask(ASK_TENSORRT, CLASSES, environment)
    assert found["version"].startswith(version)
    classes = {
        name: {member: signatures(member, text) for member, text in members.items()}
        for name, members in found["classes"].items()
    }
    return {"module": found["module"], "classes": classes}


def ask_cuda(work: Path, version: str) -> dict[str, list[str] | None]:
    """Names of the runtime; a function has its parameters. It imports without a driver."""
    place = unpack(work, "cuda-bindings", version)
    unpack(work, "cuda-pathfinder", None, place)
    found = ask(ASK_CUDA, (), {**os.environ, "PYTHONPATH": str(place)})
    known = {name: parameters(name, text) for name, text in found.items()}
    return {name: given for name, given in known.items() if given is not None or name.startswith(CONSTANTS)}


def unpack(work: Path, package: str, version: str | None, place: Path | None = None) -> Path:
    """Download one wheel for this Python and unpack it."""
    place = place or work / f"{package}-{version}"
    wheels = work / "wheels" / f"{package}-{version}"
    wanted = f"{package}=={version}" if version else package
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "-d", str(wheels), wanted], check=True)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(place)
    return place


def empty_libraries(place: Path, major: str) -> Path:
    """Shared libraries that have the symbols which the module is linked against, and do nothing."""
    folder = place / "libraries"
    folder.mkdir()
    source = folder / "empty.c"
    source.write_text("\n".join(f"void *{name}(void) {{ return 0; }}" for name in SYMBOLS), encoding="ascii")
    for library in LIBRARIES:
        name = f"lib{library}.so.{major}"
        command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)]
        subprocess.run(command, check=True)
    return folder


def ask(program: str, arguments: Any, environment: dict[str, str]) -> Any:
    """Run a program in a process of its own and read the JSON that it prints."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, env=environment)
    return json.loads(done.stdout)


def signatures(name: str, text: str | None) -> list[list[str]] | None:
    """Parameters of each overload, without `self`, from a docstring of pybind11; None for no method.

    >>> signatures("f", "f(self: a.B, x: dict[str, int], y: int = 0) -> None")
    [['x', 'y=']]
    """
    if text is None:
        return None
    heads = re.findall(rf"^(?:\d+\. )?{name}\((self.*)\) ->", text, re.MULTILINE)
    distinct = dict.fromkeys(tuple(parse(head)) for head in heads)
    return [list(one) for one in distinct] or None


def parse(head: str) -> list[str]:
    """Names between commas that stand outside of brackets; `=` marks one that may be left out."""
    parts, depth, start = [], 0, 0
    for place, sign in enumerate(head + ","):
        depth += (sign in "[(<{") - (sign in "])>}")
        if sign == "," and depth == 0:
            parts.append(head[start:place].strip())
            start = place + 1
    return [part.split(":")[0].strip() + ("=" if " = " in part else "") for part in parts if part][1:]


def parameters(name: str, text: str | None) -> list[str] | None:
    """Parameters of a function of CUDA, from the first line of its docstring; None for a constant."""
    head = re.match(rf"{name}\((.*)\)$", (text or "").split("\n")[0])
    return None if head is None else [part.split()[-1] for part in head.group(1).split(",") if part.strip()]


if __name__ == "__main__":
    main()
