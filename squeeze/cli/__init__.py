"""The command line: parse, call, print; no logic of its own."""

from __future__ import annotations

from squeeze.cli.edge import main

__all__ = ["main"]
