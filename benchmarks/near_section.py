"""From a record of benchmarks.near_duplicates to lines of Markdown."""

from __future__ import annotations

from benchmarks.tables import Record, points, stays, table

__all__ = ["near_duplicates"]

FOUND, WRONG, SECONDS = 0.95, 0.01, 5.0
"""Aims: share of the planted rows found, share of the training rows dropped wrongly, CPU seconds."""


def near_duplicates(record: Record) -> list[str]:
    """What is found and what is dropped wrongly, set by set, and the time it takes."""
    sets, settings, speed = record["sets"], record["settings"], record["speed"]
    planted, found = (sum(row[key] for row in sets.values()) for key in ("planted", "found"))
    worst = max(row["wrong"] / row["train"] for row in sets.values())
    other = speed["datasketch"]
    beside = "not measured" if other is None else f"{other:.2f} s"
    return [
        f"Texts of {settings['words']} words and more; word pairs with a Jaccard similarity of at least "
        f"{settings['threshold']:g}; {settings['bands']} bands of {settings['width']} MinHash values. "
        f"Wrongly: rows whose words are less than {record['alike']:g} equal to those of their counterpart.",
        "",
        *table(
            ("set", "training rows", "planted", "found", "dropped as it stands", "of these wrongly", "CPU s"),
            [_row(name, row) for name, row in sets.items()],
        ),
        "",
        f"- At least {points(FOUND)} % of the planted rows are found: {found} of {planted}, "
        f"{stays(-found / planted, -FOUND)}.",
        f"- At most {points(WRONG)} % of the training rows are dropped wrongly: {100 * worst:.2f} %, "
        f"{stays(worst, WRONG)}.",
        f"- {speed['texts']:,} texts are compared within {SECONDS:g} s of one core: "
        f"{speed['comparison']:.2f} s, {stays(speed['comparison'], SECONDS)}.",
        f"- Signatures alone: {speed['rensa']:.2f} s by rensa; by datasketch: {beside}.",
    ]


def _row(name: str, row: Record) -> tuple[str, ...]:
    counts = (str(row[key]) for key in ("train", "planted", "found", "dropped", "wrong"))
    return name, *counts, f"{row['seconds']:.2f}"
