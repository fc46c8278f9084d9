"""Random teachers of six families with tokenizers of their own, for benchmarks.readers.

A case is drawn from a seed alone: its vocabulary is trained on the texts, its weights are random, and its
settings stand in the files where users have them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["FAMILIES", "LABELS", "Case", "draw", "texts", "write"]

FAMILIES = ("bert", "roberta", "xlm-roberta", "distilbert", "electra", "mpnet")
LABELS = ("flood", "fire", "music")
ADDED = ("<fire>", "Notruf", "[EVENT]", "🚒🚒")
BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
FAIRSEQ = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
NAMES: Mapping[str, Mapping[str, str]] = {
    "bert": BERT,
    "distilbert": BERT,
    "electra": BERT,
    "roberta": FAIRSEQ,
    "xlm-roberta": FAIRSEQ,
    "mpnet": {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "[UNK]", "mask": "<mask>"},
}
CLASSES = {
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "mpnet": "MPNetTokenizer",
}
ENGLISH = "water food blankets the bridge street river storm fire help need bring near please today rising"
OTHERS = (
    "Straße naïve café élève mañana São Zürich Ünlü łódź ΑΘΗΝΑ вода помощь 洪水 火事 救援物資 東京 도움 물"
)
ODD = (
    "🔥 🚒 🌊🌊 #flood @city http://t.co/a1B2 12,500 3.5 e\u0301te\u0301 x\u200by it's don't NEED-HELP house"
)
WORDS = tuple(" ".join((ENGLISH, OTHERS, ODD)).split())
GELU = ("gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate", "relu")
OTHER = ("silu", "quick_gelu", "tanh", "gelu_10", "mish")


@dataclass(frozen=True)
class Case:
    """One random teacher.

    Attributes:
        family: of its model.
        seed: of its vocabulary and weights.
        model: fields of its config.json.
        tokenizer: keys of its tokenizer_config.json.
        added: place of its added tokens: "json", "decoder", "file", "special" or "".
        order: its special pieces, as they are numbered.
        only_vocabulary: whether vocab.txt (vocab.json and merges.txt) stands in place of tokenizer.json.
        lower: whether tokenizer.json itself makes letters small.
        labels: names of its outputs.
        trained: whether its head will be trained.
        max_length: longest input in tokens.
        pad: what its pad_token_id names: "pad", "default", "special", "piece" or "null".
        rows: rows of its table beyond the tokenizer's pieces; negative: too few.
    """

    family: str
    seed: str
    model: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    added: str
    order: tuple[str, ...]
    only_vocabulary: bool
    lower: bool
    labels: tuple[str, ...]
    trained: bool
    max_length: int
    pad: str
    rows: int


def draw(family: str, number: int, seed: int) -> Case:
    """The case of a number."""
    name = f"{seed}-{family}-{number}"
    rng = random.Random(name)
    order = list(NAMES[family])
    if rng.random() < 0.4:
        rng.shuffle(order)
    labels = list(LABELS)
    rng.shuffle(labels)
    if rng.random() < 0.15:
        labels = [f"LABEL_{i}" for i in range(len(LABELS))]
    return Case(
        family=family,
        seed=name,
        model=_model(rng, family),
        tokenizer=_tokenizer(rng, family),
        added=rng.choice(("json", "decoder", "file", "special", "")),
        order=tuple(order),
        only_vocabulary=family != "xlm-roberta" and rng.random() < 0.2,
        lower=rng.random() < 0.5,
        labels=tuple(labels),
        trained=rng.random() < 0.3,
        max_length=rng.choice((12, 16, 24)),
        pad=rng.choices(("pad", "default", "special", "piece", "null"), (70, 15, 6, 5, 4))[0],
        rows=rng.choice((0, 0, 0, 1, 7, -1) if rng.random() < 0.3 else (0,)),
    )


def _model(rng: random.Random, family: str) -> dict[str, Any]:
    """Fields of config.json; the numbers of pieces are not known yet."""
    heads, depth = rng.choice((1, 2, 4)), rng.choice((1, 2, 3))
    activation = rng.choice(OTHER) if rng.random() < 0.1 else rng.choice(GELU)
    found: dict[str, Any] = {"initializer_range": rng.choice((0.1, 0.3)), "max_position_embeddings": 40}
    if family == "distilbert":
        found |= {"dim": 32, "n_heads": heads, "hidden_dim": 48, "n_layers": depth, "activation": activation}
    else:
        found |= {"hidden_size": 32, "num_attention_heads": heads, "num_hidden_layers": depth}
        found |= {"intermediate_size": 48, "hidden_act": activation}
    if rng.random() < 0.5:  # DistilBERT reads neither
        found["layer_norm_eps"] = rng.choice((1e-12, 1e-5, 1e-2))
    if rng.random() < 0.2:
        found.setdefault("hidden_act", "relu")
    if family == "electra":
        found["embedding_size"] = rng.choice((16, 32))
    if family in ("bert", "roberta", "xlm-roberta", "electra"):
        found["type_vocab_size"] = rng.choice((1, 2, 3))
    return found | _rare(rng, family)


def _rare(rng: random.Random, family: str) -> dict[str, Any]:
    """Fields that few models have."""
    found: dict[str, Any] = {}
    if rng.random() < 0.12:
        kinds = ("single_label_classification", "multi_label_classification", "regression")
        found["problem_type"] = rng.choice(kinds)
    if rng.random() < 0.1:
        found["chunk_size_feed_forward"] = 1
    if rng.random() < 0.04 and family in ("bert", "roberta", "electra"):
        found["is_decoder"] = True
    return found


def _tokenizer(rng: random.Random, family: str) -> dict[str, Any]:
    """Keys of tokenizer_config.json."""
    found: dict[str, Any] = {}
    if rng.random() < 0.8:
        found["tokenizer_class"] = rng.choice((CLASSES[family], CLASSES[family], "PreTrainedTokenizerFast"))
    wordpiece = NAMES[family] is not FAIRSEQ
    keys = (
        ("do_lower_case", "strip_accents", "tokenize_chinese_chars") if wordpiece else ("add_prefix_space",)
    )
    found |= {key: rng.random() < 0.5 for key in keys if rng.random() < 0.5}
    if rng.random() < 0.4:
        found["truncation_side"] = rng.choice(("left", "right"))
    if rng.random() < 0.04:
        found["split_special_tokens"] = True
    return found


def texts(count: int, seed: int, special: Sequence[str] = ()) -> list[str]:
    """Texts with accents, CJK, emoji, capitals, odd spaces, added tokens, and some that are long.

    Args:
        count: how many.
        seed: of the draw.
        special: pieces that stand in a few texts as they are spelled.
    """
    rng = random.Random(f"texts-{seed}")
    return [_text(rng, special) for _ in range(count)]


def _text(rng: random.Random, special: Sequence[str]) -> str:
    size = rng.randint(25, 60) if rng.random() < 0.15 else rng.randint(1, 12)
    parts = []
    for _ in range(size):
        word = rng.choice(WORDS)
        change = rng.random()
        word = word.upper() if change < 0.15 else word.capitalize() if change < 0.3 else word
        parts += [word, rng.choice((" ", " ", " ", " ", "  ", "\t", "", ", ", " \n"))]
    for piece in (*ADDED, *special):
        if rng.random() < (0.08 if piece in ADDED else 0.01):
            parts.insert(rng.randint(0, len(parts)), rng.choice((piece, f" {piece} ", f"{piece}!")))
    return "".join(parts).strip() or "water"


def write(case: Case, folder: Path, corpus: Sequence[str]) -> None:
    """Write the teacher's folder: config.json, weights and the files of its tokenizer."""
    _silent()
    folder.mkdir(parents=True, exist_ok=True)
    made = _trained(case, corpus)
    vocabulary = made.get_vocab()
    _write_tokenizer(case, folder, made)
    pieces = len(vocabulary) + len(ADDED) * (case.added not in ("", "json"))
    _write_model(case, folder, vocabulary, pieces + case.rows)


