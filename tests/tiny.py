"""Tiny models, tokenizers and datasets: the real thing, small enough for a test of a second.

model = tiny.classifier("mpnet")          a random Hugging Face classifier of one family
tiny.save_classifier(folder, "bert")      its folder, with the files of its tokenizer
tiny.encoder()                            a random encoder of ours, wide enough to have something to cut
tiny.batch()                              token numbers and mask, right-padded
tiny.dataset(folder)                      a dataset artefact whose labels can be learned
tiny.artifact(folder, "dataset")          a folder as a stage's input, without a manifest on disk
tiny.work(folder)                         out, scratch and cache for a stage
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from squeeze.artifact import Artifact, digest_files, digest_json
from squeeze.data.dataset import write_split, write_unlabelled
from squeeze.models.embedding import EmbeddingShape
from squeeze.models.encoder import Encoder, EncoderShape, LayerShape
from squeeze.stage import Work

LABELS = ("offer", "request")
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
OFFERS = ("we", "bring", "give", "share", "spare", "free", "lend", "volunteers", "deliver")
REQUESTS = ("need", "help", "please", "send", "missing", "urgent", "trapped", "without", "anyone")
COMMON = ("water", "food", "blankets", "shelter", "near", "the", "bridge", "street", "today", "in", "town")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?"
FAMILIES = ("bert", "roberta", "xlm-roberta", "distilbert", "electra", "mpnet")
POSITIONS = 40


def spec() -> dict[str, Any]:
    """A WordPiece tokenizer.json: special pieces, letters, words, and common halves of words."""
    words = [*OFFERS, *REQUESTS, *COMMON]
    pieces = [*SPECIALS, *LETTERS, *words, *(f"##{c}" for c in LETTERS), "##ing", "##ers", "flood", "wat"]
    added = [
        {"id": i, "content": s, "single_word": False, "lstrip": False, "rstrip": False}
        | {"normalized": False, "special": True}
        for i, s in enumerate(SPECIALS)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
        | {"strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
        | {"max_input_chars_per_word": 100, "vocab": {piece: i for i, piece in enumerate(pieces)}},
    }


VOCABULARY = len(spec()["model"]["vocab"])
STUDENTS: dict[str, dict[str, Any]] = {
    "dense": {},
    "factorised": {"embedding": EmbeddingShape(kind="factorised", width=24, rank=16)},
    "product": {"embedding": EmbeddingShape(kind="product", width=32, subvectors=8, codewords=16)},
    "mpnet": {"relative_bias": True, "layers": tuple(LayerShape(heads=h, ffn=32) for h in (3, 4, 2))},
}
"""Changes of `encoder()`. Tests export these with four labels, and exports.py exports each once."""
WHOLE: dict[str, Any] = {
    "layers": (0, 1, 2),
    "heads": ((0, 1, 2, 3),) * 3,
    "neurons": (tuple(range(64)),) * 3,
    "rows": np.arange(VOCABULARY),
    "positions": POSITIONS,
    "embedding": EmbeddingShape(width=32),
}
"""A `carve.Cut` that keeps all of `encoder()`."""


def classifier(family: str = "bert", labels: tuple[str, ...] = LABELS, seed: int = 0, **changes: Any) -> Any:
    """A random classifier in evaluation mode: 3 layers, 4 heads, hidden width 32, weights of size 0.1.

    Args:
        family: one of FAMILIES.
        labels: names of the outputs, in order.
        seed: of the weights.
        changes: fields of the family's own config.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    sizes: dict[str, Any] = {
        "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "num_hidden_layers": 3,
        "max_position_embeddings": POSITIONS, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
    }  # fmt: skip
    if family == "distilbert":
        sizes = {"dim": 32, "n_heads": 4, "hidden_dim": 64, "n_layers": 3}
        sizes |= {"max_position_embeddings": POSITIONS, "pad_token_id": 0}
    if family == "electra":
        sizes["embedding_size"] = 16
    if family in ("roberta", "xlm-roberta", "mpnet"):
        # These leave out as many rows of the position table as the padding piece's number says, and one.
        sizes |= {"pad_token_id": 1, "max_position_embeddings": POSITIONS + 2}
    named = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    settings = {"vocab_size": VOCABULARY, "initializer_range": 0.1, **sizes, **named, **changes}
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(family, **settings))
    with torch.no_grad():
        for name, value in model.named_parameters():
            # Biases and norms start at 0 and 1: a copy that forgot one would not be noticed.
            if value.ndim == 1 or "position" in name or "token_type" in name or "relative" in name:
                value.add_(torch.randn_like(value) * 0.1)
    return model.eval()


