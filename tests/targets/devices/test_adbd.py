"""Through the user's own adb to Debian's adbd: what a stand-in for adb cannot show."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from squeeze.cli import main
from squeeze.errors import MissingBackend, StageFailed, UsageError
from squeeze.progress import Silent
from squeeze.targets.cpu import Settings
from squeeze.targets.devices.adb import AdbTransport
from squeeze.targets.devices.address import Adb
from squeeze.targets.devices.functional import check
from squeeze.targets.devices.session import Session
from squeeze.targets.subjects import find
from tests import tiny_onnx as tiny
from tests.targets.devices import phones, stands
from tests.targets.devices.test_ssh import NASTY

MODEL = {"ro.product.manufacturer": "Debian", "ro.product.model": "adbd", "ro.serialno": "0A1B2C"}


@pytest.fixture
def way(android):
    made = AdbTransport(Adb(android.serial), android.client)
    made.open()
    return made


@pytest.fixture
def on_path(android, tmp_path, monkeypatch):
    """`adb` is first on the path, and sees this one device."""
    stands.real_bundles(stands.ABI)
    connected(android.client, tmp_path, monkeypatch)
    return android


def connected(client, tmp_path, monkeypatch):
    script = tmp_path / "bin/adb"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {" ".join(client)} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)


def test_a_measurement(on_path, tmp_path, capsys):
    on_path.put(
        "getprop", f"case $1 in {' '.join(f'{key}) echo {value};;' for key, value in MODEL.items())} esac"
    )
    model = tiny.classifier(tmp_path / "it's a $model.onnx", layers=2, hidden=32)
    words = ["bench", str(model), "--target", f"adb:{on_path.serial}", "--seq", "6", "--json"]
    assert main([*words, "--min-runs", "100", "--seconds", "0", "--budget", "p50=1s"]) == 0
    [found] = json.loads(capsys.readouterr().out)["measurements"]
    assert found["kind"] == "measured"
    assert found["target"] == f"adb:{on_path.serial}"
    assert len(found["samples_ms"]) >= 100
    assert min(found["samples_ms"]) > 0
    assert found["environment"]["runner"] == stands.ABI
    assert found["environment"]["differences"][0]["unequal"] == 0
    assert found["environment"]["properties"] == {key: MODEL[key] for key in list(MODEL)[:2]}
    assert on_path.lies_there() == []
    assert on_path.living() == []


def test_one_thread_and_all_of_them(on_path, tmp_path, capsys):
    """More threads than the device has cores are an error of that point alone."""
    cores = len(os.sched_getaffinity(0))
    asked = sorted({1, cores, 512})
    model = tiny.classifier(tmp_path / "m.onnx", layers=2, hidden=32)
    words = ["sweep", str(model), "--target", "adb", "--seq", "6", "--batch", "1", "--passes", "1", "--json"]
    words += ["--threads", ",".join(map(str, asked)), "--min-runs", "40", "--seconds", "0"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    *able, unable = report["points"]
    assert [each["measurement"]["threads"] for each in able] == asked[:-1]
    assert {each["measurement"]["target"] for each in able} == {f"adb:{on_path.serial}"}
    assert unable["error"] == f"threads 512: the device lets us use {cores} cores"
    assert report["environment"]["runner"] == stands.ABI
    assert on_path.lies_there() == []


def test_no_telemetry_is_left_on_it(on_path, tmp_path):
    """ONNX Runtime's would lie in the home folder, or where XDG_CACHE_HOME says."""
    before = everything(on_path)
    model = tiny.classifier(tmp_path / "m.onnx")
    assert (
        main(["bench", str(model), "--target", "adb", "--seq", "6", "--min-runs", "10", "--seconds", "0"])
        == 0
    )
    assert everything(on_path) == before


def everything(phone):
    listed = [*phone.enter, "find", phone.folder, "-xdev", "-type", "f"]
    done = subprocess.run(listed, capture_output=True, text=True, check=True)
    return sorted(done.stdout.splitlines())


def test_a_device_without_getprop(on_path, capsys):
    assert main(["device", "show", f"adb:{on_path.serial}"]) == 0
    assert f"target       adb:{on_path.serial}" in capsys.readouterr().out
    assert on_path.lies_there() == []


def test_words_reach_the_device_as_they_are(way):
    done = way.run(["printf", "%s\\n", *NASTY], way.base.rpartition("/")[0])
    assert done.out.decode().splitlines() == NASTY


