"""Files that nobody prepared, through `init`, `plan` and `run` without an edit.

    python -m benchmarks.first_files ../shared/data

Each case is made of a real set: columns renamed, labels as numbers, one file, JSONL, Parquet of
`datasets`, or another task. A case is right when its run comes to a verdict, or when `init` ends with 2
and one line that says what to do. Teachers are small random BERTs, which learn the task first, and twice the
built-in MiniLM.
"""

from __future__ import annotations

import csv
import json
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.common import ENDED, RESULTS, DataRoot, Results, call, cli, read, write
from squeeze.cli.output import shown
from squeeze.errors import GateFailed

__all__ = ["CASES", "main"]

SPLITS = ("train", "validation", "test")
ROWS: Mapping[str, int] = {"train": 300, "validation": 100, "test": 100}
MINILM = "builtin:minilm-l6"
LIMIT_S = 3600
Row = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a case is made.

    Attributes:
        folder: of its files.
        data: of the real sets.
        seed: of the rows that are drawn.
    """

    folder: Path
    data: Path
    seed: int

    def rows(self, name: str, split: str = "train") -> list[Row]:
        """Some rows of a split of a set, with all of its columns."""
        path = next(self.data.glob(f"{name}/{split}.csv"), self.data / name / f"{split}.jsonl")
        with path.open(encoding="utf-8", newline="") as file:
            every = (
                list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]
            )
        kept = random.Random(self.seed).sample(range(len(every)), min(ROWS[split], len(every)))
        return [every[at] for at in sorted(kept)]

    def csv(self, name: str, rows: Sequence[Row], delimiter: str = ",") -> str:
        """Write a table; gives its name."""
        with (self.folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
        return name

    def jsonl(self, name: str, rows: Sequence[Row]) -> str:
        """Write one object a line; gives its name."""
        (self.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return name


def _three(write_one: Callable[[str], str]) -> list[str]:
    return [word for split in SPLITS for word in (f"--{split}", write_one(split))]


def _renamed(place: Place) -> list[str]:
    def one(split: str) -> str:
        rows = place.rows("trec6", split)
        return place.csv(f"{split}.csv", [{"question": r["text"], "intent": r["label"]} for r in rows])

    return _three(one)


def _numbers(place: Place) -> list[str]:
    number = {"negative": 0, "positive": 1}

    def one(split: str) -> str:
        rows = place.rows("sst2", split)
        return place.csv(
            f"{split}.csv",
            [{"idx": i, "sentence": r["text"], "label": number[r["label"]]} for i, r in enumerate(rows)],
        )

    return _three(one)


def _single(place: Place) -> list[str]:
    return ["--train", place.csv("posts.csv", place.rows("crisislex_t6"))]


def _extra_columns(place: Place) -> list[str]:
    def one(split: str) -> str:
        rows = place.rows("actionable_help", split)
        return place.jsonl(
            f"{split}.jsonl",
            [
                {
                    "id": i,
                    "url": f"https://x.org/{i}",
                    "tweet": r["text"],
                    "lang": "en",
                    "category": r["label"],
                }
                for i, r in enumerate(rows)
            ],
        )

    return _three(one)


def _class_labels(place: Place) -> list[str]:
    from datasets import ClassLabel, Dataset, Features, Value

    names = sorted({row["label"] for row in place.rows("trec6")})
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    rows = [{"text": row["text"], "label": names.index(row["label"])} for row in place.rows("trec6")]
    Dataset.from_list(rows, features=features).to_parquet(str(place.folder / "train.parquet"))
    return ["--train", "train.parquet"]


def _minilm_single(place: Place) -> list[str]:
    rows = [{"Content": row["text"], "Topic": row["label"]} for row in place.rows("trec6")]
    return ["--train", place.jsonl("questions.jsonl", rows)]


def _semicolons(place: Place) -> list[str]:
    return ["--train", place.csv("posts.csv", place.rows("crisislex_t6"), ";")]


def _tokens(place: Place) -> list[str]:
    return ["--train", place.jsonl("tags.jsonl", place.rows("idrisi_locations_en"))]


def _pairs(place: Place) -> list[str]:
    return ["--train", place.csv("pairs.csv", place.rows("sts_2012_2015"))]


def _several_labels(place: Place) -> list[str]:
    return ["--train", place.csv("emotions.csv", place.rows("goemotions"))]


def _fractions(place: Place) -> list[str]:
    return ["--train", place.csv("emotions.csv", place.rows("emobank"))]


def _targets(place: Place) -> list[str]:
    return [*_fractions(place), "--label-column", "valence,arousal"]


@dataclass(frozen=True)
class Case:
    """One kind of file.

    Attributes:
        made: writes the files and gives the options of `init` that name them.
        refused: a part of the line that `init` must end with; empty where the run must end.
        teacher: the built-in model; else a small one is made.
    """

    made: Callable[[Place], list[str]]
    refused: str = ""
    teacher: str = ""


CASES: Mapping[str, Case] = {
    "renamed columns": Case(_renamed),
    "labels 0 and 1": Case(_numbers, teacher=MINILM),
    "one file only": Case(_single),
    "JSONL with extra columns": Case(_extra_columns),
    "Parquet with ClassLabel": Case(_class_labels),
    "one file, other names": Case(_minilm_single, teacher=MINILM),
    "semicolons": Case(_semicolons, "looks separated by ';'"),
    "tokens and tags": Case(_tokens, "token classification"),
    "pairs of texts": Case(_pairs, "text pairs"),
    "several labels a text": Case(_several_labels),
    "named columns of numbers": Case(_targets),
    "numbers with fractions": Case(_fractions, "any may be a target"),
}


def small_teacher(folder: Path, texts: Sequence[str]) -> str:
    """A random BERT of 2 layers whose pieces come from the texts; no classifier yet."""
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel

    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(texts, vocab_size=2000, show_progress=False)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
        pad_token_id=tokenizer.token_to_id("[PAD]"),
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return f"./{folder.name}"


def _call(folder: Path, *words: str) -> dict[str, Any]:
    """One command: exit code, seconds, and the lines that say what was wrong or assumed."""
    started = time.monotonic()
    done = call(folder, *words, limit_s=LIMIT_S)
    lines = [x for x in done.stderr.splitlines() if x.startswith(("error:", "hint:", "warning:", "note:"))]
    return {"exit": done.returncode, "seconds": round(time.monotonic() - started, 1), "lines": lines}


def _try(case: Case, place: Place) -> dict[str, Any]:
    """All three commands, as far as they come."""
    options = case.made(place)
    texts = [str(value) for row in place.rows("trec6") + place.rows("crisislex_t6") for value in row.values()]
    teacher = case.teacher or small_teacher(place.folder / "teacher", texts)
    found = {"init": _call(place.folder, "init", "--teacher", teacher, *options)}
    if found["init"]["exit"] == 0:
        found["plan"] = _call(place.folder, "plan", "profile.toml")
    if "plan" in found and found["plan"]["exit"] == 0:
        found["run"] = _call(place.folder, "run", "profile.toml")
    return found


def _right(case: Case, found: Mapping[str, Any]) -> bool:
    """Whether it ran to a verdict, or was refused in one line with a hint."""
    if case.refused:
        errors = [line for line in found["init"]["lines"] if line.startswith("error:")]
        return found["init"]["exit"] == 2 and len(errors) == 1 and case.refused in errors[0]
    return "run" in found and found["run"]["exit"] in ENDED


def _earlier(path: Path, seed: int) -> dict[str, Any]:
    """What an earlier start found right, of the same rows."""
    if not path.exists():
        return {}
    record = read(path)
    same = (record["seed"], record["rows"]) == (seed, dict(ROWS))
    return {name: row for name, row in record["cases"].items() if same and row["right"]}


def main(
    data: DataRoot,
    only: Annotated[list[str] | None, typer.Option(help="Name of a case; repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="Of the rows that are drawn.")] = 0,
    results: Results = RESULTS,
) -> None:
    """Try all files; writes first-files.json after each, and goes on where an earlier start ended."""
    rows = _earlier(results / "first-files.json", seed)
    with shown() as progress:
        for name, case in CASES.items():
            if name in rows or (only and name not in only):
                continue
            with tempfile.TemporaryDirectory() as folder:
                found = _try(case, Place(Path(folder), data.resolve(), seed))
            rows[name] = {"right": _right(case, found), "expected": case.refused or "a run", **found}
            ends = ", ".join(f"{command} {found[command]['exit']}" for command in found)
            progress.log(f"{name}: {'right' if rows[name]['right'] else 'WRONG'} ({ends})")
            write(results, "first-files", {"seed": seed, "rows": ROWS, "cases": rows})
    wrong = [name for name, row in rows.items() if not row["right"]]
    if wrong:
        raise GateFailed(f"{len(wrong)} of {len(rows)} cases are wrong: {', '.join(wrong)}")


if __name__ == "__main__":
    cli(main)
