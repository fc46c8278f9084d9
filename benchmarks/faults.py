"""Run the inputs that were once read wrongly, and hold what happens against the right behaviour.

    python -m benchmarks.faults ../shared/faults

Every case copies its folder, calls the command line as a user does, and checks the exit code and the value
or the message. A case that this machine cannot run (no root, so no small disk) says so and counts as skipped.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer

from benchmarks.common import RESULTS, Results, call, cli, write
from benchmarks.quality import score
from squeeze.cli.output import shown
from squeeze.errors import GateFailed

__all__ = ["CASES", "main"]

MARKUP = "**b** [l](http://evil) <img src=x>\n# h1"
SCRIPT = "<script>alert(1)</script>|x"
LIMIT_S = 900


@dataclass(frozen=True)
class Ran:
    """One call of the command line: exit code, standard output, standard error, seconds of processor time."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def errors(self) -> str:
        """The lines that say what was wrong."""
        return "\n".join(line for line in self.err.splitlines() if line.startswith(("error:", "hint:")))

    def refused(self, *parts: str, code: int = 2) -> bool:
        """Whether it ended with a code and a message that has these parts, and no internal error."""
        return (
            self.code == code
            and "internal error" not in self.err
            and all(re.search(part, self.errors) for part in parts)
        )

    def teacher_accuracy(self) -> float:
        """Of the test split, from the JSON document of a run."""
        rows = json.loads(self.out)["report"]["rows"]
        return score(next(row for row in rows if row["name"] == "teacher")["quality"]["test"], "accuracy")


@dataclass(frozen=True)
class Place:
    """Where one case works: a copy of its folder, and the folder of all cases."""

    folder: Path
    faults: Path

    def call(self, *arguments: str | Path) -> Ran:
        """Call `squeeze` in the folder."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = call(self.folder, *arguments, limit_s=LIMIT_S)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Ran(done.returncode, done.stdout, done.stderr, seconds)

    def other(self, name: str) -> Place:
        """A copy of another case's folder inside this one."""
        target = self.folder / f"copy-of-{name}"
        shutil.copytree(self.faults / name, target)
        return Place(target, self.faults)


Outcome = tuple[bool | None, str]
"""Whether it is right (None: could not be run here), and what was seen, in one line."""
Case = Callable[[Place], Outcome]


def _seen(ran: Ran) -> str:
    lines = ran.errors.splitlines()
    return f"exit {ran.code}" + (f": {lines[0].removeprefix('error: ')}" if lines else "")


def _read_right(place: Place) -> Outcome:
    """The teacher is right on every test text, as transformers computes it; a refusal would be right too."""
    ran = place.call("distil", "p.toml", "--json")
    if ran.code == 0:
        accuracy = ran.teacher_accuracy()
        return accuracy == 1.0, f"exit 0: teacher accuracy {100 * accuracy:.1f}"
    return ran.refused("teacher|tokenizer|pad_token_id"), _seen(ran)


def _refused(*words: str | Path, parts: tuple[str, ...], code: int = 2, within_s: float = 60.0) -> Case:
    def case(place: Place) -> Outcome:
        ran = place.call(*words)
        return ran.refused(*parts, code=code) and ran.seconds <= within_s, _seen(ran)

    return case


def _nan(place: Place) -> Outcome:
    ran = place.call("distil", "p.toml")
    right = ran.code in {2, 4} and ran.refused(
        "finite|NaN", r"bert\.encoder\.layer\.0\.output", code=ran.code
    )
    return right and "distil: started" not in ran.err, _seen(ran)


def _label_order(place: Place) -> Outcome:
    files = ("--train", "train.jsonl", "--validation", "val.jsonl", "--test", "test.jsonl")
    made = place.call("init", "--teacher", "teacher", *files, "-o", "new.toml")
    text = (place.folder / "new.toml").read_text() if made.code == 0 else ""
    found = re.search(r"^labels = \[(.*)\]", text, re.MULTILINE)
    order = re.findall(r'"(\d+)"', found[1]) if found else []
    right, seen = _read_right(place)
    return order == [str(n) for n in range(12)] and bool(right), f"init: {', '.join(order)}; {seen}"


