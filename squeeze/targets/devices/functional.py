"""Run models where time means nothing, and compare what they compute with this machine."""

from __future__ import annotations

from collections.abc import Sequence

from squeeze.artifact import digest_file
from squeeze.progress import Progress
from squeeze.targets.cpu import Settings
from squeeze.targets.devices.golden import confirmed, goldens
from squeeze.targets.devices.plan import Plan, Planned
from squeeze.targets.devices.results import Functional
from squeeze.targets.devices.session import Session
from squeeze.targets.subjects import Subject

__all__ = ["check"]

FEEDS = 8
LIMIT_S = 300.0  # a model, on an emulated core


def check(
    subjects: Sequence[Subject], settings: Settings, session: Session, progress: Progress
) -> tuple[Functional, ...]:
    """Run each model's golden inputs and compare outputs.

    Args:
        subjects: at least one.
        settings: threads, batch, lengths, shapes and seed count.
        session: entered.
        progress: told of each model.

    Raises:
        UsageError: a file that is no model.
        ParityFailed: other outputs than this machine's.
        StageFailed: a model cannot be run there.
    """
    asked = goldens(subjects, settings, FEEDS)
    files = session.bring(asked)
    target, found = session.transport.name, []
    with progress.task(target, len(asked)) as advance:
        for number, each in enumerate(asked):
            plan = Plan(
                [Planned(files[number], number, each.feeds)], settings.threads, limit_s=LIMIT_S, outputs=True
            )
            answer = session.run(plan, f"running {each.subject.name}")
            differences = confirmed(target, each, session.outputs(answer, 0))
            found.append(
                Functional(
                    target=target,
                    name=each.subject.name,
                    file=each.subject.path.name,
                    form=each.subject.form,
                    sha256=digest_file(each.subject.path),
                    onnxruntime=answer["onnxruntime"],
                    feeds=len(each.feeds),
                    limit=each.limit,
                    differences=differences,
                )
            )
            advance(1, note=each.subject.name)
    return tuple(found)
