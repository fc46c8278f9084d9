"""What a run has measured, as one record; drawing it is a separate matter.

squeeze.report.evidence reads what else a run left on disk, and squeeze.report.page makes a page of all of it.
"""

from __future__ import annotations

from squeeze.report.collecting import by_kind, collect
from squeeze.report.comparing import reports_json, reports_markdown, reports_text
from squeeze.report.model import ModelRow, RunReport
from squeeze.report.render import to_markdown, to_text

__all__ = [
    "ModelRow",
    "RunReport",
    "by_kind",
    "collect",
    "reports_json",
    "reports_markdown",
    "reports_text",
    "to_markdown",
    "to_text",
]
