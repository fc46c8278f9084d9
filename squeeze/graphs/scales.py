"""What quantization-aware training or calibration says about a graph's products."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from squeeze.errors import StageFailed

__all__ = ["Scales"]


@dataclass(frozen=True)
class Scales:
    """Steps of symmetric int8 by site, the names of `squeeze.graphs.sites.products`.

    Attributes:
        inputs: step of the product's input; for static activations only.
        weights: (outputs,) step of each output channel, all positive; a site that is not named has its
            largest magnitude / 63, or / 127 with 8 bits.
    """

    inputs: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def check(self, outputs: Mapping[str, int], inputs: Collection[str] = ()) -> None:
        """Refuse scales that are not those of a graph.

        Args:
            outputs: output channels of each site.
            inputs: sites that need the step of their input.

        Raises:
            StageFailed: a site that the graph has not, one without a step, or a step that is none.
        """
        for site, steps in self.weights.items():
            if site in outputs and np.shape(steps) != (outputs[site],):
                raise StageFailed(
                    f"weights of {site}: steps of shape {np.shape(steps)} for {outputs[site]} output channels"
                )
        for site in (*self.inputs, *self.weights):
            if site not in outputs:
                raise StageFailed(f"scales for {site}, but the graph has no such product")
            steps = np.append(self.weights.get(site, []), self.inputs.get(site, []))
            if not np.isfinite(steps).all() or (steps <= 0).any():
                raise StageFailed(f"scales of {site}: a step is not a positive number")
        missing = [site for site in inputs if site not in self.inputs]
        if missing:
            raise StageFailed(f"no step for the input of {', '.join(missing)}")
