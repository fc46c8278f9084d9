"""Building and running engines, on stand-ins that have the published names of each version."""

from __future__ import annotations

import json
import re

import numpy as np
import onnxruntime
import pytest

from squeeze.errors import Corrupt, MissingBackend, StageFailed, UsageError
from squeeze.targets.tensorrt import (
    BuildSettings,
    EngineOptions,
    available,
    build,
    card_of,
    open_engine,
    shapes_for,
)
from squeeze.targets.tensorrt.card import card_path
from tests import tiny_onnx
from tests.targets.fake_tensorrt import VERSIONS, World, install

INPUTS = ("input_ids", "attention_mask")
LENGTHS = (3, 4, 4, 5, 9)


@pytest.fixture
def world(monkeypatch):
    world = World()
    install(monkeypatch, world)
    return world


def made(tmp_path, batch=1, longest=16):
    onnx = tiny_onnx.classifier(tmp_path / "model.onnx")
    plan = tmp_path / "model.plan"
    shapes = shapes_for(INPUTS, LENGTHS, longest, batch)
    card = build(onnx, plan, shapes, BuildSettings("fp32", workspace_mb=64), tmp_path / "timings")
    return onnx, plan, card


def feed(length, batch=1):
    ids = np.arange(length * batch, dtype=np.int64).reshape(batch, length) % 10
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def expected(onnx, values):
    return onnxruntime.InferenceSession(str(onnx)).run(["logits"], values)[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_building_on_every_version(tmp_path, monkeypatch, version):
    world = World()
    install(monkeypatch, world, version)
    _, plan, card = made(tmp_path, batch=2)
    major = int(version.split(".")[0])
    ((flags,),) = world.asked("Builder", "create_network")
    assert bool(flags) is (major == 10)  # 10 is told to be strongly typed, 11 is nothing else
    ((_, workspace),) = world.asked("IBuilderConfig", "set_memory_pool_limit")
    assert workspace == 64 << 20
    assert world.asked("IBuilderConfig", "set_flag") == []  # no precision flags
    assert world.asked("BuilderFlag", "TF32") == [()]
    profiles = world.asked("IOptimizationProfile", "set_shape")
    assert profiles == [(name, (1, 1), (2, 4), (2, 16)) for name in INPUTS]
    assert (card.tensorrt, card.device.name, card.device.compute_capability) == (
        version,
        "NVIDIA Test",
        "8.7",
    )
    assert card == card_of(plan)
    assert card.plan_bytes == plan.stat().st_size
    assert card.device_memory_bytes == 4096
    written = json.loads(card_path(plan).read_text())
    assert written["shapes"]["input_ids"] == {"least": [1, 1], "usual": [2, 4], "most": [2, 16]}
    assert len(written["onnx_sha256"]) == 64


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("transfers", [False, True])
def test_an_engine_computes_what_its_graph_computes(tmp_path, monkeypatch, version, cuda_graph, transfers):
    world = World()
    install(monkeypatch, world, version)
    onnx, plan, _ = made(tmp_path, batch=3)
    with open_engine(plan, EngineOptions(cuda_graph=cuda_graph, transfers=transfers)) as engine:
        for length, batch in ((4, 1), (9, 3), (4, 1), (16, 2), (9, 3)):
            values = feed(length, batch)
            np.testing.assert_array_equal(engine.run(values)["logits"], expected(onnx, values))
        assert world.graphs == (3 if cuda_graph else 0)  # one a shape
    assert (world.memory, world.pinned, world.graphs) == ({}, set(), 0)  # all is given back


@pytest.mark.parametrize(("transfers", "copies"), [(True, 3), (False, 0)])
def test_the_clock_sees_copies_only_when_they_are_asked_for(world, tmp_path, transfers, copies):
    _, plan, _ = made(tmp_path)
    with open_engine(plan, EngineOptions(transfers=transfers)) as engine:
        call = engine.bind(feed(4))
        before = len(world.asked("cuda", "cudaMemcpyAsync"))
        call()
        assert len(world.asked("cuda", "cudaMemcpyAsync")) - before == copies


@pytest.mark.parametrize(("spin", "flag"), [(True, 1), (False, 4)])
def test_waiting_is_pinned(world, tmp_path, spin, flag):
    _, plan, _ = made(tmp_path)
    world.calls.clear()
    open_engine(plan, EngineOptions(spin=spin)).close()
    assert world.asked("cuda", "cudaSetDeviceFlags") == [(flag,)]


def test_an_engine_that_computes_something_else_is_seen(world, tmp_path):
    onnx, plan, _ = made(tmp_path)
    world.spoil = 0.5
    with open_engine(plan) as engine:
        values = feed(4)
        assert np.abs(engine.run(values)["logits"] - expected(onnx, values)).min() > 0.4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"input_ids": np.zeros((1, 17), np.int64)},
            r"\[1, 17\], the engine was built for \[1, 1\] to \[1, 16\]",
        ),
        ({"input_ids": np.zeros((2, 4), np.int64)}, r"\[2, 4\]"),
        ({"input_ids": np.zeros((1, 4), np.int32)}, "is int32, the engine takes int64"),
        ({"input_ids": np.zeros(4, np.int64)}, r"\[4\]"),
    ],
)
def test_inputs_that_the_engine_was_not_built_for(world, tmp_path, change, said):
    _, plan, _ = made(tmp_path)
    with open_engine(plan) as engine, pytest.raises(UsageError, match=said):
        engine.run({**feed(4), **change})
    with open_engine(plan) as engine, pytest.raises(UsageError, match="attention_mask is missing"):
        engine.run({"input_ids": feed(4)["input_ids"]})


