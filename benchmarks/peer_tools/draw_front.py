"""Draw macro-F1 against what it costs, with the line of the front, as an SVG without fonts.

    python draw_front.py FIGURE TARGET

FIGURE is a JSON file: title, label of the axis, and points with name, cost, quality, ours and front. TARGET
is the SVG. The same figure makes the same file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

OURS, OTHERS, LINE = "#0b6e4f", "#b5651d", "#888888"
SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "squeeze", "font.size": 8}
STEP = 0.026
"""Distance of two names, in shares of the height."""


def main() -> None:
    """What the arguments say."""
    figure, target = sys.argv[1:]
    draw(json.loads(Path(figure).read_text(encoding="utf-8")), Path(target))


def draw(figure: Mapping[str, Any], target: Path) -> None:
    """Write the drawing."""
    known: Sequence[Mapping[str, Any]] = figure["points"]
    with mpl.rc_context(SETTINGS):
        page, axes = plt.subplots(figsize=(5.6, 4.8))
        axes.set_xscale("log")
        axes.set(xlabel=figure["axis"], ylabel="macro-F1 on test", title=figure["title"])
        line = [each for each in known if each["front"]]
        steps = [each["quality"] for each in line]
        axes.step([each["cost"] for each in line], steps, where="post", color=LINE, linewidth=1, zorder=1)
        for ours, colour, marker, name in ((True, OURS, "o", "squeeze"), (False, OTHERS, "s", "others")):
            mine = [each for each in known if each["ours"] is ours]
            costs, quality = ([each[key] for each in mine] for key in ("cost", "quality"))
            axes.scatter(costs, quality, s=18, c=colour, marker=marker, label=name, zorder=2)
        axes.margins(x=0.12, y=0.08)
        axes.grid(visible=True, which="major", color="#eeeeee")
        axes.set_axisbelow(True)
        _name(axes, known)
        axes.legend(loc="lower right", frameon=False)
        page.savefig(target, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
        plt.close(page)


def _name(axes: Any, known: Sequence[Mapping[str, Any]]) -> None:
    """A number beside every point, and the names beside the drawing; bold on the front."""
    for place, each in enumerate(known):
        said = {"color": OURS if each["ours"] else OTHERS, "fontsize": 6}
        said |= {"fontweight": "bold" if each["front"] else "normal"}
        above = (4, 3) if place % 2 else (4, -7)  # neighbours by cost often lie close to each other
        axes.annotate(
            str(place + 1), (each["cost"], each["quality"]), above, textcoords="offset points", **said
        )
        height = 1 - (place + 0.5) * STEP
        axes.text(1.02, height, f"{place + 1}", transform=axes.transAxes, va="center", **said)
        axes.text(1.055, height, each["name"], transform=axes.transAxes, va="center", **said)


if __name__ == "__main__":
    main()
