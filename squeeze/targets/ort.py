"""The only door to ONNX Runtime: sessions whose failures are one line with the right exit code."""

from __future__ import annotations

import builtins
import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from squeeze.errors import MissingBackend, StageFailed, UsageError, brief
from squeeze.targets import memory
from squeeze.targets.files import readable
from squeeze.targets.guesses import Spec

__all__ = ["BRINGS", "CPU", "config", "guarded", "installed", "open_session", "options", "specs"]

CPU = "CPUExecutionProvider"
BRINGS: Mapping[str, str] = {
    "OpenVINOExecutionProvider": "pip uninstall onnxruntime, then pip install onnxruntime-openvino",
    "XnnpackExecutionProvider": "build onnxruntime with --use_xnnpack",
}
"""How to get a provider. Source: https://onnxruntime.ai/docs/execution-providers/, pages of each."""
UNREADABLE = ("InvalidProtobuf", "NoSuchFile", "NoModel")
NO_MODEL = ("ORT model verification failed", "Invalid ORT format model")  # said with the code FAIL
FAILED = (
    "EPFail",
    "EngineError",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "MemoryError",
    "ModelRequiresCompilation",
    "NotFound",
    "NotImplemented",
    "RuntimeException",
)


TOO_NEW = (
    (
        re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)"),
        "IR version {0}, this ONNX Runtime ({version}) reads up to {1}",
        "ir_version {1}",
    ),
    (
        re.compile(
            r"Opset (\d+) is under development.*official support for domain (\S+) is till opset (\d+)",
            re.S,
        ),
        "operator set {0} of {1}, this ONNX Runtime ({version}) reads up to {2}",
        "operator set {2}",
    ),
)
"""What ONNX Runtime says of a file that is newer than it is, our words for it, and what it could read."""
SOURCE = re.compile(r"Load model from .* failed:|\S*/onnxruntime\w*/\S+\.(?:cc|h):\d+ ", re.S)
"""Where in its own source ONNX Runtime met the problem, and the path that we name ourselves."""


def open_session(
    path: Path,
    *,
    threads: int,
    spinning: bool = True,
    provider: str = CPU,
    provider_options: Mapping[str, str] | None = None,
    optimised: bool = True,
    entries: Mapping[str, str] | None = None,
    traced: Path | None = None,
) -> Any:
    """Open a model.

    Args:
        path: an ONNX or ORT file.
        threads: threads inside one operator; operators run one after the other.
        spinning: whether idle threads wait in a loop, ONNX Runtime's default.
        provider: name of the execution provider.
        provider_options: its settings.
        optimised: whether ONNX Runtime may change the graph; without it each node runs as it is written.
        entries: more of the session's configuration.
        traced: beginning of the name of a file in which `end_profiling` lists every node that ran, with the
            types and shapes of all it reads; weights then keep their own shapes, which costs time.

    Returns:
        An ``onnxruntime.InferenceSession``.

    Raises:
        UsageError: no such file, or not a model.
        MissingBackend: ONNX Runtime or the provider is not installed.
        StageFailed: a model that ONNX Runtime cannot run.
    """
    runtime = installed("onnxruntime")
    if provider not in runtime.get_available_providers():
        known = ", ".join(runtime.get_available_providers())
        brings = f"; {BRINGS[provider]}" if provider in BRINGS else ""
        raise MissingBackend(
            f"{provider} is not part of the installed onnxruntime", hint=f"it offers {known}{brings}"
        )
    readable(path)
    settings = options(threads=threads, spinning=spinning)
    for key, value in (entries or {}).items():
        settings.add_session_config_entry(key, value)
    if not optimised:
        settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if traced is not None:
        settings.enable_profiling = True
        settings.profile_file_prefix = str(traced)
        settings.add_session_config_entry("session.disable_prepacking", "1")
    with guarded(path, "cannot be opened"):
        return runtime.InferenceSession(
            str(path), settings, providers=[(provider, dict(provider_options or {}))]
        )


