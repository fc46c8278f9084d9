"""Runner bundles: our C program, ONNX Runtime's library and a C library for one kind of device.

A bundle is a committed folder with the digest of every file. It needs no Python on the device and, with a C
library of its own, nothing else either.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from squeeze import artifact
from squeeze.artifact import Artifact
from squeeze.errors import Corrupt, MissingBackend, StageFailed, UsageError
from squeeze.progress import Progress
from squeeze.runtime import versions
from squeeze.targets.devices import packages
from squeeze.targets.devices.abi import ABIS, Abi, require_machine
from squeeze.targets.devices.commands import Late, call

__all__ = ["Sources", "build", "cached", "default_version", "followed", "home", "key"]

RUNNER = "squeeze-runner"
LIBRARY = "libonnxruntime.so.1"
HEADER = "onnxruntime_c_api.h"
CODE = Path(__file__).resolve().parent.parent / "runner"
LEAST_ANDROID = 24  # the oldest API level that ONNX Runtime's AAR runs on
COMPILE_S = 300.0
DEBIAN_LIBC = ("libc6", "libstdc++6", "libgcc-s1")
DEBIAN_HEADER = "libonnxruntime-dev"


@dataclass(frozen=True)
class Sources:
    """Where the parts come from.

    Attributes:
        version: of ONNX Runtime, when its wheel is downloaded.
        library: a wheel, an AAR or the library itself.
        header: a folder that holds ONNX Runtime's C header somewhere.
        libc: a folder that holds the C library's files somewhere.
        device_libc: leave the C library out: the device's own is used.
        ndk: Android's native development kit, for Android only.
        download: whether parts that are not given may be downloaded.
    """

    version: str
    library: Path | None = None
    header: Path | None = None
    libc: Path | None = None
    device_libc: bool = False
    ndk: Path | None = None
    download: bool = False


@dataclass(frozen=True)
class Parts:
    """What a bundle is put together from."""

    library: Path
    headers: Path
    libc: tuple[Path, ...]
    compiler: str


def home() -> Path:
    """Where bundles are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "squeeze" / "devices"


def cached(root: Path) -> dict[str, Artifact]:
    """Whole bundles by ABI; one that was altered counts as none."""
    found = {}
    for name in ABIS:
        try:
            found[name] = artifact.load(root / name)
        except Corrupt:
            continue
    return found


def build(abi: Abi, sources: Sources, root: Path, progress: Progress) -> tuple[Artifact, bool]:
    """Make a bundle, or return the one that is there when it was made of the same.

    Args:
        abi: for which devices.
        sources: where its parts come from.
        root: where bundles are kept.
        progress: told of each step.

    Returns:
        The bundle, and whether it was made now.

    Raises:
        UsageError: parts that are for something else, or options without effect.
        MissingBackend: a compiler or a part that is not there.
        StageFailed: the compiler refuses.
    """
    followed(abi, sources)
    wanted = key(abi, sources)
    there = cached(root).get(abi.name)
    if there is not None and there.manifest.get("key") == wanted:
        return there, False
    if abi.compiler and shutil.which(abi.compiler) is None:
        raise MissingBackend(f"{abi.compiler} is not installed", hint=abi.install)
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        parts = _parts(abi, sources, Path(scratch), progress)
        partial = Path(scratch) / "bundle"
        partial.mkdir()
        progress.log(f"compiling the runner for {abi.name}")
        _compile(parts, partial / RUNNER)
        shutil.copyfile(parts.library, partial / LIBRARY)
        for path in parts.libc:
            shutil.copyfile(path, partial / path.name)
        for path in partial.iterdir():
            require_machine(path, abi, abi.name)
            path.chmod(0o755)
        artifact.discard(root / abi.name)
        record = {"key": wanted, "result": _result(abi, parts, sources)}
        return artifact.commit(partial, root / abi.name, "runner", record), True


def followed(abi: Abi, sources: Sources) -> None:
    """Refuse options that a kind of device does not use, or that another option replaces.

    Raises:
        UsageError: an option that would have no effect.
    """
    android, chosen = abi.name == "android-arm64", sources.version != default_version()
    unused = {
        "--ndk": sources.ndk is not None and not android,
        "--header": sources.header is not None and android,
        "--libc": sources.libc is not None and (android or sources.device_libc),
        "--device-libc": sources.device_libc and android,
        "--download": sources.download and android,
        "--version": chosen and (android or sources.library is not None or not sources.download),
    }
    for option, without in unused.items():
        if without:
            others = {"--libc": " and --device-libc", "--version": ", it goes with --download alone"}
            raise UsageError(f"{option}: no effect with --abi {abi.name}{others.get(option, '')}")


def _result(abi: Abi, parts: Parts, sources: Sources) -> dict[str, Any]:
    """What a session has to know; `@` is the folder on the device."""
    loader = [f"@/{abi.loader}", "--library-path", "@"] if parts.libc else []
    return {
        "abi": abi.name,
        "programs": [RUNNER, *([abi.loader] if parts.libc else [])],
        "start": [*loader, f"@/{RUNNER}"],
        "library": LIBRARY,
        "onnxruntime": sources.version if sources.library is None else sources.library.name,
    }


def key(abi: Abi, sources: Sources) -> str:
    """Digest of all that a bundle is made of; of a download, its version."""
    given = {name: _digest(path) for name, path in _given(sources).items()}
    wanted = {"abi": abi.name, "version": sources.version, "device_libc": sources.device_libc}
    code = {path.name: artifact.digest_file(path) for path in sorted(CODE.glob("*.[ch]"))}
    return artifact.digest_json({"code": code, "given": given, **wanted})


