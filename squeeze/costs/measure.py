"""Measure a cost table, once for each device, request and version of the libraries; then it is read."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.artifact import digest_json, parse_sealed, write_sealed
from squeeze.costs.model import Probe, levels
from squeeze.costs.probes import Template, design
from squeeze.costs.request import CostRequest, Form, Stem
from squeeze.costs.table import VERSION, CostTable, Figures, price
from squeeze.errors import Corrupt, StageFailed
from squeeze.graphs import int8
from squeeze.progress import Progress
from squeeze.runtime import environment, versions
from squeeze.targets import cpu
from squeeze.targets.figures import medians
from squeeze.targets.measurement import Measurement
from squeeze.targets.subjects import Subject

__all__ = ["LIBRARIES", "CostRequest", "cost_table", "measuring", "medians", "priced", "written"]

LIBRARIES = ("numpy", "onnxruntime", "onnx-ir", "torch")
"""Whose version may change a graph or how fast it runs."""
FOLDER = "costs"
SCHEMA = 2
"""Of the stored table, whose file has a digest of its own: a changed price would change what is chosen."""
STARTS = 1  # of each probe, for its inputs; load times are not asked for
MISFIT = 0.1
"""An error on the table's own probes above which it is said that the machine was not quiet enough."""


def cost_table(request: CostRequest, cache: Path, threads: int, progress: Progress) -> CostTable:
    """Read the table of this device, or measure it.

    It is kept in `cache/costs/<digest>.json`; the digest is that of the request, the threads, the device and
    the versions of the libraries and of this code. A file that cannot be read is measured anew.
    Measuring takes minutes and wants a quiet machine; the file appears when all is done.

    Args:
        request: what to cover.
        cache: folder that stays from run to run.
        threads: threads inside one operator, at most the usable cores.
        progress: told of each step.

    Raises:
        UsageError: more threads than usable cores.
        StageFailed: a probe cannot be run, or the time was too short for every length.
    """
    path = cache / FOLDER / f"{_key(request, threads)}.json"
    if path.exists():
        try:
            return CostTable.parse(parse_sealed(path, SCHEMA)["table"])
        except (OSError, ValueError, KeyError, RecursionError, Corrupt) as error:
            progress.log(f"{path.name}: no readable cost table ({type(error).__name__}), measured anew")
    table = _measured(request, threads, progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, {"schema": SCHEMA, "table": table.plain()})
    return table


def _key(request: CostRequest, threads: int) -> str:
    return digest_json(
        {
            "version": VERSION,
            "request": request.plain(),
            "threads": threads,
            "device": environment(),
            "libraries": versions(LIBRARIES),
        }
    )


def _measured(request: CostRequest, threads: int, progress: Progress) -> CostTable:
    with tempfile.TemporaryDirectory() as folder:
        subjects = written(request, Path(folder), progress)
        measured = cpu.measure(subjects, measuring(request, threads), progress)
    table = priced(request, threads, measured)
    if table.worst > MISFIT:
        progress.log(f"cost table: off by up to {table.worst:.0%} on its own probes: was the machine busy?")
    return table


def measuring(request: CostRequest, threads: int) -> cpu.Settings:
    """How probes are measured: in many short rounds, because ratios between them are what counts."""
    return cpu.Settings(
        threads=threads,
        min_runs=request.min_runs,
        min_seconds=request.min_seconds,
        max_seconds=request.max_seconds,
        starts=STARTS,
        even=False,
        seed=request.seed,
    )


def priced(request: CostRequest, threads: int, measured: Sequence[Measurement]) -> CostTable:
    """The table of measured probes.

    Args:
        request: what was asked for.
        threads: with which they ran.
        measured: one of each file that `written` gave, in its order.

    Raises:
        StageFailed: the time was too short for every length.
    """
    probes = design(request)
    ms = np.array([_levels(measured, length) for length in request.lengths]).T
    return _table(request, threads, probes, ms.reshape(len(probes), len(request.forms), -1), measured)


def _levels(measured: Sequence[Measurement], length: int) -> NDArray[np.float64]:
    found = medians(measured, length)
    if not len(found):
        hint = "raise max_seconds or min_runs of the request, or ask for fewer lengths"
        raise StageFailed(f"cost table: no call of {length} tokens in the time it had", hint=hint)
    return levels(found)


def written(request: CostRequest, folder: Path, progress: Progress) -> list[Subject]:
    """Files of every probe in every form, probe by probe in the order of the request's forms."""
    probes = design(request)
    subjects: list[Subject] = []
    templates: dict[Stem, Template] = {}
    with progress.task("write probes", len(probes)) as advance:
        for number, probe in enumerate(probes):
            if probe.stem not in templates:
                depth = max(len(each.layers) for each in probes if each.stem == probe.stem)
                path = folder / f"template-{len(templates)}.onnx"
                templates[probe.stem] = Template.export(request, probe.stem, depth, path)
            files: Mapping[Form, Path] = {
                "fp32": folder / f"{number}.onnx",
                "int8-dynamic": folder / f"{number}.int8.onnx",
            }
            templates[probe.stem].write(probe.layers, files["fp32"], number)
            int8.quantize(files["fp32"], files["int8-dynamic"])
            subjects += [_subject(request, number, form, files[form]) for form in request.forms]
            advance(1)
    return subjects


def _subject(request: CostRequest, number: int, form: Form, path: Path) -> Subject:
    name = f"probe {number} {form}"
    return Subject(path, name, form=form, vocabulary=request.vocabulary, lengths=request.lengths)


def _table(
    request: CostRequest,
    threads: int,
    probes: Sequence[Probe],
    ms: NDArray[np.float64],
    measured: Sequence[Measurement],
) -> CostTable:
    """Prices of all widths and forms from (probes, forms, lengths) milliseconds."""
    prices, figures = [], []
    for place, form in enumerate(request.forms):
        figures += [
            Figures(probe=number, form=form, ms=tuple(found))
            for number, found in enumerate(ms[:, place].tolist())
        ]
        for hidden in dict.fromkeys(stem.hidden for stem in request.stems):
            rows = [number for number, probe in enumerate(probes) if probe.stem.hidden == hidden]
            prices.append(price(request, hidden, form, [probes[row] for row in rows], ms[rows, place]))
    around: dict[str, Any] = {**measured[0].environment, "libraries": versions(LIBRARIES)}
    return CostTable(
        request=request,
        threads=threads,
        environment=around,
        probes=tuple(probes),
        figures=tuple(figures),
        prices=tuple(prices),
        notes=tuple(dict.fromkeys(note for each in measured for note in each.notes)),
    )
