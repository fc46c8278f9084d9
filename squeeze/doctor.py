"""What this machine and this installation can do, and how to get what is missing."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from squeeze import __version__
from squeeze.errors import MissingBackend, ProfileError
from squeeze.models import hub
from squeeze.runtime import cpu_name, need, usable_cores, versions
from squeeze.schema import Frozen
from squeeze.targets.watch import Snapshot, snapshot

if TYPE_CHECKING:
    from squeeze.graphs.readiness import Readiness

__all__ = ["Finding", "examine", "examine_model", "quietness"]

TEACHER = "builtin:minilm-l6"
# distribution: what it gives, and the extra that brings it ("" for what always comes along)
PARTS = {
    "numpy": ("arrays", ""),
    "tokenizers": ("text to tokens", ""),
    "safetensors": ("weights on disk", ""),
    "onnxruntime": ("bench, predict, int8 export", ""),
    "torch": ("teacher, distil, export", "train"),
    "transformers": ("teachers of any family", "train"),
    "accelerate": ("training on several devices", "train"),
    "optimum": ("shapes of any teacher family", "train"),
    "onnx": ("export", "train"),
    "onnxscript": ("export", "train"),
    "datasets": ("data sets of the Hugging Face hub", "train"),
    "pyarrow": ("Parquet files", "train"),
    "pillow": ("folders of images", "images"),
    "tensorrt": ("engines for NVIDIA GPUs", "gpu"),
    "cuda-bindings": ("running engines", "gpu"),
}
# flag of the processor: what it gives; x86 names, then ARM names
FLAGS = {
    "avx2": "fast fp32",
    "avx512f": "wider fp32",
    "avx_vnni": "fast int8",
    "avx512_vnni": "fast int8",
    "amx_int8": "very fast int8",
    "avx512_bf16": "bf16 training and inference",
    "amx_bf16": "very fast bf16",
    "asimddp": "fast int8",
    "i8mm": "very fast int8",
    "bf16": "bf16 training and inference",
}


class Finding(Frozen):
    """One thing looked at."""

    name: str
    state: Literal["ok", "missing", "wrong"]
    value: str
    """version, number or list found"""
    gives: str
    """what it is good for"""
    install: str = ""
    """how to get it, when it is not there"""


def examine() -> tuple[Finding, ...]:
    """Look at everything; imports nothing heavier than onnxruntime."""
    return (*_machine(), *_parts(), _providers(), _teacher())


def examine_model(path: Path) -> Readiness:
    """Look at one ONNX file with TensorRT's eyes; needs no GPU.

    Raises:
        MissingBackend: onnx-ir is not installed.
        UsageError: no such file, or no ONNX model.
    """
    need("onnx_ir", extra="train")
    from squeeze.graphs.readiness import examine as look

    return look(path)


def _machine() -> Iterator[Finding]:
    yield Finding(name="squeeze", state="ok", value=__version__, gives="")
    yield Finding(name="python", state="ok", value=platform.python_version(), gives="")
    yield Finding(name="processor", state="ok", value=cpu_name(), gives="")
    yield Finding(
        name="usable cores", state="ok", value=str(usable_cores()), gives="threads for training and bench"
    )
    yield Finding(name="memory", state="ok", value=f"{memory_bytes() / 1e9:.1f} GB", gives="")
    yield Finding(name="held back", state="ok", value=quietness(snapshot()), gives="steady times in bench")
    flags = cpu_flags()
    for name, gives in FLAGS.items():
        if name in flags:
            yield Finding(name=f"instructions {name}", state="ok", value="yes", gives=gives)


def quietness(now: Snapshot) -> str:
    """What holds a process on this machine back, as far as it can be seen: quota, stolen time, heat."""
    quota = "no quota" if now.quota_cores is None else f"quota of {now.quota_cores:g} cores"
    if now.busy_s is None or now.steal_s is None:
        return quota
    ran = now.busy_s + now.steal_s
    told = f"{quota}, {now.steal_s / ran if ran else 0.0:.1%} of its time stolen"
    return f"{told}, {now.thermal_throttles} times too hot" if now.thermal_throttles else told


def memory_bytes(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Memory that the process may use: the machine's, or a container's share of it."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(limit.read_text()))
    except (OSError, ValueError):
        return machine


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction sets of the processor as Linux names them; empty elsewhere."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    found = (line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features")))
    return frozenset(next(found, "").split())


def _parts() -> Iterator[Finding]:
    for name, version in versions(tuple(PARTS)).items():
        gives, extra = PARTS[name]
        absent = version == "absent"
        package = f"squeeze-ondevice[{extra}]" if extra else "squeeze-ondevice"
        yield Finding(
            name=name,
            state="missing" if absent else "ok",
            value="-" if absent else version,
            gives=gives,
            install=f"pip install '{package}'" if absent else "",
        )


def _providers() -> Finding:
    """Which devices ONNX Runtime can use here."""
    name, gives = "onnxruntime devices", "where bench can run"
    try:
        providers = need("onnxruntime", extra="dev").get_available_providers()
    except MissingBackend:
        return Finding(name=name, state="missing", value="-", gives=gives, install="pip install onnxruntime")
    short = ", ".join(provider.removesuffix("ExecutionProvider") for provider in providers)
    return Finding(name=name, state="ok", value=short, gives=gives)


def _teacher() -> Finding:
    """The built-in teacher, with its digest checked."""
    gives = "teacher of the shipped profiles"
    try:
        hub.resolve(TEACHER)
    except MissingBackend as error:
        return Finding(name=TEACHER, state="missing", value="-", gives=gives, install=error.hint)
    except ProfileError as error:
        return Finding(name=TEACHER, state="wrong", value=error.message, gives=gives, install=error.hint)
    return Finding(name=TEACHER, state="ok", value="digest as published", gives=gives)