def _given(sources: Sources) -> Mapping[str, Path]:
    paths = {"library": sources.library, "header": sources.header, "libc": sources.libc}
    found = {name: path for name, path in paths.items() if path is not None}
    for name, path in found.items():
        if not path.exists():
            raise UsageError(f"--{name} {path}: no such file or folder")
    return found


def _digest(path: Path) -> Any:
    return artifact.digest_files(path) if path.is_dir() else artifact.digest_file(path)


def _parts(abi: Abi, sources: Sources, scratch: Path, progress: Progress) -> Parts:
    if abi.name == "android-arm64":
        return _android(abi, sources, scratch)
    return _linux(abi, sources, scratch, progress)


def _linux(abi: Abi, sources: Sources, scratch: Path, progress: Progress) -> Parts:
    lacking = _lacking(abi, sources)
    if lacking and not sources.download:
        raise MissingBackend(
            f"--abi {abi.name}: not given: {', '.join(lacking)}",
            hint="--download fetches them from PyPI and Debian",
        )
    library = sources.library or _installed(abi, sources)
    if library is None:
        progress.log(f"downloading onnxruntime {sources.version} for {abi.wheel}")
        library = packages.wheel(sources.version, abi, scratch)
    names = [DEBIAN_HEADER] if sources.header is None else []
    names += DEBIAN_LIBC if _wants_libc(sources) and sources.libc is None else []
    root = scratch
    if names:
        progress.log(f"downloading {', '.join(names)} of Debian for {abi.debian}")
        root = packages.debian(names, abi, scratch)
    libc = [_one(sources.libc or root, name, "--libc") for name in abi.libc] if _wants_libc(sources) else []
    header = _one(sources.header or root, HEADER, "--header")
    return Parts(_library(library, abi, scratch), header.parent, tuple(libc), abi.compiler)


def _lacking(abi: Abi, sources: Sources) -> list[str]:
    """Options that nobody gave and that nothing here replaces."""
    lacking = [] if sources.library or _installed(abi, sources) else ["--library"]
    lacking += [] if sources.header else ["--header"]
    return lacking + (["--libc"] if _wants_libc(sources) and sources.libc is None else [])


def _wants_libc(sources: Sources) -> bool:
    return not sources.device_libc


def _installed(abi: Abi, sources: Sources) -> Path | None:
    """The library of the installed onnxruntime, when this machine is such a device and has that version."""
    if sources.version != default_version():
        return None
    package = find_spec("onnxruntime")  # found, not loaded
    if package is None or package.origin is None:
        return None
    for path in sorted(Path(package.origin).parent.glob("capi/libonnxruntime.so.*")):
        try:
            require_machine(path, abi, str(path))
        except UsageError:
            continue
        return path
    return None


def _android(abi: Abi, sources: Sources, scratch: Path) -> Parts:
    """Android's C library is on every device; the compiler comes with the NDK, the rest with the AAR."""
    if sources.ndk is None or sources.library is None:
        raise UsageError(
            f"--abi {abi.name}: needs --ndk DIR and --library FILE.aar",
            hint="the AAR is com.microsoft.onnxruntime:onnxruntime-android, as your app uses it",
        )
    headers = scratch / "headers"
    headers.mkdir()
    packages.unzip(sources.library, "headers/", headers)
    compiler = _ndk_compiler(sources.ndk)
    header = _one(headers, HEADER, str(sources.library))
    return Parts(_library(sources.library, abi, scratch), header.parent, (), compiler)


def _ndk_compiler(ndk: Path) -> str:
    """The compiler for the oldest system that ONNX Runtime runs on."""
    levels = {}
    for path in ndk.glob("toolchains/llvm/prebuilt/*/bin/aarch64-linux-android*-clang"):
        level = path.name.removeprefix("aarch64-linux-android").removesuffix("-clang")
        if level.isdecimal() and int(level) >= LEAST_ANDROID:
            levels[int(level)] = str(path)
    if not levels:
        raise UsageError(
            f"--ndk {ndk}: no compiler for arm64 and Android API {LEAST_ANDROID} or later",
            hint="give the folder that holds toolchains/",
        )
    return levels[min(levels)]


def _library(given: Path, abi: Abi, scratch: Path) -> Path:
    """ONNX Runtime's library out of whatever holds it."""
    found = [given]
    if given.suffix == ".whl":
        found = packages.unzip(given, "onnxruntime/capi/libonnxruntime.so", scratch)
    elif given.suffix == ".aar":
        found = packages.unzip(given, "jni/arm64-v8a/libonnxruntime.so", scratch)
    if len(found) != 1:
        raise UsageError(f"--library {given}: holds {len(found)} libraries of ONNX Runtime for {abi.name}")
    require_machine(found[0], abi, f"--library {given}")
    return found[0]


def _one(folder: Path, name: str, told: str) -> Path:
    """A file somewhere below a folder; links are followed when it is copied."""
    found = [path for path in sorted(folder.rglob(name)) if path.is_file()]
    if not found:
        raise UsageError(f"{told}: {name} is nowhere in {folder}")
    return found[0]


def _compile(parts: Parts, target: Path) -> None:
    sources = [str(path) for path in sorted(CODE.glob("*.c"))]
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-I", str(parts.headers), "-pthread"]
    try:
        done = call(
            [parts.compiler, *flags, *sources, "-o", str(target), "-ldl"],
            timeout_s=COMPILE_S,
        )
    except Late as error:
        raise StageFailed(f"{parts.compiler}: no answer after {COMPILE_S:.0f} s") from error
    if done.code:
        first = next((line for line in done.err.splitlines() if "error" in line), done.last_line)
        raise StageFailed(f"{parts.compiler}: the runner cannot be compiled ({first})")


def default_version() -> str:
    """ONNX Runtime's version on this machine: the device should compute with the same."""
    return versions(("onnxruntime",))["onnxruntime"]
