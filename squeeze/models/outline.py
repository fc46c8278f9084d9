"""A teacher before it is loaded: its config.json and the headers of its weights, without torch.

What is refused here, `models.teacher.load_classifier` would refuse after minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from squeeze.errors import ProfileError, visible
from squeeze.models import headers
from squeeze.models.headers import Shape
from squeeze.models.layout import BUCKETS, family_of
from squeeze.models.shapes import EmbeddingShape, EncoderShape, LayerShape
from squeeze.models.support import ACTIVATION_NAMES, activation_key, refuse_config

__all__ = ["Dimensions", "dimensions", "incomplete", "lacking", "outline", "tensors"]

Dimensions = Mapping[str, int]
MOST = 10_000_000  # of any width or count
MOST_LAYERS = 1000
SHOWN = 3  # names of tensors that are missing

_BERT = {
    "vocabulary": ("vocab_size", 30_522),
    "hidden": ("hidden_size", 768),
    "heads": ("num_attention_heads", 12),
    "layers": ("num_hidden_layers", 12),
    "ffn": ("intermediate_size", 3072),
    "positions": ("max_position_embeddings", 512),
    "types": ("type_vocab_size", 2),
}
_UNSEGMENTED = {name: found for name, found in _BERT.items() if name != "types"}
KEYS: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "bert": _BERT,
    "roberta": {**_BERT, "vocabulary": ("vocab_size", 50_265)},
    "xlm-roberta": _BERT,
    "distilbert": {
        "vocabulary": ("vocab_size", 30_522),
        "hidden": ("dim", 768),
        "heads": ("n_heads", 12),
        "layers": ("n_layers", 6),
        "ffn": ("hidden_dim", 3072),
        "positions": ("max_position_embeddings", 512),
    },
    "electra": {
        **_BERT,
        "hidden": ("hidden_size", 256),
        "heads": ("num_attention_heads", 4),
        "ffn": ("intermediate_size", 1024),
        "width": ("embedding_size", 128),
    },
    "mpnet": {**_UNSEGMENTED, "vocabulary": ("vocab_size", 30_527)},
}
"""What a size is called in a family's config.json, and the library's default; a test holds both to it."""


def outline(folder: Path, config: Mapping[str, Any], labels: int, outputs: int | None) -> EncoderShape:
    """The shape that a teacher will have.

    Args:
        folder: of the model.
        config: its config.json.
        labels: of the task.
        outputs: of its head; None: it is fine-tuned, so that its head may be missing.

    Raises:
        ProfileError: a family or variant that is not supported, or weights that config.json does not fit.
        MissingBackend: a file of the weights is not there.
    """
    refuse_config(folder, config, trained=outputs is None)
    name = str(config["model_type"])
    family, found = family_of(name), dimensions(folder, config)
    wanted = tensors(folder, config, outputs)
    lacks = incomplete(wanted, headers.sizes(folder), family.body)
    if lacks:
        raise lacking(folder, lacks)
    first = family.first_position
    if first is None:
        first = int(config.get("pad_token_id", 1)) + 1
    return EncoderShape(
        vocabulary=found["vocabulary"],
        embedding=EmbeddingShape(width=found["width"]),
        hidden=found["hidden"],
        head_size=found["hidden"] // found["heads"],
        layers=(LayerShape(heads=found["heads"], ffn=found["ffn"]),) * found["layers"],
        positions=found["positions"] - first,
        labels=labels,
        activation=ACTIVATION_NAMES[config.get(activation_key(name), "gelu")],
        head_activation=family.head_activation,
        relative_bias=family.relative is not None,
    )


def dimensions(folder: Path, config: Mapping[str, Any]) -> Dimensions:
    """Widths and counts that a config.json of a supported family names.

    Raises:
        ProfileError: one of them is no whole number, or the heads do not divide the width.
    """
    found = {}
    for name, (key, default) in KEYS[config["model_type"]].items():
        value = config.get(key, default)
        if type(value) is not int or not 1 <= value <= MOST:
            shown = visible(str(value))[:40]
            raise ProfileError(f"{folder}: config.json: {key} {shown} is no whole number from 1 to {MOST:,}")
        found[name] = value
    found.setdefault("width", found["hidden"])
    if found["layers"] > MOST_LAYERS:
        raise ProfileError(
            f"{folder}: config.json: {found['layers']} layers, at most {MOST_LAYERS:,} are read"
        )
    if found["hidden"] % found["heads"]:
        raise ProfileError(
            f"{folder}: config.json: a width of {found['hidden']} is not a multiple of {found['heads']} heads"
        )
    return found


def tensors(folder: Path, config: Mapping[str, Any], outputs: int | None) -> dict[str, Shape]:
    """The shape of every tensor that a model of a supported family has.

    Args:
        folder: of the model, for messages.
        config: its config.json.
        outputs: of its head; None: without it.

    Raises:
        ProfileError: config.json names a size that is none.
    """
    family, sizes = family_of(str(config["model_type"])), dimensions(folder, config)
    hidden, width = sizes["hidden"], sizes["width"]
    place = f"{family.body}.embeddings"
    wanted: dict[str, Shape] = {
        f"{place}.word_embeddings.weight": (sizes["vocabulary"], width),
        f"{place}.position_embeddings.weight": (sizes["positions"], width),
        **_norm(f"{place}.LayerNorm", width),
    }
    if "types" in sizes:
        wanted[f"{place}.token_type_embeddings.weight"] = (sizes["types"], width)
    if width != hidden:
        wanted |= _matrix(f"{family.body}.embeddings_project", hidden, width)
    if family.relative is not None:
        wanted[f"{family.body}.{family.relative}"] = (BUCKETS, sizes["heads"])
    for index in range(sizes["layers"]):
        wanted |= _layer(f"{family.body}.{family.layer.format(index)}", family.parts, hidden, sizes["ffn"])
    if outputs is not None:
        wanted |= _matrix(family.head_dense, hidden, hidden) | _matrix(family.head_out, outputs, hidden)
    return wanted


def _layer(place: str, parts: Mapping[str, str], hidden: int, ffn: int) -> dict[str, Shape]:
    wanted: dict[str, Shape] = {}
    for part in ("q", "k", "v", "out"):
        wanted |= _matrix(f"{place}.{parts[part]}", hidden, hidden)
    for part in ("attention_norm", "norm"):
        wanted |= _norm(f"{place}.{parts[part]}", hidden)
    return (
        wanted
        | _matrix(f"{place}.{parts['up']}", ffn, hidden)
        | _matrix(f"{place}.{parts['down']}", hidden, ffn)
    )


def _matrix(name: str, rows: int, columns: int) -> dict[str, Shape]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def incomplete(wanted: Mapping[str, Shape], found: Mapping[str, Shape], body: str) -> list[str]:
    """Names of the tensors that are missing or of another size, sorted.

    The library also takes a body without its prefix, and norms by the names that TensorFlow gave them.
    """
    known = {_modern(name): shape for name, shape in found.items()}
    prefix = f"{body}."
    return sorted(
        name
        for name, shape in wanted.items()
        if known.get(name, known.get(name.removeprefix(prefix))) != shape
    )


def _modern(name: str) -> str:
    return name.replace(".gamma", ".weight").replace(".beta", ".bias") if "LayerNorm" in name else name


def lacking(folder: Path, names: Sequence[str]) -> ProfileError:
    """The error of weights that are not whole."""
    return ProfileError(
        f"{folder}: {len(names)} tensors are missing from its weights or of another size"
        f" ({', '.join(names[:SHOWN])})",
        hint="add [teacher.finetune] if it is a pretrained model without a classification head",
    )
