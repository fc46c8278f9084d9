"""A visit to a device: what is brought, what is asked, what goes wrong, and that nothing stays."""

from __future__ import annotations

import platform
import signal
import threading
from pathlib import Path

import pytest

from squeeze.errors import (
    Inconclusive,
    MissingBackend,
    ParityFailed,
    StageFailed,
    UsageError,
)
from squeeze.progress import Silent
from squeeze.targets.cpu import Settings
from squeeze.targets.devices import session as sessions
from squeeze.targets.devices.functional import check
from squeeze.targets.devices.golden import goldens
from squeeze.targets.devices.local import LocalTransport
from squeeze.targets.devices.measured import measure
from squeeze.targets.devices.plan import Plan, Planned
from squeeze.targets.devices.session import Session
from squeeze.targets.subjects import find
from tests import tiny_onnx as tiny
from tests.targets.devices import stands

QUICK = Settings(min_runs=40, min_seconds=0.0, starts=2, sequence=6)


class Told(Silent):
    """Progress whose lines are kept."""

    def __init__(self):
        self.lines = []

    def log(self, message):
        self.lines.append(message)


@pytest.fixture
def subjects(tmp_path):
    """A model whose name no shell would take as one word."""
    path = tiny.classifier(tmp_path / "a model; rm -rf $(x) 'y' \"z\".onnx")
    return find(path)


@pytest.fixture
def visit(tmp_path):
    """``visit(fault)``: a session on this machine with a stand-in runner that has this fault."""

    def enter(fault="", **options):
        runners = stands.stand_in(tmp_path / f"bundle{fault}", fault=fault)
        way = LocalTransport("board", stands.ABI, tmp_path / "device")
        return Session(way, runners, options.pop("progress", Silent()), **options)

    return enter


def plan(session, subjects, **other):
    asked = goldens(subjects, QUICK, 2)
    [file] = session.bring(asked)
    return asked, Plan([Planned(file, 0, asked[0].feeds)], threads=1, **other)


def test_a_measurement_has_what_the_runner_said(visit, subjects, tmp_path):
    with visit() as session:
        [found] = measure(subjects, QUICK, session, Silent())
    assert (found.kind, found.target, found.name) == ("measured", "board", subjects[0].path.name)
    assert (found.load_ms, found.first_ms, found.rss_bytes) == (2.0, 1.5, 3_000_000)
    assert found.loads_ms == (2.0, 2.0)
    assert found.runs == 40
    assert found.warm
    assert found.block_widths == ((6,) * 20,) * 2
    assert found.cores == (1,)
    assert found.p50.value == pytest.approx(1.01)
    assert found.sequence is not None
    assert found.sequence.maximum == 6
    assert found.environment["cpu"] == "Test Board (0xd0b)"
    assert found.environment["differences"][0]["largest"] == 0.0
    assert not (tmp_path / "device").exists()


def test_two_models_are_measured_in_turns(visit, subjects, tmp_path):
    other = find(tiny.classifier(tmp_path / "other.onnx", layers=1))
    with visit() as session:
        first, second = measure([*subjects, *other], QUICK, session, Silent())
    assert first.block_widths == second.block_widths
    assert first.sha256 != second.sha256


def test_a_functional_run_has_differences_only(visit, subjects, tmp_path):
    with visit() as session:
        [found] = check(subjects, QUICK, session, Silent())
    assert (found.kind, found.target, found.equal, found.feeds) == ("functional", "board", True, 8)
    assert not (tmp_path / "device").exists()


def test_external_weights_go_along(visit, tmp_path):
    import onnx

    path = tiny.classifier(tmp_path / "big.onnx", hidden=64)
    onnx.save_model(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location="big.onnx.data",
        size_threshold=1000,
        convert_attribute=False,
    )
    with visit() as session:
        [found] = check(find(path), QUICK, session, Silent())
    assert found.equal


def test_the_runner_is_brought_again_only_when_it_changed(visit, subjects, tmp_path):
    device, told = tmp_path / "device", Told()
    with visit(keep=True, progress=told):
        pass
    [home] = device.iterdir()
    assert len(told.lines) == 1
    (home / "squeeze-runner").touch()  # the folder that is there is used
    runners = stands.stand_in(tmp_path / "again")
    with Session(LocalTransport("board", stands.ABI, device), runners, told, keep=True):
        pass
    assert len(told.lines) == 1
    changed = stands.stand_in(tmp_path / "changed", fault="wrong")
    with Session(LocalTransport("board", stands.ABI, device), changed, told, keep=True):
        pass
    assert len(told.lines) == 2
    assert len(list(device.iterdir())) == 2
    with Session(LocalTransport("board", stands.ABI, device), runners, told):
        pass
    assert len(list(device.iterdir())) == 1


def test_a_runner_that_was_brought_by_half_is_brought_again(visit, subjects, tmp_path):
    with visit(keep=True):
        pass
    [home] = (tmp_path / "device").iterdir()
    (home / "complete").unlink()
    (home / "squeeze-runner").write_text("half")
    runners = stands.stand_in(tmp_path / "again")
    with Session(LocalTransport("board", stands.ABI, tmp_path / "device"), runners, Silent()) as session:
        assert session.describe()[0].model == "Test Board"


def test_other_outputs_are_refused_before_anything_is_timed(visit, subjects, tmp_path):
    with (
        pytest.raises(ParityFailed, match=r"board: .*output logits differs from this machine's by 1"),
        visit("wrong") as session,
    ):
        measure(subjects, QUICK, session, Silent())
    assert not (tmp_path / "device").exists()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("hot", r"clock of core 1 fell from 2.00 to 1.20 GHz"), ("slowing", r"last quarter of the calls took")],
)
def test_a_device_that_slows_down_gives_no_figures(visit, subjects, fault, reason):
    with pytest.raises(Inconclusive, match=reason), visit(fault) as session:
        measure(subjects, QUICK, session, Silent())