def _trained(case: Case, corpus: Sequence[str]) -> Any:
    """A small tokenizer of the family's kind."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    names = NAMES[case.family]
    special = [names[key] for key in case.order]
    if case.family == "roberta":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=case.lower)
        trainer: Any = trainers.BpeTrainer(
            vocab_size=420, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
    elif case.family == "xlm-roberta":
        made = Tokenizer(models.Unigram())
        made.normalizer = normalizers.NFKC() if case.lower else None
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token=names["unk"])
    else:
        made = Tokenizer(models.WordPiece(unk_token=names["unk"]))
        made.normalizer = normalizers.BertNormalizer(lowercase=case.lower)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=350, special_tokens=special)
    trainer.show_progress = False
    made.train_from_iterator(corpus, trainer)
    ends = [(names[key], made.token_to_id(names[key])) for key in ("cls", "sep")]
    frame = f"{names['cls']} $A {names['sep']}"
    made.post_processor = processors.TemplateProcessing(single=frame, special_tokens=ends)
    if case.added == "json":
        rng = random.Random(f"{case.seed}-added")
        sides = [{"lstrip": rng.random() < 0.3, "rstrip": rng.random() < 0.3} for _ in ADDED]
        made.add_tokens([AddedToken(piece, **side) for piece, side in zip(ADDED, sides, strict=True)])
    return made


def _write_tokenizer(case: Case, folder: Path, made: Any) -> None:
    names, config = NAMES[case.family], dict(case.tokenizer)
    config |= {f"{key}_token": piece for key, piece in names.items()}
    if case.only_vocabulary:
        config.pop("tokenizer_class", None)
        made.model.save(str(folder))
        if case.family != "roberta":
            ordered = sorted(made.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
            (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in ordered), encoding="utf-8")
    else:
        made.save(str(folder / "tokenizer.json"))
    first = made.get_vocab_size()
    if case.added == "decoder":
        plain = {"lstrip": False, "rstrip": False, "normalized": True, "single_word": False, "special": False}
        config["added_tokens_decoder"] = {
            str(first + i): {"content": piece, **plain} for i, piece in enumerate(ADDED)
        }
    if case.added == "special":
        config["extra_special_tokens"] = list(ADDED)
    if case.added == "file":
        _dump(folder / "added_tokens.json", {piece: first + i for i, piece in enumerate(ADDED)})
    _dump(folder / "tokenizer_config.json", config)


def _write_model(case: Case, folder: Path, vocabulary: Mapping[str, int], rows: int) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    rng = random.Random(f"{case.seed}-weights")
    names = NAMES[case.family]
    pad = {
        "pad": vocabulary[names["pad"]],
        "default": 1 if names is not BERT else 0,
        "special": vocabulary[names[rng.choice(list(names))]],
        "piece": rng.randrange(len(names), 30),
        "null": None,
    }[case.pad]
    outputs = dict(enumerate(case.labels))
    fields = {**case.model, "vocab_size": rows, "id2label": outputs, "pad_token_id": pad}
    broken = {key: fields.pop(key) for key in ("is_decoder", "pad_token_id") if key in fields}
    config = AutoConfig.for_model(case.family, **fields, label2id={v: k for k, v in outputs.items()})
    torch.manual_seed(rng.randrange(2**31))
    model: Any = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 1 or "position" in name or "token_type" in name or "relative" in name:
                value.add_(torch.randn_like(value) * 0.1)
    model.save_pretrained(folder)
    path = folder / "config.json"
    _dump(path, {**json.loads(path.read_text(encoding="utf-8")), **broken})


def _silent() -> None:
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
