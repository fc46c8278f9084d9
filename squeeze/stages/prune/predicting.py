"""What a cut model will take on this machine, from a table of measured costs."""

from __future__ import annotations

import numpy as np

from squeeze.distillation.inputs import DistillationInputs
from squeeze.models import tokens
from squeeze.models.shapes import EncoderShape, LayerShape
from squeeze.stage import Work
from squeeze.stages.prune import limits
from squeeze.stages.prune.choosing import Latency
from squeeze.stages.prune.stage import PruneSection

__all__ = ["predictor"]


def predictor(
    settings: PruneSection, shape: EncoderShape, inputs: DistillationInputs, work: Work
) -> Latency | None:
    """Predicts milliseconds of a cut shape, one text of median length on one thread.

    Measures the table unless the cache of the runs has it.

    Returns:
        None where no latency is asked for, and nothing has to be measured.
    """
    if settings.latency_ms is None and settings.latency_share is None:
        return None
    # Here: measuring writes graphs, and no other target needs the libraries for it.
    from squeeze.costs.measure import cost_table
    from squeeze.costs.request import CostRequest

    texts = inputs.data.splits["validation"].texts
    length = int(np.median(tokens.encode(inputs.text.tokenizer, texts).lengths))
    request = CostRequest.spanning(_corners(shape, settings), [length], forms=(settings.latency_form,))
    table = cost_table(request, work.cache, 1, work.progress)
    return lambda wanted: table.latency_ms(wanted, settings.latency_form, length)


def _corners(shape: EncoderShape, settings: PruneSection) -> list[EncoderShape]:
    """The largest and the smallest shape on the way, before and after width and rank are cut."""
    smallest = shape.model_copy(update={"layers": (LayerShape(heads=1, ffn=1),)})
    both = [shape, smallest]
    return list(dict.fromkeys([*both, *(limits.cut_stem(one, settings) for one in both)]))
