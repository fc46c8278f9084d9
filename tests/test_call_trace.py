"""The script that counts how a stage walks from module to module."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from squeeze import artifact
from squeeze.budget import BudgetSection
from squeeze.distillation.config import DistilConfig, DistilSection, Phase, StudentSection, phase_faults
from squeeze.registry import STAGES
from squeeze.stages.search.stage import SearchConfig
from squeeze.tasks import TASKS
from tools import call_trace
from tools.call_trace import Call, count, recorded, sections


def test_neighbours_of_one_module_are_one_call():
    found = count(["a", "a", "b", "a", "c", "c"])
    assert (found.path, found.modules, found.returns) == (("a", "b", "a", "c"), 3, 1)
    assert str(found) == "4 calls into 3 modules, 1 returns"
    assert count([]).returns == 0


def test_sections_are_those_of_a_config_and_not_what_is_inside_them():
    tasks = {task.Section for task in TASKS.values()}
    assert sections(DistilConfig) == {DistilConfig, *tasks, StudentSection, DistilSection}
    assert BudgetSection in sections(SearchConfig)  # it may be None


def test_every_function_counts_once_with_the_config_that_it_is_given(tmp_path):
    phase = Phase.parse({"name": "p", "losses": [{"name": "kl"}]})
    (tmp_path / "a.txt").write_text("a")
    calls: list[Call] = []
    with recorded(calls, {Phase}):
        for _ in range(2):
            artifact.digest_file(tmp_path / "a.txt")
            list(phase_faults(phase, 2, "softmax"))
        Path(tmp_path).exists()  # not of squeeze
    assert sys.getprofile() is None
    named = [(call.module, call.function, call.config) for call in calls]
    assert named.count(("squeeze.artifact", "digest_file", False)) == 1
    assert named.count(("squeeze.distillation.config", "phase_faults", True)) == 1
    assert all(call.module.startswith("squeeze.") for call in calls)


def test_a_stage_is_traced_and_its_figures_are_printed(monkeypatch, capsys):
    def run(_: object, out: Path, *, until: str, stages: list[SimpleNamespace]) -> None:
        assert until == "gate"
        next(stage for stage in stages if stage.name == until).run(None, {}, out)

    monkeypatch.setattr("squeeze.pipeline.run", run)
    gate = next(stage for stage in STAGES if stage.name == "gate")
    stand_in = replace(gate, run=lambda *given: artifact.digest_json(len(given)))  # type: ignore[arg-type]
    monkeypatch.setattr(call_trace, "STAGES", [stand_in])
    call_trace.main(["gate"], path=True)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "gate: 1 calls into 1 modules, 0 returns"
    assert printed[1] == "gate, given its config: 0 calls into 0 modules, 0 returns; 0 functions"
    assert printed[2] == "    squeeze.artifact digest_json"
    with pytest.raises(ValueError, match="not enough values"):
        call_trace.trace("distil", Path())