def _warnings(place: Place) -> Outcome:
    ran = place.call("distil", "p.toml")
    report = place.call("report", "runs/p")
    lines = [line for line in ran.err.splitlines() if line.startswith("warning:")]
    right = any("music" in line for line in lines) and "music" in report.out and "warning" in report.out
    return ran.code == 0 and right, f"exit {ran.code}: {len(lines)} warnings"


def _links(place: Place) -> Outcome:
    """Links in the run folder are removed; what they point at stays."""
    run = place.other("tokenizer_config_ignored")
    runs, outside = run.folder / "runs" / "p", run.folder / "outside"
    (outside / "inner").mkdir(parents=True)
    kept = {outside / "inner" / "kept.txt", outside / "lock.json", outside / "latest.json"}
    for path in kept:
        path.write_text("mine")
    runs.mkdir(parents=True)
    (runs / "x.partial").symlink_to(outside / "inner")
    (runs / ".lock.json.partial").symlink_to(outside / "lock.json")
    (runs / "latest.json.partial").symlink_to(outside / "latest.json")
    ran = run.call("run", "p.toml", "--until", "data")
    whole = all(path.read_text() == "mine" for path in kept)
    return ran.code == 0 and whole, f"{_seen(ran)}; {'nothing outside changed' if whole else 'CHANGED'}"


def _full_disk(place: Place) -> Outcome:
    run, small = place.other("tokenizer_config_ignored"), place.folder / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", small], capture_output=True)
    if mounted.returncode != 0:
        return None, "no right to mount a small disk"
    try:
        ran = run.call("distil", "p.toml", "--out", small)
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True, capture_output=True)
        again = run.call("distil", "p.toml", "--out", small)
    finally:
        subprocess.run(["umount", small], check=True)
    right = ran.refused("stage .*no space left", "free space", code=4) and again.code == 0
    return right, f"{_seen(ran)}; with room: exit {again.code}"


def _newer(place: Place) -> Outcome:
    version, operators = place.call("bench", "ir99.onnx"), place.call("bench", "opset99.onnx")
    right = version.refused("99", r"\b1\d\b", code=version.code) and version.code in {2, 4}
    right = right and operators.refused("99", r"\b2\d\b", code=operators.code)
    return right, f"{_seen(version)}; {_seen(operators)}"


def _verdict(place: Place) -> Outcome:
    run = place.other("tokenizer_config_ignored")
    run.call("run", "p.toml")
    (manifest,) = (run.folder / "runs" / "p").glob("gate-*/manifest.json")
    before = run.call("gate", "runs/p")
    text = manifest.read_text()
    verdict = re.search(r'"verdict": "(\w+)"', text)
    if verdict is None:
        return False, "no verdict was made"
    other = "pass" if verdict[1] != "pass" else "fail"
    manifest.write_text(text.replace(verdict[0], f'"verdict": "{other}"'))
    ran = run.call("gate", "runs/p")
    return ran.refused("manifest", code=4), f"before: exit {before.code}; edited: {_seen(ran)}"


def _markdown(place: Place) -> Outcome:
    """Label names with HTML, links and headings reach the Markdown report as text."""
    run = place.other("tokenizer_config_ignored")
    names = {"fire": SCRIPT, "music": MARKUP}
    for path in (*run.folder.glob("*.jsonl"), run.folder / "p.toml", run.folder / "teacher" / "config.json"):
        text = path.read_text()
        for old, new in names.items():
            text = text.replace(f'"{old}"', json.dumps(new))
        path.write_text(text)
    ran = run.call("distil", "p.toml")
    shown_report = run.call("report", "runs/p", "--markdown", "out.md")
    if ran.code or shown_report.code:
        return False, f"{_seen(ran)}; {_seen(shown_report)}"
    text = (run.folder / "out.md").read_text()
    raw = [part for part in ("<script", "<img", "[l](http") if part in re.sub(r"\\.", "", text)]
    raw += [line for line in text.splitlines() if line.startswith("# h1")]
    return not raw, f"exit 0: {raw or 'all escaped'}"


def _class_names(place: Place) -> Outcome:
    ran = place.call("distil", "p.toml", "--json")
    if ran.code:
        return False, _seen(ran)
    counts = json.loads(ran.out)["steps"][0]["result"]["splits"]["test"]["per_label"]
    return counts == {"flood": 10, "fire": 10, "music": 10}, f"exit 0: {counts}"


