"""Fingerprints of what a run computes, which know no names: a restructuring must not change them.

    python -m tools.golden record smoke     # writes tests/golden/smoke.json
    python -m tools.golden compare --run runs/golden

The fingerprints are digests of the student's tensors and of the exported graphs, and logits of test texts.
Digests repeat only where PyTorch uses the same instructions; elsewhere logits are compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import onnxruntime
import torch
import typer
from safetensors.numpy import load_file

from squeeze import predict
from squeeze.data import dataset
from squeeze.errors import ParityFailed, SqueezeError, StageFailed, UsageError
from squeeze.pipeline import open_stages

__all__ = ["RECIPES", "Recipe", "compare", "digest_graph", "digest_tensors", "fingerprint", "made", "path_of"]

ROOT = Path(__file__).resolve().parent.parent
TEXTS = 16
"""Test texts whose logits are kept."""
TOLERANCE, ROUNDED = 1e-4, 1e-2
"""Largest difference of a logit on a machine with other instructions: in fp32, and where activations are
rounded to whole numbers, which one more step changes by 1.3e-3 (smoke with ATEN_CPU_CAPABILITY=default)."""


@dataclass(frozen=True)
class Recipe:
    """A profile and the settings that shorten it."""

    profile: str
    settings: tuple[str, ...] = ()


RECIPES: Mapping[str, Recipe] = {
    "smoke": Recipe("profiles/smoke.toml"),
    "flagship": Recipe(
        "profiles/bert_crisis_tiny.toml",
        ("teacher.finetune.epochs=1", "distil.phases.0.epochs=1", "distil.phases.1.epochs=1"),
    ),
}


def path_of(name: str) -> Path:
    """Where the fingerprint of a recipe is kept."""
    return ROOT / "tests" / "golden" / f"{name}.json"


def made(recipe: Recipe, out: Path) -> Path:
    """Run a recipe up to the export, with one thread, because sums depend on the number of threads.

    Args:
        recipe: the profile and its settings.
        out: folder below which the run goes.

    Returns:
        The folder of the run.

    Raises:
        StageFailed: the run has failed.
    """
    settings = [word for setting in recipe.settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "squeeze", "run", recipe.profile, "--until", "export", "--out", str(out)]
    done = subprocess.run(
        [*command, *settings],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise StageFailed(f"{recipe.profile}: exit code {done.returncode}", hint=done.stderr[-2000:])
    [folder] = [entry for entry in out.iterdir() if (entry / "latest.json").is_file()]
    return folder


def fingerprint(run: Path) -> dict[str, Any]:
    """What a finished run has computed.

    Args:
        run: its folder.

    Returns:
        The instructions that PyTorch used, and the digests and logits; JSON can hold it.
    """
    stages = open_stages(run)
    bundle = stages["export"].path
    graphs = {form: bundle / entry["file"] for form, entry in stages["export"].result["forms"].items()}
    texts = dataset.load(stages["data"].path).splits["test"].texts[:TEXTS]
    return {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "student": digest_tensors(load_file(stages["distil"].path / "student.safetensors")),
        "graphs": {form: digest_graph(onnx.load(path)) for form, path in graphs.items()},
        "logits": {form: _logits(path, bundle, texts) for form, path in graphs.items()},
    }


def digest_tensors(tensors: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """Digest of tensors in an order that their names do not change.

    >>> one, two = np.zeros(2, np.float32), np.ones(2, np.float32)
    >>> digest_tensors({"a": one, "b": two}) == digest_tensors({"x": two, "y": one})
    True
    """
    return _digest(sorted(_digest_array(each) for each in tensors.values()))


def digest_graph(model: onnx.ModelProto) -> str:
    """Digest of a graph: nodes in their order, values numbered where they occur first.

    Initializers count by their contents. The names of the graph's inputs and outputs count too, because
    callers use them; metadata does not.

    Args:
        model: with its weights inside.
    """
    graph = model.graph
    weights = {each.name: _digest_array(onnx.numpy_helper.to_array(each)) for each in graph.initializer}
    numbers: dict[str, str] = {each.name: each.name for each in graph.input}
    lines = [f"{each.domain} {each.version}" for each in sorted(model.opset_import, key=lambda x: x.domain)]
    lines += [each.SerializeToString().hex() for each in (*graph.input, *graph.output)]

    def number(name: str) -> str:
        if name and name not in numbers:
            numbers[name] = f"{len(numbers)} {weights.get(name, '')}"
        return numbers.get(name, "")

    for node in graph.node:
        attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
        lines += [
            f"{node.domain} {node.op_type}",
            *map(number, node.input),
            *map(number, node.output),
            *(each.SerializeToString(deterministic=True).hex() for each in attributes),
        ]
    return _digest([*lines, *(number(each.name) for each in graph.output)])


def compare(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """What differs between two fingerprints, a line each.

    Args:
        expected: as it was recorded.
        actual: of the code as it is.
    """
    same = all(expected[key] == actual[key] for key in ("cpu_capability", "torch"))
    if expected["graphs"].keys() != actual["graphs"].keys():
        return [f"graphs: {sorted(actual['graphs'])}, recorded were {sorted(expected['graphs'])}"]
    if same:
        lines = ["student: other tensors"] if expected["student"] != actual["student"] else []
        return [
            *lines,
            *(f"{form}: another graph" for form in expected["graphs"] if _differ(expected, actual, form)),
        ]
    gaps = {
        form: float(np.abs(np.subtract(rows, actual["logits"][form])).max())
        for form, rows in expected["logits"].items()
    }
    limits = {form: TOLERANCE if form == "fp32" else ROUNDED for form in gaps}
    return [f"{form}: logits differ by {gap:.2g}" for form, gap in gaps.items() if not gap <= limits[form]]


def _differ(expected: Mapping[str, Any], actual: Mapping[str, Any], form: str) -> bool:
    return bool(expected["graphs"][form] != actual["graphs"][form])


def _logits(path: Path, bundle: Path, texts: Sequence[str]) -> list[list[float]]:
    """One text a call, because dynamic quantization takes its scale from the whole batch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rows = (session.run(None, feed)[0][0] for feed in predict.feeds(bundle, texts))
    return [[round(float(value), 6) for value in row] for row in rows]


