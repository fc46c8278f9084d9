"""A few cases of benchmarks/mutated_data.py, in this process; the campaign has two thousand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.data_mutations import ENDINGS, draw
from benchmarks.mutated_data import Done, faults_of, tried, write_sound
from squeeze.cli import main


@pytest.mark.parametrize("number", range(5000, 5012))
def test_a_mutated_file_ends_with_a_right_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def run(words: Sequence[str], _folder: Path) -> Done:
        code = main(words)
        return Done(code=code, err=capsys.readouterr().err, seconds=0, wall=0, peak=0)

    write_sound(tmp_path)
    case = draw(number, seed=1)
    assert faults_of(tried(case, tmp_path, run)) == []


def test_the_same_number_is_the_same_case() -> None:
    assert draw(17, 0) == draw(17, 0) != draw(17, 1)
    assert {draw(number, 2).ending for number in range(0, 16, 5)} <= {
        *ENDINGS,
        "json",
        "CSV",
        "txt",
        "csv.gz",
    }


def test_faults_are_named() -> None:
    right = Done(code=2, err="error: x", seconds=0.1, wall=1, peak=10**8)
    assert faults_of([right, right]) == []
    slow = Done(code=3, err="", seconds=2.5, wall=3, peak=2 * 10**9)
    assert faults_of([right, slow]) == ["run: code 3", "run: 2.5 s", "run: 2000 MB"]
    taken = Done(code=0, err="", seconds=0, wall=0, peak=0)
    assert faults_of([right, taken]) == ["plan refuses what the data stage takes"]
    internal = Done(code=4, err="error: internal error KeyError: x", seconds=0, wall=0, peak=0)
    assert faults_of([internal, right]) == ["plan: internal error"]
