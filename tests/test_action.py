"""action.yml: its steps run as GitHub would run them, on real models."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from squeeze.bench import BenchReport
from tests import tiny_onnx as tiny

ROOT = Path(__file__).resolve().parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
SHELL = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]  # what `shell: bash` is on GitHub
EXAMPLE = ROOT / "docs" / "examples" / "latency-gate.yml"
QUICK = "--min-runs=20\n--seconds=0\n"


def resolved(text: str, inputs: dict[str, str]) -> str:
    """A value of `env`, whose expressions may be inputs and the action's own path only."""
    defaults = {name: about.get("default", "") for name, about in ACTION["inputs"].items()}
    values = {f"inputs.{name}": value for name, value in {**defaults, **inputs}.items()}
    values["github.action_path"] = str(ROOT)
    return re.sub(r"\$\{\{ (\S+) \}\}", lambda found: values[found[1]], text)


class Job:
    """A runner's folders and what a step leaves in them."""

    def __init__(self, folder: Path) -> None:
        self.work, self.temp = folder / "work", folder / "temp"
        for each in (self.work, self.temp):
            each.mkdir()
        self.summary, self.output = folder / "summary.md", folder / "output"
        self.summary.touch()

    def installed(self) -> Job:
        """As the first step leaves it: squeeze, from this tree."""
        program = self.temp / "squeeze" / "bin" / "squeeze"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m squeeze "$@"\n')
        program.chmod(0o755)
        (self.temp / "squeeze" / "installed-from").write_text(str(ROOT))
        return self

    def run(self, name: str, path: str = "", **inputs: str) -> subprocess.CompletedProcess[str]:
        step = STEPS[name]
        variables = {key: resolved(value, inputs) for key, value in step["env"].items()}
        script = self.temp / "step.sh"
        script.write_text(step["run"], encoding="utf-8")
        self.output.write_text("")
        environment = {
            **os.environ,
            **variables,
            "PATH": f"{path}{os.pathsep}{os.environ['PATH']}" if path else os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
        }
        command = [*SHELL, str(script)]
        return subprocess.run(
            command, cwd=self.work, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    @property
    def outputs(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.output.read_text(encoding="utf-8").splitlines())


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = Job(tmp_path).installed()
    tiny.classifier(made.work / "model.onnx")
    return made


def test_a_budget_that_is_kept(job):
    job.summary.write_text("what another command wrote\n")
    done = job.run("Measure", model="model.onnx", budgets="p50=10s\n\n  size=8MB  \n", args=QUICK)
    assert done.returncode == 0, done.stderr
    found = job.outputs
    assert found["verdict"] == "pass"
    assert BenchReport.read(Path(found["report"])).measurements[0].name == "model.onnx"
    cases = [case.get("name") for case in ElementTree.parse(found["junit"]).iter("testcase")]
    assert cases == ["p50 10000 ms", "size 8 MB"]
    text = job.summary.read_text(encoding="utf-8")
    assert text.startswith("what another command wrote\n\n### squeeze bench: ✅ pass\n")


def test_a_budget_that_is_exceeded(job):
    done = job.run("Measure", model="model.onnx", budgets="p50=10s\nsize=1B", args=QUICK)
    assert done.returncode == 1, done.stderr
    assert job.outputs["verdict"] == "fail"
    assert "::error title=squeeze bench::fail" in done.stdout
    assert "size" in done.stderr  # the checks stand in the log
    assert "❌ fail" in job.summary.read_text(encoding="utf-8")
    assert ElementTree.parse(job.outputs["junit"]).getroot().get("failures") == "1"


def test_what_cannot_be_decided_ends_with_5_and_only_warns_where_that_was_chosen(job):
    given = {"model": "model.onnx", "budgets": "p99=10s", "args": QUICK}  # 20 calls have no interval of p99
    done = job.run("Measure", **given)
    assert done.returncode == 5, done.stderr
    assert job.outputs["verdict"] == "inconclusive"
    done = job.run("Measure", **given, inconclusive="warn")
    assert done.returncode == 0, done.stderr
    assert job.outputs["verdict"] == "inconclusive"
    assert "::warning title=squeeze bench::" in done.stdout


def test_a_warning_is_for_the_undecided_alone(job):
    done = job.run("Measure", model="model.onnx", budgets="p99=10s\nsize=1B", args=QUICK, inconclusive="warn")
    assert (done.returncode, job.outputs["verdict"]) == (1, "fail")


def test_without_budgets_nothing_is_judged(job):
    done = job.run("Measure", model="model.onnx", args=QUICK)
    assert done.returncode == 0, done.stderr
    assert (job.outputs["verdict"], job.outputs["junit"]) == ("measured", "")


@pytest.mark.parametrize(
    "given", [{"model": "none.onnx"}, {"model": ""}, {"model": "model.onnx", "budgets": "p59=1ms"}]
)
def test_what_cannot_be_measured(job, given):
    done = job.run("Measure", **given)
    assert done.returncode == 2, done.stderr
    assert job.outputs == {"verdict": "error", "report": "", "junit": ""}


def test_a_choice_that_is_none(job):
    assert job.run("Measure", model="model.onnx", inconclusive="ignore").returncode == 2


HOSTILE = "$(touch pwned) `touch pwned`; touch pwned; \"; touch pwned; '; touch pwned"


@pytest.mark.parametrize("name", [name for name in ACTION["inputs"] if name != "python-version"])
def test_nothing_in_an_input_is_run(job, name):
    given = {"model": "model.onnx", "budgets": "size=8MB", "args": QUICK}
    done = job.run("Measure", **{**given, name: HOSTILE})
    assert done.returncode == 2
    assert not (job.work / "pwned").exists()


def test_odd_names_are_names(job):
    odd = "-a $(touch pwned) *.onnx"
    (job.work / "model.onnx").rename(job.work / odd)
    done = job.run("Measure", model=odd, budgets="size=8MB", args=QUICK)
    assert done.returncode == 0, done.stderr
    assert not (job.work / "pwned").exists()


STAND_IN = """#!/bin/sh
echo "$@" >> "$RUNNER_TEMP/calls"
if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; fi
"""


def test_it_installs_itself_once_with_its_pins(tmp_path):
    job, programs = Job(tmp_path), tmp_path / "programs"
    programs.mkdir()
    (programs / "python3").write_text(STAND_IN)
    (programs / "python3").chmod(0o755)
    for _ in range(2):
        done = job.run("Install squeeze", path=str(programs))
        assert done.returncode == 0, done.stderr
    assert (job.temp / "calls").read_text(encoding="utf-8").splitlines() == [
        f"-m venv {job.temp}/squeeze",
        f"-m pip install --quiet --constraint {ROOT}/constraints.txt {ROOT}",
    ]


def test_no_script_has_an_expression_in_it():
    scripts = [step["run"] for step in STEPS.values() if "run" in step]
    assert len(scripts) == 2
    assert [script for script in scripts if "${{" in script] == []
    assert [step["shell"] for step in STEPS.values() if "run" in step] == ["bash", "bash"]


def test_the_action_has_what_github_asks_for():
    assert {"name", "description", "inputs", "outputs", "runs"} <= set(ACTION)
    assert ACTION["runs"]["using"] == "composite"
    assert [name for name, about in ACTION["inputs"].items() if not about.get("description")] == []
    assert all("default" in about or about.get("required") for about in ACTION["inputs"].values())
    for about in ACTION["outputs"].values():
        found = re.fullmatch(r"\$\{\{ steps\.bench\.outputs\.(\w+) \}\}", about["value"])
        assert found
        assert f'"{found[1]}=' in STEPS["Measure"]["run"]
    used = {name for step in STEPS.values() for name in re.findall(r"inputs\.([\w-]+)", str(step))}
    assert used == set(ACTION["inputs"])


def gate_step() -> dict[str, Any]:
    document = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    steps = document["jobs"]["latency"]["steps"]
    (gate,) = [step for step in steps if step.get("id") == "gate"]
    return dict(gate)


def test_the_example_uses_what_the_action_has():
    gate = gate_step()
    assert set(gate["with"]) <= set(ACTION["inputs"])
    said = set(re.findall(r"steps\.gate\.outputs\.(\w+)", EXAMPLE.read_text(encoding="utf-8")))
    assert said
    assert said <= set(ACTION["outputs"])
    document = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    assert document["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in document[True]  # YAML 1.1 reads `on` as true


def test_the_gate_of_the_example_runs(job):
    """A model against itself is neither slower nor undecidable for long; a busy machine may not say."""
    (job.work / "base").mkdir()
    tiny.classifier(job.work / "base" / "model.onnx")
    given = {**gate_step()["with"], "args": "--within=5"}
    done = job.run("Measure", **given)
    assert done.returncode in {0, 1, 5}, done.stderr  # 2 were an example that is not understood
    report = BenchReport.read(Path(job.outputs["report"]))
    assert report.baseline == "base/model.onnx"
    checks = [case.get("name", "") for case in ElementTree.parse(job.outputs["junit"]).iter("testcase")]
    assert len(checks) == len(given["budgets"].splitlines()) == 2
