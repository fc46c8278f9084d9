"""Near-duplicates of validation and test in training text: how many are found, how many dropped wrongly.

    python -m benchmarks.near_duplicates ../shared/data

Found: of each set, validation and test texts of 8 words and more are drawn, one word (or one link) of each is
replaced, left out or put in, and the changed copies are planted among the training rows; in all sets together
500. Dropped wrongly: training rows that are dropped as the set stands, though their words are less than 0.7
equal to those of the row they are dropped for (`difflib.SequenceMatcher.ratio` of the case-folded words).

Where datasketch is installed (`pip install datasketch`), the time of its signatures is measured as well.
"""

from __future__ import annotations

import csv
import difflib
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import RESULTS, DataRoot, Results, cli, write
from benchmarks.datasets import SETS
from squeeze.data.near_duplicates import (
    BANDS,
    LEAST_WORDS,
    SEED,
    THRESHOLD,
    WIDTH,
    shingles,
    similar_rows,
)
from squeeze.errors import MissingBackend
from squeeze.runtime import need

__all__ = ["changed", "main", "measure"]

ALIKE = 0.7
"""Share of equal words from which a dropped row is rightly dropped."""
SPEED = 10_000
LINK = re.compile(r"https?(://\S+)?$|www\.\S+$")


def main(
    data: DataRoot,
    planted: Annotated[int, typer.Option(help="Near-duplicates that are planted, in all sets.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the draw and the changes.")] = 0,
    results: Results = RESULTS,
) -> None:
    """Measure all sets; writes near-duplicates.json."""
    share = -(-planted // len(SETS))
    sets = {name: measure(data / name, share, random.Random(f"{seed}-{name}")) for name in SETS}
    texts = [text for name in SETS for text in _texts(data / name, "train")][:SPEED]
    record = {
        "settings": {"words": LEAST_WORDS, "threshold": THRESHOLD, "bands": BANDS, "width": WIDTH},
        "alike": ALIKE,
        "sets": sets,
        "speed": _speed(texts),
    }
    write(results, "near-duplicates", record)


def measure(folder: Path, planted: int, draw: random.Random) -> dict[str, Any]:
    """One set as it stands, and with planted rows."""
    train = _texts(folder, "train")
    held = [*_texts(folder, "validation"), *_texts(folder, "test")]
    started = time.process_time()
    near = similar_rows(train, held)
    seconds = time.process_time() - started
    wrong = [i for i, j in near.items() if _alike(train[i], held[j]) < ALIKE]
    long = [text for text in held if len(text.split()) >= LEAST_WORDS]
    words = sorted({word for text in train[:2000] for word in text.split()})
    copies = [changed(text, words, draw) for text in draw.sample(long, planted)]
    found = [i for i in similar_rows([*train, *copies], held) if i >= len(train)]
    return {
        "train": len(train),
        "held_out": len(held),
        "planted": planted,
        "found": len(found),
        "dropped": len(near),
        "wrong": len(wrong),
        "seconds": seconds,
    }


def changed(text: str, words: Sequence[str], draw: random.Random) -> str:
    """The text with one link replaced where it has one and chance says so, else one word changed."""
    parts = text.split()
    links = [i for i, part in enumerate(parts) if LINK.match(part)]
    if links and draw.random() < 0.5:
        parts[draw.choice(links)] = f"https://example.org/{draw.randrange(10**6)}"
        return " ".join(parts)
    at = draw.randrange(len(parts))
    # A text that loses its eighth word is none that is compared.
    kind = draw.choice(("replace", "insert", "drop") if len(parts) > LEAST_WORDS else ("replace", "insert"))
    parts[at : at + (kind != "insert")] = [] if kind == "drop" else [draw.choice(words)]
    return " ".join(parts)


def _texts(folder: Path, split: str) -> list[str]:
    with (folder / f"{split}.csv").open(encoding="utf-8", newline="") as handle:
        return [row["text"] for row in csv.DictReader(handle)]


def _alike(left: str, right: str) -> float:
    one, other = left.casefold().split(), right.casefold().split()
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def _speed(texts: Sequence[str]) -> dict[str, float | None]:
    """Seconds of one core for signatures by both libraries, and for all of our own comparison."""
    tokens = [sorted(shingles(text)) for text in texts]
    rensa = need("rensa", extra="train")
    half = len(texts) // 2
    return {
        "texts": len(texts),
        "rensa": _seconds(lambda: rensa.RMinHash.digest_matrix_from_token_sets(tokens, BANDS * WIDTH, SEED)),
        "datasketch": _datasketch(tokens),
        "comparison": _seconds(lambda: similar_rows(texts[:half], texts[half:])),
    }


def _datasketch(tokens: Sequence[Sequence[str]]) -> float | None:
    """Seconds that datasketch takes for the signatures; None where it is not installed."""
    try:
        library = need("datasketch", extra="train")
    except MissingBackend:
        return None
    coded = [[token.encode() for token in row] for row in tokens]
    return _seconds(lambda: library.MinHash.bulk(coded, num_perm=BANDS * WIDTH, seed=SEED))


def _seconds(work: Any) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    cli(main)