def _fixed_model(path: Path) -> None:
    """A look-up whose input is always (1, 128)."""
    ids = onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, [1, 128])
    out = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 128, 4])
    table = onnx.numpy_helper.from_array(np.zeros((50, 4), dtype=np.float32), "table")
    node = onnx.helper.make_node("Gather", ["table", "input_ids"], ["logits"])
    graph = onnx.helper.make_graph([node], "fixed", [ids], [out], [table])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def _absurd_memory(place: Place) -> Outcome:
    _fixed_model(place.folder / "m.onnx")
    ran = place.call("bench", "m.onnx", "--max-memory", f"{'9' * 26}GB")
    return ran.refused("memory"), _seen(ran)


def _fixed_length(place: Place) -> Outcome:
    _fixed_model(place.folder / "static128.onnx")
    words = ("static128.onnx", "--seconds", "0.05", "--min-runs", "10")
    ran, plain = place.call("bench", *words, "--seq", "32"), place.call("bench", *words)
    return ran.refused("32", "128") and plain.code == 0, f"{_seen(ran)}; without --seq: exit {plain.code}"


def _commands(place: Place) -> Outcome:
    """A file name with a line break starts no line that GitHub would run."""
    name = "a\n::error title=pwned::x.onnx"
    _fixed_model(place.folder / name)
    ran = place.call("bench", "--seconds", "0.05", "--min-runs", "10", name)
    lines = [line for line in (ran.out + ran.err).splitlines() if line.startswith(("::", "##["))]
    return ran.code == 0 and not lines, f"exit {ran.code}: {len(lines)} such lines"


CASES: Mapping[str, Case] = {
    "added_tokens_json_ignored": _read_right,
    "clean-symlink": _links,
    "data_warnings_hidden": _warnings,
    "deep-nesting": _refused("plan", "p.toml", parts=("nested too deeply",)),
    "full-disk": _full_disk,
    "ir_version_message": _newer,
    "label_n_sorted": _label_order,
    "manifest-result": _verdict,
    "markdown-report": _markdown,
    "max-memory-overflow": _absurd_memory,
    "multi_label_teacher": _refused("distil", "p.toml", parts=("multi_label|yes/no|independent",)),
    "nan_teacher": _nan,
    "parquet-bomb": _refused("run", "p.toml", "--until", "data", parts=("rows",), within_s=5),
    "parquet-twice": _refused("run", "p.toml", "--until", "data", parts=("text",)),
    "parquet_classlabel": _class_names,
    "roberta_pad_null": _refused("distil", "p.toml", parts=("pad_token_id",)),
    "roberta_pad_token_id": _read_right,
    "seq_ignored_on_fixed_length": _fixed_length,
    "tilde-user": _refused("plan", "p.toml", parts=("nosuchuser",)),
    "tokenizer_config_ignored": _read_right,
    "workflow-command": _commands,
}


def main(
    faults: Annotated[Path, typer.Argument(metavar="FAULTS", help="Folder with one folder a case.")],
    only: Annotated[str, typer.Option(help="Names of cases, separated by commas.")] = "",
    results: Results = RESULTS,
) -> None:
    """Run all cases; writes faults.json, and ends with 1 where one is not as it should be."""
    names = only.split(",") if only else list(CASES)
    record: dict[str, Any] = {}
    with shown() as progress, progress.task("cases", len(names)) as advance:
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / name
                shutil.copytree(faults / name, copy)
                subprocess.run(["chmod", "-R", "u+w", copy], check=True)
                right, seen = CASES[name](Place(copy, faults.resolve()))
            record[name] = {"right": right, "seen": seen.replace(f"{copy}/", "")}
            progress.log(f"{'ok   ' if right else 'WRONG' if right is False else 'skip '} {name}: {seen}")
            advance(1, note=name)
    write(results, "faults", {"cases": record})
    wrong = [name for name, entry in record.items() if entry["right"] is False]
    if wrong:
        raise GateFailed(f"{len(wrong)} of {len(record)} cases are wrong: {', '.join(wrong)}")


if __name__ == "__main__":
    cli(main)