def test_bytes_and_exit_codes_come_through(way):
    done = way.run(["sh", "-c", r"printf '\0\r\n\377'; echo err >&2; exit 7"])
    assert (done.code, done.out, done.err) == (7, b"\0\r\n\xff", "err\n")
    assert way.run(["no-such-program"]).code == 127


def test_files_go_and_come(way, tmp_path):
    content = bytes(range(256)) * 1000
    (tmp_path / "here").write_bytes(content)
    way.run(["mkdir", "-p", f"{way.base}/m0"])
    way.push({"m0/it's.bin": tmp_path / "here"}, way.base)
    way.pull(["it's.bin"], f"{way.base}/m0", tmp_path)
    assert (tmp_path / "it's.bin").read_bytes() == content
    with pytest.raises(StageFailed, match="none cannot be read"):
        way.pull(["none"], way.base, tmp_path)


def test_a_device_that_is_not_connected(android):
    with pytest.raises(MissingBackend, match=r"adb:127\.0\.0\.1:9: not there; adb sees") as caught:
        AdbTransport(Adb("127.0.0.1:9"), android.client).open()
    assert caught.value.hint == "adb connect 127.0.0.1:9"
    assert caught.value.exit_code == 3


@pytest.fixture
def second(android):
    """``second(answer)``: another device, which answers the first greeting so; its serial number."""
    started: list[subprocess.Popen[str]] = []

    def start(answer):
        port = android.port + 1 + len(started)
        words = [*android.enter, sys.executable, str(stands.HERE / "greeting.py"), str(port), answer]
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True))
        assert phones.heard(started[-1]) == "listens"
        serial = f"127.0.0.1:{port}"
        android.adb("connect", serial)
        return serial

    yield start
    for number, process in enumerate(started, 1):
        android.adb("disconnect", f"127.0.0.1:{android.port + number}")
        os.killpg(process.pid, signal.SIGKILL)  # nsenter, and what it started
        process.communicate()


def test_several_devices_are_listed_when_none_is_named(android, second):
    serial = second("device")
    with pytest.raises(UsageError, match="adb: several devices: ") as caught:
        AdbTransport(Adb(), android.client).open()
    assert f"{android.serial} (device)" in caught.value.message
    assert f"{serial} (" in caught.value.message
    assert "name one: --target adb:127.0.0.1:" in caught.value.hint
    assert caught.value.exit_code == 2
    AdbTransport(Adb(android.serial), android.client).open()


@pytest.mark.parametrize(
    ("answer", "state", "hint"),
    [
        ("locked", "unauthorized", "allow debugging from this computer"),
        ("silent", "offline", "adb reconnect"),
    ],
)
def test_a_device_that_cannot_be_used_is_explained(android, second, answer, state, hint):
    serial = second(answer)
    stands.until(lambda: f"{serial}\t{state}" in android.adb("devices"), 20.0)
    with pytest.raises(MissingBackend, match=f"adb:{serial}: is {state}") as caught:
        AdbTransport(Adb(serial), android.client).open()
    assert hint in caught.value.hint
    assert caught.value.exit_code == 3


@pytest.fixture
def emulated(tmp_path):
    if phones.native() == "arm64":
        pytest.skip("this machine is arm64 itself: test_a_measurement runs there")
    with phones.running(tmp_path / "arm64", core="cortex-a76") as phone:
        yield phone


def test_an_emulated_arm64_device(emulated, forms, tmp_path, monkeypatch, capsys):
    """It gets the runner for arm64 and computes what this machine does; its times are refused."""
    runners = stands.real_bundles("linux-arm64", stands.ABI)
    target = AdbTransport(Adb(emulated.serial), emulated.client)
    paths = [forms[form] for form in ("fp32", "int8-dynamic", "int8-static")]
    with Session(target, runners, Silent()) as session:
        assert session.abi == "linux-arm64"
        subjects = [subject for path in paths for subject in find(path)]
        found = check(subjects, Settings(sequence=11), session, Silent())
    largest = [each.differences[0].largest for each in found]
    assert max(largest) <= 1e-6
    assert found[2].equal
    connected(emulated.client, tmp_path, monkeypatch)
    assert main(["bench", str(paths[2]), "--target", f"adb:{emulated.serial}", "--seq", "11"]) == 5
    out, err = capsys.readouterr()
    assert out == ""
    assert "outputs agree with this machine's, but its aarch64 is emulated on x86_64" in err
    assert emulated.living() == []
    assert emulated.lies_there() == []
