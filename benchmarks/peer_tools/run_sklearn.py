"""TF-IDF with logistic regression in scikit-learn; what make_sklearn.py has written.

What cuts a text is the vectorizer, the model alone is the regression on its sparse row.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from serving import Model, serve
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

FEATURES, WEIGHTS = "features.json", "weights.npz"


def features(**settings: Any) -> TfidfVectorizer:
    """The vectorizer of benchmarks/tfidf.py."""
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, **settings)


def open_model(path: str, length: int | None) -> Model:
    """The vectorizer and the regression as they were fitted."""
    assert length is None
    words = features(vocabulary=json.loads((Path(path) / FEATURES).read_text(encoding="utf-8")))
    model = LogisticRegression()
    with np.load(Path(path) / WEIGHTS) as known:
        words.idf_ = known["idf"].astype(np.float64)
        model.coef_, model.intercept_ = known["coef"], known["intercept"]
        model.classes_ = known["classes"]
    # A label without a training text has no column of its own.
    outputs = 1 + int(model.classes_.max())

    def run(row: Any) -> Any:
        said = np.zeros((1, outputs), dtype=np.float32)
        said[:, model.classes_] = model.predict_proba(row)
        return said

    return Model([], run, lambda text: words.transform([text]))


if __name__ == "__main__":
    serve(open_model)
