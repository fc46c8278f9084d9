"""Ten thousand wrong profiles through load and plan: no internal error, no wrong code, none slow or large.

    python -m benchmarks.mutated_profiles --count 10000 --seed 0

Every case is a shipped profile, or one with every section, whose text, values, keys, paths and `--set`
options are changed at random (benchmarks/profile_mutations.py). `squeeze plan` runs on it in a process that
does some hundred of them; every fourth goes through `squeeze explain` too. Seconds are those of the
processor, since others may use the machine; memory is the most that the process ever held. A case of a number
is the same for the same seed: `--only NUMBER` prints it and what happens.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks import campaign
from benchmarks.campaign import MOST_SECONDS, internal
from benchmarks.common import RESULTS, Results, cli, write
from benchmarks.profile_mutations import Case, draw, seeds

__all__ = ["PROFILES", "RIGHT", "main", "make_folder", "tried"]

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ROOT / "profiles"
RIGHT = frozenset({0, 2, 3})
HANGS_S = 60
BATCH = 250


def main(
    count: Annotated[int, typer.Option(help="Cases.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of all cases.")] = 0,
    only: Annotated[int | None, typer.Option(help="Show this case and what happens.")] = None,
    part: Annotated[str, typer.Option(hidden=True, help="FIRST:LAST, in a process of its own.")] = "",
    kept: Annotated[
        Path | None, typer.Option(help="Finished batches, one a line: a cut run goes on.")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Try all cases; writes mutated-profiles.json."""
    if only is not None or part:
        first, last = (only, only + 1) if only is not None else map(int, part.split(":"))
        with TemporaryDirectory() as name:
            record = _tried_here(Path(name), seed, first, last, show=only is not None)
        typer.echo(json.dumps(record))
        return
    batches = {first: min(first + BATCH, count) for first in range(0, count, BATCH)}
    earlier = campaign.kept(kept, "first", seed)
    parts = [
        earlier[first] if _whole(earlier.get(first), last) else _apart(seed, first, last, kept)
        for first, last in batches.items()
    ]
    write(results, "mutated-profiles", {"seed": seed, **_summary(parts)})


def _whole(batch: dict[str, Any] | None, last: int) -> bool:
    """Whether a kept batch has all cases up to this one: with a smaller --count the last one has fewer."""
    return batch is not None and batch["first"] + _count(batch["codes"], "plan") == last


def _count(codes: Mapping[str, int], command: str) -> int:
    """How often a command was run."""
    return sum(number for key, number in codes.items() if key.startswith(f"{command} "))