def _digest_array(array: np.ndarray[Any, Any]) -> str:
    head = f"{array.dtype} {array.shape} "
    return hashlib.sha256(head.encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
Names = Annotated[list[str] | None, typer.Argument(help=f"{', '.join(RECIPES)}; all by default.")]
Run = Annotated[Path, typer.Option("--run", help="Folder below which the run goes; it resumes.")]


def _fingerprints(names: Sequence[str] | None, out: Path) -> dict[str, dict[str, Any]]:
    unknown = sorted(set(names or ()) - set(RECIPES))
    if unknown:
        raise UsageError(f"{', '.join(unknown)}: no recipe", hint=f"there are {', '.join(RECIPES)}")
    return {name: fingerprint(made(RECIPES[name], out.resolve() / name)) for name in names or RECIPES}


@app.command("record")
def record(out: Run, names: Names = None) -> None:
    """Run recipes and keep their fingerprints."""
    for name, found in _fingerprints(names, out).items():
        path_of(name).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


@app.command("compare")
def check(out: Run, names: Names = None) -> None:
    """Run recipes and compare them with what was recorded."""
    differences = [
        f"{name}: {line}"
        for name, found in _fingerprints(names, out).items()
        for line in compare(json.loads(path_of(name).read_text(encoding="utf-8")), found)
    ]
    if differences:
        raise ParityFailed("; ".join(differences), hint="what changes a number is a commit with its reason")
    typer.echo("as recorded")


if __name__ == "__main__":
    try:
        app()
    except SqueezeError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
