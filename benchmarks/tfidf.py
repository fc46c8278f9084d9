"""The baseline every student must beat: TF-IDF of words and pairs of words, logistic regression."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.quality import quality, score
from squeeze.data.dataset import Dataset

__all__ = ["baseline"]

STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
LEAST_TEXTS = (1, 2)
"""In how many texts a word or pair must stand."""


def baseline(data: Dataset) -> dict[str, Any]:
    """Quality of the best pair of settings, chosen by macro-F1 on validation, on every held-out split."""
    fitted = [_fit(data, least, strength) for least in LEAST_TEXTS for strength in STRENGTHS]
    return max(fitted, key=lambda one: score(one["quality"]["validation"]))


def _fit(data: Dataset, least: int, strength: float) -> dict[str, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    features = TfidfVectorizer(ngram_range=(1, 2), min_df=least, sublinear_tf=True)
    model = LogisticRegression(C=strength, max_iter=2000)
    train = data.splits["train"]
    model.fit(features.fit_transform(train.texts), train.labels)
    held = {name: split for name, split in data.splits.items() if name != "train"}
    labels = 1 + max(int(split.labels.max()) for split in data.splits.values())
    found = {}
    for name, split in held.items():
        # A label without a training text has no column of its own.
        said = np.full((len(split), labels), np.log(np.finfo(float).tiny))
        said[:, model.classes_] = model.predict_log_proba(features.transform(split.texts))
        found[name] = quality(said, split.labels).plain()
    return {"min_df": least, "C": strength, "quality": found}
