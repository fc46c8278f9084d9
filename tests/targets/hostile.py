"""Files that are no models, or models that nobody should run: built in milliseconds, bounded in size."""

from __future__ import annotations

import gzip
import os
import random
import socket
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests import tiny_onnx as tiny

FLOAT = TensorProto.FLOAT


def model(path: Path, nodes: list[Any], inputs: list[Any] | None = None, weights: Any = ()) -> Path:
    """A model with the output `y`; by default it has one input `x` of any length."""
    taken = [helper.make_tensor_value_info("x", FLOAT, ["n"])] if inputs is None else inputs
    given = [helper.make_tensor_value_info("y", FLOAT, None)]
    graph = helper.make_graph(nodes, "hostile", taken, given, list(weights))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(made.SerializeToString())
    return path


def relu(path: Path, name: str = "x", shape: Any = ("n",)) -> Path:
    taken = [helper.make_tensor_value_info(name, FLOAT, list(shape))]
    return model(path, [helper.make_node("Relu", [name], ["y"])], taken)


def external(path: Path, location: str, dims: tuple[int, ...] = (1,), **where: Any) -> Path:
    """A weight that lies in another file."""
    weight = TensorProto(name="w", data_type=FLOAT, data_location=TensorProto.EXTERNAL)
    weight.dims.extend(dims)
    for key, value in {"location": location, **where}.items():
        weight.external_data.add(key=key, value=str(value))
    return model(path, [helper.make_node("Add", ["x", "w"], ["y"])], weights=[weight])


def weight(path: Path, dims: tuple[int, ...]) -> Path:
    """A weight of four bytes that claims another shape."""
    claimed = TensorProto(name="w", data_type=FLOAT, raw_data=bytes(4))
    claimed.dims.extend(dims)
    return model(path, [helper.make_node("Add", ["x", "w"], ["y"])], weights=[claimed])


def bomb(path: Path, operator: str, *sizes: int) -> Path:
    """A graph that makes something huge out of a shape."""
    shape = numpy_helper.from_array(np.array(sizes, dtype=np.int64), "s")
    words = ["s"] if operator == "ConstantOfShape" else ["x", "s"]
    return model(path, [helper.make_node(operator, words, ["y"])], [] if words == ["s"] else None, [shape])


def endless(path: Path) -> Path:
    """A loop of 2**62 turns."""
    info = helper.make_tensor_value_info
    turn = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["co"]), helper.make_node("Add", ["v", "v"], ["vo"])],
        "turn",
        [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), info("v", FLOAT, ["n"])],
        [info("co", TensorProto.BOOL, []), info("vo", FLOAT, ["n"])],
    )
    known = [numpy_helper.from_array(np.array(2**62), "m"), numpy_helper.from_array(np.array(True), "t")]
    return model(path, [helper.make_node("Loop", ["m", "t", "x"], ["y"], body=turn)], weights=known)


def chain(path: Path, nodes: int) -> Path:
    """One operator after the other."""
    names = ["x", *(f"v{place}" for place in range(1, nodes)), "y"]
    return model(path, [helper.make_node("Neg", [one], [two]) for one, two in pairwise(names)])


def nested(path: Path, depth: int) -> Path:
    """Graphs in attributes of graphs, written by hand because libraries refuse to."""
    graph = b""
    for _ in range(depth):
        graph = _field(
            1, _field(5, _field(6, graph))
        )  # GraphProto.node, NodeProto.attribute, AttributeProto.g
    path.write_bytes(b"\x08\x0a" + _field(7, graph))  # ModelProto.ir_version, .graph
    return path


def broken_name(path: Path) -> Path:
    """A name that is not UTF-8."""
    relu(path, "abcdefgh")
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"\xff\xfe\xffabcde"))
    return path


def no_models(folder: Path) -> dict[str, Path]:
    """What is no model at all, by what it is."""
    whole = tiny.classifier(folder / "whole.onnx").read_bytes()
    noise = random.Random(0).randbytes(5000)
    contents = {
        "empty.onnx": b"",
        "cut.onnx": whole[: len(whole) // 2],
        "noise.onnx": noise,
        "noise.ort": noise,
        "broken.ort": b"\x1c\0\0\0ORTM" + noise,
        "zeros.ort": b"\x1c\0\0\0ORTM" + bytes(5000),
        "gzip.onnx": gzip.compress(bytes(10**7)),
        "pointer.onnx": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / "zip.onnx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.onnx", bytes(10**7))
    nested(folder / "deep.onnx", 300)
    return {name: folder / name for name in (*contents, "zip.onnx", "deep.onnx")}


def no_files(folder: Path) -> dict[str, Path]:
    """What is not even a file."""
    (folder / "folder.onnx").mkdir()
    os.mkfifo(folder / "pipe.onnx")
    (folder / "loop.onnx").symlink_to("loop.onnx")
    (folder / "dangling.onnx").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.onnx"))
    names = ("folder", "pipe", "loop", "dangling", "socket", "absent")
    found = {name: folder / f"{name}.onnx" for name in names}
    return {**found, "zero": Path("/dev/zero"), "null": Path("/dev/null"), "long": folder / ("x" * 300)}


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    size, length = len(content), b""
    while size > 127:
        size, length = size >> 7, length + bytes([size & 127 | 128])
    return bytes([number << 3 | 2]) + length + bytes([size]) + content
