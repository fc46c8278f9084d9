"""TOML to a checked profile: everything that can be refused is refused before anything is spent."""

from __future__ import annotations

from squeeze.profile.explaining import Effective, explain
from squeeze.profile.loading import Loaded, load, parse
from squeeze.profile.model import Profile

__all__ = ["Effective", "Loaded", "Profile", "explain", "load", "parse"]
