"""Options that cannot be followed are refused, and absurd numbers end in one line with exit code 2."""

from __future__ import annotations

import json
import os
import sys

import pytest
from onnx import helper
from pydantic import ValidationError

from squeeze.cli import main
from squeeze.stages.bench.stage import BenchSection
from tests import finished_run
from tests import tiny_onnx as tiny
from tests.test_cli import PROFILE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with free sizes, one of one length, one without any, a bundle, images and a finished run."""
    root = tmp_path_factory.mktemp("options")
    tiny.classifier(root / "m.onnx")
    tiny.classifier(root / "fixed.onnx", shape=(1, 6))
    tiny.classifier(root / "n.onnx", hidden=4)
    (root / "images").mkdir()
    finished_run.make(root / "runs" / "demo")
    return root


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def refused(capsys, words: list[str], code: int = 2) -> str:
    found = main(words)
    err = capsys.readouterr().err
    assert "internal error" not in err
    assert found == code, err
    assert err.splitlines()[-1].startswith(("error: ", "hint: "))
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(line) < 400
    return line.removeprefix("error: ")


NO_EFFECT = {
    # of bench
    "--max-memory 1GB --target gpu": "--max-memory: no effect with --target gpu",
    "--max-memory 1GB --target adb": "--max-memory: no effect with --target adb",
    "--max-memory 1GB --target estimate:pi5": "--max-memory: no effect with --target estimate:pi5",
    "--threads 2 --target gpu": "--threads: no effect with --target gpu",
    "--provider cpu --target estimate:pi5": "--provider: no effect with --target estimate:pi5",
    "--provider xnnpack --target qemu:cortex-a76": "--provider: no effect with --target qemu:cortex-a76",
    "--provider cpu --target ssh:host": "--provider: no effect with --target ssh:host",
    "--cuda-graph": "--cuda-graph: no effect with --target cpu",
    "--no-spin": "--no-spin: no effect with --target cpu",
    "--no-spin --target adb": "--no-spin: no effect with --target adb",
    "--no-transfers": "--no-transfers: no effect with --target cpu",
    "--keep": "--keep: no effect with --target cpu",
    "--device-dir /x": "--device-dir: no effect with --target cpu",
    "--device-dir /x --target qemu:cortex-a76": "--device-dir: no effect with --target qemu:cortex-a76",
    "--reference --target estimate:pi5": "--reference: no effect with --target estimate:pi5",
    "--min-runs 20 --target estimate:pi5": "--min-runs: no effect with --target estimate:pi5",
    "--seconds 1 --target qemu:cortex-a76": "--seconds: no effect with --target qemu:cortex-a76",
    "--confidence 0.9 --target estimate:pi5": "--confidence: no effect with --target estimate:pi5",
    "--within 5 --target adb": "--within: no effect with --target adb",
    "--within 5": "--within: no effect on a single model",
    "--baseline n.onnx --min-runs 20": "--min-runs: no effect on a comparison",
    "--baseline n.onnx --seconds 1": "--seconds: no effect on a comparison",
    "n.onnx --seconds 1": "--seconds: no effect on a comparison",
    "--reference --seconds 1": "--seconds: no effect on a comparison",
    "--form all": "--form all: no bundle is given, files have no forms",
    "--form fp32": "--form fp32: no bundle is given, files have no forms",
    "--junit x.xml": "--junit: there are no checks to write",
    "--markdown m.onnx": "m.onnx: this command reads it, and would overwrite it",
    "--baseline n.onnx --markdown ./n.onnx": "n.onnx: this command reads it, and would overwrite it",
    "--budget p95=1s --junit x --markdown x": "x: named twice, each output needs a file of its own",
    "--markdown m.onnx/x": "m.onnx/x: cannot be written",
    "--markdown none/x": "none/x: cannot be written",
    "--markdown images": "images: is a folder",
    f"--markdown {'x' * 300}": f"{'x' * 300}: cannot be written (File name too long)",
}


@pytest.mark.parametrize("words", NO_EFFECT)
def test_an_option_of_bench_that_has_no_effect_is_refused(words, capsys):
    assert refused(capsys, ["bench", "m.onnx", *words.split()]).startswith(NO_EFFECT[words])
    assert not os.path.lexists("x")


SWEEPS = {
    "--cold --passes 2": "--passes: no effect without a grid",
    "--repeats 3": "--repeats: no effect without --cold",
    "--cold --min-runs 20": "--min-runs: no effect without a grid or --texts",
    "--cold --seconds 1": "--seconds: no effect without a grid or --texts",
    "--device-dir /x": "--device-dir: no effect with --target cpu",
    "--markdown m.onnx": "m.onnx: this command reads it, and would overwrite it",
    "--form all": "--form all: a sweep is of one model",
    "--target adb --cold": "adb: --cold are measured on the target cpu only",
    "--seed -1": "--seed: ",
}


@pytest.mark.parametrize("words", SWEEPS)
def test_an_option_of_sweep_that_has_no_effect_is_refused(words, capsys):
    assert refused(capsys, ["sweep", "m.onnx", *words.split()]).startswith(SWEEPS[words])


def test_energy_without_counters_is_refused_before_anything_is_measured(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("squeeze.targets.energy.POWERCAP", tmp_path / "none")
    assert "energy" in refused(capsys, ["sweep", "m.onnx", "--energy"], code=3).lower()


DEVICES = {
    "calibrate cpu --keep": "--keep: no effect with cpu",
    "calibrate cpu --device-dir /x": "--device-dir: no effect with cpu",
    "show qemu:cortex-a76 --keep": "--keep: no effect with qemu:cortex-a76",
    "bundle --abi linux-x86_64 --ndk images": "--ndk: no effect with --abi linux-x86_64",
    "bundle --abi linux-x86_64 --libc images --device-libc": "--libc: no effect with --abi linux-x86_64 and",
    "bundle --abi linux-x86_64 --version 1.0": "--version: no effect with --abi linux-x86_64, it goes with",
    "bundle --abi linux-x86_64 --version 1.0 --library m.onnx": "--version: no effect with --abi",
    "bundle --abi android-arm64 --header images": "--header: no effect with --abi android-arm64",
    "bundle --abi android-arm64 --device-libc": "--device-libc: no effect with --abi android-arm64",
    "bundle --abi android-arm64 --download": "--download: no effect with --abi android-arm64",
}


@pytest.mark.parametrize("words", DEVICES)
def test_an_option_of_device_that_has_no_effect_is_refused(words, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert refused(capsys, ["device", *words.split()]).startswith(DEVICES[words])


def test_texts_are_left_out_of_a_page_only(capsys):
    line = refused(capsys, ["report", "runs/demo", "--no-texts"])
    assert line == "--no-texts: no effect without --html"
    assert refused(capsys, ["report", "runs/demo", "--html", "x", "--markdown", "x"]).startswith(
        "x: named twice"
    )


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_section_that_is_read_later_is_not_set(command, capsys, tmp_path):
    (tmp_path / "p.toml").write_text(f'{PROFILE}[teacher]\nmodel = "builtin:minilm-l6"\n')
    words = [command, str(tmp_path / "p.toml"), "--until", "data", "--set", "teacher.keep_base=true"]
    line = refused(capsys, words)
    assert line == "--set teacher.keep_base: no effect, teacher reads it and the run ends with data"


@pytest.mark.parametrize(
    ("model", "words", "message"),
    [
        ("fixed.onnx", "--seq 32", "seq 32 does not fit input_ids, whose length is fixed: [1, 6]"),
        (
            "fixed.onnx",
            "--batch 2",
            "batch 2 does not fit input_ids, whose batch is fixed: tensor(int64) [1, 6]",
        ),
        ("m.onnx", "--seq 8 --shape input_ids=1x4", "seq 8 does not fit --shape input_ids=1x4"),
        ("m.onnx", "--batch 2 --shape input_ids=1x4", "batch 2: no input (input_ids tensor(int64) [batch, "),
    ],
)
def test_sizes_that_a_model_does_not_have_are_refused(model, words, message, capsys):
    assert refused(capsys, ["bench", model, *words.split()]).startswith(message)


def test_a_length_that_a_model_has_is_measured(capsys):
    words = ["--seq", "6", "--min-runs", "10", "--seconds", "0", "--json"]
    assert main(["bench", "fixed.onnx", *words]) == 0
    (found,) = json.loads(capsys.readouterr().out)["measurements"]
    assert found["inputs"]["input_ids"] == "tensor(int64) [1, 6]"


def test_a_length_of_a_picture_is_refused(capsys, tmp_path):
    given, made = (helper.make_tensor_value_info(name, 1, [1, 3, 4, 4]) for name in ("pixels", "y"))
    tiny.save(tmp_path / "p.onnx", [helper.make_node("Identity", ["pixels"], ["y"])], [given], [made], {})
    line = refused(capsys, ["bench", str(tmp_path / "p.onnx"), "--seq", "8"])
    assert line == "seq 8: no input (pixels tensor(float) [1, 3, 4, 4]) has a length"


NUMBERS = (
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e30",
    "1e400",
    "9" * 30,
    "9" * 5000,
    "",
    "٣",
    "0x10",
    "1_000_000_000_000",
)
OPTIONS = {
    "bench m.onnx": ("--threads", "--batch", "--seq", "--min-runs", "--seconds", "--within", "--confidence"),
    "bench m.onnx ": ("--max-memory", "--shape=input_ids=1x", "--budget=p95=", "--budget=size="),
    "sweep m.onnx": ("--threads", "--batch", "--seq", "--passes", "--min-runs", "--seconds"),
    "sweep m.onnx ": ("--max-seconds", "--confidence", "--limit=p95=", "--repeats"),
    "search-cnn images": ("--batch", "--starts", "--trials", "--workers", "--teacher=9,9,"),
    "search-cnn images ": ("--budget=parameters=", "--budget=p50="),
    "bench m.onnx --target": ("ssh:host:",),
    "device show": ("ssh:host:",),
}


@pytest.mark.parametrize("command", OPTIONS)
def test_absurd_numbers_are_refused_in_one_line(command, capsys):
    for option in OPTIONS[command]:
        for number in NUMBERS:
            joined = option.endswith(("=", ",", "x", ":"))
            refused(capsys, [*command.split(), *([f"{option}{number}"] if joined else [option, number])])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit of memory is Linux's")
def test_the_largest_amount_of_memory_is_followed(capsys):
    assert main(["bench", "m.onnx", "--max-memory", "1000000GB", "--min-runs", "10", "--seconds", "0"]) == 0
    assert "p50 ms" in capsys.readouterr().out


def test_a_summary_is_added_to_and_never_replaced(capsys, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("first\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert main(["bench", "m.onnx", "--target", "estimate:pi5", "--markdown", str(summary)]) == 0
    assert summary.read_text().startswith("first\n\n| model |")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "none" / "summary.md"))
    words = ["bench", "m.onnx", "--markdown", str(tmp_path / "none" / "summary.md")]
    assert refused(capsys, words).endswith("is no folder that may be written to")


def test_a_section_for_a_gpu_alone_has_no_threads():
    assert BenchSection(targets=("gpu", "cpu"), threads=2).threads == 2
    with pytest.raises(ValidationError, match="no effect on a GPU, the only one of `targets`"):
        BenchSection(targets=("gpu",), threads=2)
