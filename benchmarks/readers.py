"""Teachers of six families with random configurations: read as transformers reads them, or refused rightly.

    python -m benchmarks.readers --seed 0

Every case is a folder as users have them (benchmarks/reader_cases.py): a vocabulary of its own, settings in
tokenizer_config.json, added tokens in one of four places, random weights. What a run does is done to it: the
teacher is loaded, the guard of the preflight compares it on 200 texts. If it passes, 500 other texts are
compared: token numbers of the tokenizer.json that would ship, as `predict` reads it, with AutoTokenizer's,
those of a trimmed vocabulary too, and the logits of the copy that students are carved from with those of
transformers, one text a call. If it is refused, a rule of this script that shares no code with squeeze must
agree that it had to be.

Each case's record is kept in --out: a run that was cut goes on. `--only FAMILY:NUMBER` prints one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks import reader_cases
from benchmarks.common import RESULTS, Results, cli, write
from benchmarks.reader_cases import FAMILIES, LABELS, Case
from squeeze.artifact import write_json
from squeeze.data.table import Table
from squeeze.errors import SqueezeError, StageFailed
from squeeze.models import conversion, guard, tokens, vocabulary
from squeeze.models.inference import logits
from squeeze.models.teacher import load_classifier
from squeeze.models.tokens import Encodings, TeacherTokenizer
from squeeze.targets import reading

__all__ = ["BAD", "main", "tried"]

BAD = ("silent", "wrongly refused", "error")
TOLERANCE = 1e-4


def main(
    count: Annotated[int, typer.Option(help="Cases a family.")] = 30,
    seed: Annotated[int, typer.Option(help="Of all cases.")] = 0,
    texts: Annotated[int, typer.Option(help="Texts that are compared.")] = 500,
    only: Annotated[str, typer.Option(metavar="FAMILY:NUMBER", help="Show this case.")] = "",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where records are kept.")] = Path("runs/readers"),
    results: Results = RESULTS,
) -> None:
    """Try all cases; writes readers.json; ends with an error where one is wrong."""
    if only:
        family, _, number = only.partition(":")
        typer.echo(json.dumps(tried(reader_cases.draw(family, int(number), seed), texts), indent=1))
        return
    found = {
        family: [_kept(out, reader_cases.draw(family, i, seed), texts) for i in range(count)]
        for family in FAMILIES
    }
    write(results, "readers", {"seed": seed, "count": count, "texts": texts, **_summary(found)})
    wrong = [record for rows in found.values() for record in rows if record["outcome"] in BAD]
    if wrong:
        raise StageFailed(f"{len(wrong)} cases are wrong, first {wrong[0]['case']}: {wrong[0]['message']}")


def _kept(out: Path, case: Case, texts: int) -> dict[str, Any]:
    """The record of a case, made once."""
    path = out / f"{case.seed}-{texts}.json"
    if not path.is_file():
        out.mkdir(parents=True, exist_ok=True)
        write_json(path, tried(case, texts))
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def _summary(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    every = [record for rows in found.values() for record in rows]
    return {
        "families": {
            family: {
                "outcomes": dict(Counter(record["outcome"] for record in rows)),
                "largest": max((record.get("difference", 0.0) for record in rows), default=0.0),
            }
            for family, rows in found.items()
        },
        "refused": dict(Counter(record["reason"] for record in every if record["outcome"] == "refused")),
        "warned": sum(bool(record.get("warnings")) for record in every),
        "wrong": [record for record in every if record["outcome"] in BAD],
    }


def tried(case: Case, count: int) -> dict[str, Any]:
    """What becomes of one teacher: `equal`, `refused`, or one of BAD."""
    special = tuple(reader_cases.NAMES[case.family].values())
    with TemporaryDirectory() as name:
        reader_cases.write(case, Path(name), reader_cases.texts(200, 1))
        return {"case": case.seed, **_compared(case, Path(name), count, special)}


def _compared(case: Case, folder: Path, count: int, special: Sequence[str]) -> dict[str, Any]:
    sample, other = (reader_cases.texts(size, n, special) for size, n in ((200, 2), (count, 3)))
    try:
        model = load_classifier(folder, LABELS, untrained_head=case.trained)
        tokenizer = tokens.load_tokenizer(folder)
        warnings = guard.prove(folder, model, tokenizer, _table(sample), case.max_length)
        return {"warnings": list(warnings), **_held(case, folder, model, tokenizer, other, bool(warnings))}
    except SqueezeError as error:
        reason = _reason(case, folder, [*sample, *other])
        outcome = "refused" if reason else "wrongly refused"
        return {"outcome": outcome, "reason": reason, "message": error.message, "settings": asdict(case)}
    except Exception as error:  # noqa: BLE001 (it is counted)
        return {"outcome": "error", "message": repr(error), "settings": asdict(case)}


def _held(
    case: Case, folder: Path, model: Any, tokenizer: TeacherTokenizer, texts: Sequence[str], warned: bool
) -> dict[str, Any]:
    """Compare what would ship and what would be carved with transformers on texts the guard has not seen."""
    uncounted = guard.settle_positions(folder, model, tokenizer)
    shape = conversion.shape_of(model)
    reach = min(case.max_length, shape.positions)
    auto, theirs = _reference(folder)
    expected = [auto(text, truncation=True, max_length=reach)["input_ids"] for text in texts]
    encoded = Encodings.of(expected)
    guard.refuse_strangers(folder, encoded, shape.vocabulary)  # as the stage does with all splits
    warned = bool(guard.refuse_uncounted(folder, tokenizer, uncounted, _table(texts), encoded)) or warned
    path = folder / "shipped.json"
    tokens.write_spec(path, tokenizer.spec, reach)
    shipped = reading.tokenizer(path, reach)
    rows = guard.rows_counted(encoded, uncounted if warned else frozenset())
    answers = _logits(theirs, [expected[row] for row in rows])[:, _order(theirs)]
    ours = logits(conversion.read(model), Encodings.of([expected[row] for row in rows]), 0, len(LABELS))
    largest = float(np.abs(answers - ours).max(initial=0.0))
    problems = {
        "ids": sum(shipped.encode(text).ids != row for text, row in zip(texts, expected, strict=True)),
        "trimmed ids": _trimmed(tokenizer, texts, expected, reach),
        "logits": int((np.abs(answers - ours).max(axis=1) > TOLERANCE).sum()),
    }
    different = {name: number for name, number in problems.items() if number}
    return {
        "outcome": "silent" if different else "equal",
        "message": str(different),
        "difference": largest,
        **({"settings": asdict(case)} if different else {}),
    }


def _trimmed(
    tokenizer: TeacherTokenizer, texts: Sequence[str], expected: Sequence[Sequence[int]], reach: int
) -> int:
    """Texts that a vocabulary cut to their own pieces cuts otherwise."""
    known = set(tokenizer.auto.get_vocab().values())
    whole = tokenizer.encode(texts, 1 << 20)  # as a run counts pieces: those that are cut off too
    small = vocabulary.trim(tokenizer.spec, frozenset(whole.values.tolist()) & known)
    ours = tokens.encode(tokens.make_tokenizer(small.tokenizer, reach), texts).renumber(small.kept)
    return sum(ours[i].tolist() != list(row) for i, row in enumerate(expected))


def _table(texts: Sequence[str]) -> Table:
    return Table(tuple(texts), None, tuple(range(1, len(texts) + 1)), "texts")


# What transformers makes of the folder, without squeeze.


def _reference(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True), model.eval()


def _logits(model: Any, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """Of each row alone; rows of one length go together, so that nothing is padded."""
    import torch

    found = np.zeros((len(rows), len(LABELS)), dtype=np.float32)
    for length in {len(row) for row in rows}:
        places = [i for i, row in enumerate(rows) if len(row) == length]
        with torch.inference_mode():
            ids = torch.tensor([list(rows[i]) for i in places])
            found[places] = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.numpy()
    return found


def _order(model: Any) -> list[int]:
    """The output of each of our labels, by name; outputs without names stand in order."""
    names = [model.config.id2label[i] for i in range(len(LABELS))]
    return list(range(len(LABELS))) if names[0] == "LABEL_0" else [names.index(label) for label in LABELS]


def _reason(case: Case, folder: Path, texts: Sequence[str]) -> str:
    """Why a teacher had to be refused, by a rule of its own; empty where it had not."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = "activation" if case.family == "distilbert" else "hidden_act"
    head = config.get("problem_type") in ("multi_label_classification", "regression")
    skipping = case.family in ("roberta", "xlm-roberta")
    checks = {
        "activation": config.get(kind) in reader_cases.OTHER,
        "reads left to right": bool(config.get("is_decoder")),
        "head of another kind": head and not case.trained,
        "special tokens are split": bool(case.tokenizer.get("split_special_tokens")),
        "no pad_token_id": skipping and config["pad_token_id"] is None,
    }
    for reason, holds in checks.items():
        if holds:
            return reason
    return _run_reason(case, folder, config, texts)


def _run_reason(case: Case, folder: Path, config: Any, texts: Sequence[str]) -> str:
    """Reasons that show when transformers cuts the texts."""
    try:
        auto, _ = _reference(folder)
        rows = [auto(text, truncation=True, max_length=case.max_length)["input_ids"] for text in texts]
    except Exception as error:  # noqa: BLE001 (libraries raise what they like)
        return f"transformers cannot read it ({type(error).__name__})"
    if max(map(max, rows)) >= config["vocab_size"]:
        return "pieces that the table has no row for"
    skipped = {"roberta": config["pad_token_id"], "xlm-roberta": config["pad_token_id"], "mpnet": 1}
    number = skipped.get(case.family)
    held = number is not None and any(number in row for row in rows)
    return "a piece of the texts whose position is not counted" if held else ""


if __name__ == "__main__":
    cli(main)
