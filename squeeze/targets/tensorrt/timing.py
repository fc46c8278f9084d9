"""The timing cache: what kernels took on this GPU, so that the next build need not measure it again.

A cache of another GPU or version would choose kernels by the wrong times, so each pair has its own file,
and TensorRT's own check of the header stays on.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from squeeze.targets.tensorrt.api import Api
from squeeze.targets.tensorrt.cuda import Device

__all__ = ["attach", "cache_path", "keep"]


def cache_path(folder: Path, version: str, device: Device) -> Path:
    """The file of one version on one kind of GPU."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", device.name).strip("-").lower()
    return folder / f"tensorrt-{version}-{name}-sm{device.compute_capability.replace('.', '')}.timing"


def attach(api: Api, config: Any, path: Path) -> None:
    """Give a builder what is stored, or an empty cache where TensorRT does not accept that."""
    stored = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(stored)
    if stored and (cache is None or not config.set_timing_cache(cache, False)):
        api.errors.clear()  # it has been dealt with
        stored, cache = b"", config.create_timing_cache(b"")
    if not stored:
        config.set_timing_cache(cache, False)


def keep(config: Any, path: Path) -> None:
    """Store what a build has measured; a reader never sees half of it."""
    cache = config.get_timing_cache()
    if cache is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(bytes(memoryview(cache.serialize())))
    partial.replace(path)
