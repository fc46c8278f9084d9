"""Through a real OpenSSH server on this machine, with keys and a configuration of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from squeeze.cli import main
from squeeze.errors import MissingBackend, ParityFailed, StageFailed
from squeeze.progress import Silent
from squeeze.targets.cpu import Settings
from squeeze.targets.devices import session as sessions
from squeeze.targets.devices import transport as transports
from squeeze.targets.devices.address import Ssh
from squeeze.targets.devices.golden import goldens
from squeeze.targets.devices.measured import measure
from squeeze.targets.devices.plan import Plan, Planned
from squeeze.targets.devices.session import Session
from squeeze.targets.devices.ssh import SshTransport
from squeeze.targets.subjects import find
from tests import tiny_onnx as tiny
from tests.targets.devices import stands
from tests.targets.devices.servers import free_port

QUICK = Settings(min_runs=40, min_seconds=0.0, starts=1, sequence=6)
NASTY = ["a b", "$(touch pwned)", "`touch pwned`", "; touch pwned", "'", '"', "\\", "*", "-n", "é", "&&", "|"]


@pytest.fixture
def board(server, tmp_path):
    """``board(fault)``: a session through ssh with a stand-in runner that has this fault."""

    def enter(fault="", base=None, **options):
        runners = stands.stand_in(tmp_path / f"bundle{fault}", fault=fault, padding=options.pop("padding", 0))
        way = SshTransport(Ssh("board"), server.client, str(base or tmp_path / "device"))
        return Session(way, runners, Silent(), **options)

    return enter


@pytest.fixture
def subjects(tmp_path):
    return find(tiny.classifier(tmp_path / "it's a $model.onnx"))


def hanging(session, subjects, limit_s=60.0):
    asked = goldens(subjects, QUICK, 1)
    [file] = session.bring(asked)
    plan = Plan([Planned(file, 0, asked[0].feeds)], threads=1, limit_s=limit_s)
    return lambda: session.run(plan, "timing")


def test_a_measurement(board, subjects, tmp_path):
    with board() as session:
        [found] = measure(subjects, QUICK, session, Silent())
    assert (found.target, found.runs) == ("ssh:board", 40)
    assert not (tmp_path / "device").exists()


def test_a_measurement_with_the_runner_in_c(server, subjects, tmp_path):
    way = SshTransport(Ssh("board"), server.client, str(tmp_path / "device"))
    with Session(way, stands.real_bundles(stands.ABI), Silent()) as session:
        [found] = measure(subjects, QUICK, session, Silent())
    assert found.runs >= 40
    assert found.environment["differences"][0]["unequal"] == 0
    assert not (tmp_path / "device").exists()


def test_words_reach_the_device_as_they_are(server, tmp_path):
    way = SshTransport(Ssh("board"), server.client, str(tmp_path))
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    done = way.run([sys.executable, "-c", code, *NASTY], str(tmp_path))
    assert json.loads(done.out) == NASTY
    odd = tmp_path / "a 'folder' $(touch pwned)"
    odd.mkdir()
    assert way.run(["pwd"], str(odd)).out.decode().strip() == str(odd)
    assert not list(tmp_path.rglob("pwned"))


def test_files_go_and_come(server, tmp_path):
    way = SshTransport(Ssh("board"), server.client, str(tmp_path))
    (tmp_path / "here").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "there").mkdir()
    way.push({"m0/it's.bin": tmp_path / "here"}, str(tmp_path / "there"))
    way.pull(["it's.bin"], str(tmp_path / "there/m0"), tmp_path)
    assert (tmp_path / "it's.bin").read_bytes() == (tmp_path / "here").read_bytes()
    with pytest.raises(StageFailed, match="none cannot be read"):
        way.pull(["none"], str(tmp_path), tmp_path)


def test_exit_codes_are_the_devices(server, tmp_path):
    way = SshTransport(Ssh("board"), server.client, str(tmp_path))
    assert way.run(["sh", "-c", "exit 7"]).code == 7


UNREACHABLE = {
    "stranger key": ("Host key verification failed", "check the key"),
    "no key": ("Permission denied", "ssh-copy-id"),
    "refused": ("Connection refused", "is an ssh server running"),
    "no name": ("Could not resolve", "is the name right"),
}


@pytest.mark.parametrize("why", UNREACHABLE)
def test_a_device_that_cannot_be_reached(why, server, tmp_path):
    said, hint = UNREACHABLE[why]
    options = {
        "stranger key": ["-o", "UserKnownHostsFile=/dev/null"],
        "no key": ["-o", "PubkeyAuthentication=no"],
        "refused": ["-o", f"Port={free_port()}"],
        "no name": ["-o", "HostName=no-such-host.invalid"],
    }[why]
    # A later -F is refused, an earlier -o wins over the file.
    way = SshTransport(Ssh("board"), ("ssh", *options, "-F", str(server.config)), str(tmp_path))
    with pytest.raises(MissingBackend) as caught:
        way.open()
    assert caught.value.message.startswith("ssh:board: cannot be reached (")
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_a_connection_that_is_cut(board, subjects, tmp_path):
    with board("hang") as session:
        run = hanging(session, subjects)
        threading.Thread(target=cut, args=(tmp_path / "device",)).start()
        with pytest.raises(StageFailed) as caught:
            run()
    assert "ssh:board: the connection was lost" in caught.value.message
    assert caught.value.message.endswith("while timing")
    assert caught.value.exit_code == 4
    stands.until(lambda: not stands.living(tmp_path))
    assert not (tmp_path / "device").exists()


def cut(base):
    """End the server's process of this session, as a cable that is pulled does."""
    stands.until(lambda: runners(base))
    os.kill(parent(runners(base)[0]), signal.SIGKILL)