def _apart(seed: int, first: int, last: int, kept: Path | None) -> dict[str, Any]:
    """One batch in a fresh process, whose memory is measured."""
    command = [sys.executable, "-m", "benchmarks.mutated_profiles", "--seed", str(seed)]
    ended = subprocess.run(
        [*command, "--part", f"{first}:{last}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise SystemExit(f"cases {first} to {last}: {ended.stderr[-2000:]}")
    record: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    typer.echo(f"{last} cases: {record['codes']}, slowest {record['slowest_s']:.2f} s", err=True)
    campaign.keep(kept, record)
    return record


def _summary(parts: list[dict[str, Any]]) -> dict[str, Any]:
    codes: Counter[str] = Counter()
    for part in parts:
        codes.update(part["codes"])
    slow = [case for part in parts for case in part["slow"]]
    wrong = [case for part in parts for case in part["wrong"]]
    return {
        "cases": _count(codes, "plan"),
        "commands": codes.total(),
        "codes": dict(sorted(codes.items())),
        "internal_errors": [case for case in wrong if case["internal"]],
        "wrong_codes": [case for case in wrong if not case["internal"]],
        "over_2_s": slow,
        "slowest_s": max(part["slowest_s"] for part in parts),
        "seconds": round(sum(part["seconds"] for part in parts), 1),
        "largest_mb": max(part["largest_mb"] for part in parts),
    }


def _tried_here(folder: Path, seed: int, first: int, last: int, *, show: bool) -> dict[str, Any]:
    make_folder(folder)
    sources = seeds(PROFILES)
    codes: Counter[str] = Counter()
    wrong: list[dict[str, Any]] = []
    slow: list[dict[str, Any]] = []
    slowest = total = 0.0
    for number in range(first, last):
        case = draw(random.Random(f"{seed}-{number}"), sources)
        commands = ("plan", "explain") if number % 4 == 0 else ("plan",)
        for command in commands:
            code, errors, seconds = tried(command, case, folder)
            codes[f"{command} {code}"] += 1
            slowest, total = max(slowest, seconds), total + seconds
            unknown = internal(errors)
            if unknown or code not in RIGHT:
                wrong.append({"case": number, "code": code, "internal": unknown, "errors": errors[-400:]})
            if seconds > MOST_SECONDS:
                slow.append({"case": number, "seconds": round(seconds, 2), "errors": errors[-200:]})
            if show:
                typer.echo(case.content.decode("utf-8", "replace")[:5000])
                typer.echo(
                    f"{[text[:200] for text in case.sets]}\n{command}: {code}, {seconds:.2f} s\n{errors}"
                )
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "seed": seed,
        "first": first,
        "codes": dict(codes),
        "wrong": wrong,
        "slow": slow,
        "slowest_s": round(slowest, 3),
        "seconds": round(total, 1),
        "largest_mb": round(largest / 1e6, 1),
    }


def tried(command: str, case: Case, folder: Path) -> tuple[int, str, float]:
    """Exit code, standard error and processor seconds of one command on one case."""
    from squeeze.cli import main as squeeze

    path = folder / "p.toml"
    path.write_bytes(case.content)
    words = [command, str(path), *(word for text in case.sets for word in ("--set", text))]
    words += ["--out", str(folder / "runs")] if command == "plan" else []
    out, err = io.StringIO(), io.StringIO()
    started = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _no_longer_than(HANGS_S):
        try:
            code = squeeze(words)
        except _HangsError:
            return -1, "hangs", float(HANGS_S)
    return code, err.getvalue(), time.process_time() - started


class _HangsError(BaseException):
    """Not an Exception: the command line must not catch it."""


@contextlib.contextmanager
def _no_longer_than(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _HangsError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def make_folder(folder: Path) -> None:
    """Files that the cases name: text, a model, and what looks like either."""
    from squeeze.models.outline import tensors

    for seed, split in enumerate(("train", "validation", "test")):
        rows = (f"{split} text {n} {seed},{('offer', 'request')[n % 2]}" for n in range(40))
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    (folder / "link.csv").symlink_to("train.csv")
    (folder / "folder.csv").mkdir()
    (folder / "empty.csv").touch()
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 100)
    (folder / "broken.parquet").write_bytes(b"PAR1" + b"\0" * 100 + b"PAR1")
    (folder / "wide.csv").write_text("text,label\n" + "a" * 10_000_000 + ",offer\n", encoding="utf-8")
    (folder / "lines.jsonl").write_text('{"text": "a", "label": 1}\n' * 50, encoding="utf-8")
    (folder / "model.onnx").write_bytes(b"\x08\x07")
    config: dict[str, Any] = {
        "model_type": "bert", "vocab_size": 100, "hidden_size": 32, "num_attention_heads": 4,
        "num_hidden_layers": 3, "intermediate_size": 64, "max_position_embeddings": 40,
        "id2label": {"0": "offer", "1": "request"},
    }  # fmt: skip
    for name in ("teacher", "deep", "short", "huge", "odd"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
    spec = {"model": {"type": "WordPiece", "vocab": {str(i): i for i in range(100)}}, "added_tokens": []}
    (folder / "teacher" / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    weights = _weights(tensors(folder, config, 2))
    (folder / "teacher" / "model.safetensors").write_bytes(weights)
    (folder / "short" / "model.safetensors").write_bytes(weights[:-1000])
    (folder / "odd" / "model.safetensors").write_bytes(b"\xff" * 8 + weights)
    (folder / "huge" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 10**9}))
    (folder / "deep" / "config.json").write_text("[" * 100_000)
    (folder / "plain").mkdir()


def _weights(shapes: dict[str, tuple[int, ...]]) -> bytes:
    """A safetensors file of zeros."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4
        for width in shape:
            size *= width
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(at)


if __name__ == "__main__":
    cli(main)
