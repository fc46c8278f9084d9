"""Read every source, refuse what is unfit, and write the rows that all later stages share."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from squeeze.artifact import Artifact, digest_json
from squeeze.data.checks import Findings, hint, inspect, overlap, unusable
from squeeze.data.config import DataSection, split_name_fault
from squeeze.data.dataset import write_split, write_state, write_unlabelled
from squeeze.data.leakage import near_overlap
from squeeze.data.sources import UNLABELLED, Table, fingerprints, named_sources, read
from squeeze.data.splitting import split_table
from squeeze.data.wording import combine
from squeeze.errors import DataError, ProfileError
from squeeze.progress import Progress
from squeeze.stage import Work
from squeeze.stages.data.stage import DataConfig, DataResult, SplitCount
from squeeze.tasks import State, Task, task_of

__all__ = ["run"]


def run(config: DataConfig, inputs: Mapping[str, Artifact], work: Work) -> DataResult:  # noqa: ARG001
    """Write ``<split>.arrow`` for every split and ``unlabelled.arrow``.

    Raises:
        ProfileError: a further test has a name that cannot be a split's.
        DataError: all problems of all sources, with row numbers.
        MissingBackend: a source needs a library or the hub, and it is not there.
    """
    section, task = config.data, task_of(config.task)
    _require_split_names(section)
    tables, extra, unreadable = _read_all(section, task, work.progress)
    tables, split_warnings = _split(config, tables, unreadable)
    findings = inspect(tables, task, section.duplicates_in_use(), section.near_duplicates)
    if unreadable or findings.problems:
        advice = unreadable[0].hint if unreadable else hint(task)
        raise combine([*(error.message for error in unreadable), *findings.problems], advice)
    warnings = [*split_warnings, *findings.warnings]
    digests = fingerprints(section)
    counts = _write_labelled(config, tables, findings, digests, warnings, work.out)
    pool = _limit(_joined([_usable(table, tables, section, warnings) for table in extra]), UNLABELLED, config)
    write_unlabelled(work.out, pool.texts)
    if extra:
        sums = [digests[source.name] for slot, source in named_sources(section) if slot == UNLABELLED]
        counts[UNLABELLED] = SplitCount(
            rows=len(pool), per_label={}, source=pool.place, sha256=digest_json(sums)
        )
    return DataResult(splits=counts, warnings=tuple(warnings))


def _write_labelled(
    config: DataConfig,
    tables: Mapping[str, Table],
    findings: Findings,
    digests: Mapping[str, str],
    warnings: list[str],
    out: Path,
) -> dict[str, SplitCount]:
    """Write every labelled split; adds to the warnings what the limit cut off."""
    task, counts = task_of(config.task), {}
    state: State | None = None
    names = {slot: source.name for slot, source in named_sources(config.data)}
    for split, table in tables.items():
        same, near = (findings.dropped, findings.near) if split == "train" else (frozenset(), frozenset())
        full = table.take([i for i in range(len(table)) if i not in same and i not in near])
        kept = _limit(full, split, config)
        labels, per_label = kept.labels or (), task.counts(kept.labels or ())
        warnings += _labels_lost(split, len(kept), task.counts(full.labels or ()), per_label)
        state = task.state(labels) if state is None else state  # train stands first
        write_split(out, split, kept.texts, task.encode(labels, state))
        counts[split] = SplitCount(
            rows=len(kept),
            per_label=per_label,
            dropped_duplicates=len(same),
            dropped_near_duplicates=len(near),
            source=table.place,
            sha256=digests[names.get(split, names["train"])],
        )
    write_state(out, state or {})
    return counts


def _require_split_names(section: DataSection) -> None:
    for name in section.more_tests:
        fault = split_name_fault(name)
        if fault:
            raise ProfileError(f"[data.more_tests] {name}: {fault}")


def _read_all(
    section: DataSection, task: Task, progress: Progress
) -> tuple[dict[str, Table], list[Table], list[DataError]]:
    """(labelled tables by split, unlabelled tables, what could not be read)."""
    tables: dict[str, Table] = {}
    extra: list[Table] = []
    problems: list[DataError] = []
    sources = list(named_sources(section))
    with progress.task("read text", total=len(sources)) as advance:
        for slot, source in sources:
            try:
                table = read(source, slot, section, task.cells())
            except DataError as error:
                problems.append(error)
            else:
                if slot == UNLABELLED:
                    extra.append(table)
                else:
                    tables[slot] = table
            advance(1, note=source.name)
    return tables, extra, problems


def _split(
    config: DataConfig, tables: dict[str, Table], problems: list[DataError]
) -> tuple[dict[str, Table], tuple[str, ...]]:
    """The tables with validation and test made out of train where the profile says so, and warnings."""
    if config.data.split is None or "train" not in tables:
        return tables, ()
    try:
        parts, warnings = split_table(
            tables["train"], config.data.split, config.seed, task_of(config.task).strata
        )
    except DataError as error:
        problems.append(error)
        return {}, ()
    return {**parts, **{name: table for name, table in tables.items() if name != "train"}}, warnings


def _limit(table: Table, split: str, config: DataConfig) -> Table:
    """At most ``limit`` rows, drawn by the seed, in their old order."""
    limit = config.data.limit
    if limit is None or len(table) <= limit:
        return table
    generator = np.random.default_rng([config.seed, zlib.crc32(split.encode())])
    return table.take(sorted(generator.choice(len(table), size=limit, replace=False).tolist()))


def _labels_lost(split: str, rows: int, before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """Warn of labels that the limit cut off."""
    lost = [label for label, count in before.items() if count and not after[label]]
    if not lost:
        return []
    return [f"{split}: the limit of {rows} rows leaves none with label {', '.join(map(repr, lost))}"]


def _usable(table: Table, held: Mapping[str, Table], section: DataSection, warnings: list[str]) -> Table:
    """Unlabelled text without empty rows and without any text that is measured on; says what it left out."""
    tests = {split: other for split, other in held.items() if split != "train"}
    leaked = overlap(table, tests)
    blank = frozenset(i for i, text in enumerate(table.texts) if unusable(text))
    if blank:
        warnings.append(f"{UNLABELLED} ({table.place}): {len(blank)} empty or broken rows left out")
    if leaked:
        warnings.append(
            f"{UNLABELLED} ({table.place}): {len(leaked)} rows left out, validation or a test has them too"
        )
    gone = leaked | blank
    if section.near_duplicates != "keep":
        near = near_overlap(table, tests, gone)
        gone |= near
        if near:
            where = f"{UNLABELLED} ({table.place})"
            warnings.append(f"{where}: {len(near)} rows left out that nearly equal validation or test text")
    return table.take([i for i in range(len(table)) if i not in gone])


def _joined(tables: Sequence[Table]) -> Table:
    return Table(
        texts=tuple(text for table in tables for text in table.texts),
        labels=None,
        rows=tuple(row for table in tables for row in table.rows),
        place=", ".join(table.place for table in tables),
    )