def test_timing_caches_are_kept_by_device_and_version(tmp_path, monkeypatch):
    world = World()
    install(monkeypatch, world, VERSIONS[0])
    made(tmp_path)
    made(tmp_path)
    stored = world.asked("IBuilderConfig", "create_timing_cache")
    assert [bool(cache) for (cache,) in stored] == [False, True]
    world.name, world.capability = "Orin (nvgpu)", (8, 9)
    made(tmp_path)
    install(monkeypatch, world, VERSIONS[-1])
    made(tmp_path)
    files = sorted(path.name for path in (tmp_path / "timings").iterdir())
    assert files == [
        "tensorrt-10.3.0-nvidia-test-sm87.timing",
        "tensorrt-10.3.0-orin-nvgpu-sm89.timing",
        "tensorrt-11.4.0.106-orin-nvgpu-sm89.timing",
    ]
    assert all(ignore is False for _, ignore in world.asked("IBuilderConfig", "set_timing_cache"))


def test_a_timing_cache_of_another_device_is_not_used(world, tmp_path):
    made(tmp_path)
    (path,) = (tmp_path / "timings").iterdir()
    path.write_bytes(b"measured on something else")
    made(tmp_path)
    assert path.read_bytes() == b"measured on NVIDIA Test"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("parse", r"cannot parse it \(Det_0: no importer for Det\)"),
        ("build", r"builds no engine \(no kernel was found\)"),
        ("profile", "refuses the shapes"),
        ("load", "not compatible"),
    ],
)
def test_a_build_that_fails_gives_its_reason(world, tmp_path, step, said):
    world.refuse.add(step)
    with pytest.raises(StageFailed, match=said):
        made(tmp_path)


def test_an_input_without_shapes(world, tmp_path):
    onnx = tiny_onnx.classifier(tmp_path / "model.onnx")
    shapes = shapes_for(["input_ids"], LENGTHS, 16)
    with pytest.raises(UsageError, match="attention_mask has free sizes"):
        build(onnx, tmp_path / "model.plan", shapes, BuildSettings("fp32"), tmp_path)


def test_a_plan_of_another_version_or_device_is_refused_in_one_line(tmp_path, monkeypatch):
    world = World()
    install(monkeypatch, world, VERSIONS[0])
    _, plan, _ = made(tmp_path)
    install(monkeypatch, world, VERSIONS[1])
    with pytest.raises(
        MissingBackend, match=r"built by TensorRT 10\.3\.0 for NVIDIA Test .*here are TensorRT 10\.16"
    ):
        open_engine(plan)
    install(monkeypatch, world, VERSIONS[0])
    world.name = "Other GPU"
    with pytest.raises(MissingBackend, match="Other GPU") as found:
        open_engine(plan)
    assert found.value.exit_code == 3
    assert "\n" not in found.value.message
    assert world.asked("Runtime", "deserialize_cuda_engine")[1:] == []  # never given to TensorRT


def test_a_changed_plan_or_card_is_corrupt(world, tmp_path):
    _, plan, _ = made(tmp_path)
    original = plan.read_bytes()
    plan.write_bytes(original + b" ")
    with pytest.raises(Corrupt, match="not the plan"):
        open_engine(plan)
    plan.write_bytes(original)
    card_path(plan).write_text("{}")
    with pytest.raises(Corrupt, match="not a readable card"):
        open_engine(plan)


def test_a_plan_without_a_card_is_tensorrts_to_judge(world, tmp_path):
    onnx, plan, _ = made(tmp_path)
    card_path(plan).unlink()
    with open_engine(plan) as engine:
        np.testing.assert_array_equal(engine.run(feed(4))["logits"], expected(onnx, feed(4)))
    world.refuse.add("load")
    with pytest.raises(StageFailed, match="not compatible with this version"):
        open_engine(plan)


@pytest.mark.parametrize("content", [None, b""])
def test_no_plan(world, tmp_path, content):
    path = tmp_path / "model.plan"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"model\.plan"):
        open_engine(path)


@pytest.mark.parametrize(
    ("version", "cuda", "devices", "said"),
    [
        (None, "13.5.0", 1, "tensorrt"),
        (VERSIONS[0], None, 1, "cuda"),
        (VERSIONS[0], "12.9.5", 0, "no NVIDIA GPU can be used here: no CUDA-capable device"),
    ],
)
def test_what_is_missing_is_named_with_how_to_get_it(monkeypatch, version, cuda, devices, said):
    world = World()
    world.devices = devices
    install(monkeypatch, world, version, cuda)
    with pytest.raises(MissingBackend, match=said) as found:
        available()
    assert found.value.exit_code == 3
    assert found.value.hint


def test_another_major_is_refused(monkeypatch, world):
    import sys

    sys.modules["tensorrt"].__version__ = "9.3.0"  # type: ignore[attr-defined]
    with pytest.raises(MissingBackend, match=r"tensorrt 9\.3\.0 is not supported"):
        available()


def test_out_of_memory_is_one_line(world, tmp_path):
    _, plan, _ = made(tmp_path, batch=1 << 20, longest=1 << 20)
    with pytest.raises(StageFailed, match=re.escape("out of memory")):
        open_engine(plan)


@pytest.mark.parametrize(
    ("lengths", "longest", "batch", "usual"),
    [((3, 4, 4, 5, 9), 16, 1, (1, 4)), ((40,), 16, 2, (2, 16)), ((7, 8), 64, 1, (1, 7))],
)
def test_shapes_come_from_the_data(lengths, longest, batch, usual):
    found = shapes_for(INPUTS, lengths, longest, batch)["attention_mask"]
    assert (found.least, found.usual, found.most) == ((1, 1), usual, (batch, longest))


def test_shapes_need_lengths():
    with pytest.raises(UsageError):
        shapes_for(INPUTS, (), 16)
