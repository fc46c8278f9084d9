"""Small samples of the campaigns over stored files: benchmarks/flipped_bytes.py and mutated_bundles.py."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from benchmarks import flipped_bytes, mutated_bundles
from benchmarks.campaign import Ended
from benchmarks.mutated_bundles import Case
from squeeze import latest
from squeeze.cli import main
from tests import finished_run

CASES = 24


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run.make(tmp_path_factory.mktemp("runs") / "demo")


def test_a_flipped_byte_of_any_file_is_found(run, tmp_path):
    copy, bundle = tmp_path / "run", tmp_path / "bundle"
    shutil.copytree(run, copy)
    shutil.copytree(run / "export-0", bundle)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size)
    drawn = list(flipped_bytes.places(files, len(files) * 2 + 20, random.Random(0)))
    assert {path for path, *_ in drawn} == set(files)
    for path, at, bits in drawn[:: 2 if len(drawn) > 60 else 1]:
        words = ["gate", str(copy)] if path.is_relative_to(copy) else ["predict", str(bundle), "river"]
        ended = flipped_bytes.flip(path, at, bits, partial(main, words))
        assert ended == flipped_bytes.ALTERED, (path, at, bits)
    assert main(["gate", str(copy)]) == main(["gate", str(run)]) == 1  # every byte is as before


def test_mutated_bundles_end_in_one_line(run, tmp_path, capsys):
    kinds: Counter[str] = Counter()
    for seed in range(CASES):
        copy = tmp_path / str(seed) / "run"
        copy.parent.mkdir()
        mutated_bundles.linked(run, copy, "export-0")
        case = mutated_bundles.mutate(copy / "export-0", random.Random(seed))
        kinds[case.kind] += 1
        if case.sealed:
            mutated_bundles.seal(copy, "export-0")
        for words in mutated_bundles.commands(copy, "export-0"):
            code = main(words)
            ended = Ended(code, 0.0, 0, capsys.readouterr().err)
            assert mutated_bundles.wrong(case, words[0], ended) == "", (seed, case, ended)
    assert kinds.keys() == mutated_bundles.KINDS.keys()


def test_a_wrong_end_is_seen():
    good = Ended(4, 0.1, 10**8, "error: x")
    altered, sealed = Case("cut", "labels.json", sealed=False), Case("model", "model.onnx", sealed=True)
    assert mutated_bundles.wrong(altered, "predict", good) == ""
    assert mutated_bundles.wrong(altered, "predict", Ended(0, 0.1, 1, "")) == "wrong exit code"
    assert mutated_bundles.wrong(sealed, "predict", Ended(1, 0.1, 1, "")) == "wrong exit code"
    assert mutated_bundles.wrong(sealed, "report", Ended(-11, 0.1, 1, "")) == "wrong exit code"
    assert mutated_bundles.wrong(sealed, "report", Ended(4, 2.1, 1, "")) == "too slow"
    assert mutated_bundles.wrong(sealed, "report", Ended(4, 0.1, 2 * 10**9, "")) == "too much memory"
    assert (
        mutated_bundles.wrong(sealed, "report", Ended(4, 0.1, 1, "error: internal error X"))
        == "internal error"
    )


def test_a_renewed_bundle_is_read(run, tmp_path):
    copy = tmp_path / "run"
    mutated_bundles.linked(run, copy, "export-0")
    (copy / "export-0" / "more.txt").write_text("more")
    mutated_bundles.seal(copy, "export-0")
    assert main(["report", str(copy)]) == 0
    assert latest.read(copy).sealed
    assert not (run / "export-0" / "more.txt").exists()
