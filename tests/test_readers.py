"""A sample of benchmarks.readers: random teachers are read as transformers reads them, or refused rightly."""

from __future__ import annotations

import json

import pytest

from benchmarks import reader_cases, readers
from benchmarks.readers_section import readers as section
from squeeze.errors import StageFailed
from squeeze.models import guard
from tests.models.test_guard import break_reader, shifted


@pytest.mark.parametrize("family", reader_cases.FAMILIES)
def test_random_teachers_are_read_rightly_or_refused(family):
    found = [readers.tried(reader_cases.draw(family, number, 0), 40) for number in (0, 1)]
    assert [record for record in found if record["outcome"] in readers.BAD] == []


def equal_case() -> reader_cases.Case:
    return reader_cases.draw("bert", 0, 0)


def test_a_silent_difference_would_be_seen(monkeypatch):
    assert readers.tried(equal_case(), 40)["outcome"] == "equal"
    monkeypatch.setattr(guard, "prove", lambda *_: ())
    break_reader(monkeypatch, shifted)
    found = readers.tried(equal_case(), 40)
    assert found["outcome"] == "silent"
    assert "logits" in found["message"]
    assert found["difference"] > 1e-3


def test_a_wrong_refusal_would_be_seen(monkeypatch):
    break_reader(monkeypatch, shifted)
    assert readers.tried(equal_case(), 40)["outcome"] == "wrongly refused"


def test_a_record_is_kept_and_drawn(tmp_path, monkeypatch):
    calls = []

    def tried(case, texts):
        calls.append(case.seed)
        bad = case.seed == "7-mpnet-0" and len(calls) < 7
        return {"case": case.seed, "outcome": "silent" if bad else "equal", "message": "ids"}

    monkeypatch.setattr(readers, "tried", tried)
    settings = {"count": 1, "seed": 7, "texts": 9, "out": tmp_path / "kept", "results": tmp_path}
    with pytest.raises(StageFailed, match="1 cases are wrong, first 7-mpnet-0: ids"):
        readers.main(**settings)
    assert len(calls) == len(reader_cases.FAMILIES)
    (tmp_path / "kept" / "7-mpnet-0-9.json").unlink()
    readers.main(**settings)
    assert calls[6:] == ["7-mpnet-0"]
    record = json.loads((tmp_path / "readers.json").read_text())
    lines = "\n".join(section(record))
    assert "| mpnet | 1 | 0 | 0 | 0 | 0 | 0.0e+00 |" in lines
    assert "0 are, pass" in lines
