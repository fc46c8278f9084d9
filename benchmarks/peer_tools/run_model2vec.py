"""Static embeddings with a head in model2vec, which is NumPy and tokenizers.

What cuts a text is its tokenizer; the model alone is the mean of the looked-up rows, its norm, and the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from model2vec.inference import StaticModelPipeline
from serving import Model, serve


def open_model(path: str, length: int | None) -> Model:
    """The table and the head."""
    assert length is None
    known = StaticModelPipeline.from_pretrained(path)
    table, columns = known.model, [int(name) for name in known.classes_]

    def run(ids: Sequence[int]) -> Any:
        mean = table._encode_helper(ids).mean(axis=0, dtype=np.float32) if ids else np.zeros(table.dim)
        if table.normalize:
            mean = mean / (np.linalg.norm(mean) + 1e-32)
        said = np.zeros((1, 1 + max(columns)), dtype=np.float32)
        said[:, columns] = known.head.predict_proba(mean[None].astype(np.float32))
        return said

    return Model([], run, lambda text: table.tokenize([text])[0])


if __name__ == "__main__":
    serve(open_model)
