"""From the record of benchmarks.cnn_search to lines of Markdown."""

from __future__ import annotations

from statistics import fmean

from benchmarks.tables import Record, points, table

__all__ = ["cnn_search"]


def cnn_search(record: Record) -> list[str]:
    """Rank correlation of each score with published accuracies, and what each chooses inside budgets."""
    networks, near = record["networks"], record["near"]
    scores = sorted(record["scores"].items(), key=lambda item: item[1]["kind"] != "baseline")
    shown = [*scores, ("accuracy alone", {**record["alone"], "kind": "trained", "draws": []})]
    pairs = record["alone"]["of_one_size"]["pairs"]
    rows = [
        (name, each["kind"], _rank(each["tau"]), _rank(each["rho"]), _range(each["draws"]), _right(each))
        for name, each in shown
    ]
    return [
        f"{len(networks)} ResNets (depths 1, 3, 5, 7 in three stages); distilled accuracy on CIFAR-100 as "
        f"published ({record['source']}; the file does not name the teacher). {record['draws']} draws "
        f"of {record['rows']} CIFAR-10 images and {record['starts']} starts of each network under ResNet-56, "
        f"averaged; all took {record['seconds']:.0f} CPU seconds. Intervals resample the networks; "
        f"`of one size`: of the {pairs} pairs within {100 * near:.0f} % of parameters, in how many the "
        "better one scores higher; `accuracy alone` is training on labels without a teacher.",
        "",
        *table(("score", "kind", "Kendall tau", "Spearman rho", "tau of single draws", "of one size"), rows),
        "",
        *_budgets(record),
    ]


def _budgets(record: Record) -> list[str]:
    """Accuracy of what each score chooses; the mean of all that fits is what chance expects."""
    found = record["budgets"]
    names = list(found[0]["chosen"])
    rows = [
        (
            ", ".join(each["budget"]),
            str(each["networks"]),
            f"{each['best']:.2f}",
            f"{each['median']:.2f}",
            f"{each['mean']:.2f}",
            *(f"{each['chosen'][name]['distilled']:.2f}" for name in names),
        )
        for each in found
    ]
    gains = {
        name: fmean(each["chosen"][name]["distilled"] - each["median"] for each in found) for name in names
    }
    said = ", ".join(f"{name} {gain:+.2f}" for name, gain in gains.items())
    return [
        "Published accuracy of what each score chooses inside a budget:",
        "",
        *table(("budget", "networks", "best", "median", "chance", *names), rows),
        "",
        f"- points above the median of the budget, on average: {said}",
    ]


def _rank(found: Record) -> str:
    if found["value"] is None:
        return "all alike"
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _range(draws: list[float]) -> str:
    return f"{min(draws):.2f} to {max(draws):.2f}" if draws and min(draws) < max(draws) else ""


def _right(each: Record) -> str:
    return f"{points(each['of_one_size']['right'])} %"
