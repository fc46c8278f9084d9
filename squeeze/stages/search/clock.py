"""Where the time of a search went."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

__all__ = ["Clock"]


@dataclass
class Clock:
    """Seconds by part."""

    parts: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)

    def lap(self, name: str) -> None:
        """Book the time since the last lap."""
        now = time.monotonic()
        self.parts[name] = round(now - self._since, 3)
        self._since = now
