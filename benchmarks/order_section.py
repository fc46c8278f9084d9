"""From a record of benchmarks.label_order to lines of Markdown."""

from __future__ import annotations

from benchmarks.tables import Record, points, table

__all__ = ["label_order"]


def label_order(record: Record) -> list[str]:
    """What is refused, size by size."""
    sizes, settings = record["sizes"], record["settings"]
    sound, refused = (sum(row[key] for row in sizes) for key in ("sound", "sound_refused"))
    return [
        "Teachers are drawn as tables of the chances of their answers. Sound ones range from chance to "
        "always right; those with a wrong order are right in 60 % of cases and more once it is mended.",
        "",
        *table(
            (
                "labels",
                "rows",
                "sound, refused",
                "order mixed, refused",
                "with the right map",
                "two exchanged, refused",
            ),
            [_row(row) for row in sizes],
        ),
        "",
        f"- At most {100 * settings['sure']:g} % of sound teachers are to be refused: "
        f"{refused:,} of {sound:,}.",
        "- With few rows a label, the map in the hint is right for some labels only; the next check says so.",
    ]


def _row(row: Record) -> tuple[str, ...]:
    caught = (row["mixed_refused"], row["mixed_right"], row["swapped_refused"])
    return (
        str(row["labels"]),
        f"{row['rows']:,}",
        f"{row['sound_refused']} of {row['sound']:,}",
        *(f"{points(count / row['wrong'])} % of {row['wrong']}" for count in caught),
    )
