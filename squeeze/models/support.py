"""Which configs of Hugging Face classifiers are computed exactly: config.json alone decides, without torch.

`config_problem` refuses what our encoder does not compute; `ACTIVATION_NAMES` maps the library's names of
a function to ours. Both are read before any weight is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from squeeze.errors import ProfileError
from squeeze.models.families import FAMILIES, unsupported_family
from squeeze.models.shapes import Activation

__all__ = [
    "ACTIVATION_NAMES",
    "config_problem",
    "refuse_config",
]

ACTIVATION_NAMES: Mapping[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    # Five names of one function: GELU with tanh in place of the error function.
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "relu": "relu",
}

Config = Mapping[str, Any]


def config_problem(config: Any) -> str | None:
    """Why a teacher of this config.json cannot be read exactly; None where it can.

    Args:
        config: the parsed config.json; a key that is absent has the library's default.

    >>> config_problem({"model_type": "bert", "hidden_act": "silu"})
    "activation 'silu' of the teacher is not supported (supported: gelu, gelu_python, ...)"
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("model_type"), str):
        return "config.json names no model_type"
    checks: tuple[Callable[[Config], str | None], ...] = (
        _family,
        _code,
        _variant,
        _activation,
        _sizes,
        _positions,
        _epsilon,
    )
    found = (check(config) for check in checks)
    return next((problem for problem in found if problem), None)


def refuse_config(folder: Path, config: Any) -> None:
    """Refuse a teacher that cannot be read exactly.

    Args:
        folder: of the model, for the message.
        config: as for `config_problem`.

    Raises:
        ProfileError: it says why.
    """
    problem = config_problem(config)
    if problem:
        raise ProfileError(f"{folder}: {problem}", hint="use an encoder with a classification head")


def _family(config: Config) -> str | None:
    name: str = config["model_type"]
    return None if name in FAMILIES else unsupported_family(name)


def _code(config: Config) -> str | None:
    """Models that are more than the library's class with these weights."""
    own = config.get("auto_map")
    if isinstance(own, Mapping) and any(str(name).startswith("AutoModel") for name in own):
        return "config.json names code of its own for the model (auto_map), which is never run"
    if config.get("quantization_config"):
        return "its weights are quantized (quantization_config); give the model as it was before"
    return None


def _variant(config: Config) -> str | None:
    if config.get("is_decoder"):
        return "a teacher that reads left to right (is_decoder) is not supported"
    if config.get("add_cross_attention"):
        return "a teacher that attends to a second text (add_cross_attention) is not supported"
    if config.get("pruned_heads"):
        return "a teacher with pruned_heads is not supported: save it with the heads cut out or kept"
    kind = config.get("position_embedding_type") or "absolute"
    if kind != "absolute":
        return f"position_embedding_type {kind!r} of the teacher is not supported, only 'absolute'"
    return FAMILIES[config["model_type"]].problem(config)


def _activation(config: Config) -> str | None:
    name = config.get(FAMILIES[config["model_type"]].activation, "gelu")
    if isinstance(name, str) and name in ACTIVATION_NAMES:
        return None
    return f"activation {name!r} of the teacher is not supported (supported: {', '.join(ACTIVATION_NAMES)})"


def _sizes(config: Config) -> str | None:
    for name in ("num_hidden_layers", "n_layers"):
        if not _whole(config.get(name, 1), 1):
            return f"{name} {config[name]!r}: at least one layer is needed"
    if FAMILIES[config["model_type"]].segmented and not _whole(config.get("type_vocab_size", 2), 1):
        return f"type_vocab_size {config['type_vocab_size']!r}: a text has at least one segment"
    for width, heads in (("hidden_size", "num_attention_heads"), ("dim", "n_heads")):
        whole, parts = config.get(width), config.get(heads)
        if _whole(whole, 1) and _whole(parts, 1) and whole % parts:
            return f"{width} {whole} is not a multiple of {heads} {parts}"
    return None


def _positions(config: Config) -> str | None:
    """What RoBERTa and MPNet count positions from."""
    name = config["model_type"]
    first = FAMILIES[name].first_position
    counted = first is None  # from `pad_token_id`; that piece itself has none
    pad = config.get("pad_token_id", 1 if counted else 0)
    if counted and pad is None:
        return "config.json: pad_token_id is missing, and RoBERTa counts positions from it"
    if counted and isinstance(pad, int) and pad < -1:
        return f"pad_token_id {pad}: RoBERTa counts positions from it, and none is negative"
    table, rows = config.get("vocab_size"), config.get("max_position_embeddings")
    if isinstance(pad, int) and _whole(table, 0) and pad >= table and not first:
        return f"pad_token_id {pad}: the table has {table} rows"
    skipped = pad + 1 if counted and isinstance(pad, int) else first or 0
    if _whole(rows, 0) and rows <= skipped:
        return f"max_position_embeddings {rows}: {name} leaves the first {skipped} out, none is left"
    return None


def _epsilon(config: Config) -> str | None:
    value = config.get("layer_norm_eps", 1e-12)
    if FAMILIES[config["model_type"]].epsilon is not None:
        return None  # not read
    if isinstance(value, int | float) and math.isfinite(value) and value > 0:
        return None
    return f"layer_norm_eps {value!r} is not a small positive number"


def _whole(value: Any, least: int) -> TypeGuard[int]:
    return isinstance(value, int) and value >= least
