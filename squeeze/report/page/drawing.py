"""From the parts of a page to its HTML, through the templates beside this file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jinja2

from squeeze.report.page.parts import RunView, Section
from squeeze.report.page.words import readable

__all__ = ["draw"]

TEMPLATES = Path(__file__).parent / "templates"


def draw(views: Sequence[RunView], compared: Section | None, version: str) -> str:
    """The whole document.

    Args:
        views: of all runs.
        compared: the comparison, where there is more than one.
        version: of this package, for the foot of the page.
    """
    template = _environment().get_template("page.html")
    return template.render(runs=views, compared=compared, version=version)


@cache
def _environment() -> jinja2.Environment:
    """Every text is escaped, and what no page may hold is replaced, where it is put in and nowhere else."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=readable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