def options(*, threads: int, spinning: bool = True, exact: bool = True) -> Any:
    """What all sessions are opened with, an ``onnxruntime.SessionOptions``.

    Args:
        threads: as `open_session`.
        spinning: as `open_session`.
        exact: whether products of uint8 and int8 are, on every processor.
    """
    made = installed("onnxruntime").SessionOptions()
    made.intra_op_num_threads = threads
    made.inter_op_num_threads = 1
    made.log_severity_level = 4
    for key, value in config(spinning=spinning, exact=exact).items():
        made.add_session_config_entry(key, value)
    return made


def config(*, spinning: bool = True, exact: bool = True) -> dict[str, str]:
    """Entries of a session's configuration, here and on devices; args are those of `options`."""
    # uint8 x int8 products saturate on x86 processors without VNNI. With this, weights that do not fit into
    # 7 bits are turned to uint8, whose kernel is exact and slower. Measured without VNNI only: by its source
    # ONNX Runtime may do the same where there is VNNI, which needs none of it.
    return {
        "session.x64quantprecision": str(int(exact)),
        "session.intra_op.allow_spinning": str(int(spinning)),
    }


def installed(module: str) -> ModuleType:
    """Import a library that comes with this package, but may have been taken away.

    Raises:
        MissingBackend: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        name = module.partition(".")[0]
        raise MissingBackend(f"{name} is not installed", hint=f"pip install {name}") from error


def specs(session: Any) -> tuple[Spec, ...]:
    """The inputs a model declares."""
    return tuple(Spec(node.name, node.type, tuple(node.shape)) for node in session.get_inputs())


@contextmanager
def guarded(path: Path, what: str, hint: str = "") -> Iterator[None]:
    """Turn ONNX Runtime's own exceptions into one line about the file.

    Args:
        path: the model file.
        what: what could not be done with it.
        hint: what to try, when the model was read and still cannot do it.
    """
    state = installed("onnxruntime.capi.onnxruntime_pybind11_state")
    try:
        yield
    except _kinds(state, UNREADABLE) as error:
        file = "give an .onnx or .ort file"
        raise UsageError(f"{path}: not a readable ONNX model ({_line(error)})", hint=file) from error
    except UnicodeDecodeError as error:
        raise StageFailed(f"{path}: a name in it is not UTF-8, which ONNX asks for") from error
    except _kinds(state, FAILED) as error:
        _refuse_newer(path, str(error))
        if any(word in str(error) for word in NO_MODEL):
            raise UsageError(f"{path}: not a readable ORT model ({_line(error)})") from error
        if memory.exceeded(error):
            raise StageFailed(f"{path}: {memory.too_much()}", hint=memory.HINT) from error
        raise StageFailed(f"{path}: {what} by ONNX Runtime ({_line(error)})", hint=hint) from error


def _kinds(state: Any, names: Sequence[str]) -> tuple[type[Exception], ...]:
    """The exception classes of these names, Python's own or those that this version of ONNX Runtime has."""
    found = (getattr(state, name, getattr(builtins, name, None)) for name in names)
    return tuple(kind for kind in found if kind is not None)


def _refuse_newer(path: Path, text: str) -> None:
    """Say of a file that is newer than the library which version it has and which would be read.

    Raises:
        StageFailed: it is newer.
    """
    for pattern, message, readable_version in TOO_NEW:
        if match := pattern.search(text):
            version = installed("onnxruntime").__version__
            raise StageFailed(
                f"{path}: {message.format(*match.groups(), version=version)}",
                hint="install a newer onnxruntime, or save the model with "
                + readable_version.format(*match.groups()),
            )


def _line(error: Exception) -> str:
    """ONNX Runtime's message as one line, its code and its source left out; a long one keeps its end."""
    return brief(SOURCE.sub("", str(error).rpartition("[ONNXRuntimeError] : ")[2]))
