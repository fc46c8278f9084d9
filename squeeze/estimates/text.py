"""Estimates and known devices as text; an estimate is never printed without the word and both ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from squeeze.errors import UsageError
from squeeze.estimates import calibration, table
from squeeze.estimates.calibration import Calibration
from squeeze.markup import code, literal
from squeeze.markup import table as markdown_table
from squeeze.targets.devices.results import Estimated, EstimateReport

__all__ = ["estimates", "known", "listed"]

PREFIX = "estimate:"
HEAD = ("model", "estimate, ms", "middle", "tokens", "batch")


def estimates(report: EstimateReport) -> str:
    """Intervals of all models, then where they come from."""
    rows = [_row(each) for each in report.results]
    first = report.results[0]
    device = literal(first.target.removeprefix(PREFIX))
    lines = [f"- {code(each.name)}: {literal(note)}" for each in report.results for note in each.notes]
    return "\n\n".join(
        [
            markdown_table(HEAD, rows),
            f"An estimate for {device}, not a measurement: {literal(first.source)}.",
            *(["\n".join(lines)] if lines else []),
            "No budget can be judged by it.\n",
        ]
    )


def listed(folder: Path) -> list[dict[str, str]]:
    """Devices that can be estimated: stored calibrations first, each with where its figures come from."""
    found = []
    for name, path in calibration.stored(folder).items():
        try:
            source = Calibration.read(path).source
        except UsageError as error:
            source = f"cannot be used: {error.message}"
        found.append({"device": name, "kind": "calibrated", "source": source, "file": str(path)})
    return [
        *found,
        *(
            {"device": name, "kind": "specifications", "source": row.source, "file": ""}
            for name, row in table.rows().items()
        ),
    ]


def known(folder: Path) -> str:
    """The same for people, one device a line; sources of specifications are in the JSON."""
    return "\n".join(_lines(listed(folder)))


def _lines(found: list[dict[str, str]]) -> Iterator[str]:
    width = max(len(each["device"]) for each in found)
    names: Mapping[str, table.Specification] = table.rows()
    for each in found:
        what = each["source"]
        if each["kind"] == "specifications":
            row = names[each["device"]]
            what = f"{row.name}, from specifications, x/{row.width(1):.2g} to x{row.width(1):.2g}"
        yield f"{each['device']:<{width}}  {what}"


def _row(each: Estimated) -> tuple[str, ...]:
    return (
        code(each.name),
        f"{each.low_ms:.3g} to {each.high_ms:.3g}",
        f"about {each.mid_ms:.2g}",
        str(each.tokens or "as declared"),
        str(each.batch),
    )
