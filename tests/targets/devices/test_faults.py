"""Everything that can go wrong on a device, on two that are real: through OpenSSH and through adb.

Each fault has its own line and exit code, and afterwards nothing runs on either side.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from squeeze import artifact
from squeeze.artifact import Artifact
from squeeze.cli import main
from squeeze.targets.devices import measured
from squeeze.targets.devices import session as sessions
from squeeze.targets.devices.adb import AdbTransport
from tests import tiny_onnx as tiny
from tests.targets.devices import stands

FAULTY = stands.HERE / "faulty.sh"
INTERPRETER = b"ld-linux-"


class Board:
    """This machine through OpenSSH; its folder is a file system of its own where that is allowed."""

    target = "ssh:board"
    faulty = FAULTY
    real: Artifact
    runners: Path

    def __init__(self, server, folder):
        self.server, self.store, self._disk = server, folder / "device", False
        self._ssh = stands.program("ssh")  # found now: later a script of ours is the first on the path

    @property
    def client(self):
        return [self._ssh, "-F", str(self.server.config)]

    def put(self, program, script):
        path = self.server.traps / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def small(self):
        self.store.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(self.store)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("a small file system on this machine needs root")
        self._disk = True

    def cut_while(self, verb, monkeypatch):
        """Files go and come through tar."""
        self.put("tar", trap(self, "tar", {"push": "-x*", "pull": "-c*"}[verb]))

    def refuse(self):
        """A server that is going away: it hangs up."""
        listener = socket.create_server(("127.0.0.1", 0))

        def hang_up():
            with listener:
                listener.accept()[0].close()

        threading.Thread(target=hang_up).start()
        self.server = self.server.at(listener.getsockname()[1])

    def living(self):
        return stands.living(self.store)

    def clean(self):
        """What a user has to do afterwards: nothing, a new connection could tidy up."""

    def lies_there(self):
        return sorted(self.store.rglob("*")) if self.store.exists() else []

    def end(self):
        shutil.rmtree(self.server.traps)
        self.server.traps.mkdir()
        if self._disk:
            subprocess.run(["umount", "--lazy", str(self.store)], check=True)


class Phone:
    """Debian's adbd in a root of its own."""

    faulty = f"/{FAULTY.name}"
    real: Artifact
    runners: Path

    def __init__(self, android):
        self.android, self.target, self.store = android, f"adb:{android.serial}", None
        self.client, self.put, self.living = android.client, android.put, android.living
        self.lies_there = android.lies_there
        self._disk = False
        shutil.copy(FAULTY, android.folder / "faulty.sh")

    def small(self):
        self.android.say("disk 2m")
        self._disk = True

    def cut_while(self, verb, monkeypatch):
        """Adbd copies files by itself: it stops, and while adb waits for it, it is gone."""
        real = getattr(AdbTransport, verb)

        def cut(*words):
            if verb == "push" or any(name.startswith("result") for name in words[1]):
                self.android.signal("STOP")
                threading.Timer(1.0, self.android.cut).start()
            real(*words)

        monkeypatch.setattr(AdbTransport, verb, cut)

    def refuse(self):
        self.android.cut()

    def clean(self):
        """What a user has to do afterwards: plug it in again, and say so."""
        if self.android.state() != "device":
            self.android.start()
            assert main(["device", "clean", self.target]) == 0

    def end(self):
        if self._disk:
            self.android.say("no disk")


def trap(device, program, first="*"):
    """A script that cuts the connection and goes on, where the program's first word is like this."""
    cut = f'exec /bin/sh {device.faulty} now /usr/bin/{program} "$@"'
    return f'case "$1" in {first}) {cut} ;; esac\nexec /usr/bin/{program} "$@"'


@pytest.fixture(params=["ssh", "adb"])
def device(request, tmp_path, monkeypatch):
    """A device, whose client is first on the path, and runners in a cache of our own."""
    made: Board | Phone
    if request.param == "ssh":
        made = Board(request.getfixturevalue("server"), tmp_path)
    else:
        made = Phone(request.getfixturevalue("android"))
    made.real = stands.real_bundles(stands.ABI)[stands.ABI]
    made.runners = tmp_path / "cache/squeeze/devices"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield made
    made.end()


@pytest.fixture
def bench(device, tmp_path, capfd):
    """``bench(*words)``: exit code, what was printed, and what was said."""
    model = tiny.classifier(tmp_path / "it's a $model.onnx")

    def run(*words, seconds=0):
        script = tmp_path / "bin" / device.target.partition(":")[0]
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\nexec {" ".join(device.client)} "$@"\n')
        script.chmod(0o755)
        folder = ["--device-dir", str(device.store)] if device.store else []
        asked = ["--seq", "6", "--min-runs", "40", "--seconds", str(seconds), *folder, *words]
        before = children()
        code = main(["bench", str(model), "--target", device.target, *asked])
        assert children() == before
        return code, *capfd.readouterr()

    return run


def children():
    """Processes that this one started and that still run."""
    own = Path(f"/proc/{os.getpid()}/task")
    return {child for task in own.iterdir() for child in (task / "children").read_text().split()}


def runner(device, fault="", change=lambda folder, result: None):
    """The real runner as it is kept on this machine, with a fault."""
    folder = device.runners / stands.ABI
    partial = folder.with_name("partial")
    partial.mkdir(parents=True)
    result = dict(device.real.result)
    for name in device.real.manifest["files"]:
        shutil.copy(device.real.path / name, partial)
    if fault:
        shutil.copy(FAULTY, partial)
        result["start"] = ["/bin/sh", f"@/{FAULTY.name}", fault, *result["start"]]
    change(partial, result)
    artifact.commit(partial, folder, "runner", {"key": "with a fault", "result": result})


