"""`squeeze bench --target estimate:...`: an interval with the word estimate, and never a verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from squeeze.cli import main
from squeeze.errors import UsageError
from squeeze.estimates import calibration
from squeeze.estimates.calibration import Calibration, Sample
from squeeze.estimates.estimate import UNKNOWN_SPREAD, estimate, interval, length_of
from squeeze.estimates.known import Known, find
from squeeze.estimates.rates import Rate, Rates, predict
from squeeze.estimates.table import rows
from squeeze.estimates.trace import Node, Value
from squeeze.estimates.work import KINDS
from squeeze.progress import Silent
from squeeze.targets.devices.results import EstimateReport
from squeeze.targets.subjects import Subject
from tests import tiny_onnx as tiny

SAME = Rates(call_us=100.0, kinds=dict.fromkeys(KINDS, Rate(node_us=10.0, gops=1.0, gbytes=1.0)))
KNOWN = Known(SAME, 1.25, "made up", calibrated=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of our own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return calibration.home()


@pytest.fixture
def model(tmp_path):
    """A tiny classifier."""
    return tiny.classifier(tmp_path / "m.onnx", hidden=8, layers=2)


def board(**changes):
    sample = Sample(graph="g", form="fp32", length=8, ms=1.0, fitted_ms=1.0)
    facts = {"target": "ssh:board", "threads": 1, "environment": {"cpu": "Core"}, "rates": SAME}
    return Calibration(**{**facts, "spread": 1.25, "samples": (sample,), **changes})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found["rates"]["kinds"].pop("free"), "no rate for free"),
        (lambda found: found.update(spread=1e308), "spread"),
        (lambda found: found["rates"].update(call_us=1e308), "call_us"),
        (lambda found: found["rates"]["kinds"]["product"].update(gops=1e-300), "gops"),
    ],
)
def test_a_calibration_of_absurd_or_missing_rates_is_refused(change, said, model, tmp_path, capsys):
    found = board().plain()
    change(found)
    (tmp_path / "c.json").write_text(json.dumps(found))
    assert main(["bench", str(model), "--target", f"estimate:{tmp_path / 'c.json'}"]) == 2
    assert said in capsys.readouterr().err


def test_an_interval_by_hand():
    """(10, 20) x (20, 5): 2,000 operations at 1 a nanosecond are 2 us, more than 1,400 bytes."""
    values = [Value("float", shape) for shape in ((10, 20), (20, 5), (10, 5))]
    low, middle, high = interval([Node("MatMul", tuple(values[:2]), (values[2],))], KNOWN)
    assert middle == pytest.approx(0.1 + 0.01 + 0.002)
    assert [low, high] == pytest.approx([middle / 1.25, middle * 1.25])


def test_unknown_nodes_widen_it():
    add, strange = (Node(name, (Value("float", (1000,)),), ()) for name in ("Add", "Strange"))
    low, middle, high = interval([add, strange], KNOWN)
    each = 0.01 + 4e-3
    assert middle == pytest.approx(0.1 + 2 * each)
    assert high == pytest.approx(1.25 * (0.1 + each) + 1.25 * UNKNOWN_SPREAD * each)
    assert low == pytest.approx((0.1 + each) / 1.25 + each / (1.25 * UNKNOWN_SPREAD))


def test_the_length_is_the_one_asked_for_or_the_usual_one():
    assert length_of([5, 9, 100], 1) == 9
    assert length_of(None, 1) == 128
    assert length_of([5, 9, 100], 8) == 100


def test_a_longer_text_takes_longer(model):
    found = [
        estimate([Subject(model, "m")], KNOWN, "estimate:x", Silent(), sequence=length)[0]
        for length in (8, 64)
    ]
    assert found[0].mid_ms < found[1].mid_ms
    assert [each.tokens for each in found] == [8, 64]
    assert found[0].source == "made up"


def test_an_estimate_says_what_it_is(model, capsys):
    assert main(["bench", str(model), "--target", "estimate:pi5", "--seq", "32"]) == 0
    said = capsys.readouterr().out
    assert "| model | estimate, ms |" in said
    assert "not a measurement" in said
    assert "raspberrypi/firmware\\#1876" in said
    assert "No budget can be judged by it." in said
    assert "p50" not in said


def test_the_document_is_no_report_of_measurements(model, capsys):
    assert main(["bench", str(model), "--target", "estimate:pi4", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (found,) = EstimateReport.parse(document).results
    assert document["kind"] == found.kind == "estimated"
    assert found.high_ms / found.low_ms == pytest.approx(4.0)
    assert any("specifications" in note for note in found.notes)


@pytest.mark.parametrize("budget", ["p50=9999s", "p95=1000000ms", "size=1000MB", "speedup=0.001x"])
def test_no_budget_ever_passes(model, budget, capsys):
    assert main(["bench", str(model), "--target", "estimate:pi5", "--budget", budget]) == 2
    said = capsys.readouterr()
    assert "an estimate is no measurement" in said.err
    assert not said.out


def test_nothing_is_compared_with_it(model, capsys):
    assert main(["bench", str(model), "--target", "estimate:pi5", "--baseline", str(model)]) == 2
    assert "nothing is judged or compared" in capsys.readouterr().err


def test_a_longer_text_than_was_calibrated_is_said(model, cache, capsys):
    calibration.write(board(), cache / "b.json")  # whose sample has 8 tokens
    assert main(["bench", str(model), "--target", "estimate:b", "--seq", "8"]) == 0
    assert "longer" not in capsys.readouterr().out
    assert main(["bench", str(model), "--target", "estimate:b", "--seq", "9"]) == 0
    assert "texts of up to 8 tokens, this is longer" in capsys.readouterr().out


def test_a_calibration_by_file_and_by_name(model, tmp_path, cache, capsys):
    path = tmp_path / "my board.json"
    calibration.write(board(), path)
    assert main(["bench", str(model), "--target", f"estimate:{path}"]) == 0
    assert "calibrated on ssh:board (Core" in capsys.readouterr().out
    calibration.write(board(), cache / "ssh-board.json")
    assert find("ssh-board", 1, cache).spread == 1.25
    assert find("ssh-board", 1, cache).calibrated


def test_a_stored_calibration_goes_before_the_table(cache):
    assert find("pi5", 1, cache).source == rows()["pi5"].source
    calibration.write(board(), cache / "pi5.json")
    assert find("pi5", 1, cache).calibrated


def test_who_is_not_known(cache):
    with pytest.raises(UsageError, match="no such device") as caught:
        find("pixel99", 1, cache)
    assert "pixel8" in caught.value.hint
    calibration.write(board(), cache / "b.json")
    with pytest.raises(UsageError, match="calibrated with 1"):
        find("b", 4, cache)


def test_the_list_has_calibrations_first_and_names_broken_ones(cache, capsys):
    calibration.write(board(), cache / "ssh-board.json")
    (cache / "torn.json").write_text("{")
    assert main(["device", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ssh-board", "torn", *rows()]
    assert "cannot be used" in lines[1]
    assert "from specifications, x/2 to x2" in lines[2]
    assert main(["device", "list", "--json"]) == 0
    devices = json.loads(capsys.readouterr().out)["devices"]
    assert all(each["source"] for each in devices)


def test_a_calibration_is_kept_and_used(model, monkeypatch, cache, capsys):
    from squeeze.estimates import calibrate

    monkeypatch.setattr(calibrate, "calibrate", lambda target, measure, progress: board(target=target))
    assert main(["device", "calibrate", "cpu"]) == 0
    assert "--target estimate:cpu" in capsys.readouterr().out
    assert (cache / "cpu.json").is_file()
    assert main(["bench", str(model), "--target", "estimate:cpu"]) == 0
    assert "calibrated on cpu" in capsys.readouterr().out


def test_estimating_needs_neither_onnx_nor_torch(model):
    code = (
        "import sys\n"
        "for name in ('onnx', 'onnx_ir', 'torch', 'transformers'): sys.modules[name] = None\n"
        "from squeeze.cli import main\n"
        f"sys.exit(main(['bench', {str(model)!r}, '--target', 'estimate:pi4']))\n"
    )
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=variables
    )
    assert done.returncode == 0, done.stderr
    assert "estimate" in done.stdout


def test_predictions_are_those_of_the_rates(model):
    from squeeze.estimates.trace import trace
    from squeeze.estimates.work import parts

    nodes = trace(Subject(model, "m"), (16,), 1, {})[16]
    (found,) = estimate([Subject(model, "m")], KNOWN, "estimate:x", Silent(), sequence=16)
    assert found.mid_ms == pytest.approx(predict(SAME, [part for node in nodes for part in parts(node)]))
