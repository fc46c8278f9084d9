"""Text to token numbers, as flat arrays that can be digested, cached and batched."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from squeeze.artifact import write_json
from squeeze.data.batches import parts
from squeeze.errors import ProfileError, reason
from squeeze.models.hub import tokenizer_files
from squeeze.models.huggingface import transformers

__all__ = [
    "Encodings",
    "TeacherTokenizer",
    "cut_side",
    "encode",
    "load_tokenizer",
    "make_tokenizer",
    "pad_id",
    "read_spec",
    "spec_text",
    "write_spec",
    "write_transformers",
]

AT_ONCE = 4096  # texts
MANY = 1 << 20  # numbers that are looked up at once
LONG = 1 << 20  # tokens, where the longest input is not known yet


@dataclass(frozen=True)
class Encodings:
    """Token numbers of N texts, one after the other.

    Attributes:
        values: all token numbers, int32; mapped where they lie in a folder.
        offsets: (N + 1,) where each text begins.
        folder: where files of them are made; None: they lie in memory.
    """

    values: NDArray[np.int32]
    offsets: NDArray[np.int64]
    folder: Path | None = None

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
        found = hashlib.sha256(self.values.data)
        found.update(self.offsets.data)
        return found.hexdigest()

    def renumber(self, table: Sequence[int] | NDArray[Any]) -> Encodings:
        """The same texts with every number looked up in a table (a student's piece to the teacher's)."""
        numbers = np.asarray(table, dtype=np.int32)
        values = _stored((numbers[part] for part in self._parts()), self.folder)
        return Encodings(values, self.offsets, self.folder)

    def _parts(self) -> Iterator[NDArray[np.int32]]:
        """All numbers, as many at a time as may lie in memory."""
        for start in range(0, len(self.values), MANY):
            yield self.values[start : start + MANY]

    def pieces(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The different numbers of some texts, in order."""
        found: set[int] = set()
        for start in range(0, len(rows), AT_ONCE):
            part = [self[int(row)] for row in rows[start : start + AT_ONCE]]
            found.update(np.unique(np.concatenate(part)).tolist())
        return np.array(sorted(found), dtype=np.int64)

    def same(self, other: Encodings) -> NDArray[np.bool_]:
        """(N,) which of N texts have the same numbers in both."""
        return np.array([np.array_equal(self[row], other[row]) for row in range(len(self))], dtype=np.bool_)

    @staticmethod
    def of(rows: Iterable[Sequence[int]], folder: Path | None = None) -> Encodings:
        """From one list of numbers a text; with a folder they lie in a file of it, which is mapped."""
        offsets = [0]

        def arrays() -> Iterator[NDArray[np.int32]]:
            for row in rows:
                offsets.append(offsets[-1] + len(row))
                yield np.array(row, dtype=np.int32)

        values = _stored(arrays(), folder)
        return Encodings(values, np.array(offsets, dtype=np.int64), folder)


def _stored(parts: Iterable[NDArray[np.int32]], folder: Path | None) -> NDArray[np.int32]:
    """The parts in a row, in memory or mapped from a file without a name, which ends with its last reader."""
    if folder is None:
        return np.concatenate([np.empty(0, dtype=np.int32), *parts])
    with TemporaryFile(dir=folder) as file:
        for part in parts:
            file.write(part.data)
        file.flush()
        count = file.tell() // 4
        return np.memmap(file, np.int32, "r", shape=count) if count else np.empty(0, dtype=np.int32)


@dataclass(frozen=True)
class TeacherTokenizer:
    """A teacher's tokenizer as transformers makes it of all files of the folder.

    Attributes:
        folder: of the teacher.
        auto: what AutoTokenizer gave.
        spec: the same as the content of one tokenizer.json, which students are made of.
    """

    folder: Path
    auto: Any
    spec: dict[str, Any]

    def encode(self, texts: Sequence[str], max_length: int, folder: Path | None = None) -> Encodings:
        """AutoTokenizer's token numbers, special tokens included, cut at the teacher's own side."""
        settings = {"truncation": True, "max_length": max_length}
        found = (
            self.auto(part, **settings, return_attention_mask=False, verbose=False) for part in parts(texts)
        )
        return Encodings.of((row for part in found for row in part["input_ids"]), folder)

    def piece(self, number: int) -> str:
        """The piece of a number."""
        return str(self.auto.convert_ids_to_tokens(number))

    def copy(self, target: Path) -> None:
        """Write the files that it was made of into another folder, as they are."""
        for path in tokenizer_files(self.folder):
            shutil.copyfile(path, target / path.name)


def load_tokenizer(folder: Path) -> TeacherTokenizer:
    """The tokenizer of a Hugging Face folder: AutoTokenizer's, and nobody's else.

    It knows what a tokenizer.json alone does not say: `do_lower_case` and the like in
    tokenizer_config.json, tokens of added_tokens.json, the side on which long texts are cut.

    Raises:
        ProfileError: there is none, or one whose ids a tokenizer.json cannot give.
    """
    try:
        auto = transformers().AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the library raises no narrower type
        whole = (folder / "tokenizer.json").is_file()
        what = "its tokenizer cannot be loaded" if whole else "no tokenizer.json, and none can be made"
        raise ProfileError(f"{folder}: {what} ({reason(error)})") from error
    if not hasattr(auto, "backend_tokenizer"):
        raise ProfileError(
            f"{folder}: its tokenizer ({type(auto).__name__}) has no form as a tokenizer.json, which ships"
        )
    _refuse_no_vocabulary(folder, auto)
    _refuse_settings(folder, auto)
    spec: dict[str, Any] = json.loads(auto.backend_tokenizer.to_str())
    side = {"direction": "Left", "max_length": LONG, "strategy": "LongestFirst", "stride": 0}
    left = auto.truncation_side == "left"
    return TeacherTokenizer(folder, auto, {**spec, "padding": None, "truncation": side if left else None})