def test_an_emulated_processor_gives_no_figures(visit, subjects, monkeypatch, tmp_path):
    """Its kernel tells it: that one is for the machine that emulates it."""
    (tmp_path / "arch").write_text("riscv64\n")
    monkeypatch.setattr(sessions, "KERNEL", str(tmp_path / "arch"))
    line = f"its {platform.machine()} is emulated on riscv64: times would mean nothing"
    with pytest.raises(Inconclusive, match=line) as caught, visit() as session:
        measure(subjects, QUICK, session, Silent())
    assert caught.value.exit_code == 5
    assert "qemu:CPU" in caught.value.hint


def test_a_kernel_that_does_not_say_what_it_is_for(visit, subjects, monkeypatch, tmp_path):
    monkeypatch.setattr(sessions, "KERNEL", str(tmp_path / "none"))
    with visit() as session:
        assert session.kernel() is None
        assert measure(subjects, QUICK, session, Silent())


ENDS = {
    "exit2": (StageFailed, 4, "loading it failed (what the runner said)"),
    "exit3": (MissingBackend, 3, "ONNX Runtime cannot be loaded there (what the runner said)"),
    "exit4": (StageFailed, 4, "loading it failed (what the runner said)"),
    "exit5": (StageFailed, 4, "loading it failed (what the runner said)"),
    "exit6": (StageFailed, 4, "loading it failed (what the runner said)"),
    "exit126": (MissingBackend, 3, "the runner cannot be started there"),
    "exit127": (MissingBackend, 3, "the runner cannot be started there"),
    "crash": (StageFailed, 4, "the runner was ended by SIGSEGV while loading it"),
}


@pytest.mark.parametrize("fault", ENDS)
def test_each_end_of_a_runner_has_its_line_and_code(visit, subjects, fault, tmp_path):
    kind, code, line = ENDS[fault]
    with pytest.raises(kind) as caught, visit(fault) as session:
        session.run(plan(session, subjects)[1], "loading it")
    assert line in caught.value.message
    assert caught.value.message.startswith("board: ")
    assert caught.value.exit_code == code
    assert not (tmp_path / "device").exists()


@pytest.mark.parametrize("fault", ["hang", "deaf"])
def test_a_hung_runner_is_stopped(visit, subjects, fault, monkeypatch, tmp_path):
    monkeypatch.setattr(sessions, "GRACE_S", 0.5)
    line = r"board: no answer after 2 s, it was stopped while loading it"
    with pytest.raises(StageFailed, match=line), visit(fault) as session:
        session.run(plan(session, subjects, limit_s=1.0)[1], "loading it")
    assert stands.living(tmp_path) == []
    assert not (tmp_path / "device").exists()


def test_no_runner_for_such_a_device(tmp_path):
    way = LocalTransport("board", "android-arm64", tmp_path / "device")
    with (
        pytest.raises(MissingBackend, match="no runner for android-arm64 yet") as caught,
        Session(way, stands.stand_in(tmp_path / "bundle"), Silent()),
    ):
        pass
    assert caught.value.hint == "squeeze device bundle --abi android-arm64"


@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the program is of the other kind than this machine"
)
def test_a_runner_for_another_processor(tmp_path, subjects):
    runners = stands.stand_in(tmp_path / "bundle")
    made = runners[stands.ABI].path / "squeeze-runner"
    made.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(100))
    from squeeze import artifact

    digests = artifact.digest_files(made.parent)
    runners[stands.ABI].manifest["files"] = digests
    with (
        pytest.raises(MissingBackend, match="cannot be started") as caught,
        Session(LocalTransport("board", stands.ABI, tmp_path / "device"), runners, Silent()) as session,
    ):
        session.describe()
    assert caught.value.exit_code == 3
    assert not (tmp_path / "device").exists()


def test_files_that_arrive_changed_are_noticed(visit, subjects, monkeypatch):
    push = LocalTransport.push

    def spoil(self, files, folder):
        push(self, files, folder)
        for name in files:
            if name.endswith(".onnx"):
                with (Path(folder) / name).open("ab") as file:
                    file.write(b"x")

    monkeypatch.setattr(LocalTransport, "push", spoil)
    with pytest.raises(StageFailed, match="are not what was sent"), visit() as session:
        measure(subjects, QUICK, session, Silent())


def test_more_threads_than_the_device_has(visit, subjects):
    with pytest.raises(UsageError, match="threads 3: the device lets us use 2 cores"), visit() as session:
        measure(subjects, Settings(threads=3, sequence=4), session, Silent())


def test_two_sessions_share_a_device(visit, subjects, tmp_path):
    """The one that leaves first takes the runner of the other away only if it is the same and not kept."""
    runners = stands.stand_in(tmp_path / "one")
    others = stands.stand_in(tmp_path / "two", padding=10)
    with Session(LocalTransport("board", stands.ABI, tmp_path / "device"), runners, Silent()) as session:
        with Session(LocalTransport("board", stands.ABI, tmp_path / "device"), others, Silent()):
            pass
        assert session.describe()[0].model == "Test Board"
    assert not (tmp_path / "device").exists()


@pytest.fixture
def interruptible():
    """Workers of pytest-xdist, and processes that a shell started in the background, ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_leaves_nothing(visit, subjects, tmp_path):
    with visit("hang") as session:
        made = plan(session, subjects)[1]

        def interrupt():
            stands.until(lambda: stands.living(tmp_path))
            signal.raise_signal(signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            session.run(made, "loading it")
    thread.join()
    assert stands.living(tmp_path) == []
    assert not (tmp_path / "device").exists()
