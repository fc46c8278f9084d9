"""The families of encoders that are read, by `model_type` of config.json; without torch.

A new family is one file and one line here. One that computes something else than BERT does (another order of
norms, rotary positions) needs that in the encoder first.
"""

from __future__ import annotations

from collections.abc import Mapping

from squeeze.errors import ProfileError
from squeeze.models.families import bert, distilbert, electra, mpnet, roberta
from squeeze.models.families.family import Family, HeadLayout

__all__ = ["FAMILIES", "Family", "HeadLayout", "family_of", "unsupported_family"]

FAMILIES: Mapping[str, Family] = {
    "bert": bert.FAMILY,
    "roberta": roberta.FAMILY,
    "xlm-roberta": roberta.XLM,
    "distilbert": distilbert.FAMILY,
    "electra": electra.FAMILY,
    "mpnet": mpnet.FAMILY,
}


def family_of(model_type: str) -> Family:
    """The family of a `model_type`.

    Raises:
        ProfileError: it is not supported.
    """
    if model_type not in FAMILIES:
        raise ProfileError(
            unsupported_family(model_type), hint="use an encoder classifier of one of these families"
        )
    return FAMILIES[model_type]


def unsupported_family(model_type: str) -> str:
    """The message for a family that is not supported."""
    return f"teacher family {model_type!r} is not supported (supported: {', '.join(FAMILIES)})"
