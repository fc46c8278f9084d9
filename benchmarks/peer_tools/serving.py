"""The loop of a process that holds models of one runtime and runs them when it is asked.

It needs NumPy alone, for it runs in environments of other tools; `read` needs tokenizers. One request a line
on stdin, one answer a line on stdout, both JSON; texts are lists of token numbers, one text a call:

open     name, path, length        hold a model; with a length, for texts of that many tokens alone
read     name, tokenizer, longest  texts as people write them are cut by that tokenizer for a held model
time     name, texts, lead         milliseconds of each call, after `lead` calls that nobody times
label    name, texts               the largest output of each text

The same for texts as people write them:

time_text   name, texts, lead  milliseconds of each call of the model alone, and with the cutting of its text
label_text  name, texts        the largest output of each text

Whatever goes wrong ends the process; the last line on stderr says what it was.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Model", "feed", "serve"]

Feed = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Model:
    """A model that is ready to run.

    Attributes:
        inputs: names of what it reads.
        run: from one call's inputs to (1, K) logits.
        cut: from a text as people write it to one call's inputs.
    """

    inputs: Collection[str]
    run: Callable[[Any], NDArray[np.float32]]
    cut: Callable[[str], Any] | None = None

    def feeds(self, texts: Sequence[str]) -> list[Any]:
        """Inputs of each text."""
        assert self.cut is not None
        return [self.cut(text) for text in texts]


def feed(text: Sequence[int], inputs: Collection[str]) -> Feed:
    """One text without padding as those inputs of BERT that a model reads, (1, T) each."""
    ids = np.array([text], dtype=np.int64)
    known = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {name: known[name] for name in inputs}


def serve(open_model: Callable[[str, int | None], Model]) -> None:
    """Answer until stdin ends."""
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    models: dict[str, Model] = {}
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        if request["do"] == "open":
            models[request["name"]] = open_model(request["path"], request["length"])
        elif request["do"] == "read":
            models[request["name"]] = _reading(models[request["name"]], request)
        else:
            answer = ANSWERS[request["do"]](models[request["name"]], request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _reading(model: Model, request: Mapping[str, Any]) -> Model:
    """The model with a tokenizer before it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(request["tokenizer"])
    tokenizer.no_padding()
    side = (tokenizer.truncation or {}).get("direction", "right")
    tokenizer.enable_truncation(request["longest"], direction=side)
    return replace(model, cut=lambda text: feed(tokenizer.encode(text).ids, model.inputs))


def _time(model: Model, request: Mapping[str, Any]) -> dict[str, Any]:
    feeds = [feed(text, model.inputs) for text in request["texts"]]
    return {"ms": _taken(model.run, feeds, request["lead"])}


def _time_text(model: Model, request: Mapping[str, Any]) -> dict[str, Any]:
    texts, cut = request["texts"], model.cut
    assert cut is not None
    alone = _taken(model.run, model.feeds(texts), request["lead"])
    return {"ms": alone, "text_ms": _taken(lambda text: model.run(cut(text)), texts, request["lead"])}


def _taken(run: Callable[[Any], Any], feeds: Sequence[Any], lead: int) -> list[float]:
    """Milliseconds of each call."""
    for place in range(lead):
        run(feeds[place % len(feeds)])
    taken = []
    gc.disable()
    for each in feeds:
        start = time.perf_counter()
        run(each)
        taken.append(1e3 * (time.perf_counter() - start))
    gc.enable()
    return taken


def _label(model: Model, request: Mapping[str, Any]) -> dict[str, Any]:
    return {"labels": [int(model.run(feed(text, model.inputs)).argmax()) for text in request["texts"]]}


def _label_text(model: Model, request: Mapping[str, Any]) -> dict[str, Any]:
    return {"labels": [int(model.run(each).argmax()) for each in model.feeds(request["texts"])]}


ANSWERS: Mapping[str, Callable[[Model, Mapping[str, Any]], dict[str, Any]]] = {
    "time": _time,
    "label": _label,
    "time_text": _time_text,
    "label_text": _label_text,
}
