"""The loop of a process that holds models of one runtime and runs them when it is asked.

It needs NumPy alone, for it runs in environments of other tools. One request a line on stdin, one answer
a line on stdout, both JSON; texts are lists of token numbers, one text a call:

open     name, path, length  hold a model; with a length, for texts of that many tokens alone
time     name, texts, lead   milliseconds of each call, after `lead` calls that nobody times
label    name, texts         the largest output of each text

Whatever goes wrong ends the process; the last line on stderr says what it was.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
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
    """

    inputs: Collection[str]
    run: Callable[[Feed], NDArray[np.float32]]


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
        if request["do"] == "open":
            models[request["name"]] = open_model(request["path"], request["length"])
            answer: dict[str, Any] = {}
        else:
            answer = ANSWERS[request["do"]](models[request["name"]], request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _time(model: Model, request: Mapping[str, Any]) -> dict[str, Any]:
    feeds = [feed(text, model.inputs) for text in request["texts"]]
    for place in range(request["lead"]):
        model.run(feeds[place % len(feeds)])
    taken = []
    gc.disable()
    for each in feeds:
        start = time.perf_counter()
        model.run(each)
        taken.append(1e3 * (time.perf_counter() - start))
    gc.enable()
    return {"ms": taken}


def _label(model: Model, request: Mapping[str, Any]) -> dict[str, Any]:
    return {"labels": [int(model.run(feed(text, model.inputs)).argmax()) for text in request["texts"]]}


ANSWERS: Mapping[str, Callable[[Model, Mapping[str, Any]], dict[str, Any]]] = {"time": _time, "label": _label}
