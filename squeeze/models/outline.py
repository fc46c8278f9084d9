"""A teacher before it is loaded: its config.json and the headers of its weights, without torch.

What is refused here, `models.teacher.load_classifier` would refuse after minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from squeeze.errors import ProfileError, visible
from squeeze.models import headers
from squeeze.models.families import Family, family_of
from squeeze.models.headers import Shape
from squeeze.models.shapes import EmbeddingShape, EncoderShape, LayerShape
from squeeze.models.support import ACTIVATION_NAMES, refuse_config
from squeeze.models.weights import encoder_weights

__all__ = ["Dimensions", "dimensions", "incomplete", "lacking", "outline", "tensors"]

Dimensions = Mapping[str, int]
MOST = 10_000_000  # of any width or count
MOST_LAYERS = 1000
SHOWN = 3  # names of tensors that are missing


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
    refuse_config(folder, config)
    family = family_of(str(config["model_type"]))
    lacks = incomplete(tensors(folder, config, outputs), headers.sizes(folder), family.body)
    if lacks:
        raise lacking(folder, lacks)
    first = family.first_position
    if first is None:
        first = int(config.get("pad_token_id", 1)) + 1
    shape = _shape(family, dimensions(folder, config), labels)
    return shape.model_copy(
        update={
            "positions": shape.positions - first,
            "activation": ACTIVATION_NAMES[config.get(family.activation, "gelu")],
            "head_activation": family.classifier.activation,
        }
    )


def _shape(family: Family, sizes: Dimensions, labels: int) -> EncoderShape:
    """With the whole table of positions."""
    return EncoderShape(
        vocabulary=sizes["vocabulary"],
        embedding=EmbeddingShape(width=sizes["width"]),
        hidden=sizes["hidden"],
        head_size=sizes["hidden"] // sizes["heads"],
        layers=(LayerShape(heads=sizes["heads"], ffn=sizes["ffn"]),) * sizes["layers"],
        positions=sizes["positions"],
        labels=labels,
        relative_bias=family.relative is not None,
    )


def dimensions(folder: Path, config: Mapping[str, Any]) -> Dimensions:
    """Widths and counts that a config.json of a supported family names.

    Raises:
        ProfileError: one of them is no whole number, or the heads do not divide the width.
    """
    found = {}
    for name, (key, default) in family_of(config["model_type"]).sizes.items():
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
    wanted: dict[str, Shape] = {}
    for weight in encoder_weights(_shape(family, sizes, outputs or 1)):
        names, (rows, *columns) = family.hub_names(weight.name), weight.shape
        if outputs is not None or not weight.name.startswith("head."):
            wanted |= {name: (rows // len(names), *columns) for name in names}
    if family.segmented:
        wanted[family.segments] = (sizes["types"], sizes["width"])
    if family.relative is not None:
        [name] = family.hub_names("layers.0.distances")
        wanted[name] = (family.buckets, sizes["heads"])
    return wanted


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
