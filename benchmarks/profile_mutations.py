"""Wrong profiles, drawn at random: a shipped profile with some of its text, values or keys changed."""

from __future__ import annotations

import copy
import json
import random
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

__all__ = ["Case", "Raw", "document", "draw", "seeds", "toml"]

Place = tuple[str | int, ...]
MOST_BYTES = 2_000_000
"""Of what is repeated."""
MOST_PLACES = 2000
"""Keys and entries from which nothing is repeated: the case itself must stay small."""


@dataclass(frozen=True)
class Raw:
    """TOML text that stands as it is: what no plain value can spell."""

    text: str


@dataclass(frozen=True)
class Case:
    """One profile and what is set on the command line."""

    content: bytes
    sets: tuple[str, ...]


def toml(value: Any) -> str:
    """A value as inline TOML."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


def document(data: dict[str, Any]) -> str:
    """A profile as TOML, one line a section."""
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in data.items())


def seeds(profiles: Path) -> list[dict[str, Any]]:
    """The shipped profiles of a folder, and some that have every section and files of their own.

    Their own files are train.csv, validation.csv, test.csv and the model folder `teacher`.
    """
    found = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(profiles.glob("*.toml"))]
    phase = {"name": "one", "epochs": 1, "losses": [{"name": "logit_mse"}, {"name": "hidden_mse"}]}
    whole = {
        "name": "whole",
        "task": {"labels": ["offer", "request"], "max_length": 32},
        "data": {split: f"{split}.csv" for split in ("train", "validation", "test")},
        "teacher": {"model": "./teacher", "keep_base": True},
        "student": {"layers": 2, "heads": 2, "embedding": {"kind": "product", "subvectors": 8}},
        "distil": {"phases": [phase], "augment": {"copies": 1}},
        "prune": {"share": 0.5, "phases": [{**phase, "name": "two"}]},
        "quantize": {"scheme": "int8-static", "phases": [{"name": "q", "losses": [{"name": "kl"}]}]},
        "export": {"forms": ["fp32", "int8-dynamic"]},
        "bench": {"threads": 1, "min_runs": 20},
        "budget": {"retention": 0.5, "recall": {"request": 0.5}},
    }
    searched: dict[str, Any] = copy.deepcopy(whole)
    searched |= {"search": {"layers": [1, 2], "heads": [1, 2], "ffn": [16, 32], "embedding": ["dense"]}}
    for section in ("prune", "quantize"):
        del searched[section]
    return [*found, whole, searched, whole]


def draw(rng: random.Random, sources: list[dict[str, Any]]) -> Case:
    """One case, the same for the same state of the generator."""
    data = copy.deepcopy(rng.choice(sources))
    if rng.random() < GENTLE:  # reaches the checks behind those of types
        for _ in range(rng.choice((1, 1, 2, 3))):
            _choose(rng, data)
        return Case(document(data).encode(), ())
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        rng.choice(MUTATIONS)(rng, data)
    content = document(data).encode("utf-8", "surrogatepass")
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        content = rng.choice(SPOILERS)(rng, content)
    sets = tuple(_override(rng, data) for _ in range(rng.choice((0, 0, 0, 1, 1, 2))))
    return Case(content, sets)


def _places(data: Any, place: Place = ()) -> Iterator[Place]:
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, value in entries:
        yield (*place, step)
        yield from _places(value, (*place, step))


def _above(data: Any, place: Place) -> Any:
    for step in place[:-1]:
        data = data[step]
    return data


def _tables(data: Any) -> list[Any]:
    return [data, *(t for p in _places(data) if isinstance(t := _above(data, (*p, "")), dict))]


def _choose(rng: random.Random, data: dict[str, Any]) -> None:
    """A value of the right kind for a key that there is, or could be."""
    place = rng.choice(list(PLAUSIBLE))
    here: Any = data
    *above, key = place.split(".")
    for step in above:
        below = here[int(step)] if isinstance(here, list) and here else here
        here = below if below is not here else here.setdefault(step, {}) if isinstance(here, dict) else {}
    if isinstance(here, dict):
        here[key] = copy.deepcopy(rng.choice(PLAUSIBLE[place]))


def _set_value(rng: random.Random, data: dict[str, Any]) -> None:
    places = list(_places(data))
    if places:
        place = rng.choice(places)
        _above(data, place)[place[-1]] = _value(rng)


def _set_number(rng: random.Random, data: dict[str, Any]) -> None:
    """A number where one stands: near a limit, or far beyond."""
    places = [p for p in _places(data) if type(_above(data, (*p, ""))) in (int, float)]
    if places:
        place = rng.choice(places)
        _above(data, place)[place[-1]] = _number(rng)


def _set_path(rng: random.Random, data: dict[str, Any]) -> None:
    holder = data.get(rng.choice(("data", "teacher", "student")))
    if isinstance(holder, dict):
        key = rng.choice(("train", "validation", "test", "model", "path", "unlabelled", "more_tests"))
        path: Any = rng.choice(PATHS)
        shapes = {"unlabelled": [path], "more_tests": {"far": path}}
        holder[key] = shapes.get(key, rng.choice((path, {"name": path}, path)))


def _rename(rng: random.Random, data: dict[str, Any]) -> None:
    table = rng.choice(_tables(data))
    if table:
        table[_name(rng)] = table.pop(rng.choice(list(table)))


def _remove(rng: random.Random, data: dict[str, Any]) -> None:
    places = list(_places(data))
    if places:
        place = rng.choice(places)
        del _above(data, place)[place[-1]]


def _add(rng: random.Random, data: dict[str, Any]) -> None:
    rng.choice(_tables(data))[rng.choice((_name(rng), rng.choice(KEYS)))] = _value(rng)


def _repeat(rng: random.Random, data: dict[str, Any]) -> None:
    lists = [found for p in _places(data) if isinstance(found := _above(data, (*p, "")), list) and found]
    if lists and sum(1 for _ in islice(_places(data), MOST_PLACES)) < MOST_PLACES:
        chosen = rng.choice(lists)
        times, room = rng.choice((1, 1, 5, 100, 1000)), MOST_BYTES // (1 + len(toml(chosen[-1])))
        chosen.extend([copy.deepcopy(chosen[-1])] * min(times, room))


def _swap(rng: random.Random, data: dict[str, Any]) -> None:
    places = [p for p in _places(data) if len(p) > 1]
    if places:
        one, other = rng.choice(places), rng.choice(places)
        value = copy.deepcopy(_above(data, (*other, "")))
        _above(data, one)[one[-1]] = value


GENTLE = 0.4
"""Share of the cases whose values have the right types."""
PLAUSIBLE: dict[str, tuple[Any, ...]] = {
    "task.labels": (["offer", "request"], ["request", "offer"], ["offer", "request", "other"], ["0", "1"]),
    "task.max_length": (8, 32, 40, 128, 4096),
    "task.label_map": ({}, {"offer": "offer", "*": "request"}, {"0": "offer", "1": "request"}),
    "data.train": ("train.csv", "test.csv", "link.csv", "wide.csv", "lines.jsonl", "empty.csv", "binary.csv"),
    "data.test": (
        "test.csv",
        "train.csv",
        "link.csv",
        {"name": "test.csv", "label": "text"},
        "broken.parquet",
    ),
    "data.split": ({"by": "random"}, {"by": "event"}, {"by": "text", "test": 0.5}, {"validation": 0.9}),
    "data.duplicates": ("drop", "refuse"),
    "data.near_duplicates": ("drop", "refuse", "keep"),
    "data.unlabelled": ([], ["test.csv"], ["train.csv"], ["lines.jsonl"], ["hf:org/set"]),
    "data.limit": (1, 10, 10**9),
    "teacher.model": ("teacher", "short", "odd", "huge", "deep", "plain", "builtin:minilm-l6", "org/model"),
    "teacher.finetune": ({}, {"epochs": 1}, {"patience": 1}),
    "teacher.keep_base": (True, False),
    "student.init": ("carve", "random", "path"),
    "student.path": ("teacher", "short", "none"),
    "student.layers": (1, 2, 3, 4, 1000, [0], [2, 1], [0, 0], [0, 3], list(range(500))),
    "student.heads": (1, 3, 4, 5, 1024, [1, 2], [4, 5, 4]),
    "student.ffn": (1, 64, 65, 10**6, [1, 64]),
    "student.head_size": (8, 4, 16_384),
    "student.hidden": (1, 16, 32, 33, 384, 65_536),
    "student.max_positions": (8, 32, 40, 65_536),
    "student.vocabulary": ({"trim": True}, {"trim": True, "pieces": 50}, {"pieces": 1}),
    "student.embedding": ({"kind": "product", "subvectors": 65_536}, {"kind": "factorised", "rank": 32}, {}),
    "distil.phases.0.losses": (
        [{"name": "relation_kl", "heads": 3}],
        [{"name": "topk_kd", "k": 2}, {"name": "cross_entropy"}],
        [{"name": "hidden_mse", "layers": "uniform"}, {"name": "attention_kl", "layers": "last"}],
        [{"name": "diswot_semantic"}] * 64,
    ),
    "distil.phases.0.teacher": ("task", "base"),
    "distil.phases.0.data": ("all", "labelled", "unlabelled"),
    "distil.phases.0.patience": (1, 100_000),
    "distil.phases.0.alpha": (0.0, 0.5, "auto", 1),
    "prune.layers": (1, 2, 3, [0], [1, 1], [5], 1000),
    "prune.hidden": (1, 16, 32, 65_536),
    "prune.rank": (1, 31, 32, 65_536),
    "prune.pieces": (1, 99, 100, 10**7),
    "prune.share": (0.0, 0.5, 0.99),
    "prune.latency_share": (0.5,),
    "prune.pattern": ("2:4", "unstructured"),
    "quantize.scheme": ("auto", "int8-dynamic", "int8-static", "int4-weight"),
    "quantize.method": ("ptq", "qat"),
    "quantize.against": ("teacher", "student", "labels"),
    "quantize.keep": (
        "auto",
        [],
        ["*"],
        ["layers.0.*"],
        ["layers.9.up"],
        ["["],
        ["*" * 1000],
        ["?*" * 50 + "x"],
    ),
    "search.space": ("carve-tiny", "carve-small", "tiny", "small", "base"),
    "search.layers": ([1], [1, 1000], list(range(1, 65))),
    "search.ffn": ([1, 64], [0.01], [2.0, 1e6], list(range(1, 65))),
    "search.hidden": ([0], [16, 32], [65_536], list(range(64))),
    "search.embedding": (["dense"], ["product-8"], ["product-65536"], ["factorised-9", "product-1"]),
    "search.pieces": ([0], [1], [50, 10**7]),
    "search.score": ({"random": 1.0}, {"carved_kl": -1.0}, {"w_pca": 1e6}),
    "export.forms": (["fp32"], ["int4-weight"], ["int8-static", "int8-dynamic"], ["fp32", "fp32"]),
    "export.formats": ([], ["openvino"], ["ncnn", "litert"]),
    "export.quantizer": ("squeeze", "onnxruntime", "nncf"),
    "bench.sequence": (1, 32, 4096),
    "bench.targets": (["cpu"], ["gpu"], ["cpu", "cpu"], ["ssh:h"], ["adb"]),
    "budget.form": ("fp32", "int8-dynamic", "int8-static", "int4-weight"),
    "budget.target": ("cpu", "gpu"),
    "budget.recall": ({"offer": 1.0}, {"other": 0.1}, {}),
}
MUTATIONS: tuple[Callable[[random.Random, dict[str, Any]], None], ...] = (
    _set_value,
    _set_value,
    _set_number,
    _set_number,
    _set_path,
    _rename,
    _remove,
    _add,
    _repeat,
    _swap,
)
KEYS = (
    "search", "prune", "quantize", "init", "path", "label_map", "split", "near_duplicates", "limit", "keep",
    "layers", "hidden", "rank", "pieces", "score", "storage", "latency_ms", "models", "finetune", "recall",
    "patience", "alpha", "k", "heads", "data", "formats", "check", "tensorrt", "quantizer", "targets", "form",
)  # fmt: skip
PATHS = (
    "", ".", "..", "/", "/dev/null", "/dev/zero", "/dev/zero.csv", "/proc/self/mem", "~", "~nobody/x.csv",
    "~nosuchuser", "a" * 300, "a" * 300 + ".csv", "a/" * 2000 + "x.csv", "x\ny.csv", "x\0.csv", "\u202ex.csv",
    "hf:", "hf:..", "hf:../x", "hf:~x/y", "hf:a/b/c", "hf:owner/set", "builtin:", "builtin:x", "s3://b/x.csv",
    "builtin:minilm-l6", "builtin:crisis-demo", "C:\\x.csv", "\\\\server\\x.csv", "teacher", "./teacher",
    "./teacher/", "teacher/config.json", "teacher/model.safetensors", "./deep", "./short", "./huge", "./odd",
    "./plain", "model.onnx", "train.csv", "link.csv", "folder.csv", "pipe.csv", "empty.csv", "binary.csv",
    "broken.parquet", "wide.csv", "lines.jsonl", "x.toml", "org/model", "org/model/", "openai:gpt", "ünï.csv",
)  # fmt: skip


def _number(rng: random.Random) -> Any:
    return rng.choice(
        (
            -1, 0, 1, 2, 3, 7, 0.5, 1.5, -0.0, 1e-300, 1e300, 1e308, float("nan"),
            float("inf"), float("-inf"),
            2**31, 2**32, 2**53 + 1, 2**63, 2**64, 10**30, -(10**30), 10**400, Raw("9" * 4000), Raw("1e9999"),
            Raw("9" * 5000), Raw("0x" + "f" * 5000), Raw("0b" + "1" * 20000), Raw("1_000"), Raw("+7"),
            rng.randrange(-5, 2000), rng.uniform(-2, 2), 10 ** rng.randrange(1, 12),
        )
    )  # fmt: skip


def _value(rng: random.Random, nested: int = 0) -> Any:
    kind = rng.randrange(8 if nested < 2 else 6)
    if kind == 0:
        return _number(rng)
    if kind == 1:
        return rng.choice(
            (True, False, [], {}, [[]], [{}], {"": ""}, {"a": {"b": 1}}, [1, "a"], [True], [0.5])
        )
    if kind == 2:
        return rng.choice(PATHS)
    if kind == 3:
        levels = rng.choice((5, 31, 32, 33, 100, 200, 210, 400, 5000))
        end = rng.choice(("", "1"))
        return Raw(
            rng.choice(("[" * levels + end + "]" * levels, "{a=" * levels + "1" + "}" * levels, "[" * levels))
        )
    if kind == 4:
        return rng.choice((Raw("2020-01-01"), Raw("07:32:00"), Raw("'''a\nb'''"), Raw('"\\u0000"'), Raw("")))
    if kind == 5:
        return rng.choice(WORDS)
    if kind == 6:
        return [_value(rng, nested + 1) for _ in range(rng.choice((1, 2, 3, 70)))]
    return {_name(rng): _value(rng, nested + 1) for _ in range(rng.choice((1, 2, 3)))}


WORDS = (
    "", " ", "auto", "a", "base", "path", "random", "carve", "dense", "product", "unlabelled", "int8-static",
    "int4-weight", "nan", "None", "null", "\x7f", "\x1b[31m", "\u2028", "‮abc", "é", "e\u0301", "ﬀ", "😀",
    "a" * 100_000, "[", "{", "'", '"', "\\", "$(id)", "{0}", "%s", "product-0", "product-" + "9" * 50,
    "layers.*",
    "ssh:h", "ssh:-oProxyCommand=x", "adb", "gpu", "estimate:x", "qemu:cortex-a53", "sqlite:///x",
    "a://b:c@d/e",
)  # fmt: skip


def _name(rng: random.Random) -> str:
    names = (
        *KEYS, *WORDS[:30], "a.b", "0", "-1", "sed", "epohs", "name", "train", "validation", "Train",
        "x" * 65,
    )  # fmt: skip
    return rng.choice(names)


def _insert(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.randbytes(rng.choice((1, 2, 8, 100))) + content[at:]


def _cut(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[: at // 2] + content[at:] if rng.random() < 0.5 else content[:at]


def _flip(rng: random.Random, content: bytes) -> bytes:
    if not content:
        return content
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


def _dress(rng: random.Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    return rng.choice(
        (
            b"\xef\xbb\xbf" + content,
            content.replace(b"\n", b"\r\n"),
            content.decode("utf-8", "replace").encode("utf-16"),
            content + content,
            content + b"\n" + rng.choice(lines),
            content + b"#" * rng.choice((10, 1_000_001)),
            b"",
        )
    )


SPOILERS = (_insert, _cut, _flip, _dress)


def _override(rng: random.Random, data: dict[str, Any]) -> str:
    places = list(_places(data)) or [("seed",)]
    place = rng.choice(places)
    key = ".".join(map(str, place))
    key = rng.choice(
        (key, key, key, key + "." + _name(rng), _name(rng), key + ".0", "a." * 50 + "a", "9" * 5000)
    )
    raw = _value(rng)
    text = raw if isinstance(raw, str) and rng.random() < 0.5 else toml(raw)
    text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\0", "")[:120_000]
    return rng.choice(
        (f"{key}={text}", f"{key}={text}", f"{key} = {text}", key, f"={text}", f"{key}==", text)
    )
