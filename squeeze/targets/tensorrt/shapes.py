"""Which sizes an engine is built for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median_low

from squeeze.errors import UsageError
from squeeze.schema import Frozen

__all__ = ["Shapes", "shapes_for"]


class Shapes(Frozen):
    """Least, usual and greatest shape of one input; kernels are chosen for the usual one."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]


def shapes_for(
    names: Sequence[str], lengths: Sequence[int], longest: int, batch: int = 1
) -> Mapping[str, Shapes]:
    """Shapes of (batch, sequence) inputs from the token counts of real text.

    The least is one token, so that no short text is refused; the usual one the median of the data,
    where an engine should be fastest; the greatest the longest input of the model.

    Args:
        names: the inputs.
        lengths: token counts of real text, at least one.
        longest: longest input of the model in tokens.
        batch: most texts a call.

    Raises:
        UsageError: no lengths, or a limit below 1.

    >>> shapes_for(["input_ids"], [7, 9, 40], 64)["input_ids"].usual
    (1, 9)
    """
    if not lengths or longest < 1 or batch < 1:
        raise UsageError(f"shapes of an engine: {len(lengths)} lengths, longest {longest}, batch {batch}")
    usual = min(max(median_low(lengths), 1), longest)
    shapes = Shapes(least=(1, 1), usual=(batch, usual), most=(batch, longest))
    return dict.fromkeys(names, shapes)
