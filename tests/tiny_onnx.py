"""Tiny ONNX models, made in a millisecond each, and a whole bundle around them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from squeeze import artifact

LABELS = ("calm", "fire", "flood")
WORDS = ("[PAD]", "[UNK]", "the", "river", "rises", "smoke", "quiet", "street", "now", "burns")


def save(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: Mapping[str, Any]
) -> Path:
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    opset = helper.make_opsetid("", 20)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


def classifier(
    path: Path,
    *,
    vocabulary: int = len(WORDS),
    hidden: int = 8,
    layers: int = 0,
    labels: int = 3,
    shape: Any = ("batch", "sequence"),
) -> Path:
    """Masked mean of embeddings, ``layers`` square products, one output layer."""
    random = np.random.default_rng(0)
    weights: dict[str, Any] = {
        "table": random.standard_normal((vocabulary, hidden)).astype(np.float32),
        "out": random.standard_normal((hidden, labels)).astype(np.float32),
        "one": np.array([1], dtype=np.int64),
        "two": np.array([2], dtype=np.int64),
    }
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["x0"])]
    for layer in range(layers):
        weights[f"w{layer}"] = (random.standard_normal((hidden, hidden)) / hidden).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [f"x{layer}", f"w{layer}"], [f"x{layer + 1}"]))
    nodes += [
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "two"], ["wide"]),
        helper.make_node("Mul", [f"x{layers}", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "one"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "out"], ["logits"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, list(shape))
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], labels])]
    return save(path, nodes, inputs, outputs, weights)


def vision(path: Path) -> Path:
    """A float model without any length."""
    values = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, 4, 4])
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, ["batch", 3, 4, 4])
    return save(path, [helper.make_node("Relu", ["pixels"], ["result"])], [values], [result], {})


def dynamic_product(path: Path, hidden: int = 32, labels: int = 24) -> Path:
    """Rows of a table, quantized as they come, times int8 weights."""
    random = np.random.default_rng(0)
    weights = {
        "table": random.standard_normal((len(WORDS), hidden)).astype(np.float32),
        "weights": random.integers(-64, 64, (hidden, labels), dtype=np.int8),
        "zero": np.int8(0),
        "step": np.float32(0.01),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("DynamicQuantizeLinear", ["rows"], ["codes", "scale", "point"]),
        helper.make_node("MatMulInteger", ["codes", "weights", "point", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["scale", "step"], ["unit"]),
        helper.make_node("Mul", ["wide", "unit"], ["logits"]),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence", labels])
    return save(path, nodes, [ids], [logits], weights)


def reshaping(path: Path) -> Path:
    """Opens well and fails on every call: 7 values can never be halves of (batch, sequence) = (1, odd)."""
    values = helper.make_tensor_value_info("values", TensorProto.FLOAT, ["batch", 7])
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, None)
    shape = {"two": np.array([-1, 2], dtype=np.int64)}
    return save(path, [helper.make_node("Reshape", ["values", "two"], ["result"])], [values], [result], shape)


def strings(path: Path) -> Path:
    values = helper.make_tensor_value_info("text", TensorProto.STRING, ["batch"])
    result = helper.make_tensor_value_info("result", TensorProto.STRING, ["batch"])
    return save(path, [helper.make_node("Identity", ["text"], ["result"])], [values], [result], {})


def unknown_operator(path: Path) -> Path:
    values = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch"])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"])
    return save(path, [helper.make_node("NoSuchOperator", ["x"], ["y"])], [values], [result], {})


def tokenizer(path: Path) -> Path:
    """One word, one token."""
    document: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: place for place, word in enumerate(WORDS)},
            "unk_token": "[UNK]",
        },
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def quality(**changed: Any) -> dict[str, Any]:
    return {
        "rows": changed.pop("rows", 100),
        "primary": "macro_f1",
        "recall": changed.pop("recall", [0.9, 0.7, 0.8]),
        "scores": {
            key: value
            for key, value in {
                "accuracy": 0.9,
                "macro_f1": 0.8,
                "ece": 0.05,
                "agreement": 0.95,
                "probability_agreement": 0.9,
                **changed,
            }.items()
            if value is not None
        },
    }


def fill_bundle(folder: Path, **shape: Any) -> Path:
    """The files of a bundle, without a manifest."""
    folder.mkdir(parents=True)
    classifier(folder / "model.onnx", **shape)
    classifier(folder / "model.int8.onnx", **shape)
    tokenizer(folder / "tokenizer.json")
    labels = {"labels": list(LABELS), "max_length": 8}
    (folder / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    return folder


def bundle(folder: Path, lengths: tuple[int, ...] = (3, 4, 4, 5, 9), **shape: Any) -> artifact.Artifact:
    """A committed bundle with two forms."""
    fill_bundle(folder.with_name(folder.name + ".partial"), **shape)
    files = {"fp32": "model.onnx", "int8-dynamic": "model.int8.onnx"}
    forms = {
        name: {"file": file, "size_bytes": 1, "quality": {"test": quality(macro_f1=0.78)}}
        for name, file in files.items()
    }
    result = {"forms": forms, "tokenizer_bytes": 1, "lengths": list(lengths)}
    return artifact.commit(folder.with_name(folder.name + ".partial"), folder, "bundle", {"result": result})
