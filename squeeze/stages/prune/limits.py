"""What a model can lose, told before anything is computed."""

from __future__ import annotations

from squeeze.distillation.resolve import kept_layers
from squeeze.errors import ProfileError
from squeeze.models.shapes import EmbeddingShape, EncoderShape
from squeeze.stages.prune.stage import PruneSection

__all__ = ["cut_stem", "layers", "refuse"]


def refuse(settings: PruneSection, shape: EncoderShape) -> None:
    """Hold the settings against the model.

    Raises:
        ProfileError: a key asks for what the model does not have; the key is named.
    """
    layers(settings, shape)
    if settings.hidden is not None:
        _refuse_hidden(settings.hidden, shape)
    if settings.rank is not None:
        _refuse_rank(settings.rank, shape, settings.hidden or shape.hidden)
    if settings.pieces is not None and settings.pieces >= shape.vocabulary:
        raise ProfileError(f"[prune] pieces: {settings.pieces}, the model has {shape.vocabulary}")


def layers(settings: PruneSection, shape: EncoderShape) -> tuple[int, ...]:
    """The layers that stay, counted from 0.

    Raises:
        ProfileError: there are not so many.
    """
    if settings.layers is None:
        return tuple(range(len(shape.layers)))
    return kept_layers(settings.layers, shape, "[prune] layers", "the model")


def cut_stem(shape: EncoderShape, settings: PruneSection) -> EncoderShape:
    """The shape with the hidden width and the rank that are asked for; its layers stay.

    A dense table is narrowed with the hidden width, any other keeps its own.
    """
    hidden, table = settings.hidden or shape.hidden, shape.embedding
    if table.kind == "dense" and table.width == shape.hidden:
        table = EmbeddingShape(width=hidden)
    if settings.rank is not None:
        table = EmbeddingShape(kind="factorised", width=table.width, rank=settings.rank)
    return shape.model_copy(update={"hidden": hidden, "embedding": table})


def _refuse_hidden(hidden: int, shape: EncoderShape) -> None:
    if hidden >= shape.hidden:
        raise ProfileError(f"[prune] hidden: {hidden}, the model has {shape.hidden}")
    if hidden == shape.embedding.width:
        raise ProfileError(
            f"[prune] hidden: {hidden} is the width of the model's table, which is widened",
            hint="take another width: a model as wide as its table widens nothing",
        )


def _refuse_rank(rank: int, shape: EncoderShape, hidden: int) -> None:
    table = shape.embedding
    if table.kind == "product":
        raise ProfileError(
            "[prune] rank: the table is product-quantized, and codes have no rank",
            hint="fewer codes come from [student.embedding] subvectors",
        )
    width = hidden if table.width == shape.hidden else table.width
    limit = table.rank if table.kind == "factorised" else width
    if rank >= limit:
        raise ProfileError(f"[prune] rank: {rank}, the table has {limit}")
