"""Teachers: Hugging Face classifiers, loaded, brought to our order of labels, and averaged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from scipy.special import log_softmax, logsumexp
from torch import Tensor, nn

from squeeze.errors import ProfileError, reason
from squeeze.models.encoder import sum_outputs
from squeeze.models.families import Family, family_of
from squeeze.models.head_labels import (
    Head,
    Order,
    check_problem_type,
    load_head,
    match,
    mismatch,
    refuse_sums,
)
from squeeze.models.headers import weight_files
from squeeze.models.huggingface import transformers
from squeeze.models.outline import lacking
from squeeze.models.shapes import Groups
from squeeze.models.support import refuse_config
from squeeze.runtime import need
from squeeze.tasks import DEFAULT, AnswerKind

__all__ = ["SummedHead", "average", "exact_head", "load_classifier", "save_classifier", "standardise_head"]

MAP = "squeeze_label_map"
"""Field of a saved config.json: our label for each of the model's own."""


def load_classifier(
    folder: Path,
    labels: tuple[str, ...],
    *,
    untrained_head: bool,
    label_map: Mapping[str, str] | None = None,
    problem_type: str | None = None,
) -> Any:
    """Load a folder as a sequence classifier whose outputs stand in our order of labels.

    Where the map gives several of its labels to one of ours, the model keeps its head and its names, and
    gives the logarithm of their summed probabilities; `save_classifier` keeps the map beside the weights.

    Args:
        folder: config.json and safetensors weights; nothing is unpickled, and no code of it is run.
        labels: our labels; output k belongs to labels[k].
        untrained_head: whether a fresh head is wanted when the folder has none for these labels
            (it will be trained); otherwise that is an error.
        label_map: the teacher's label to ours; None: the one it was saved with, or none.
        problem_type: what the outputs shall stand for; None: what config.json says.

    Raises:
        ProfileError: a family or variant that is not supported, missing or unreadable weights, weights that
            are not finite, or a head for other labels or of another kind.
    """
    config = _config(folder)
    if problem_type is not None:
        if not untrained_head:
            check_problem_type(config.to_dict(), str(folder), problem_type)
        config.problem_type = problem_type
    family = family_of(config.model_type)
    label_map = label_map or _saved_map(config, labels)
    head, order = _order(folder, labels, label_map, untrained_head=untrained_head)
    if order is not None and head is not None:
        refuse_sums(head, order, problem_type or config.problem_type or DEFAULT)
    if order is None:
        config.num_labels = len(labels)
    elif head is not None:
        config.id2label = dict(enumerate(head.names))
        config.label2id = {name: index for index, name in enumerate(head.names)}
    model, report = _weights(folder, config)
    _check_whole(folder, family, report, untrained_head=untrained_head and not label_map)
    if order is not None and head is not None and order.sums:
        _sum_outputs(model, family.classifier.output, order.groups)
        target = {
            output: label for label, outputs in zip(labels, order.groups, strict=True) for output in outputs
        }
        setattr(model.config, MAP, {name: target[output] for output, name in enumerate(head.names)})
        return model.eval()
    if order is not None:
        _reorder(model.get_submodule(family.classifier.output), [group[0] for group in order.groups])
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {name: index for index, name in enumerate(labels)}
    return model.eval()


