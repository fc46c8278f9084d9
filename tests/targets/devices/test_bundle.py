"""Runner bundles: what they are made of, when they are made again, and what is refused."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from pathlib import Path

import pytest

from squeeze.cli import main
from squeeze.errors import MissingBackend, StageFailed, UsageError
from squeeze.progress import Silent
from squeeze.targets.devices import bundle as bundles
from squeeze.targets.devices.abi import ABIS, find
from squeeze.targets.devices.bundle import Sources
from tests.targets.devices.stands import elf


@pytest.fixture
def compilers(tmp_path, monkeypatch):
    """Compilers that write what they were asked into a program of the right kind."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for abi in ("linux-x86_64", "linux-arm64"):
        program(folder / ABIS[abi].compiler, abi)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def program(path: Path, abi: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = path.with_suffix(".head")
    head.write_bytes(elf(abi))
    path.write_text(
        f'#!/bin/sh\necho "$@" >> {path.parent}/asked\n'
        f'while [ $# -gt 0 ]; do [ "$1" = -o ] && {{ cat {head} > "$2"; }}; shift; done\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def given(tmp_path):
    """``given(abi)``: all parts of an ABI as files."""

    def make(abi: str, **changed):
        folder = tmp_path / f"parts-{abi}"
        (folder / "include").mkdir(parents=True)
        (folder / "include/onnxruntime_c_api.h").write_text("/* header */\n")
        (folder / "lib").mkdir()
        for name in ABIS[abi].libc:
            (folder / "lib" / name).write_bytes(elf(abi))
        wheel = folder / f"onnxruntime-{abi}.whl"
        with zipfile.ZipFile(wheel, "w") as file:
            file.writestr("onnxruntime/capi/libonnxruntime.so.1.32.0", elf(abi, b"library"))
            file.writestr("onnxruntime/capi/libonnxruntime_providers_shared.so", elf(abi))
        parts = {"library": wheel, "header": folder / "include", "libc": folder / "lib"}
        return Sources(version=bundles.default_version(), **{**parts, **changed})

    return make


@pytest.mark.parametrize("abi", ["linux-x86_64", "linux-arm64"])
def test_a_bundle_of_given_parts(abi, compilers, given, tmp_path):
    made, new = bundles.build(ABIS[abi], given(abi), tmp_path / "cache", Silent())
    assert new
    assert set(made.manifest["files"]) == {"squeeze-runner", "libonnxruntime.so.1", *ABIS[abi].libc}
    assert (made.path / "libonnxruntime.so.1").read_bytes().endswith(b"library")
    loader = ABIS[abi].loader
    assert made.result["start"] == [f"@/{loader}", "--library-path", "@", "@/squeeze-runner"]
    assert "-std=c11" in (compilers / "asked").read_text()
    assert bundles.cached(tmp_path / "cache")[abi].digest == made.digest


def test_the_same_parts_are_not_put_together_twice(compilers, given, tmp_path):
    sources, cache = given("linux-arm64"), tmp_path / "cache"
    first, _ = bundles.build(find("linux-arm64"), sources, cache, Silent())
    second, new = bundles.build(find("linux-arm64"), sources, cache, Silent())
    assert not new
    assert first.digest == second.digest
    (sources.libc / "libm.so.6").write_bytes(elf("linux-arm64", b"newer"))
    third, new = bundles.build(find("linux-arm64"), sources, cache, Silent())
    assert new
    assert third.digest != first.digest
    assert [path.name for path in cache.iterdir()] == ["linux-arm64"]


def test_a_bundle_that_was_altered_is_made_again(compilers, given, tmp_path):
    sources, cache = given("linux-arm64"), tmp_path / "cache"
    made, _ = bundles.build(find("linux-arm64"), sources, cache, Silent())
    (made.path / "squeeze-runner").write_bytes(b"other")
    assert bundles.cached(cache) == {}
    assert bundles.build(find("linux-arm64"), sources, cache, Silent())[1]


def test_with_the_devices_own_c_library(compilers, given, tmp_path):
    sources = given("linux-arm64", libc=None, device_libc=True)
    made, _ = bundles.build(find("linux-arm64"), sources, tmp_path / "cache", Silent())
    assert made.result["start"] == ["@/squeeze-runner"]
    assert set(made.manifest["files"]) == {"squeeze-runner", "libonnxruntime.so.1"}


def test_nothing_is_fetched_unless_asked(compilers, tmp_path):
    with pytest.raises(MissingBackend) as caught:
        bundles.build(
            find("linux-arm64"), Sources(version=bundles.default_version()), tmp_path / "cache", Silent()
        )
    assert caught.value.message == "--abi linux-arm64: not given: --library, --header, --libc"
    assert caught.value.hint.startswith("--download")


def test_parts_of_another_processor(compilers, given, tmp_path):
    wrong = given("linux-x86_64").library
    with pytest.raises(UsageError, match="is no library or program for linux-arm64"):
        bundles.build(find("linux-arm64"), given("linux-arm64", library=wrong), tmp_path / "c", Silent())
    assert not (tmp_path / "c/linux-arm64").exists()


def test_parts_that_lack_something(compilers, given, tmp_path):
    sources = given("linux-arm64")
    (sources.libc / "libstdc++.so.6").unlink()
    with pytest.raises(UsageError, match=r"--libc: libstdc\+\+.so.6 is nowhere in"):
        bundles.build(find("linux-arm64"), sources, tmp_path / "c", Silent())
    with pytest.raises(UsageError, match=r"--header .*nowhere: no such file or folder"):
        bundles.build(
            find("linux-arm64"),
            Sources(bundles.default_version(), header=tmp_path / "nowhere"),
            tmp_path / "c",
            Silent(),
        )


def test_no_compiler(given, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingBackend, match="aarch64-linux-gnu-gcc is not installed") as caught:
        bundles.build(find("linux-arm64"), given("linux-arm64"), tmp_path / "c", Silent())
    assert "apt-get install gcc-aarch64-linux-gnu" in caught.value.hint


def test_a_compiler_that_refuses(compilers, given, tmp_path):
    path = compilers / ABIS["linux-arm64"].compiler
    path.write_text("#!/bin/sh\necho 'model.c:1: error: no such thing' >&2\nexit 1\n")
    with pytest.raises(StageFailed, match=r"cannot be compiled .*no such thing"):
        bundles.build(find("linux-arm64"), given("linux-arm64"), tmp_path / "c", Silent())


@pytest.fixture
def android(tmp_path):
    """An NDK of three compilers, and an AAR."""
    ndk = tmp_path / "ndk"
    for level in (21, 24, 35):
        path = ndk / f"toolchains/llvm/prebuilt/linux-x86_64/bin/aarch64-linux-android{level}-clang"
        program(path, "android-arm64")
    aar = tmp_path / "onnxruntime-android.aar"
    with zipfile.ZipFile(aar, "w") as file:
        file.writestr("jni/arm64-v8a/libonnxruntime.so", elf("android-arm64", b"android"))
        file.writestr("jni/x86_64/libonnxruntime.so", elf("linux-x86_64"))
        file.writestr("headers/onnxruntime_c_api.h", "/* header */\n")
    return Sources(version=bundles.default_version(), library=aar, ndk=ndk)


def test_a_bundle_for_android(android, tmp_path):
    made, _ = bundles.build(find("android-arm64"), android, tmp_path / "cache", Silent())
    assert made.result["start"] == ["@/squeeze-runner"]
    assert (made.path / "libonnxruntime.so.1").read_bytes().endswith(b"android")
    [asked] = tmp_path.glob("ndk/toolchains/llvm/prebuilt/*/bin/asked")
    assert "-pthread" in asked.read_text()


def test_android_needs_its_two_parts(tmp_path, android):
    with pytest.raises(UsageError, match=r"needs --ndk DIR and --library FILE.aar"):
        bundles.build(
            find("android-arm64"), Sources(version=bundles.default_version()), tmp_path / "c", Silent()
        )
    other = Sources(version=bundles.default_version(), library=android.library, ndk=tmp_path)
    with pytest.raises(UsageError, match="no compiler for arm64 and Android API 24"):
        bundles.build(find("android-arm64"), other, tmp_path / "c", Silent())


def test_from_the_command_line(compilers, given, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    parts = given("linux-arm64")
    words = ["device", "bundle", "--abi", "linux-arm64", "--library", str(parts.library)]
    words += ["--header", str(parts.header), "--libc", str(parts.libc)]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["abi"], told["built"]) == ("linux-arm64", True)
    assert main(words) == 0
    assert ": unchanged, " in capsys.readouterr().out
    assert main(["device", "bundle", "--abi", "linux-riscv64"]) == 2
    assert "one of linux-x86_64, linux-arm64, android-arm64" in capsys.readouterr().err