def gone(device):
    """That nothing runs there, at once or as soon as it has noticed that nobody listens."""
    stands.until(lambda: not device.living(), 30.0)


def test_without_a_fault(device, bench):
    runner(device)
    code, out, _ = bench("--json")
    assert code == 0
    assert f'"target": "{device.target}"' in out
    assert device.living() == []
    assert device.lies_there() == []


def test_the_runner_stays_when_it_is_asked_to(device, bench, capfd):
    runner(device)
    assert bench("--keep")[0] == 0
    kept = [str(path) for path in device.lies_there()]
    assert any("/runner-" in f"/{path}" for path in kept)
    assert not any("/run-" in path for path in kept)
    assert "bringing the runner" not in bench("--keep")[2]
    folder = ["--device-dir", str(device.store)] if device.store else []
    assert main(["device", "clean", device.target, *folder]) == 0
    assert device.lies_there() == []


RUNNING = {
    "describe": "while describing it",
    "golden": "while comparing outputs",
    "load": "while loading it's a $model.onnx",
    "warm-up": "while timing",
    "measuring": "while timing",
}


def lost(device, found, line):
    """The connection was lost: its line, its exit code, and nothing that runs or stays."""
    code, out, err = found
    assert (code, out) == (4, "")
    assert f"{device.target}: " in err
    assert line in err
    gone(device)
    device.clean()
    assert device.lies_there() == []


def test_a_cable_that_is_pulled_while_connecting(device, bench):
    runner(device)
    device.refuse()
    code, out, err = bench()
    assert (code, out) == (3, "")
    assert any(line in err for line in ("cannot be reached", "is offline", "not there"))
    assert device.lies_there() == []


@pytest.mark.parametrize("program", ["uname", "mkdir", "sha256sum", "touch"])
def test_a_cable_that_is_pulled_while_looking_around(device, bench, program):
    stands.stand_in(device.runners / stands.ABI)  # is never started
    device.put(program, trap(device, program))
    lost(device, bench(), "the connection was lost")


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_a_cable_that_is_pulled_while_files_are_copied(device, bench, verb, monkeypatch):
    runner(device)
    device.cut_while(verb, monkeypatch)
    lost(device, bench(), "the connection was lost")


@pytest.mark.parametrize("step", RUNNING)
def test_a_cable_that_is_pulled_while_the_runner_runs(device, bench, step):
    runner(device, step)
    found = bench(seconds=20 if step in ("warm-up", "measuring") else 0)
    lost(device, found, "the connection was lost")
    assert RUNNING[step] in found[2]


def test_a_cable_that_is_pulled_while_tidying_up(device, bench):
    """All was measured: there is a report, and a line that says what may be left."""
    runner(device)
    device.put("rm", trap(device, "rm"))
    code, out, err = bench("--json")
    assert code == 0
    assert '"samples_ms"' in out
    assert "the connection was lost" in err
    assert "files may be left there in" in err
    gone(device)


def test_a_disk_that_is_full(device, bench):
    runner(device)
    device.small()
    code, out, err = bench()
    assert (code, out) == (4, "")
    [line] = [line for line in err.splitlines() if line.startswith(f"error: {device.target}: ")]
    assert "No space left on device" in line
    assert "hint: make room there" in err
    assert device.living() == []
    assert device.lies_there() == []


def test_another_processor_than_it_says(device, bench):
    """It says that it has the other processor, and gets that runner."""
    other, machine = {"linux-x86_64": ("linux-arm64", "aarch64"), "linux-arm64": ("linux-x86_64", "x86_64")}[
        stands.ABI
    ]
    device.put("uname", f"echo Linux {machine}")
    stands.stand_in(device.runners / other, abi=other, program=stands.elf(other, bytes(100)))
    code, out, err = bench()
    assert (code, out) == (3, "")
    assert "the runner cannot be started there" in err
    assert "is the bundle for this kind of device" in err
    assert device.living() == []
    assert device.lies_there() == []


def test_a_c_library_that_is_missing(device, bench):
    """The runner without a C library of its own, on a device that has not the one it was linked with."""

    def change(folder, result):
        program = folder / "squeeze-runner"
        content = program.read_bytes()
        assert content.count(INTERPRETER) >= 1
        program.write_bytes(content.replace(INTERPRETER, b"ld-other-"))
        result["start"] = ["@/squeeze-runner"]

    runner(device, change=change)
    code, out, err = bench()
    assert (code, out) == (3, "")
    assert "the runner cannot be started there" in err
    assert ("not found" in err) or ("No such file" in err)
    assert device.living() == []
    assert device.lies_there() == []


def test_a_runner_that_hangs(device, bench, monkeypatch):
    """And that does not notice that its connection ends."""
    monkeypatch.setattr(measured, "RUN_ONCE_S", 1.0)
    monkeypatch.setattr(sessions, "GRACE_S", 3.0)
    runner(device, "hung")
    code, out, err = bench()
    assert (code, out) == (4, "")
    assert "no answer after 4 s" in err
    assert "while comparing outputs" in err
    assert device.living() == []
    assert device.lies_there() == []


def test_other_outputs(device, bench):
    runner(device, "wrong")
    code, out, err = bench()
    assert (code, out) == (4, "")
    assert "output logits differs from this machine's by" in err
    assert device.living() == []
    assert device.lies_there() == []
