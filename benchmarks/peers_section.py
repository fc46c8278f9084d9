"""From a record of benchmarks.peers to lines of Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables import Record, interval, megabytes, points, reaches_interval, table

__all__ = ["peers"]

SHOWN = ("int8-dynamic, 8 bits", "int8-dynamic, 7 bits")
AS_FAST = 1.0
"""Aim: no peer takes less time than our default."""


def peers(record: Record) -> list[str]:
    """Time, size and labels of our forms and of all files of other tools, and who is faster."""
    default = record["default"]
    rows = [
        (model, name, *_cells(name, each, default))
        for model, found in record["models"].items()
        for name, each in found.items()
    ]
    pins = ", ".join(
        f"{name} {version}" for each in record["peers"].values() for name, version in each.items()
    )
    return [
        f"Students of {record['set']}, seed {record['seed']}, and their teacher; {record['tokens']} tokens, "
        f"one thread, one text a call, all files of a model in turns on one core; {pins}. Labels kept: of "
        f"fp32 on validation texts. Times are shares of the time of ours, which must not be slower than "
        f"any: the verdict is on {default}.",
        "",
        *table(
            (
                "model",
                "file",
                "p50 ms",
                "MB",
                "labels kept, %",
                *(f"time of {name}" for name in SHOWN),
                "verdict",
            ),
            rows,
        ),
        "",
        *_fastest(record["models"], default),
    ]


def _cells(name: str, each: Record, default: str) -> tuple[str, ...]:
    if "failed" in each:
        return ("", "", "", *("" for _ in SHOWN), f"not made: {each['failed'].replace('|', '/')}")
    kept = each["kept_labels"]
    return (
        f"{each['p50_ms']:.2f}",
        megabytes([each["bytes"]]),
        "" if kept is None else points(kept),
        *(interval(each["against"][ours]) for ours in SHOWN),
        "" if name in each["against"] else reaches_interval(each["against"][default], AS_FAST),
    )


def _fastest(models: Record, default: str) -> Iterator[str]:
    """Of each runtime the file that is hardest to reach."""
    for model, found in models.items():
        timed = {
            name: each for name, each in found.items() if "failed" not in each and name not in each["against"]
        }
        for runtime in dict.fromkeys(each["runtime"] for each in timed.values()):
            mine = {name: each for name, each in timed.items() if each["runtime"] == runtime}
            name = min(mine, key=lambda each: mine[each]["against"][default]["value"])
            against = mine[name]["against"][default]
            yield (
                f"- {model}: the fastest file in {runtime}, {name}, takes {interval(against)} of the time of "
                f"{default}, at least {AS_FAST:g}: {reaches_interval(against, AS_FAST)}"
            )
