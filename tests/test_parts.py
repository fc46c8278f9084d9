"""`make benchmark`: parts, their commands, and one that fails."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from benchmarks import parts
from benchmarks.common import ROOT
from benchmarks.parts import ALL, PARTS, SIDE_BY_SIDE, Part, commands, main, ran, selected
from squeeze.errors import StageFailed, UsageError

FOLDERS = {"data": "../shared/my data", "runs": "runs/students", "results": "out"}


def test_every_part_runs_something_that_exists():
    for part in PARTS.values():
        for command in part.commands:
            first = command.split()[0]
            if first.endswith(".sh"):
                assert (ROOT / "benchmarks" / first).is_file()
            else:
                assert importlib.util.find_spec(first)
                source = (ROOT / f"{first.replace('.', '/')}.py").read_text()
                assert "results: Results" in source


def test_every_benchmark_of_the_readme_is_a_part():
    told = (ROOT / "benchmarks" / "README.md").read_text()
    named = re.findall(r"^\| `(?:python -m benchmarks\.|benchmarks/)(\w+)", told, flags=re.MULTILINE)
    assert "students" in named
    assert set(named) - {"report", "parts", "front_figures"} <= set(PARTS)


def test_parts_are_chosen_by_name_and_run_in_their_order():
    assert selected("front, peers") == ("peers", "front")
    assert selected(ALL) == tuple(PARTS)
    assert selected(",".join(SIDE_BY_SIDE)) == SIDE_BY_SIDE
    with pytest.raises(UsageError, match="no_such is unknown"):
        selected("peers no_such")


def test_folders_take_their_places_and_one_with_a_space_stays_one_word():
    (made,) = commands(PARTS["students"], FOLDERS)
    words = [
        "../shared/my data",
        "--shapes",
        "tiny,small,medium",
        "--out",
        "runs/students",
        "--results",
        "out",
    ]
    assert made == [sys.executable, "-m", "benchmarks.students", *words]
    (script,) = commands(Part(("kill.sh {runs}",)), FOLDERS)
    assert script == [str(ROOT / "benchmarks" / "kill.sh"), "runs/students"]
    front = commands(PARTS["front"], FOLDERS)
    assert [command[2] for command in front] == ["benchmarks.training_peers", "benchmarks.front"] * 2


def test_a_part_that_fails_does_not_stop_the_others(capsys):
    asked = []

    def run(command):
        asked.append(command)
        return 3 if command == ["bad"] else 0

    assert ran({"a": [["bad"], ["x"]], "b": [["y"]]}, run) == ["a"]
    assert asked == [["bad"], ["x"], ["y"]]
    told = capsys.readouterr().err
    assert "a: failed with 3" in told
    assert "b: done" in told


def test_the_command_writes_the_report_and_ends_with_an_error_when_a_part_failed(monkeypatch):
    asked = []

    def run(command):
        asked.append(list(command))
        return int("benchmarks.lean" in command)

    monkeypatch.setattr(parts, "_run", run)
    with pytest.raises(StageFailed, match="1 parts failed: lean"):
        main(data=None, runs=Path("r"), parts="lean graph", listed=False, results=Path("out"))
    assert [command[2] for command in asked] == ["benchmarks.graph", "benchmarks.lean", "benchmarks.report"]
    main(data=None, runs=Path("r"), parts="graph", listed=False, results=Path("out"))


def test_parts_that_read_the_sets_ask_for_their_folder():
    with pytest.raises(UsageError, match="--data is missing"):
        main(data=None, runs=Path("r"), parts="students", listed=False, results=Path("out"))


def test_the_list_says_what_every_part_runs_and_needs(capsys):
    main(data=None, runs=Path("r"), parts="", listed=True, results=Path("out"))
    told = capsys.readouterr().out
    assert all(f"\n{name}" in f"\n{told}" for name in PARTS)
    assert "needs students of its set" in told


def test_make_benchmark_passes_its_settings_on():
    recipe = (ROOT / "Makefile").read_text()
    assert "benchmarks.parts" in recipe
    for setting, option in (("DATA", "--data"), ("RUNS", "--runs"), ("PARTS", "--parts")):
        assert f'$(if $({setting}),{option} "$({setting})")' in recipe
