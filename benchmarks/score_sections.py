"""Sections of the report on scores without training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.ranks import combined, near
from benchmarks.ranks import correlation as correlation_of
from benchmarks.tables import Record, interval, points, reaches, reaches_interval, spread, stays, table, three
from squeeze.stages.search.stage import DEFAULT_SCORE

__all__ = ["SPEEDUP", "correlation", "faithful"]

WITHIN, GAIN = 0.005, 0.01
"""Macro-F1 that the default's choice may lie below the best of all, and must lie above its equals."""
LEAST = 4  # students that make a group
SPEEDUP = 180.0
"""Times cheaper than distilling: what DisWOT claims against search by training (216,000 s / 1,200 s)."""


def correlation(record: Record) -> list[str]:
    """How well each score orders the students, baselines first, and what it costs."""
    found = sorted(record["scores"].items(), key=lambda item: item[1]["kind"] != "baseline")
    within, count = record["near"], len(record["students"])
    rows = [
        (
            name,
            each["kind"],
            *(_rank(each[measure]) for measure in ("tau", "rho")),
            "" if each["p"] is None else f"{each['p']:.2g}",
            _share(each["of_one_size"]["right"]),
            f"{1000 * each['seconds'] / count:.1f}",
        )
        for name, each in found
    ]
    pairs = found[0][1]["of_one_size"]["pairs"]
    quality = spread([row["quality"]["test"] for row in record["students"]])
    seconds = record["seconds"]
    return [
        f"{record['set']}: {count} random students, {record['epochs']} epochs on {record['rows']} texts, "
        f"test macro-F1 {quality}; intervals resample the students; `of one size`: of the {pairs} pairs "
        f"within {100 * within:.0f} % of parameters, in how many the better student scores higher."
        + (f" **A try on {record['limit']} rows a split.**" if record["limit"] else ""),
        "",
        *table(("score", "kind", "Kendall tau", "Spearman rho", "p", "of one size", "ms a student"), rows),
        "",
        *_default(record),
        f"- all scores that are not costly: {seconds['scoring']:.2f} s; distilling: "
        f"{seconds['distilling']:.0f} s; {three(record['speedup'])} x, at least {SPEEDUP:g} x: "
        f"{reaches(record['speedup'], SPEEDUP)}",
    ]


def _default(record: Record) -> Iterator[str]:
    """How the weights that a search takes by default order the students, and what they choose.

    The weights were chosen on such a record, so these lines say how good they can be, not how good they are.
    """
    made = record["students"]
    quality = [row["quality"]["test"] for row in made]
    worth = combined([row["scores"] for row in made], DEFAULT_SCORE)
    found = correlation_of(worth, quality)
    said = " + ".join(f"{weight:g} {name}" for name, weight in DEFAULT_SCORE.items())
    tau = _rank(found["tau"])
    yield f"- default of `[search] score` ({said}), weights chosen on these students: Kendall tau {tau}"
    place = worth.index(max(worth))
    gap = max(quality) - quality[place]
    yield (
        f"- it chooses {made[place]['name']}: {points(quality[place])}, {points(gap)} points below the best "
        f"of all, at most {points(WITHIN)}: {stays(gap, WITHIN)}"
    )
    gain = quality[place] - median(quality)
    yield (
        f"- against the median student of the same budget, the whole space: {points(gain)} points more, "
        f"at least {points(GAIN)}: {reaches(gain, GAIN)}"
    )
    yield from _narrow(worth, quality, [row["parameters"] for row in made], record["near"])


def _narrow(
    worth: Sequence[float], quality: Sequence[float], sizes: Sequence[int], within: float
) -> Iterator[str]:
    """The same question with narrow budgets: what is chosen of the students about as large as one of them."""
    groups = [[place, *near(sizes, place, within)] for place in range(len(sizes))]
    groups = [group for group in groups if len(group) >= LEAST]
    if not groups:
        return
    picked = [quality[max(group, key=lambda place: worth[place])] for group in groups]
    gains = [
        mine - median(quality[place] for place in group) for mine, group in zip(picked, groups, strict=True)
    ]
    yield (
        f"- {len(groups)} groups of {LEAST} or more students within {100 * within:.0f} % of parameters: the "
        f"choice is {spread(gains)} points above the median of its group, at least {points(GAIN)}: "
        f"{reaches(sum(gains) / len(gains), GAIN)}"
    )


def _rank(found: Record) -> str:
    if found["value"] is None:
        return "all alike"
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _share(right: float | None) -> str:
    return "" if right is None else f"{points(right)} %"


def faithful(record: Record) -> list[str]:
    """The published pair of ResNets, and whether it comes out in the published order."""
    rows = [
        (
            str(each["depths"]),
            f"{each['parameters']:,}",
            f"{1000 * each['relation']:.3f} ({1000 * each['relation_sd']:.3f})",
            f"{each['semantic']:.3f}",
            f"{1000 * each['published']:.3f}",
            f"{each['kd_accuracy']:.2f}",
        )
        for each in record["networks"]
    ]
    headers = (
        "depths",
        "parameters",
        "relation x 1,000 (sd of single starts)",
        "semantic",
        "published x 1,000",
    )
    starts, gap = record["starts"], record["difference"]["relation"]
    thousand = {key: 1000 * gap[key] for key in ("value", "low", "high")}
    return [
        f"{record['rows']} images, {starts['teacher']} starts of the teacher x {starts['student']} of each "
        "student.",
        "",
        *table((*headers, "published accuracy, distilled"), rows),
        "",
        f"- relation distance of [3,3,3] above that of [7,1,3], x 1,000: {interval(thousand)}; above 0 as "
        f"published: {reaches_interval(thousand, 0.0)}",
        f"- single starts order the two so in {points(gap['single_starts'])} % of cases",
    ]