def save_classifier(folder: Path, family: str = "bert", **more: Any) -> Path:
    """A folder that a profile may name as its teacher: config.json, model.safetensors, tokenizer files."""
    classifier(family, **more).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_tokenizer(folder: Path, **settings: Any) -> None:
    """tokenizer.json, and a tokenizer_config.json that has AutoTokenizer take it as it is.

    Without the second, AutoTokenizer takes the class of the model's family: RoBERTa's reads no WordPiece.

    Args:
        folder: where to.
        settings: further keys of tokenizer_config.json.
    """
    (folder / "tokenizer.json").write_text(json.dumps(spec()), encoding="utf-8")
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")


def shape(**changes: Any) -> EncoderShape:
    """3 layers of 4 heads of 8, 64 neurons, hidden width 32, dense table."""
    fields: dict[str, Any] = {
        "vocabulary": VOCABULARY,
        "embedding": EmbeddingShape(width=32),
        "hidden": 32,
        "head_size": 8,
        "layers": (LayerShape(heads=4, ffn=64),) * 3,
        "positions": POSITIONS,
        "labels": len(LABELS),
    }
    return EncoderShape(**{**fields, **changes})


def encoder(seed: int = 0, **changes: Any) -> Encoder:
    """A random encoder in evaluation mode, no parameter at 0 or 1; `changes` are fields of its shape."""
    torch.manual_seed(seed)
    model = Encoder(shape(**changes))
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.add_(torch.randn_like(value) * (0.3 if "embedding.weight" in name else 0.1))
    return model.eval()


def batch(rows: int = 4, length: int = 11, seed: int = 0, pad: int = 0) -> tuple[Tensor, Tensor]:
    """(B, T) token numbers without special ones, and the mask; the first row is full, others are shorter."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(len(SPECIALS), VOCABULARY, (rows, length), generator=generator)
    ends = torch.tensor([length, *(max(1, length - 3 * i) for i in range(1, rows))])
    mask = (torch.arange(length)[None, :] < ends[:, None]).long()
    return torch.where(mask.bool(), ids, torch.tensor(pad)), mask


def texts(count: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """Texts of 3 to 10 words and their labels, which four of five words of one kind give away."""
    rng = random.Random(seed)
    labels = [i % len(LABELS) for i in range(count)]
    made = []
    for i, label in enumerate(labels):
        words = rng.choices((OFFERS, REQUESTS)[label], k=rng.randint(1, 4))
        words += rng.choices(COMMON, k=rng.randint(1, 5))
        rng.shuffle(words)
        made.append(f"{' '.join(words)} {seed}.{i}")  # no two alike
    return made, labels


def dataset(folder: Path, train: int = 64, held_out: int = 24, unlabelled: int = 16) -> Path:
    """The files of a dataset artefact: train, validation, test, the further test `other_events`."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"train": train, "validation": held_out, "test": held_out, "other_events": held_out}
    for seed, (split, count) in enumerate(sizes.items()):
        write_split(folder, split, *texts(count, seed))
    write_unlabelled(folder, texts(unlabelled, seed=9)[0])
    return folder


def artifact(folder: Path, kind: str, result: dict[str, Any] | None = None) -> Artifact:
    """A folder of files as a stage sees its input."""
    files = digest_files(folder)
    manifest = {"schema": 1, "kind": kind, "files": files, "result": result or {}}
    return Artifact(kind, folder, digest_json(files), manifest)


def work(folder: Path, name: str = "stage") -> Work:
    """Folders for one run of a stage; the cache is shared by all of them."""
    out, scratch, cache = folder / name / "out", folder / name / "scratch", folder / "cache"
    for place in (out, scratch, cache):
        place.mkdir(parents=True, exist_ok=True)
    return Work(out, scratch, cache)
