"""Make an ONNX file by a workflow of Olive, and run it once.

    python make_olive.py WAY SOURCE TARGET TEXTS

SOURCE is the folder of a transformers classifier, which the workflow exports, fuses and quantizes, as Olive's
recipe for BERT on CPUs does; or an fp32 graph, which it quantizes only. TARGET is a folder that gets a
model.onnx. TEXTS is a JSON file of token numbers to calibrate on.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from olive import run as workflow
from olive.data.registry import Registry
from run_onnxruntime import open_model
from serving import feed

NAME = "model.onnx"
CALIBRATION = "squeeze_calibration"
WAYS: Mapping[str, Mapping[str, Any]] = {
    "dynamic": {"type": "OnnxDynamicQuantization"},
    "static": {"type": "OnnxStaticQuantization", "data_config": CALIBRATION},
}


def main() -> None:
    """What the arguments say."""
    way, source, target, texts = sys.argv[1:]
    known: Sequence[Sequence[int]] = json.loads(Path(texts).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        made = _made(way, Path(source), Path(folder), known)
        for file in made.parent.glob(f"{made.stem}.*"):  # weights may lie beside
            shutil.copyfile(file, Path(target) / (NAME if file == made else file.name))
    model = open_model(str(Path(target) / NAME), None)
    model.run(feed(known[0], model.inputs))


def _made(way: str, source: Path, folder: Path, texts: Sequence[Sequence[int]]) -> Path:
    """What the workflow leaves as its result."""
    whole = source.is_dir()
    _register(texts, _inputs(source))
    passes = {**(_before(source) if whole else {}), "quantization": dict(WAYS[way])}
    kind = {"type": "HfModel", "task": "text-classification"} if whole else {"type": "ONNXModel"}
    done = workflow(
        {
            "input_model": {**kind, "model_path": str(source)},
            "systems": {"here": {"type": "LocalSystem", "accelerators": [_device()]}},
            "data_configs": [_data()],
            "passes": passes,
            "host": "here",
            "target": "here",
            "cache_dir": str(folder / "cache"),
            "output_dir": str(folder / "out"),
        }
    )
    return Path(done.get_best_candidate().model_path)


def _before(source: Path) -> dict[str, Any]:
    """Passes between the classifier and its quantization."""
    shape = json.loads((source / "config.json").read_text(encoding="utf-8"))
    return {
        "conversion": {"type": "OnnxConversion"},
        "fusion": {
            "type": "OrtTransformersOptimization",
            "model_type": "bert",
            "num_heads": shape["num_attention_heads"],
            "hidden_size": shape["hidden_size"],
        },
    }


def _device() -> dict[str, Any]:
    return {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}


def _data() -> dict[str, Any]:
    return {
        "name": CALIBRATION,
        "type": "DataContainer",
        "load_dataset_config": {"type": CALIBRATION},
        "pre_process_data_config": {"type": "skip_pre_process"},
        "dataloader_config": {"type": "no_auto_batch_dataloader"},
    }


def _inputs(source: Path) -> list[str]:
    if source.is_dir():
        return ["input_ids", "attention_mask", "token_type_ids"]
    return [each.name for each in onnxruntime.InferenceSession(source).get_inputs()]


def _register(texts: Sequence[Sequence[int]], inputs: Sequence[str]) -> None:
    """Texts to calibrate on, under a name that the workflow knows; the labels are not read."""

    @Registry.register_dataset(CALIBRATION)
    def load(**_: Any) -> list[tuple[dict[str, Any], int]]:
        return [
            ({name: torch.from_numpy(value) for name, value in feed(text, inputs).items()}, 0)
            for text in texts
        ]


if __name__ == "__main__":
    main()
