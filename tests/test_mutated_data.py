"""A few cases of benchmarks/mutated_data.py, in this process; the campaign has two thousand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.campaign import Ended
from benchmarks.data_mutations import ENDINGS, draw
from benchmarks.mutated_data import faults_of, tried, write_sound
from squeeze.cli import main


@pytest.mark.parametrize("number", range(5000, 5012))
def test_a_mutated_file_ends_with_a_right_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def run(words: Sequence[str]) -> Ended:
        return Ended(main(words), 0, 0, capsys.readouterr().err)

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
    right = Ended(2, 0.1, 10**8, "error: x")
    assert faults_of([right, right]) == []
    slow = Ended(3, 2.5, 2 * 10**9, "")
    assert faults_of([right, slow]) == ["run: code 3", "run: 2.5 s", "run: 2000 MB"]
    assert faults_of([right, Ended(0, 0, 0, "")]) == ["plan refuses what the data stage takes"]
    assert faults_of([right, Ended(-9, 0, 0, "")]) == ["run: code -9"]
    internal = Ended(4, 0, 0, "error: internal error KeyError: x")
    assert faults_of([internal, right]) == ["plan: internal error"]
