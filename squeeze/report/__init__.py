"""What a run has measured, as one record; drawing it is a separate matter."""

from __future__ import annotations

from squeeze.report.collecting import collect
from squeeze.report.model import ModelRow, RunReport
from squeeze.report.render import to_markdown, to_text

__all__ = ["ModelRow", "RunReport", "collect", "to_markdown", "to_text"]
