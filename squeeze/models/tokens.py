"""Text to token numbers, as flat arrays that can be digested, cached and batched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from squeeze.artifact import write_json
from squeeze.data.batches import parts
from squeeze.errors import ProfileError
from squeeze.models.huggingface import first_line, transformers

__all__ = [
    "Encodings",
    "encode",
    "make_tokenizer",
    "pad_id",
    "read_spec",
    "spec_text",
    "write_spec",
    "write_transformers",
]


@dataclass(frozen=True)
class Encodings:
    """Token numbers of N texts, one after the other.

    Attributes:
        values: all token numbers, int32.
        offsets: (N + 1,) where each text begins.
    """

    values: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        """The token numbers of one text."""
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text."""
        return np.diff(self.offsets)

    @property
    def digest(self) -> str:
        """Sha256 of the numbers and where each text begins."""
        found = hashlib.sha256(self.values.tobytes())
        found.update(self.offsets.tobytes())
        return found.hexdigest()

    def renumber(self, table: Sequence[int] | NDArray[Any]) -> Encodings:
        """The same texts with every number looked up in a table (a student's piece to the teacher's)."""
        return Encodings(np.asarray(table, dtype=np.int32)[self.values], self.offsets)

    def pieces(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The different numbers of some texts, in order."""
        chosen = np.zeros(len(self), dtype=np.bool_)
        chosen[rows] = True
        return np.unique(self.values[np.repeat(chosen, self.lengths)]).astype(np.int64)

    def same(self, other: Encodings) -> NDArray[np.bool_]:
        """(N,) which of N texts have the same numbers in both."""
        return np.array([np.array_equal(self[row], other[row]) for row in range(len(self))], dtype=np.bool_)

    @staticmethod
    def of(rows: Sequence[Sequence[int]]) -> Encodings:
        """From one list of numbers a text."""
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        values = np.fromiter((n for row in rows for n in row), dtype=np.int32, count=int(offsets[-1]))
        return Encodings(values, offsets)


def read_spec(folder: Path) -> dict[str, Any]:
    """The content of a model folder's tokenizer.json; made from older files where it is absent.

    Raises:
        ProfileError: there is no tokenizer in the folder, or none that can be read.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return _from_slow(folder)
    try:
        spec: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProfileError(f"{path}: not a readable tokenizer ({first_line(error)})") from error
    if not isinstance(spec, dict) or not isinstance(spec.get("model"), dict):
        raise ProfileError(f"{path}: not a tokenizer (no `model` in it)")
    return dict(spec)


def _from_slow(folder: Path) -> dict[str, Any]:
    try:
        fast = transformers().AutoTokenizer.from_pretrained(
            folder, use_fast=True, local_files_only=True, trust_remote_code=False
        )
        spec: dict[str, Any] = json.loads(fast.backend_tokenizer.to_str())
    except (OSError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise ProfileError(
            f"{folder}: no tokenizer.json, and none can be made from its files ({first_line(error)})"
        ) from error
    return spec


def write_spec(path: Path, spec: dict[str, Any]) -> None:
    """Write a tokenizer.json without spaces: it ships with the model and its bytes count.

    Truncation and padding are left out; whoever encodes decides about them.
    """
    path.write_text(spec_text(spec), encoding="utf-8")


def spec_text(spec: dict[str, Any]) -> str:
    """The text that `write_spec` writes."""
    bare = {**spec, "truncation": None, "padding": None}
    return json.dumps(bare, ensure_ascii=False, separators=(",", ":"))


def write_transformers(folder: Path, spec: dict[str, Any], max_length: int) -> None:
    """Write a tokenizer.json, and a tokenizer_config.json that has AutoTokenizer take it as it is.

    Without the second, transformers takes the tokenizer of the model's family: BERT's puts every text in
    lower case, also for a cased vocabulary, and cannot read the BPE of a student of RoBERTa.

    Args:
        folder: of a saved model.
        spec: content of the tokenizer.json.
        max_length: longest input in tokens.
    """
    write_spec(folder / "tokenizer.json", spec)
    said: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length}
    if padding := _padding(spec):
        said["pad_token"] = padding["content"]
    write_json(folder / "tokenizer_config.json", said)


def make_tokenizer(spec: dict[str, Any], max_length: int) -> Tokenizer:
    """A tokenizer that cuts at `max_length` tokens and does not pad.

    Raises:
        ProfileError: it is not the content of a tokenizer.json.
    """
    try:
        tokenizer = Tokenizer.from_str(json.dumps({**spec, "truncation": None, "padding": None}))
    except Exception as error:  # the library raises no narrower type
        raise ProfileError(f"tokenizer.json: not a tokenizer ({first_line(error)})") from error
    tokenizer.enable_truncation(max_length)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Encodings:
    """Token numbers with special tokens."""
    return Encodings.of([each.ids for part in parts(texts) for each in tokenizer.encode_batch_fast(part)])


def pad_id(spec: dict[str, Any]) -> int:
    """Number of the padding piece, 0 where a tokenizer has none (padding is masked anyway)."""
    return int(_padding(spec).get("id", 0))


def _padding(spec: dict[str, Any]) -> dict[str, Any]:
    """The padding piece among the added tokens, or nothing."""
    added: Sequence[dict[str, Any]] = spec.get("added_tokens", ())
    return next((token for token in added if token["content"].strip("[]<>").lower() == "pad"), {})
