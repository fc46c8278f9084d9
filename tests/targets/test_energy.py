"""RAPL counters, on folders made like those of the kernel."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from squeeze.errors import MissingBackend
from squeeze.progress import Silent
from squeeze.sweeping import energy as sweeping
from squeeze.sweeping.options import SweepOptions
from squeeze.sweeping.records import Place, Point
from squeeze.targets import energy
from squeeze.targets.subjects import Subject
from tests import tiny_onnx as tiny
from tests.measured import measurement

RANGE = 262_143_328_850


def zone(root: Path, folder: str, name: str, microjoules: int = 1_000) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    return path


@pytest.fixture
def root(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    zone(tmp_path, "intel-rapl:1", "package-1", RANGE - 1_000_000)
    zone(tmp_path, "intel-rapl:2", "psys", 9)
    zone(tmp_path, "intel-rapl:0:0", "core", 9)
    (tmp_path / "intel-rapl").mkdir()
    return tmp_path


def test_packages_are_counted_once(root):
    found = energy.zones(root)
    assert [(each.name, each.range_uj) for each in found] == [("package-0", RANGE), ("package-1", RANGE)]
    assert energy.read(found) == [5_000_000, RANGE - 1_000_000]


def test_a_counter_that_starts_again_is_counted_on(root):
    found = energy.zones(root)
    before = energy.read(found)
    (root / "intel-rapl:0" / "energy_uj").write_text("8000000")
    (root / "intel-rapl:1" / "energy_uj").write_text("500000")
    assert energy.joules(found, before, energy.read(found)) == pytest.approx(3.0 + 1.5)
    assert energy.joules(found, before, before) == 0


def test_no_counters_say_so(tmp_path):
    with pytest.raises(MissingBackend, match="no RAPL counters in"):
        energy.zones(tmp_path)
    with pytest.raises(MissingBackend, match="no RAPL counters in"):
        energy.zones(tmp_path / "none")


def test_other_counters_alone_will_not_do(tmp_path):
    zone(tmp_path, "intel-rapl:0", "psys")
    with pytest.raises(MissingBackend, match="counts no package, only psys"):
        energy.zones(tmp_path)


@pytest.mark.parametrize(("broken", "told"), [(PermissionError(13, "Permission denied"), "root"), (None, "")])
def test_counters_that_cannot_be_read_name_the_file(broken, told, root, monkeypatch):
    whole = Path.read_text
    gone = OSError(5, "Input/output error")

    def read_text(path, **words):
        if path.name == "energy_uj":
            raise broken or gone
        return whole(path, **words)

    monkeypatch.setattr(Path, "read_text", read_text)
    with pytest.raises(MissingBackend, match=r"intel-rapl:0/energy_uj: cannot be read") as caught:
        energy.zones(root)
    assert told in caught.value.hint


def test_joules_a_call_and_what_is_above_idle():
    idle = {"idle_seconds": 2.0, "idle_joules": 10.0}
    rounds = [{"calls": 100, "seconds": 2.0, "joules": joules, **idle} for joules in (30.0, 40.0, 20.0)]
    found = sweeping.summary({"rounds": rounds, "zones": ["package-0"]})
    assert found.joules_per_call.plain() == pytest.approx({"value": 0.3, "low": 0.2, "high": 0.4})
    assert found.above_idle_per_call.plain() == pytest.approx({"value": 0.2, "low": 0.1, "high": 0.3})
    assert (found.idle_watts, found.calls) == (5.0, 300)


def test_without_counters_the_points_stay_and_the_reason_is_told(tmp_path):
    points = (Point(place=Place(threads=1, batch=1), measurement=measurement()),)
    subject = Subject(tmp_path / "m.onnx", "m")
    kept, reason = sweeping.add(subject, points, SweepOptions(), Silent(), tmp_path)
    assert kept == points
    assert reason == f"not readable here: no RAPL counters in {tmp_path}"


def test_a_real_process_reads_counters_that_count(tmp_path, monkeypatch):
    """A thread counts 10 W, in the place of the kernel; the counter starts again on the way."""
    root = tmp_path / "powercap"
    counter = zone(root, "intel-rapl:0", "package-0", RANGE - 100_000) / "energy_uj"
    monkeypatch.setattr(sweeping, "SECONDS", 0.2)
    over, begun = threading.Event(), time.monotonic()

    def count() -> None:
        while not over.wait(0.002):
            spent = int((time.monotonic() - begun) * 10e6)
            text = f"{(RANGE - 100_000 + spent) % RANGE}"
            counter.with_name("new").write_text(text)
            counter.with_name("new").replace(counter)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        path = tiny.classifier(tmp_path / "m.onnx")
        failed = Point(place=Place(threads=1, batch=2), error="no")
        points = (Point(place=Place(threads=1, batch=1, sequence=4), measurement=measurement()), failed)
        found, reason = sweeping.add(Subject(path, "m"), points, SweepOptions(), Silent(), root)
    finally:
        over.set()
        thread.join()
    assert reason is None
    assert found[1] == failed
    spent = found[0].energy
    assert spent is not None
    assert spent.zones == ("package-0",)
    assert spent.idle_watts == pytest.approx(10, rel=0.3)
    assert spent.joules_per_call.value == pytest.approx(10 * 0.2 * sweeping.ROUNDS / spent.calls, rel=0.5)
