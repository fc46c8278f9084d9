"""Targets as they are written."""

from __future__ import annotations

import pytest

from squeeze.cli import main
from squeeze.errors import UsageError
from squeeze.targets.devices.address import Adb, Cpu, Estimate, Gpu, Qemu, Ssh, parse

KNOWN = {
    "cpu": Cpu(),
    "gpu": Gpu(),
    "adb": Adb(),
    "adb:0A1B2C": Adb("0A1B2C"),
    "adb:127.0.0.1:15999": Adb("127.0.0.1:15999"),
    "ssh:board": Ssh("board"),
    "ssh:pi@board.local": Ssh("board.local", "pi"),
    "ssh:pi@10.0.0.7:2222": Ssh("10.0.0.7", "pi", 2222),
    "ssh:[fe80::1]:22": Ssh("fe80::1", None, 22),
    "qemu:cortex-a76": Qemu("cortex-a76"),
    "estimate:pixel8": Estimate("pixel8"),
    "estimate:runs/my board.json": Estimate("runs/my board.json"),
}
NONSENSE = (
    "", "tpu", "CPU", "cpu:0", "adb:", "adb:-s", "adb:a b", "ssh", "ssh:", "ssh:-oProxyCommand=x", "ssh:a@-x",
    "ssh:a b", "ssh:host:", "ssh:host:0", "ssh:host:70000", "ssh:host:22x", "ssh:u@v@host", "ssh:$(x)",
    "ssh:host;rm", "ssh:fe80::1", "qemu", "qemu:", "qemu:-cpu", "estimate:", "estimate", " cpu", "cpu\n",
    "estimate:a/b", "estimate:.json",
)  # fmt: skip


@pytest.mark.parametrize("text", KNOWN)
def test_a_target_is_read_and_written_alike(text):
    assert parse(text) == KNOWN[text]
    assert str(parse(text)) == text


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_refused_in_one_line(text):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert repr(text) in caught.value.message
    assert "\n" not in caught.value.message
    assert "ssh:[USER@]HOST[:PORT]" in caught.value.hint


def test_the_command_line_says_it_once(capsys):
    assert main(["bench", "model.onnx", "--target", "tpu"]) == 2
    assert capsys.readouterr().err == (
        "error: --target: target 'tpu': no such target; "
        "write cpu, gpu, adb[:SERIAL], ssh:[USER@]HOST[:PORT], qemu:CPU or estimate:DEVICE\n"
    )


def test_what_cannot_be_a_device(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["device", "show", "cpu"]) == 2
    assert "cpu: is this machine, not a device" in capsys.readouterr().err
    assert main(["device", "show", "estimate:pixel8"]) == 2
    assert "there is no device to reach" in capsys.readouterr().err
    assert main(["device", "clean", "qemu:cortex-a76"]) == 2
    assert "keeps nothing" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["", "/", ".", "./", "-rf", "a/../b", "..", "a\nb"])
def test_a_folder_that_cannot_be_ours(folder, capsys):
    assert main(["device", "clean", "ssh:nowhere", "--device-dir", folder]) == 2
    assert "not a folder that could hold our files" in capsys.readouterr().err