class SummedHead(nn.Linear):
    """The last matrix of a head whose outputs are summed in probability, several to a label.

    Args:
        head: gives one logit an output.
        groups: for each label its outputs.
    """

    def __init__(self, head: nn.Linear, groups: Groups) -> None:
        super().__init__(head.in_features, head.out_features)
        self.weight, self.bias, self.groups = head.weight, head.bias, groups

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) -> (..., labels) logarithms of probabilities."""
        return sum_outputs(super().forward(input), self.groups)


def standardise_head(model: Any, mean: Sequence[float], scale: Sequence[float]) -> None:
    """Have a regression give standardised values: (value - mean) / scale, by its last matrix.

    Args:
        model: gives values in the units of the data; it is changed in place.
        mean: (K,) of the training values.
        scale: (K,) their standard deviations.
    """
    head = model.get_submodule(family_of(model.config.model_type).classifier.output)
    with torch.no_grad():
        head.weight.div_(torch.tensor(scale)[:, None])
        head.bias.sub_(torch.tensor(mean)).div_(torch.tensor(scale))


@contextmanager
def exact_head(model: Any) -> Iterator[None]:
    """Have the head of a classifier computed in single precision, also where its body is in half.

    The head costs nothing, and its answers are what is learned.
    """
    head = model.get_submodule(family_of(model.config.model_type).classifier.dense)

    def single(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        torch.set_autocast_enabled("cpu", False)  # until the caller's own context ends
        return tuple(value.float() for value in inputs)

    hook = head.register_forward_pre_hook(single)
    before = torch.is_autocast_enabled("cpu")
    try:
        yield
    finally:
        hook.remove()
        torch.set_autocast_enabled("cpu", before)


def save_classifier(model: Any, folder: Path) -> None:
    """Write config.json and model.safetensors."""
    model.save_pretrained(folder)


def average(
    outputs: list[NDArray[np.float32]], weights: list[float], answers: AnswerKind
) -> NDArray[np.float32]:
    """Outputs whose answers are the weighted mean of several teachers' answers.

    Args:
        outputs: one (N, K) array a teacher.
        weights: one positive number a teacher; only their ratios count.
        answers: what is averaged: probabilities over the labels, of each label, or values.

    Returns:
        (N, K) log-probabilities for "softmax", logits for "sigmoid", values for "real".

    >>> x = np.log(np.array([[0.2, 0.8]], dtype=np.float32))
    >>> bool(np.allclose(average([x, x], [1.0, 3.0], "softmax"), x))
    True
    """
    shares = np.asarray(weights) / np.sum(weights)
    stacked = np.stack(outputs).astype(np.float64)
    if answers == "softmax":
        logs = np.log(shares)[:, None, None] + log_softmax(stacked, axis=-1)
        return np.asarray(logsumexp(logs, axis=0), dtype=np.float32)
    if answers == "sigmoid":
        # log of the mean of p, less that of 1 - p, neither of which underflows
        on, off = (
            logsumexp(np.log(shares)[:, None, None] - np.logaddexp(0, sign * stacked), axis=0)
            for sign in (-1, 1)
        )
        return np.asarray(on - off, dtype=np.float32)
    return np.asarray(np.einsum("t,tnk->nk", shares, stacked), dtype=np.float32)


def _config(folder: Path) -> Any:
    library, hub = transformers(), need("huggingface_hub", extra="train")
    bad_field = hub.errors.StrictDataclassError
    try:
        config = library.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, bad_field) as error:
        raise ProfileError(f"{folder}: no readable config.json: {reason(error)}") from error
    refuse_config(folder, raw)
    # How the library runs it, not what it computes.
    config.chunk_size_feed_forward, config.return_dict = 0, True
    config.output_attentions = config.output_hidden_states = False
    return config


def _weights(folder: Path, config: Any) -> tuple[Any, Mapping[str, Any]]:
    """The model and the library's account of what its file lacked or had in another size."""
    weight_files(folder)
    try:
        model, report = transformers().AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are in the account, and refused by `_check_whole`
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError, AssertionError, ImportError, SafetensorError) as error:
        raise ProfileError(f"{folder}: cannot be loaded as a classifier: {reason(error)}") from error
    _refuse_not_finite(folder, model)
    return model, report


def _refuse_not_finite(folder: Path, model: Any) -> None:
    for name, value in model.state_dict().items():
        if not torch.isfinite(value).all():
            what = "NaN" if torch.isnan(value).any() else "infinity"
            raise ProfileError(
                f"{folder}: its weights are not finite: {name} holds {what}",
                hint="take an earlier checkpoint, or convert it again: numbers above 65,504 overflow in fp16",
            )


def _saved_map(config: Any, labels: tuple[str, ...]) -> Mapping[str, str] | None:
    """The map that a member of ours was saved with, where it is one to these labels."""
    saved = getattr(config, MAP, None)
    return saved if isinstance(saved, dict) and set(saved.values()) == set(labels) else None


def _order(
    folder: Path, labels: tuple[str, ...], label_map: Mapping[str, str] | None, *, untrained_head: bool
) -> tuple[Head | None, Order | None]:
    """The head as the folder names it, and its outputs for our labels; no order where it gets a fresh one."""
    try:
        head = load_head(folder)
    except ProfileError:
        if untrained_head and not label_map:
            return None, None
        raise
    order = match(head, labels, label_map)
    if order is None and not untrained_head:
        raise mismatch(head, labels)
    return head, order


def _sum_outputs(model: Any, name: str, groups: Groups) -> None:
    place, _, last = name.rpartition(".")
    setattr(model.get_submodule(place), last, SummedHead(model.get_submodule(name), groups))


def _reorder(head: nn.Linear, order: list[int]) -> None:
    with torch.no_grad():
        head.weight.copy_(head.weight[order])
        head.bias.copy_(head.bias[order])


def _check_whole(folder: Path, family: Family, report: Mapping[str, Any], *, untrained_head: bool) -> None:
    """Refuse weights that are not all there; a head that will be trained may be absent or of another size."""
    lacks = {*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])}
    heads = tuple(f"{name}." for name in (family.classifier.dense, family.classifier.output))
    lacks = {n for n in lacks if not (untrained_head and n.startswith(heads)) and "position_ids" not in n}
    if lacks:
        raise lacking(folder, sorted(lacks))
