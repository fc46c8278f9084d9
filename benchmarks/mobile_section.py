"""From a record of benchmarks.mobile_formats to lines of Markdown."""

from __future__ import annotations

from benchmarks.tables import Record, interval, megabytes, points, stays, table

__all__ = ["mobile_formats"]

SHARE = 1e-4
"""Of the largest logit, that a conversion may change: float32 sums in another order."""


SPREAD = 0.15
"""Of the logits, that int8 weights may change: `int8_tolerance.spread` unless a profile says otherwise."""
COMPUTING = 0.95
"""Share of the time that a process computes which nobody holds back."""


def mobile_formats(record: Record) -> list[str]:
    """Size, difference from torch and latency on this host of every format, with each kind of table."""
    rows = [
        (kind, name, _made_by(each), megabytes([each["size_bytes"]]), *_compared(each), *_timed(each))
        for kind, formats in record["tables"].items()
        for name, each in formats.items()
    ]
    left = [f"- {name}: not made, {reason}" for name, reason in record["missing"].items()]
    return [
        f"The tiny shape with random weights, {record['texts']} texts of the built-in corpus, padded to "
        f"{record['tokens']} tokens. A conversion to fp32 may change {SHARE:g} of the largest logit; int8 "
        f"weights may change {SPREAD:g} of the logits' spread. Latency is that of this host, one thread, one "
        "text a call, all formats in turns, and says nothing of a phone; in brackets the quartiles over the "
        "turns.",
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
                "near enough",
                "ms here",
                "of onnx",
            ),
            rows,
        ),
        *(["", *left] if left else []),
        *_held_back(record),
    ]


def _held_back(record: Record) -> list[str]:
    """A warning where the process waited for a processor while it was timed."""
    share = record.get("computing_share", 1.0)
    if share >= COMPUTING:
        return []
    return [
        "",
        f"The process computed only {points(share)} % of that time: others held it back, and ms are no use.",
    ]


def _made_by(each: Record) -> str:
    return ", ".join(f"{library} {version}" for library, version in each["libraries"].items())


def _compared(each: Record) -> tuple[str, str, str, str]:
    """Largest difference, share of the largest logit, labels kept, verdict; or why it was not run."""
    if "unchecked" in each:
        return f"not checked: {each['unchecked']}", "-", "-", "-"
    largest = each["largest_logit"]
    rounded = each.get("precision") == "int8"
    near = stays(each["spread"], SPREAD) if rounded else stays(each["max_abs"], SHARE * largest)
    return f"{each['max_abs']:.1e}", f"{each['max_abs'] / largest:.1e}", points(each["kept"]), near


def _timed(each: Record) -> tuple[str, str]:
    return (f"{each['ms']:.3f}", interval(each["ratio"])) if "ms" in each else ("-", "-")
