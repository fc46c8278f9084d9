"""Distil static embeddings from a transformer, train them and a head on labelled text, and answer a text.

    python make_model2vec.py WAY SOURCE TARGET TEXTS

SOURCE is a folder of a transformers model: a fine-tuned classifier (`teacher`) or a sentence transformer
(`minilm`); with `-int8` the trained table is rounded to 8 bits. TARGET is a folder that gets the pipeline.
TEXTS is a JSON file of labelled texts, train and validation. Settings are those of model2vec.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from model2vec.distill import distill
from model2vec.inference import StaticModelPipeline
from model2vec.model import quantize_model
from model2vec.train import StaticModelForClassification
from run_model2vec import open_model

WAYS = ("teacher", "minilm", "minilm-int8")


def main() -> None:
    """What the arguments say."""
    way, source, target, texts = sys.argv[1:]
    assert way in WAYS
    known: Mapping[str, Mapping[str, Sequence[Any]]] = json.loads(Path(texts).read_text(encoding="utf-8"))
    made = _trained(source, known["train"], known["validation"])
    if way.endswith("int8"):
        made = StaticModelPipeline(quantize_model(made.model, quantize_to="int8"), made.head)
    made.save_pretrained(target)
    _check(target, known["validation"]["texts"][0])


def _trained(source: str, train: Mapping[str, Any], validation: Mapping[str, Any]) -> StaticModelPipeline:
    model = StaticModelForClassification.from_static_model(model=distill(source))
    model.fit(
        train["texts"],
        list(map(str, train["labels"])),
        X_val=validation["texts"],
        y_val=list(map(str, validation["labels"])),
        device="cpu",
    )
    return model.to_pipeline()


def _check(target: str, text: str) -> None:
    """Our split of a call into cutting and model says what a call of the library says."""
    whole = StaticModelPipeline.from_pretrained(target)
    parts = open_model(target, None)
    said = parts.run(parts.feeds([text])[0])
    assert int(said.argmax()) == int(whole.predict([text])[0])
    np.testing.assert_allclose(np.sort(said[0])[-2:], np.sort(whole.predict_proba([text])[0])[-2:], rtol=1e-3)


if __name__ == "__main__":
    main()
