"""Through a stand-in for adb that speaks like it."""

from __future__ import annotations

import json
import os
import sys

import pytest

from squeeze.cli import main
from squeeze.errors import MissingBackend, StageFailed, UsageError
from squeeze.progress import Silent
from squeeze.targets.cpu import Settings
from squeeze.targets.devices.adb import AdbTransport, Listed, choose, listed
from squeeze.targets.devices.address import Adb
from squeeze.targets.devices.measured import measure
from squeeze.targets.devices.session import Session
from squeeze.targets.subjects import find
from tests import tiny_onnx as tiny
from tests.targets.devices import stands
from tests.targets.devices.stands import PHONE, Phone

QUICK = Settings(min_runs=40, min_seconds=0.0, starts=1, sequence=6)
OTHER = "127.0.0.1:15999\tdevice product:x model:Board device:x transport_id:2\n"
WITHOUT_RIGHTS = "????????????\tno permissions (are your udev rules wrong?); see [http://x]\n"


@pytest.fixture
def phone(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_ADB", str(tmp_path / "phone"))
    return Phone(tmp_path / "phone")


@pytest.fixture
def visit(phone, tmp_path):
    def enter(serial=None, **options):
        runners = stands.stand_in(tmp_path / "bundle", **options)
        return Session(AdbTransport(Adb(serial), phone.client), runners, Silent())

    return enter


@pytest.fixture
def subjects(tmp_path):
    return find(tiny.classifier(tmp_path / "it's a $model.onnx"))


def test_a_measurement(visit, subjects, phone):
    phone.has("getprop", 'case $1 in ro.product.model) echo "Pixel 6";; ro.soc.model) echo Tensor;; esac')
    with visit() as session:
        [found] = measure(subjects, QUICK, session, Silent())
    assert (found.target, found.runs) == ("adb:0A1B2C", 40)
    assert found.environment["properties"] == {"ro.product.model": "Pixel 6", "ro.soc.model": "Tensor"}
    assert list(phone.store.iterdir()) == []


def test_every_command_names_the_device(visit, subjects, phone):
    phone.lists(PHONE + OTHER)
    with visit("127.0.0.1:15999") as session:
        measure(subjects, QUICK, session, Silent())
    first, *others = phone.asked()
    assert first == ["devices", "-l"]
    assert others
    assert all(words[:2] == ["-s", "127.0.0.1:15999"] for words in others)


def test_a_device_without_getprop(visit, phone):
    phone.has("getprop", "exit 127")
    with visit() as session:
        assert session.properties == {}


def test_words_reach_the_device_as_they_are(phone, tmp_path):
    from tests.targets.devices.test_ssh import NASTY

    way = AdbTransport(Adb(), phone.client)
    way.open()
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    done = way.run([sys.executable, "-c", code, *NASTY], str(tmp_path))
    assert json.loads(done.out) == NASTY
    assert not list(tmp_path.rglob("pwned"))


def test_exit_codes_come_through(phone):
    way = AdbTransport(Adb(), phone.client)
    way.open()
    done = way.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.code, done.out, done.err) == (7, b"out\n", "err\n")


def test_what_adb_lists():
    head = "* daemon started\nList of devices attached\n"
    found = listed(f"{head}{PHONE}{OTHER}Z9\tunauthorized usb:1\n{WITHOUT_RIGHTS}\n")
    assert found == (
        Listed("0A1B2C", "device", "Pixel_6"),
        Listed("127.0.0.1:15999", "device", "Board"),
        Listed("Z9", "unauthorized"),
        Listed("????????????", "no permissions"),
    )
    assert listed("List of devices attached\n\n") == ()


def test_several_devices_are_listed_when_none_is_named(phone):
    phone.lists(PHONE + OTHER)
    with pytest.raises(UsageError) as caught:
        AdbTransport(Adb(), phone.client).open()
    assert caught.value.message == (
        "adb: several devices: 0A1B2C (Pixel_6, device), 127.0.0.1:15999 (Board, device)"
    )
    assert caught.value.hint == "name one: --target adb:0A1B2C"


UNUSABLE = {
    "unauthorized": "allow debugging",
    "offline": "adb reconnect",
    "no permissions": "android-sdk-platform-tools-common",
    "recovery": "adb reboot",
}


@pytest.mark.parametrize("state", UNUSABLE)
def test_a_device_that_cannot_be_used_is_explained(state):
    with pytest.raises(MissingBackend, match=f"adb:Z9: is {state}") as caught:
        choose([Listed("Z9", state)], None)
    assert UNUSABLE[state] in caught.value.hint


@pytest.mark.parametrize("serial", [None, "Z9"])
def test_no_device(phone, serial):
    phone.lists("" if serial is None else PHONE)
    with pytest.raises(MissingBackend, match="not there; adb sees") as caught:
        AdbTransport(Adb(serial), phone.client).open()
    assert caught.value.exit_code == 3


def test_no_adb():
    with pytest.raises(MissingBackend, match="no-such-adb is not installed") as caught:
        AdbTransport(Adb(), ("no-such-adb",)).open()
    assert "apt-get install adb" in caught.value.hint


def test_a_device_that_goes_away_in_the_middle(visit, subjects, phone):
    lost = r"adb:0A1B2C: the connection was lost .* while describing"
    with visit() as session:
        phone.fails("cut")
        with pytest.raises(StageFailed, match=lost):
            measure(subjects, QUICK, session, Silent())


def test_a_device_that_is_gone(visit, phone):
    with visit() as session:
        phone.fails("gone")
        with pytest.raises(StageFailed, match="device '0A1B2C' not found"):
            session.describe()


def test_a_device_that_is_full(visit, phone):
    phone.fails("full")
    with pytest.raises(StageFailed, match=r"cannot be written .*No space left") as caught, visit():
        pass
    assert "make room" in caught.value.hint


def test_android_takes_its_own_runner_first(visit, phone, tmp_path):
    phone.has("uname", "echo Linux aarch64")
    way = AdbTransport(Adb(), phone.client)
    way.open()
    assert way.abis() == ("android-arm64", "linux-arm64")
    phone.has("uname", "echo Linux armv7l")
    with pytest.raises(MissingBackend, match="says it is Linux armv7l, for which there is no runner"):
        way.abis()


def test_from_the_command_line(phone, subjects, tmp_path, monkeypatch, capsys):
    script = tmp_path / "bin/adb"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {" ".join(phone.client)} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stands.stand_in(tmp_path / "cache/squeeze/devices" / stands.ABI)
    words = ["bench", str(subjects[0].path), "--target", "adb"]
    words += ["--seq", "6", "--min-runs", "40", "--seconds", "0"]
    assert main(words) == 0
    assert "Test Board (0xd0b)" in capsys.readouterr().out
    phone.lists("")
    assert main(words) == 3
    assert "adb: not there" in capsys.readouterr().err
