"""What the campaigns share: a command in a fork, and the cases that are done."""

from __future__ import annotations

import os
import signal

import pytest

from benchmarks import campaign, mutated_profiles, mutated_section
from benchmarks.common import read


def test_a_fork_gives_the_code_and_the_errors_of_a_command(tmp_path, capsys):
    with capsys.disabled():  # else sys.stderr is not that of the process
        ended = campaign.forked(["gate", str(tmp_path / "none")])
    assert ended.code == 2
    assert ended.errors.startswith("error: ")
    assert not campaign.internal(ended.errors)
    assert 0 < ended.seconds < campaign.MOST_SECONDS
    assert ended.memory > 10**6


@pytest.mark.parametrize(
    ("end", "code"), [(lambda _: os.kill(os.getpid(), signal.SIGKILL), -9), (lambda _: os._exit(7), 7)]
)
def test_a_fork_that_dies_is_seen(end, code, monkeypatch):
    monkeypatch.setattr("squeeze.cli.main", end)
    assert campaign.forked(["gate"]).code == code


def test_a_fork_never_returns_whatever_the_command_raises(monkeypatch):
    def leave(_):
        raise SystemExit(0)

    monkeypatch.setattr("squeeze.cli.main", leave)
    assert campaign.forked(["gate"]).code == 99


def test_records_of_the_same_seed_are_kept(tmp_path):
    path = tmp_path / "kept.jsonl"
    assert campaign.kept(path, "case", 0) == campaign.kept(None, "case", 0) == {}
    records = [{"case": 3, "seed": 0}, {"case": 4, "seed": 1}, {"case": 5}]
    for record in records:
        campaign.keep(path, record)
    campaign.keep(None, records[0])
    assert campaign.kept(path, "case", 0) == {3: records[0], 5: records[2]}
    assert campaign.kept(path, "case", 1) == {4: records[1], 5: records[2]}


def test_a_batch_that_was_cut_by_a_smaller_count_is_tried_again(tmp_path, monkeypatch):
    ran: list[tuple[int, int]] = []

    def apart(seed, first, last, kept):
        ran.append((first, last))
        codes = {"plan 2": last - first, "explain 2": 3}
        facts = {"wrong": [], "slow": [], "slowest_s": 0.1, "seconds": 1.0, "largest_mb": 2.0}
        record = {"seed": seed, "first": first, "codes": codes, **facts}
        campaign.keep(kept, record)
        return record

    monkeypatch.setattr(mutated_profiles, "_apart", apart)
    for count in (300, 600):
        mutated_profiles.main(count=count, kept=tmp_path / "kept.jsonl", results=tmp_path, only=None, part="")
    assert ran == [(0, 250), (250, 300), (250, 500), (500, 600)]
    record = read(tmp_path / "mutated-profiles.json")
    assert (record["cases"], record["commands"]) == (600, 609)
    lines = mutated_section.mutated_profiles(record)
    assert lines[0].startswith("600 profiles, seed 0")
    assert "| plan 2 | 600 |" in lines
    assert "0, 2 and 3: 0, pass." in lines[-2]
    assert "0.1 s of the processor, at most 2: pass" in lines[-1]
    assert "2 MB, at most 1,000: pass." in lines[-1]


def test_faults_of_data_files_are_counted_by_kind():
    faults = [{"faults": [fault]} for fault in ("plan: internal error", "run: code 3", "run: code -9")]
    record = {"cases": 2000, "seed": 0, "codes": {"plan 2, run 2": 1997}, "faults": faults}
    lines = mutated_section.mutated_data({**record, "slowest_s": 2.5, "largest_mb": 1200})
    assert "Internal errors: 1, fail; other exit codes than 0 and 2: 2, fail" in lines[-2]
    assert "taken by the stage: 0, pass." in lines[-2]
    assert "2.5 s of the processor, at most 2: fail; largest command: 1,200 MB" in lines[-1]
