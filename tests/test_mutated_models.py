"""A sample of the campaign on changed model files, and what its oracle finds."""

from __future__ import annotations

import collections
import contextlib
import io
import json
from typing import Any

import pytest

from benchmarks import model_mutations, mutated_models, mutated_section
from benchmarks.common import read
from benchmarks.model_mutations import draw
from squeeze.errors import SqueezeError
from squeeze.graphs.readiness import examine


@pytest.mark.parametrize("number", [0, 1, 3, 5, 8, 10, 12, 13])
def test_one_case_of_each_kind_ends_as_it_should(number, tmp_path):
    case = draw(3, number)
    assert mutated_models.tried(case, tmp_path)["wrong"] == []


def test_many_changed_files_end_in_a_line_of_doctor(tmp_path):
    ends: collections.Counter[str] = collections.Counter()
    longest = 0
    for number in range(300):
        case = draw(4, number)
        path = tmp_path / f"{number}{case.name[-5:]}"
        path.write_bytes(case.content)
        try:
            ends[str(examine(path).ready)] += 1
        except SqueezeError as error:
            ends[type(error).__name__] += 1
            longest = max(longest, len(error.message.splitlines()))
    assert longest == 1
    assert {"True", "False", "UsageError", "StageFailed", "MissingBackend"} <= ends.keys()


def test_the_same_numbers_give_the_same_file():
    assert [draw(0, number) for number in range(32)] == [draw(0, number) for number in range(32)]
    assert draw(0, 1).content != draw(1, 1).content


@pytest.mark.parametrize(
    ("code", "out", "err", "fault"),
    [
        (4, "", "error: internal error KeyError: x\nhint: y\n", "internal error"),
        (1, "", "", "exit code 1"),
        (2, "", "", "0 lines of errors"),
        (2, "", "error: a\nerror: b\n", "2 lines of errors"),
        (0, "::error::x\n", "", "a line that a CI runs"),
        (0, "a \x1b[31m\n", "", "a sign that steers"),
    ],
)
def test_the_oracle_finds(code, out, err, fault):
    assert any(fault in each for each in mutated_models._faults(code, frozenset({0, 2, 4}), out, err))
    assert list(mutated_models._faults(2, frozenset({2}), "", "error: x\nhint: y\n")) == []


def test_what_was_tried_is_not_tried_again(tmp_path, monkeypatch):
    ran: list[int] = []

    def apart(seed, numbers, path) -> None:
        ran.extend(numbers)
        _note(numbers, path)

    monkeypatch.setattr(mutated_models, "_apart", apart)
    words: dict[str, Any] = {"count": 6, "kept": tmp_path, "results": tmp_path}
    with contextlib.redirect_stderr(io.StringIO()):
        mutated_models.main(**words, part="0/2")
        assert ran == [0, 2, 4]
        assert not (tmp_path / "mutated-models.json").exists()
        mutated_models.main(**words)
    assert ran == [0, 2, 4, 1, 3, 5]
    lines = mutated_section.mutated_models(read(tmp_path / "mutated-models.json"))
    assert lines[0] == "6 files, seed 0."
    assert "| bench 2 | 6 |" in lines
    assert "Internal errors: 0, pass" in lines[-2]
    assert "`doctor` 0.10 s of the processor, at most 2: pass" in lines[-1]


def _note(numbers, path) -> None:
    case = {"kind": "cut", "codes": {"bench": 2}, "seconds": 1.0, "doctor_s": 0.1, "bytes": 5, "wrong": []}
    with path.open("a") as file:
        file.writelines(f"{json.dumps({'number': number, **case})}\n" for number in numbers)


def test_every_seed_is_a_model():
    for name, make in model_mutations.SEEDS.items():
        assert make().graph.node, name
