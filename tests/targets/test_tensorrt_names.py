"""Every name of TensorRT and CUDA that the package uses is in the published bindings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from squeeze.targets.tensorrt.api import MAJORS
from tests.targets.fake_tensorrt import NAMES, VERSIONS

PACKAGE = Path(__file__).resolve().parents[2] / "squeeze" / "targets" / "tensorrt"
FILES = sorted(PACKAGE.glob("*.py"))
# What the package calls an object -> its class in the bindings.
CLASSES = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "error": "ParserError",
    "profile": "IOptimizationProfile",
    "cache": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "mode": "TensorIOMode",
}


def uses(source: str) -> Iterator[tuple[str, str]]:
    """(class, member) of every attribute of an object of theirs; ``module`` and ``cuda`` for the modules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and (owner := owner_of(node.value)) is not None:
            yield owner, node.attr


def owner_of(value: ast.expr) -> str | None:
    name = (
        value.id if isinstance(value, ast.Name) else value.attr if isinstance(value, ast.Attribute) else None
    )
    if name == "trt":
        return "module"
    if name == "cudart":
        return "cuda"
    if isinstance(value, ast.Attribute) and owner_of(value.value) == "module":
        return value.attr  # trt.BuilderFlag.TF32
    return CLASSES.get(name or "")


def unpublished(source: str, version: str) -> list[str]:
    known = NAMES["tensorrt"][version]
    missing = []
    for owner, member in uses(source):
        if owner == "cuda":
            absent = [each for each, names in NAMES["cuda"].items() if member not in names]
        elif owner == "module":
            absent = [] if member in {*known["module"], "__version__"} else [version]
        else:
            members = {*known["classes"].get(owner, ()), "__init__"}
            absent = [] if member in members else [version]
        missing += [f"{owner}.{member} is not in {each}" for each in absent]
    return missing


def test_the_names_are_of_both_majors():
    assert {int(version.split(".")[0]) for version in VERSIONS} == set(MAJORS)
    assert len(NAMES["cuda"]) == 2


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_name_is_published(path, version):
    assert unpublished(path.read_text(encoding="utf-8"), version) == []


def test_it_looks_at_what_matters():
    found = {use for path in FILES for use in uses(path.read_text(encoding="utf-8"))}
    assert {
        ("Builder", "build_serialized_network"),
        ("IBuilderConfig", "set_memory_pool_limit"),
        ("ICudaEngine", "get_tensor_profile_shape"),
        ("IExecutionContext", "execute_async_v3"),
        ("OnnxParser", "parse_from_file"),
        ("module", "OnnxParser"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("cuda", "cudaGraphLaunch"),
    } <= found
    assert len(found) > 60


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("builder.build_fast(network)", "Builder.build_fast"),
        ("self.engine.get_binding_name(0)", "ICudaEngine.get_binding_name"),
        ("api.trt.NoSuchThing", "module.NoSuchThing"),
        ("config.set_flag(api.trt.BuilderFlag.FP99)", "BuilderFlag.FP99"),
        ("self.cudart.cudaMakeFaster()", "cuda.cudaMakeFaster"),
        ("self.context.execute_async_v2(1)", "IExecutionContext.execute_async_v2"),
    ],
)
def test_a_made_up_name_is_found(source, said):
    for version in VERSIONS:
        assert any(line.startswith(said) for line in unpublished(source, version))


@pytest.mark.parametrize(
    "source",
    [
        "config.set_flag(trt.BuilderFlag.FP16)",
        "config.set_flag(trt.BuilderFlag.INT8)",
        "config.int8_calibrator = None",
        "network.x = trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
        "builder.platform_has_fast_int8",
        "engine.device_memory_size",
    ],
)
def test_what_major_11_has_taken_away_is_found_there_and_only_there(source):
    taken = [unpublished(source.replace("network.x = ", "y = "), version) for version in VERSIONS]
    assert [bool(found) for found in taken] == [not version.startswith("10.") for version in VERSIONS]