def _refuse_no_vocabulary(folder: Path, auto: Any) -> None:
    """Refuse a folder without a vocabulary, for which the library makes one of special pieces alone."""
    names = [name for key, name in auto.vocab_files_names.items() if key in ("vocab_file", "tokenizer_file")]
    if not any((folder / name).is_file() for name in names):
        raise ProfileError(
            f"{folder}: no tokenizer.json, and none can be made ({' and '.join(names)} are missing)",
            hint="copy the tokenizer's files into the folder of the model",
        )


def _refuse_settings(folder: Path, auto: Any) -> None:
    """Refuse what a tokenizer.json does not hold."""
    if auto.split_special_tokens:
        raise ProfileError(
            f"{folder}: split_special_tokens of its tokenizer_config.json is not supported",
            hint="special tokens in a text would be cut into letters, and a tokenizer.json cannot say so",
        )
    if any(auto("a").get("token_type_ids", ())):
        raise ProfileError(
            f"{folder}: its tokenizer puts a single text into segment 1 (token_type_ids), and students read"
            " segment 0",
            hint="let the post_processor of its tokenizer.json give type_id 0",
        )


def read_spec(folder: Path) -> dict[str, Any]:
    """The content of a tokenizer.json: of a teacher as AutoTokenizer makes it, of a student as it stands.

    Raises:
        ProfileError: there is no tokenizer in the folder, or none that can be read.
    """
    path = folder / "tokenizer.json"
    if (folder / "config.json").is_file() or not path.is_file():
        return load_tokenizer(folder).spec
    try:
        spec: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ProfileError(f"{path}: not a readable tokenizer ({reason(error)})") from error
    if not isinstance(spec, dict) or not isinstance(spec.get("model"), dict):
        raise ProfileError(f"{path}: not a tokenizer (no `model` in it)")
    return dict(spec)


def write_spec(path: Path, spec: dict[str, Any], max_length: int | None = None) -> None:
    """Write a tokenizer.json without spaces: it ships with the model and its bytes count.

    Padding is left out, and truncation too: whoever encodes decides about them. The exception is a tokenizer
    that cuts long texts at their beginning, since no program does so by itself.

    Args:
        path: of the file.
        spec: its content.
        max_length: longest input in tokens, for a tokenizer that cuts at the beginning.
    """
    path.write_text(spec_text(spec, max_length), encoding="utf-8")


def spec_text(spec: dict[str, Any], max_length: int | None = None) -> str:
    """The text that `write_spec` writes."""
    cut = None
    if cut_side(spec) == "left":
        cut = {**spec["truncation"], "max_length": max_length or spec["truncation"]["max_length"]}
    bare = {**spec, "truncation": cut, "padding": None}
    return json.dumps(bare, ensure_ascii=False, separators=(",", ":"))


def cut_side(spec: dict[str, Any]) -> str:
    """Where a text that is too long loses tokens: `left`, its beginning, or `right`, its end."""
    return str((spec.get("truncation") or {}).get("direction", "Right")).lower()


def write_transformers(folder: Path, spec: dict[str, Any], max_length: int) -> None:
    """Write a tokenizer.json, and a tokenizer_config.json that has AutoTokenizer take it as it is.

    Without the second, transformers takes the tokenizer of the model's family: BERT's puts every text in
    lower case, also for a cased vocabulary, and cannot read the BPE of a student of RoBERTa.

    Args:
        folder: of a saved model.
        spec: content of the tokenizer.json.
        max_length: longest input in tokens.
    """
    write_spec(folder / "tokenizer.json", spec, max_length)
    said: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length}
    if cut_side(spec) == "left":
        said["truncation_side"] = "left"
    if padding := _padding(spec):
        said["pad_token"] = padding["content"]
    write_json(folder / "tokenizer_config.json", said)


def make_tokenizer(spec: dict[str, Any], max_length: int) -> Tokenizer:
    """A tokenizer that cuts at `max_length` tokens, on the side that its content names, and does not pad.

    Raises:
        ProfileError: it is not the content of a tokenizer.json.
    """
    try:
        tokenizer = Tokenizer.from_str(json.dumps({**spec, "truncation": None, "padding": None}))
    except Exception as error:  # the library raises no narrower type
        raise ProfileError(f"tokenizer.json: not a tokenizer ({reason(error)})") from error
    tokenizer.enable_truncation(max_length, direction=cut_side(spec))
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str], folder: Path | None = None) -> Encodings:
    """Token numbers with special tokens; with a folder they lie in a file of it, which is mapped."""
    rows = (row.ids for part in parts(texts) for row in tokenizer.encode_batch_fast(part))
    return Encodings.of(rows, folder)


def pad_id(spec: dict[str, Any]) -> int:
    """Number of the padding piece, 0 where a tokenizer has none (padding is masked anyway)."""
    return int(_padding(spec).get("id", 0))


def _padding(spec: dict[str, Any]) -> dict[str, Any]:
    """The padding piece among the added tokens, or nothing."""
    added: Sequence[dict[str, Any]] = spec.get("added_tokens", ())
    return next((token for token in added if token["content"].strip("[]<>").lower() == "pad"), {})
