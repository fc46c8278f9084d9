"""squeeze: make a text classifier small and fast enough for the device, and prove that it is still good."""

from __future__ import annotations

from squeeze.runtime import quiet

__all__ = ["__version__"]
__version__ = "0.1.0"

# Before any import of ours can load a library that phones home.
quiet()
