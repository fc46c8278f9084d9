from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
import warnings

import pytest

from squeeze import runtime
from squeeze.errors import MissingBackend


def put(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def quota(folder, member=""):
    put(folder, "member", member)
    return runtime._cgroup_quota(folder / "cgroup", folder / "member")


@pytest.mark.parametrize(
    ("files", "member", "cores"),
    [
        ({}, "", None),
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        ({"cpu.max": "250000 100000\n"}, "0::/\n", 2.5),
        ({"cpu.max": "garbage\n"}, "0::/\n", None),
        ({"cpu.max": "100000 0\n"}, "0::/\n", None),
        ({"a/cpu.max": "max 100000\n", "a/b/cpu.max": "50000 100000\n"}, "0::/a/b\n", 0.5),
        ({"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "400000 100000\n"}, "0::/a/b\n", 1.0),
        ({"other/cpu.max": "100000 100000\n"}, "0::/a\n", None),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/\n", 3.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/\n", None),
        ({"cpu/d/cpu.cfs_quota_us": "200000", "cpu/d/cpu.cfs_period_us": "100000"}, "4:cpu:/d\n", 2.0),
        ({"cpu/d/cpu.cfs_quota_us": "200000", "cpu/d/cpu.cfs_period_us": "100000"}, "5:memory:/d\n", None),
        ({"cpu.max": "100000 100000\n"}, "nonsense\n", 1.0),
    ],
)
def test_the_quota_is_the_smallest_of_our_group_and_its_parents(files, member, cores, tmp_path):
    for name, content in files.items():
        put(tmp_path / "cgroup", name, content)
    assert quota(tmp_path, member) == cores


def test_without_a_list_of_groups_the_root_counts(tmp_path):
    put(tmp_path, "cpu.max", "150000 100000")
    assert runtime._cgroup_quota(tmp_path, tmp_path / "absent") == 1.5


@pytest.mark.parametrize(
    ("affinity", "limit", "cores"), [(8, None, 8), (8, 2.5, 2), (2, 4.0, 2), (4, 0.5, 1), (1, None, 1)]
)
def test_usable_cores(affinity, limit, cores, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    monkeypatch.setattr(runtime, "_cgroup_quota", lambda: limit)
    assert runtime.usable_cores() == cores


def test_where_there_is_no_affinity_the_count_of_cores_is_taken(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(runtime, "_cgroup_quota", lambda: None)
    assert runtime.usable_cores() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert runtime.usable_cores() == 1


def test_this_process_is_not_given_more_than_it_has():
    assert 1 <= runtime.usable_cores() <= (os.cpu_count() or 1)


X86 = "processor\t: 0\nmodel name\t: Some CPU @ 2GHz\nflags\t\t: sse2 avx2 amx_bf16\n\nflags\t: other\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("content", "flags"),
    [(X86, {"sse2", "avx2", "amx_bf16"}), (ARM, {"fp", "asimd", "bf16"}), ("", set())],
)
def test_cpu_flags(content, flags, tmp_path):
    put(tmp_path, "cpuinfo", content)
    assert runtime.cpu_flags(tmp_path / "cpuinfo") == flags


def test_without_cpuinfo_no_flag_and_the_name_that_the_system_has(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert runtime.cpu_flags(tmp_path / "absent") == frozenset()
    assert runtime.cpu_name(tmp_path / "absent") == "riscv64"


def test_cpu_name(tmp_path):
    put(tmp_path, "cpuinfo", X86)
    assert runtime.cpu_name(tmp_path / "cpuinfo") == "Some CPU @ 2GHz"


def test_environment_says_where_a_figure_was_measured():
    found = runtime.environment()
    assert found["usable_cores"] == runtime.usable_cores()
    assert found["cpu"]
    assert set(found) == {"machine", "system", "release", "python", "cpu", "usable_cores"}


def test_need_gives_the_module():
    assert runtime.need("json", extra="x") is importlib.import_module("json")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """`module(name, source)` puts a module on the path."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name, source):
        put(tmp_path, f"{name}.py", source)
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        return name

    return make


def test_a_missing_part_names_the_extra():
    with pytest.raises(MissingBackend) as caught:
        runtime.need("no_such_module_here.sub", extra="gpu")
    assert caught.value.message == "no_such_module_here.sub is not installed"
    assert caught.value.hint == "pip install 'squeeze-ondevice[gpu]'"
    assert caught.value.exit_code == 3


def test_a_part_that_lacks_another_names_that(module):
    with pytest.raises(MissingBackend) as caught:
        runtime.need(module("half_there", "import no_such_other.deep"), extra="gpu")
    assert caught.value.message == "half_there needs no_such_other, which is not installed"
    assert caught.value.hint == "pip install no_such_other"


def test_a_part_that_does_not_load_says_why_in_one_line(module):
    source = "raise ImportError('libfoo.so: cannot open\\nmore')"
    with pytest.raises(MissingBackend) as caught:
        runtime.need(module("broken_part", source), extra="gpu")
    assert caught.value.message == "broken_part is installed but does not load: libfoo.so: cannot open more"


def test_an_error_of_the_part_itself_is_not_hidden(module):
    with pytest.raises(ZeroDivisionError):
        runtime.need(module("faulty_part", "1 / 0"), extra="gpu")


def test_versions_name_what_is_absent():
    found = runtime.versions(("numpy", "no-such-distribution"))
    assert found["no-such-distribution"] == "absent"
    assert found["numpy"][0].isdigit()


def test_a_users_own_setting_wins(monkeypatch):
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    runtime.quiet()
    assert os.environ["DO_NOT_TRACK"] == "0"
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_memory_is_that_of_the_machine_or_of_the_smallest_group(tmp_path, monkeypatch):
    member = tmp_path / "member"
    member.write_text("0::/outer/inner\n")
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "outer" / "memory.max").write_text("1000000\n")
    (tmp_path / "outer" / "inner" / "memory.max").write_text("max\n")
    monkeypatch.setattr(runtime, "GROUPS", tmp_path)
    monkeypatch.setattr(runtime, "MEMBER", member)
    assert runtime.usable_memory() == 1_000_000
    (tmp_path / "outer" / "memory.max").unlink()
    assert runtime.usable_memory() > 1_000_000


def test_memory_of_a_group_of_the_first_version(tmp_path, monkeypatch):
    member = tmp_path / "member"
    member.write_text("5:cpu:/\n4:memory:/box\n")
    (tmp_path / "memory" / "box").mkdir(parents=True)
    (tmp_path / "memory" / "box" / "memory.limit_in_bytes").write_text("2000000\n")
    monkeypatch.setattr(runtime, "GROUPS", tmp_path)
    monkeypatch.setattr(runtime, "MEMBER", member)
    assert runtime.usable_memory() == 2_000_000


def test_a_module_that_reports_its_import_finds_nothing_to_do_it_with(module, monkeypatch):
    reporter = module("reporter_of_it", "told = []")
    source = "try:\n    import reporter_of_it\nexcept ImportError:\n    reporter_of_it = None\n"
    teller = module("teller_of_it", source)
    monkeypatch.setattr(runtime, "TELLS", {teller: reporter})
    assert runtime.need(teller, extra="x").reporter_of_it is None
    assert importlib.import_module(reporter).told == []
    monkeypatch.delitem(sys.modules, teller)
    there = importlib.import_module(reporter)
    assert runtime.need(teller, extra="x").reporter_of_it is None
    assert sys.modules[reporter] is there


def test_what_libraries_write_is_dropped_and_what_we_write_is_not(capfd):
    sys.stdout.write("before\n")
    with runtime.hushed():
        sys.stdout.write("of Python\n")
        os.write(1, b"of C++\n")
        os.write(2, b"an error of C++\n")
        warnings.warn("of a library", stacklevel=1)
    sys.stdout.write("after\n")
    assert capfd.readouterr() == ("before\nafter\n", "")


def test_an_error_comes_through_the_silence(capfd):
    def fails():
        with runtime.hushed():
            os.write(1, b"of C++\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    os.write(1, b"heard\n")
    assert capfd.readouterr().out == "heard\n"


def test_silence_of_a_process_without_streams():
    code = (
        "import os; os.close(1); os.close(2)\n"
        "from squeeze import runtime\n"
        "with runtime.hushed(): pass\n"
        "raise SystemExit(7)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7


def test_a_loud_module_is_loaded_in_silence(module, monkeypatch, capfd):
    loud = module("loud_one", "print('look at me')")
    monkeypatch.setattr(runtime, "LOUD", frozenset({loud}))
    assert runtime.need(loud, extra="x").__name__ == loud
    assert capfd.readouterr().out == ""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory in other ways")
def test_memory_between_living_blocks_goes_back_to_the_system():
    """In a process of its own, whose heap is known."""
    code = """
import gc, psutil
from squeeze.runtime import give_back
held = lambda: psutil.Process().memory_info().rss
blocks = [bytearray(8_000) for _ in range(10_000)]
living = blocks[::50]
blocks.clear()
gc.collect()
before = held()
give_back()
print(before - held())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 40_000_000
