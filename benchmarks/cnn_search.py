"""DisWOT on the 64 ResNets that it was published with: does it order them better than counting does?

    python -m benchmarks.cnn_search ../shared/data

The space is `resnet-cifar` of `squeeze search-cnn`. Accuracies on CIFAR-100, distilled and not, are the
authors' (published/diswot-s0.csv); nothing is trained here. Scores are taken several times, each time on
other images of CIFAR-10 and from other random starts, and averaged too.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Annotated, Any

import typer

from benchmarks import cifar
from benchmarks.common import RESULTS, Results, cli, write
from benchmarks.ranks import agreement, correlation
from squeeze.cli.output import shown
from squeeze.costs import resnet as costs
from squeeze.models.resnet import ResNetShape
from squeeze.scores.cnn_table import Ground, score_all
from squeeze.stages.search.cnn.settings import CnnLimits
from squeeze.stages.search.cnn.space import all_of

__all__ = ["BUDGETS", "choices", "main", "published", "ranks"]

PUBLISHED = Path(__file__).resolve().parent / "published" / "diswot-s0.csv"
SOURCE = "exps/s1-gt-kd.txt and s1-gt-cls.txt of github.com/lliai/DisWOT-CVPR2023, commit 63c8ae2944a2"
LABELS = 100  # as published; CIFAR-10 has ten of them, the rest are never right
SIZE = (32, 32)
TEACHER = (9, 9, 9)
NEAR = 0.05  # networks count as of one size up to this difference in parameters
BASELINES = ("parameters", "macs", "random")
BUDGETS = (
    ("parameters=150k",),
    ("parameters=280k",),  # ResNet-20 has 278,324
    ("parameters=450k",),
    ("macs=25M",),
    ("macs=41M",),  # ResNet-20 has 40.8 M
    ("macs=60M",),
    ("parameters=280k", "macs=41M"),
)
Scores = Mapping[str, float]


def main(
    data: Annotated[Path, typer.Argument(metavar="DATA_ROOT", help="Folder that holds cifar10_6k.")],
    draws: Annotated[int, typer.Option(min=1, help="How often images and starts are drawn.")] = 4,
    starts: Annotated[int, typer.Option(min=5, help="Starts of each network in a draw.")] = 5,
    rows: Annotated[int, typer.Option(min=2, help="Images in the batch.")] = 64,
    results: Results = RESULTS,
) -> None:
    """Score all networks and compare with the published accuracies; writes cnn-search.json."""
    networks = [each.shape(LABELS) for each in all_of("resnet-cifar")]
    accuracy = published()
    distilled = [accuracy[shape.depths]["distilled"] for shape in networks]
    started = time.process_time()  # other work on the core does not count
    with shown() as progress, progress.task("score networks", draws * len(networks)) as advance:
        found: list[list[Scores]] = []
        for draw in range(draws):
            images, labels = cifar.batch(data / "cifar10_6k", rows, draw)
            teacher = ResNetShape(depths=TEACHER, labels=LABELS)
            ground = Ground(teacher, images, labels, starts=starts, seed=draw)
            found.append([_advanced(score_all(shape, ground), advance) for shape in networks])
    seconds = time.process_time() - started
    mean = _mean(found)
    alone = [accuracy[shape.depths]["alone"] for shape in networks]
    sizes = [costs.parameters(shape) for shape in networks]
    record = {
        "rows": rows,
        "starts": starts,
        "draws": draws,
        "near": NEAR,
        "source": SOURCE,
        "networks": [
            {"depths": shape.depths, **accuracy[shape.depths], "scores": scores}
            for shape, scores in zip(networks, mean, strict=True)
        ],
        "scores": {
            name: {
                **ranks(mean, name, distilled, sizes),
                "draws": [_tau(draw, name, distilled) for draw in found],
            }
            for name in mean[0]
        },
        "alone": {**correlation(alone, distilled), "of_one_size": agreement(alone, distilled, sizes, NEAR)},
        "budgets": [choices(budget, networks, mean, distilled) for budget in BUDGETS],
        "seconds": seconds,
    }
    write(results, "cnn-search", record)


def published(path: Path = PUBLISHED) -> dict[tuple[int, ...], dict[str, float]]:
    """Accuracy in points by depths: `distilled`, and `alone` for training on labels."""
    with path.open(encoding="utf-8", newline="") as file:
        return {
            tuple(map(int, row.pop("depths").split("-"))): {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        }


def ranks(
    scores: Sequence[Scores], name: str, accuracy: Sequence[float], sizes: Sequence[int]
) -> dict[str, Any]:
    """How one score orders the networks, over all and among those of one size."""
    values = [each[name] for each in scores]
    return {
        "kind": "baseline" if name in BASELINES else "published",
        **correlation(values, accuracy),
        "of_one_size": agreement(values, accuracy, sizes, NEAR),
    }


def choices(
    budget: Sequence[str],
    networks: Sequence[ResNetShape],
    scores: Sequence[Scores],
    accuracy: Sequence[float],
) -> dict[str, Any]:
    """What each score chooses inside a budget, and what there was to choose from.

    Args:
        budget: limits, as `squeeze search-cnn` takes them.
        networks: of the space.
        scores: of each.
        accuracy: of each, points.
    """
    limits = CnnLimits.read(list(budget))
    inside = [
        place
        for place, shape in enumerate(networks)
        if not limits.violation({"parameters": costs.parameters(shape), "macs": costs.macs(shape, SIZE)})
    ]
    there = [accuracy[place] for place in inside]
    chosen = {
        name: max(inside, key=lambda place: scores[place][name]) for name in scores[0] if name != "random"
    }
    return {
        "budget": list(budget),
        "networks": len(inside),
        "best": max(there),
        "median": median(there),
        "mean": fmean(there),
        "chosen": {
            name: {"depths": networks[place].depths, "distilled": accuracy[place]}
            for name, place in chosen.items()
        },
    }


def _mean(draws: Sequence[Sequence[Scores]]) -> list[dict[str, float]]:
    """Scores of each network, averaged over draws."""
    return [
        {name: fmean(each[name] for each in network) for name in network[0]}
        for network in zip(*draws, strict=True)
    ]


def _advanced(scores: Scores, advance: Any) -> Scores:
    advance(1)
    return scores


def _tau(scores: Sequence[Scores], name: str, accuracy: Sequence[float]) -> float:
    found: float = correlation([each[name] for each in scores], accuracy)["tau"]["value"]
    return found


if __name__ == "__main__":
    cli(main)
