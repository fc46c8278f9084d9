"""Folders that look like a model and cannot be loaded as one; reads headers only, no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from squeeze.errors import ProfileError, reason, visible
from squeeze.models.headers import header, read_json

__all__ = ["read_config", "refuse_unloadable", "weight_names"]

ADAPTER = "adapter_config.json"
MODULES = "modules.json"
MOST_CONFIG = 4_000_000
"""Bytes of a config.json; that of 10,000 labels has 600,000."""
LORA = ("lora_A", "lora_B", "lora_embedding_A")
WRAPPERS: Mapping[str, tuple[str, str]] = {
    "module.": ("torch's DataParallel", "model.module.save_pretrained(FOLDER)"),
    "_orig_mod.": ("torch.compile", "model._orig_mod.save_pretrained(FOLDER)"),
    "_fsdp_wrapped_module.": ("torch's FSDP", "the unwrapped model's save_pretrained(FOLDER)"),
}
"""Prefix of all weights of a wrapped model: what wrapped it, and how to save the model inside."""


def refuse_unloadable(folder: Path) -> None:
    """Refuse what transformers would load as something else, or would call a missing file.

    Args:
        folder: of a model, as `hub.resolve` gives it.

    Raises:
        ProfileError: an adapter without its base model, a sentence-transformers folder whose encoder lies in
            a folder of its own, or weights that were saved from a wrapped model.
    """
    names = weight_names(folder)
    if (folder / ADAPTER).is_file() or any(part in LORA for name in names for part in name.split(".")):
        raise _adapter(folder)
    if (folder / MODULES).is_file() and not (folder / "config.json").is_file():
        raise _sentence_transformer(folder)
    for prefix, (wrapper, saved) in WRAPPERS.items():
        if names and all(name.startswith(prefix) for name in names):
            raise ProfileError(
                f"{folder}: its weights were saved from a model wrapped by {wrapper}: every name begins with "
                f"{prefix!r}",
                hint=f"save the model inside with {saved}, or strip {prefix!r} from the names",
            )


def weight_names(folder: Path) -> frozenset[str]:
    """Names of all weights of a folder, by the headers of its safetensors files; a broken file has none."""
    return frozenset(name for path in sorted(folder.glob("*.safetensors")) for name in _names(path))


def _names(path: Path) -> Iterable[str]:
    try:
        return header(path)
    except ProfileError:  # whoever loads the weights says what is wrong with them
        return ()


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model's folder.

    Raises:
        ProfileError: there is none that can be read.
    """
    try:
        config = read_json(folder / "config.json", MOST_CONFIG)
    except (OSError, ValueError, RecursionError) as error:
        raise ProfileError(f"{folder}: no readable config.json: {reason(error)}") from error
    if not isinstance(config, dict):
        raise ProfileError(f"{folder}: no readable config.json: not a JSON object")
    return config


def _adapter(folder: Path) -> ProfileError:
    base = _document(folder / ADAPTER)
    name = base.get("base_model_name_or_path") if isinstance(base, dict) else None
    of = f" of {visible(name)}" if isinstance(name, str) and name else ""
    if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file():
        hint = f"if the adapter is merged into these weights, remove {ADAPTER}; else merge it first"
    else:
        hint = "merge it into its base model with merge_and_unload(), and save that with save_pretrained"
    return ProfileError(f"{folder}: a PEFT adapter{of}, not a whole model", hint=hint)


def _sentence_transformer(folder: Path) -> ProfileError:
    modules = _document(folder / MODULES)
    places = (
        [each.get("path") for each in modules if isinstance(each, dict)] if isinstance(modules, list) else []
    )
    inside = [folder / place for place in places if isinstance(place, str) and place]
    encoder = next((place for place in inside if (place / "config.json").is_file()), None)
    where = f", its encoder lies in {visible(encoder.name)}" if encoder else ", it has no config.json"
    name = encoder if encoder else "the folder of its Transformer module"
    return ProfileError(
        f"{folder}: a sentence-transformers model{where}",
        hint=f"give {name}; it has no classification head, so add [teacher.finetune]",
    )


def _document(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
