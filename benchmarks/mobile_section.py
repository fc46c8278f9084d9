"""From a record of benchmarks.mobile_formats to lines of Markdown."""

from __future__ import annotations

from benchmarks.tables import Record, megabytes, points, stays, table

__all__ = ["mobile_formats"]

SHARE = 1e-4
"""Of the largest logit, that a conversion may change: float32 sums in another order."""


def mobile_formats(record: Record) -> list[str]:
    """Size and difference from torch of every format, with each kind of table."""
    rows = [
        (
            kind,
            name,
            ", ".join(f"{library} {version}" for library, version in each["libraries"].items()),
            megabytes([each["size_bytes"]]),
            f"{each['max_abs']:.1e}",
            f"{each['max_abs'] / each['largest_logit']:.1e}",
            points(each["kept"]),
            stays(each["max_abs"], SHARE * each["largest_logit"]),
        )
        for kind, formats in record["tables"].items()
        for name, each in formats.items()
    ]
    left = [f"- {name}: not made, {reason}" for name, reason in record["missing"].items()]
    return [
        f"The tiny shape with random weights, {record['texts']} texts of the built-in corpus, padded to "
        f"{record['tokens']} tokens for all formats but onnx; fp32. A conversion may change {SHARE:g} of the "
        "largest logit.",
        "",
        *table(
            (
                "table of pieces",
                "format",
                "made by",
                "MB",
                "largest difference",
                "of the largest logit",
                "labels kept, %",
                "the same",
            ),
            rows,
        ),
        *(["", *left] if left else []),
    ]
