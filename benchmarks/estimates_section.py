"""From the record of benchmarks.estimates to lines of Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.tables import Record, points, reaches, table, three

__all__ = ["estimates"]

NOTES = 3


def estimates(record: Record) -> list[str]:
    """Random encoders on a device, then published runs against the shipped table."""
    here = record.get("here")
    return [*(_here(record, here) if here else []), *_published(record)]


def _here(record: Record, here: Record) -> list[str]:
    near = 100 * record["near"]
    rows = [
        (
            form,
            f"{points(found['inside'])} %",
            f"{points(found['near'])} %",
            f"{100 * found['mean']:.1f} %",
            f"{100 * found['worst']:+.1f} %",
        )
        for form, found in here["forms"].items()
    ]
    every = here["rows"]
    inside, close = (
        sum(row["inside"] for row in every) / len(every),
        sum(abs(row["error"]) <= record["near"] for row in every) / len(every),
    )
    way = "calibrated first, then measured" if here["apart"] else "all in turns in one process"
    return [
        f"{here['encoders']} random encoders that the calibration never saw, at "
        f"{', '.join(map(str, here['lengths']))} tokens, one thread, target {here['target']}; "
        f"{here['graphs']} small graphs, {way}.",
        "",
        *table(
            ("form", "inside the interval", f"middle within {near:g} %", "mean error without sign", "worst"),
            rows,
        ),
        "",
        f"- inside: {points(inside)} %, at least {points(record['asked']['inside'])} %: "
        f"{reaches(inside, record['asked']['inside'])}",
        f"- middle within {near:g} %: {points(close)} %, at least {points(record['asked']['near'])} %: "
        f"{reaches(close, record['asked']['near'])}",
        f"- half the width of an interval: x {here['spread']:.2f}, at most x {record['widest']:g}: "
        f"{reaches(record['widest'], here['spread'])}",
        *[f"- {note}" for note in here["notes"][:NOTES]],
        "",
    ]


def _published(record: Record) -> list[str]:
    rows: Sequence[Record] = record["published"]
    share = sum(row["inside"] for row in rows) / len(rows)
    missed = [
        (
            f"{row['device']}, {row['threads']} threads, {row['type']}",
            row["model"],
            three(row["measured_ms"]),
            f"{three(row['low_ms'])} to {three(row['high_ms'])}",
        )
        for row in rows
        if not row["inside"]
    ]
    asked = record["asked"]["published"]
    return [
        f"{len(rows)} published runs (published/latencies.csv) against the shipped table, by their stated "
        f"operations alone: {points(share)} % inside, at least {points(asked)} %: {reaches(share, asked)}. "
        "The table's shares of the peak come from some of these runs. Outside:",
        "",
        *table(("device", "model", "published, ms", "interval, ms"), missed),
    ]
