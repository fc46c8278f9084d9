"""Small valid ONNX files, and changes that make them broken, hostile or odd."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from squeeze.graphs.ort_format import convert

__all__ = ["KINDS", "SEEDS", "Case", "draw"]

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
ANY = frozenset({0, 2, 3, 4})
"""What a file may end with whose bytes are changed at random: it may still be a model."""
NAMES = (
    *("a\n::error title=pwned::x", "::add-mask::x", "\x1b[31mred", "\u202eevil", "<script>|x", "n" * 10_000),
    *("", "x y", "##[error]x"),
)
NUMBERS = (0, -1, 1, 2**31 - 1, 2**31, 2**40, 2**62, -(2**63), 99, 65_536)
NO_MODELS = (
    *(b"", b"\0", b"PK\x03\x04" + bytes(99), b"\x1f\x8b" + bytes(99), b"\x80\x02." * 9, b"ORTM" * 50),
    *(b"version https://git-lfs.github.com/spec/v1\n", b"{}", b"<html>" * 40),
)


@dataclass(frozen=True)
class Case:
    """A file, what may be made of it, and what lies beside it.

    Attributes:
        kind: of the change.
        name: of the file.
        content: of the file.
        bench: exit codes that are right for `squeeze bench`.
        doctor: exit codes that are right for `squeeze doctor`.
        says: what the message of `squeeze bench` must hold, where it refuses.
        beside: other files of the folder.
    """

    kind: str
    name: str
    content: bytes
    bench: frozenset[int] = ANY
    doctor: frozenset[int] = frozenset({0, 1, 2, 3, 4})
    says: str = ""
    beside: Mapping[str, bytes] = field(default_factory=dict)


Change: TypeAlias = Callable[[random.Random, str], Case]


def draw(seed: int, number: int) -> Case:
    """One case; the kinds take turns, so that every part of a campaign has all of them."""
    kinds = list(KINDS)
    chance = random.Random(f"{seed} {number}")
    return KINDS[kinds[number % len(kinds)]](chance, chance.choice(sorted(SEEDS)))


def _value(name: str, kind: int, shape: Sequence[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def _model(nodes: list[Any], inputs: list[Any], weights: Mapping[str, Any], opset: int = 17) -> ModelProto:
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "seed", inputs, [_value("y", FLOAT, [])], constants)
    del graph.output[0].type.tensor_type.shape.dim[:]
    graph.output[0].type.tensor_type.ClearField("shape")
    made: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return made


def _classifier() -> ModelProto:
    random_ = np.random.default_rng(0)
    weights = {"table": random_.standard_normal((10, 8)), "out": random_.standard_normal((8, 3))}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"]),
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["m", "out"], ["y"]),
    ]
    inputs = [_value("input_ids", INT, ["batch", "sequence"])]
    return _model(nodes, inputs, {name: each.astype(np.float32) for name, each in weights.items()})


def _picture() -> ModelProto:
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["y"]),
    ]
    return _model(nodes, [_value("x", FLOAT, ["n", 3, 16, 16])], {"w": weight})


def _branches() -> ModelProto:
    one, two = (
        helper.make_graph([helper.make_node(kind, ["x"], [name])], kind, [], [_value(name, FLOAT, ["n"])])
        for kind, name in (("Neg", "a"), ("Abs", "b"))
    )
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=one, else_branch=two),
    ]
    return _model(nodes, [_value("x", FLOAT, ["n"])], {"zero": np.float32(0)})


def _loop() -> ModelProto:
    turn = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["co"]), helper.make_node("Add", ["v", "v"], ["vo"])],
        "turn",
        [_value("i", INT, []), _value("c", TensorProto.BOOL, []), _value("v", FLOAT, ["n"])],
        [_value("co", TensorProto.BOOL, []), _value("vo", FLOAT, ["n"])],
    )
    nodes = [helper.make_node("Loop", ["m", "t", "x"], ["y"], body=turn)]
    return _model(nodes, [_value("x", FLOAT, ["n"])], {"m": np.array(3), "t": np.array(True)})


def _rounded() -> ModelProto:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
        helper.make_node("Mul", ["f", "s"], ["y"]),
    ]
    weight = np.random.default_rng(0).integers(-99, 99, (8, 4)).astype(np.int8)
    return _model(nodes, [_value("x", FLOAT, ["n", 8])], {"w": weight, "wz": np.int8(0)})


SEEDS: Mapping[str, Callable[[], ModelProto]] = {
    "classifier": _classifier,
    "picture": _picture,
    "branches": _branches,
    "loop": _loop,
    "rounded": _rounded,
}


@cache
def _bytes(seed: str) -> bytes:
    content: bytes = SEEDS[seed]().SerializeToString()
    return content


@cache
def _ort(seed: str) -> bytes:
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "m.onnx", Path(folder) / "m.ort"
        source.write_bytes(_bytes(seed))
        convert(source, target)
        return target.read_bytes()


def _parsed(seed: str) -> ModelProto:
    model: ModelProto = ModelProto.FromString(_bytes(seed))
    return model


def _case(kind: str, model: ModelProto, seed: str, **expected: Any) -> Case:
    return Case(kind, f"{seed}.onnx", model.SerializeToString(), **expected)


def _unchanged(chance: random.Random, seed: str) -> Case:
    if chance.random() < 0.3:
        return Case("unchanged", f"{seed}.ort", _ort(seed), frozenset({0}), frozenset({2}))
    return Case("unchanged", f"{seed}.onnx", _bytes(seed), frozenset({0}), frozenset({0, 1}))


def _flipped(
    chance: random.Random, seed: str, kind: str, content: Callable[[str], bytes], suffix: str
) -> Case:
    data = bytearray(content(seed))
    for _ in range(chance.choice((1, 1, 2, 4, 16, 64))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return Case(kind, f"{seed}{suffix}", bytes(data))


def _cut(chance: random.Random, seed: str) -> Case:
    suffix, content = chance.choice(((".onnx", _bytes), (".ort", _ort)))
    data = content(seed)
    return Case("cut", f"{seed}{suffix}", data[: chance.randrange(len(data))])


def _patched(chance: random.Random, seed: str) -> Case:
    """Bytes inserted, taken out, doubled or overwritten."""
    data = bytearray(_bytes(seed))
    start, size = chance.randrange(len(data)), chance.choice((1, 4, 16, 64))
    part = data[start : start + size]
    noise = chance.randbytes(size)
    match chance.randrange(4):
        case 0:
            data[start:start] = noise
        case 1:
            del data[start : start + size]
        case 2:
            data[start:start] = part * chance.choice((1, 100))
        case _:
            data[start : start + size] = chance.choice((bytes(size), b"\xff" * size, noise))
    return Case("patched", f"{seed}.onnx", bytes(data))


def _versions(chance: random.Random, seed: str) -> Case:
    model, number = _parsed(seed), chance.choice((99, 1000, 2**31 - 1))
    if chance.random() < 0.5:
        model.ir_version = number
        return _case("versions", model, seed, bench=frozenset({4}), says=f"IR version {number}")
    model.opset_import[0].version = number
    return _case("versions", model, seed, bench=frozenset({4}), says=f"operator set {number}")


def _odd_versions(chance: random.Random, seed: str) -> Case:
    model = _parsed(seed)
    match chance.randrange(4):
        case 0:
            model.ir_version = chance.choice((0, -1, 2**62))
        case 1:
            model.opset_import[0].version = chance.choice((0, -5, 1, 2**40, -(2**63)))
        case 2:
            del model.opset_import[:]
        case _:
            model.opset_import[0].domain = chance.choice(("com.nobody", "\n::error::x", "ai.onnx.ml"))
    return _case("odd versions", model, seed)


def _wired(chance: random.Random, seed: str) -> Case:
    """Nodes in a circle, without their inputs, twice under one name, or of no known operator."""
    model = _parsed(seed)
    node = chance.choice(model.graph.node)
    last = model.graph.node[-1]
    match chance.randrange(6):
        case 0:
            model.graph.node[0].input[0] = last.output[0]
        case 1:
            node.input[chance.randrange(len(node.input))] = chance.choice(NAMES)
        case 2:
            node.op_type = chance.choice(("NoSuchOperator", "", "Sin", "Loop", "If", "\n::error::x"))
        case 3:
            model.graph.node.append(node)
        case 4:
            del node.output[:]
        case _:
            del model.graph.node[:]
    return _case("wired", model, seed)


def _sized(chance: random.Random, seed: str) -> Case:
    """Inputs and weights with sizes that they do not have, and that nobody has memory for."""
    model, sizes = _parsed(seed), [chance.choice(NUMBERS) for _ in range(chance.randint(1, 4))]
    if model.graph.initializer and chance.random() < 0.5:
        weight = chance.choice(model.graph.initializer)
        del weight.dims[:]
        weight.dims.extend(sizes)
        return _case("sized", model, seed)
    shape = model.graph.input[0].type.tensor_type.shape
    del shape.dim[:]
    for size in sizes:
        shape.dim.add().dim_value = size
    return _case("sized", model, seed)


def _typed(chance: random.Random, seed: str) -> Case:
    """Inputs and weights of other types."""
    model, kind = _parsed(seed), chance.choice((0, 8, 14, 15, 16, 17, 20, 22, 23, 99, 1, 7, 9, 10))
    where = chance.randrange(3)
    if where == 0 and model.graph.initializer:
        chance.choice(model.graph.initializer).data_type = kind
    elif where == 1:
        kinds = (helper.make_sequence_type_proto, helper.make_optional_type_proto)
        made = chance.choice(kinds)(helper.make_tensor_type_proto(FLOAT, [1]))
        model.graph.input[0].type.CopyFrom(made)
    else:
        model.graph.input[0].type.tensor_type.elem_type = kind
    return _case("typed", model, seed)


def _named(chance: random.Random, seed: str) -> Case:
    """Names that steer a terminal or a CI, in the graph and of the file."""
    model, name = _parsed(seed), chance.choice(NAMES)
    old = model.graph.input[0].name
    model.graph.input[0].name = name
    for node in model.graph.node:
        node.name = chance.choice(NAMES)
        node.input[:] = [name if each == old else each for each in node.input]
    model.producer_name = model.doc_string = name
    model.metadata_props.add(key=name, value=name)
    file = "".join(sign for sign in name[:40] if sign not in "/\0") or "x"
    return Case("named", f"{file}.onnx", model.SerializeToString())


def _attributes(chance: random.Random, seed: str) -> Case:
    model = _parsed(seed)
    nodes = [node for node in model.graph.node if node.attribute] or list(model.graph.node)
    node = chance.choice(nodes)
    if not node.attribute or chance.random() < 0.2:
        node.attribute.append(helper.make_attribute("axis", chance.choice(NUMBERS)))
        return _case("attributes", model, seed)
    attribute = chance.choice(node.attribute)
    match chance.randrange(4):
        case 0:
            node.attribute.remove(attribute)
        case 1:
            attribute.type = chance.randrange(15)
        case 2:
            attribute.CopyFrom(helper.make_attribute(attribute.name, chance.choice(NUMBERS)))
        case _:
            attribute.CopyFrom(helper.make_attribute(attribute.name, [chance.choice(NUMBERS)] * 3))
    return _case("attributes", model, seed)


def _external(chance: random.Random, seed: str) -> Case:
    """Weights in files that are missing, lie elsewhere or are too short."""
    model = _parsed(chance.choice(("classifier", "picture", "rounded")))
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    location, bench = chance.choice(
        (
            ("missing.bin", {3}),
            ("../secret.bin", {4}),
            ("/etc/hostname", {4}),
            ("\n::error::x", {3}),
            ("short.bin", {4}),
            ("", {4}),
            (".", {4}),
            ("n" * 5000, {3, 4}),
        )
    )
    weight.external_data.add(key="location", value=location)
    if chance.random() < 0.5:
        weight.external_data.add(key="offset", value=str(chance.choice((*NUMBERS, "abc"))))
    beside = {"short.bin": b"\0" * 4, "../secret.bin": b"secret"}
    return _case("external", model, seed, bench=frozenset(bench), beside=beside)


def _functions(chance: random.Random, seed: str) -> Case:
    """Functions of the file's own, one of which calls itself."""
    model = _parsed(seed)
    name = chance.choice(("Once", "Again"))
    inner = "Neg" if name == "Once" else "Again"
    body = [helper.make_node(inner, ["a"], ["b"], domain="" if inner == "Neg" else "own")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model.functions.append(helper.make_function("own", name, ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node(name, [model.graph.node[0].output[0]], ["z"], domain="own"))
    return _case("functions", model, seed)


def _nested(chance: random.Random, seed: str) -> Case:
    """Graphs in attributes of graphs, deeper than libraries go."""
    graph = b""
    for _ in range(chance.choice((20, 90, 150, 1000))):
        graph = _field(1, _field(5, _field(6, graph)))
    return Case("nested", f"{seed}.onnx", b"\x08\x08" + _field(7, graph))


def _other(chance: random.Random, seed: str) -> Case:
    """What is no model at all."""
    content = chance.choice((*NO_MODELS, chance.randbytes(3000), b"\x1c\0\0\0ORTM" + chance.randbytes(900)))
    suffix = chance.choice((".onnx", ".ort"))
    return Case("other", f"{seed}{suffix}", content, frozenset({2, 4}), frozenset({2, 4}))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    size, length = len(content), b""
    while size > 127:
        size, length = size >> 7, length + bytes([size & 127 | 128])
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


KINDS: Mapping[str, Change] = {
    "unchanged": _unchanged,
    "flipped": partial(_flipped, kind="flipped", content=_bytes, suffix=".onnx"),
    "flipped ort": partial(_flipped, kind="flipped ort", content=_ort, suffix=".ort"),
    "cut": _cut,
    "patched": _patched,
    "versions": _versions,
    "odd versions": _odd_versions,
    "wired": _wired,
    "sized": _sized,
    "typed": _typed,
    "named": _named,
    "attributes": _attributes,
    "external": _external,
    "functions": _functions,
    "nested": _nested,
    "other": _other,
}
"""Changes by name."""
