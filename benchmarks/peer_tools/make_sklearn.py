"""Fit TF-IDF of words and pairs of words with logistic regression, and answer a text with it once.

    python make_sklearn.py tfidf SOURCE TARGET TEXTS

TARGET is a folder that gets features.json and weights.npz, which say all that the fitted models know; nothing
in them is code, as it would be in a pickle. TEXTS is a JSON file of labelled texts, train and validation. The
settings are those of benchmarks/tfidf.py, chosen by macro-F1 on validation. SOURCE is not read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from run_sklearn import FEATURES, WEIGHTS, features, open_model
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
LEAST_TEXTS = (1, 2)
"""In how many texts a word or pair must stand."""
Split = Mapping[str, Sequence[Any]]


def main() -> None:
    """What the arguments say."""
    way, _, target, texts = sys.argv[1:]
    assert way == "tfidf"
    known: Mapping[str, Split] = json.loads(Path(texts).read_text(encoding="utf-8"))
    fitted = [
        _fit(known["train"], known["validation"], least, strength)
        for least in LEAST_TEXTS
        for strength in STRENGTHS
    ]
    _, words, model = max(fitted, key=lambda one: one[0])
    _write(Path(target), words, model)
    made = open_model(target, None)
    made.run(made.feeds(known["validation"]["texts"][:1])[0])


def _fit(train: Split, validation: Split, least: int, strength: float) -> tuple[float, Any, Any]:
    words = features(min_df=least)
    model = LogisticRegression(C=strength, max_iter=2000)
    model.fit(words.fit_transform(train["texts"]), train["labels"])
    said = model.predict(words.transform(validation["texts"]))
    worth = f1_score(validation["labels"], said, average="macro", zero_division=0)
    return float(worth), words, model


def _write(target: Path, words: Any, model: Any) -> None:
    listed = sorted(words.vocabulary_, key=words.vocabulary_.__getitem__)
    (target / FEATURES).write_text(
        json.dumps(listed, ensure_ascii=False, separators=(",", ":")), encoding="utf-8"
    )
    np.savez_compressed(
        target / WEIGHTS,
        idf=words.idf_.astype(np.float32),
        coef=model.coef_.astype(np.float32),
        intercept=model.intercept_.astype(np.float32),
        classes=model.classes_,
    )


if __name__ == "__main__":
    main()