def runners(base):
    """Processes of the runner in a folder: those that copy files there end by themselves."""
    found = []
    for process in stands.living(base):
        with contextlib.suppress(OSError):
            if b"squeeze-runner" in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(process)
    return found


def parent(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_our_own_end_leaves_no_process(server, subjects, tmp_path):
    """Killed, with no chance to tidy up: the client ends, and with it the runner."""
    runners = stands.stand_in(tmp_path / "bundle", fault="hang")
    code = f"""
from pathlib import Path
from squeeze import artifact
from squeeze.progress import Silent
from squeeze.targets.devices.address import Ssh
from squeeze.targets.devices.session import Session
from squeeze.targets.devices.ssh import SshTransport
from squeeze.targets.subjects import find
from tests.targets.devices.test_ssh import hanging
way = SshTransport(Ssh("board"), {server.client!r}, {str(tmp_path / "device")!r})
runners = {{{stands.ABI!r}: artifact.load(Path({str(runners[stands.ABI].path)!r}))}}
with Session(way, runners, Silent()) as session:
    hanging(session, find(Path({str(subjects[0].path)!r})))()
"""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", code], env=variables, cwd=Path.cwd()) as process:
        stands.until(lambda: stands.living(tmp_path))
        process.kill()
    stands.until(lambda: not stands.living(tmp_path))
    way = SshTransport(Ssh("board"), server.client, str(tmp_path / "device"))
    way.open()


def test_a_hung_runner_is_ended_through_another_connection(board, subjects, tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "GRACE_S", 1.0)
    with pytest.raises(StageFailed, match="no answer after 3 s") as caught, board("deaf") as session:
        hanging(session, subjects, limit_s=2.0)()
    assert caught.value.exit_code == 4
    assert stands.living(tmp_path) == []
    assert not (tmp_path / "device").exists()


def test_other_outputs(board, subjects):
    with pytest.raises(ParityFailed) as caught, board("wrong") as session:
        measure(subjects, QUICK, session, Silent())
    assert caught.value.exit_code == 4


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_full(board, small_disk):
    with pytest.raises(StageFailed) as caught, board(base=small_disk / "device", padding=4_000_000):
        pass
    assert "files cannot be written into" in caught.value.message
    assert "No space left on device" in caught.value.message
    assert "make room there" in caught.value.hint
    assert caught.value.exit_code == 4
    assert list(small_disk.iterdir()) == []


def test_an_unknown_kind_of_device(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transports, "MACHINES", {"Linux riscv64": "linux-riscv64"})
    way = SshTransport(Ssh("board"), server.client, str(tmp_path / "device"))
    with (
        pytest.raises(MissingBackend, match="for which there is no runner"),
        Session(way, stands.stand_in(tmp_path / "bundle"), Silent()),
    ):
        pass


@pytest.fixture
def wrapped(server, tmp_path, monkeypatch):
    """An `ssh` on the path that uses this server's configuration, and runners in a cache of our own."""
    real = stands.program("ssh")
    script = tmp_path / "bin/ssh"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {real} -F {server.config} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stands.stand_in(tmp_path / "cache/squeeze/devices" / stands.ABI)
    return tmp_path / "device"


def test_from_the_command_line(wrapped, subjects, capsys):
    model = str(subjects[0].path)
    words = ["bench", model, "--target", "ssh:board", "--device-dir", str(wrapped), "--seq", "6"]
    words += ["--min-runs", "40", "--seconds", "0", "--json"]
    assert main([*words, "--budget", "p50=500ms"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["measurements"][0]["target"] == "ssh:board"
    assert not wrapped.exists()
    assert main([*words, "--keep", "--budget", "p50=0.5ms"]) == 1
    assert [path.name.split("-")[0] for path in wrapped.iterdir()] == ["runner"]
    assert main(["device", "show", "ssh:board", "--device-dir", str(wrapped), "--keep"]) == 0
    assert "model        Test Board" in capsys.readouterr().out
    assert wrapped.exists()
    (wrapped / "notes.txt").write_text("the user's own")
    assert main(["device", "clean", "ssh:board", "--device-dir", str(wrapped)]) == 0
    assert [path.name for path in wrapped.iterdir()] == ["notes.txt"]


def test_without_any_runner(server, subjects, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["bench", str(subjects[0].path), "--target", "ssh:board"]) == 3
    assert "squeeze device bundle" in capsys.readouterr().err
