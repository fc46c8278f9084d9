"""`squeeze bench --target gpu`: plans on stand-ins, providers that are not there, and what is pinned."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze.bench import BenchOptions, bench
from squeeze.bench_formats import markdown
from squeeze.cli import main
from squeeze.errors import MissingBackend, UsageError
from squeeze.progress import Silent
from squeeze.targets import sessions
from squeeze.targets.measurement import Report
from squeeze.targets.tensorrt import BuildSettings, build, shapes_for
from tests import tiny_onnx
from tests.targets.fake_tensorrt import World, install, install_for_workers

QUICK: dict[str, Any] = {
    "target": "gpu",
    "min_runs": 20,
    "min_seconds": 0.0,
    "max_seconds": 5.0,
    "starts": 1,
    "sequence": 8,
}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """A plan, and workers that find the stand-ins."""
    install(monkeypatch, World())
    install_for_workers(monkeypatch, tmp_path / "packages")
    onnx = tiny_onnx.classifier(tmp_path / "model.onnx")
    shapes = shapes_for(("input_ids", "attention_mask"), (4, 5, 9), 16)
    build(onnx, tmp_path / "model.plan", shapes, BuildSettings("fp32"), tmp_path / "timings")
    return tmp_path / "model.plan"


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_a_plan_is_measured_with_everything_pinned(plan, cuda_graph):
    report = bench([plan], BenchOptions(**QUICK, cuda_graph=cuda_graph, spin=False), Silent())
    (found,) = report.measurements
    assert found.target == "gpu"
    assert found.runs >= 20
    assert min(found.samples_ms) > 0
    assert found.inputs["input_ids"] == "tensor(int64) [?, ?]" or "1" in found.inputs["input_ids"]
    around = found.environment
    assert around["gpu"] == "NVIDIA Test"
    assert around["compute_capability"] == "8.7"
    assert around["tensorrt"].startswith("11.")
    assert (around["provider"], around["cuda_graph"], around["spin"], around["transfers"]) == (
        "TensorRT", cuda_graph, False, True,
    )  # fmt: skip
    assert Report.model_validate_json(json.dumps(report.plain())) == report
    said = markdown(report)
    assert "NVIDIA Test, TensorRT 11" in said
    assert "sleeping, with copies" in said


def test_two_plans_are_compared_in_turns(plan, tmp_path):
    twin = tmp_path / "twin.engine"
    twin.write_bytes(plan.read_bytes())
    report = bench([plan, twin], BenchOptions(**QUICK), Silent())
    (comparison,) = report.comparisons
    assert comparison.interleaved
    assert comparison.baseline == "model.plan"


def test_a_length_that_the_plan_was_not_built_for(plan):
    with pytest.raises(UsageError, match=r"\[1, 17\], the engine was built for \[1, 1\] to \[1, 16\]"):
        bench([plan], BenchOptions(**{**QUICK, "sequence": 17}), Silent())


def test_a_plan_of_another_version_is_refused(plan, tmp_path, monkeypatch):
    install_for_workers(monkeypatch, tmp_path / "packages", version="10.3.0")
    with pytest.raises(MissingBackend, match=r"built by TensorRT 11.*here are TensorRT 10\.3\.0"):
        bench([plan], BenchOptions(**QUICK), Silent())


def test_no_gpu_is_said_before_anything_is_measured(plan, tmp_path, monkeypatch):
    install_for_workers(monkeypatch, tmp_path / "packages", spoil="fake.WORLD.devices = 0")
    with pytest.raises(MissingBackend, match="no NVIDIA GPU can be used here"):
        bench([plan], BenchOptions(**QUICK), Silent())


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("model.onnx", [], "CUDAExecutionProvider is not part of the installed onnxruntime"),
        ("model.onnx", ["--provider", "tensorrt"], "TensorrtExecutionProvider is not part of"),
        ("model.plan", [], "tensorrt is not installed"),
    ],
)
def test_here_there_is_none_and_the_exit_code_says_so(tmp_path, capsys, name, more, said):
    path = tiny_onnx.classifier(tmp_path / "model.onnx").rename(tmp_path / name)
    report = tmp_path / "report.md"
    assert main(["bench", str(path), "--target", "gpu", "--markdown", str(report), *more]) == 3
    printed = capsys.readouterr()
    assert said in printed.err
    assert "squeeze-ondevice[gpu]" in printed.err
    assert printed.out == ""
    assert not report.exists()


def test_a_cuda_graph_of_an_onnx_file_is_wrong_usage(tmp_path, capsys):
    path = tiny_onnx.classifier(tmp_path / "model.onnx")
    assert main(["bench", str(path), "--target", "gpu", "--cuda-graph"]) == 2
    assert "CUDA graphs are for plans" in capsys.readouterr().err


def test_an_unknown_target_is_wrong_usage(tmp_path, capsys):
    path = tiny_onnx.classifier(tmp_path / "model.onnx")
    assert main(["bench", str(path), "--target", "npu"]) == 2
    assert "--target" in capsys.readouterr().err


class Session:
    """A session of ONNX Runtime with a GPU."""

    def __init__(self, used):
        self.used, self.calls = used, []

    def get_providers(self):
        return [self.used, "CPUExecutionProvider"]

    def disable_fallback(self):
        self.calls.append("no fallback")

    def run(self, names, values):
        self.calls.append("run")

    def get_outputs(self):
        return [types.SimpleNamespace(name="logits")]

    def io_binding(self):
        note = self.calls.append
        return types.SimpleNamespace(
            bind_ortvalue_input=lambda name, value: note(f"in {name}"),
            bind_output=lambda name, device: note(f"out {name} {device}"),
            synchronize_inputs=lambda: note("wait in"),
            synchronize_outputs=lambda: note("wait out"),
        )

    def run_with_iobinding(self, binding):
        self.calls.append("run")


def opened(monkeypatch, used, transfers):
    made = Session(used)
    monkeypatch.setattr(sessions, "open_session", lambda path, **more: made)
    runtime = types.SimpleNamespace(
        OrtValue=types.SimpleNamespace(ortvalue_from_numpy=lambda values, device, index: values)
    )
    monkeypatch.setattr(sessions, "installed", lambda name: runtime)
    request = {"gpu": {"transfers": transfers}, "provider": "CUDAExecutionProvider", "threads": 1}
    return made, sessions.OrtGpuSession(Path("model.onnx"), request)


def test_a_session_that_fell_back_to_the_processor_is_no_measurement_of_a_gpu(monkeypatch):
    with pytest.raises(MissingBackend, match="could not be loaded, CPUExecutionProvider was used instead"):
        opened(monkeypatch, "CPUExecutionProvider", transfers=True)


@pytest.mark.parametrize(
    ("transfers", "before", "timed"),
    [
        (True, ["no fallback"], ["run"]),
        (False, ["no fallback", "in x", "out logits cuda", "wait in"], ["run", "wait out"]),
    ],
)
def test_what_the_clock_sees_of_onnx_runtime(monkeypatch, transfers, before, timed):
    made, session = opened(monkeypatch, "CUDAExecutionProvider", transfers)
    call = sessions.prepared(session, {"x": np.zeros(3)})
    assert made.calls == before
    made.calls.clear()
    call()
    assert made.calls == timed


def test_the_tensorrt_provider_is_told_the_lengths_and_builds_once():
    found = sessions.provider_options("TensorrtExecutionProvider", [3, 5, 9], 2)
    assert found == {
        "trt_profile_min_shapes": "input_ids:1x3,attention_mask:1x3",
        "trt_profile_opt_shapes": "input_ids:2x5,attention_mask:2x5",
        "trt_profile_max_shapes": "input_ids:2x9,attention_mask:2x9",
    }
    assert sessions.provider_options("TensorrtExecutionProvider", [7, 7], 1) == {}
    assert sessions.provider_options("CUDAExecutionProvider", [3, 5], 1) == {}
