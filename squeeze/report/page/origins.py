"""Where everything comes from: machines, libraries, digests."""

from __future__ import annotations

from squeeze.report.evidence import Evidence
from squeeze.report.page import words
from squeeze.report.page.parts import Fold, Section, Table, Words, row

__all__ = ["environment"]

DIGITS = 16


def environment(found: Evidence) -> Section:
    """Stages with what they took, the machines they ran on, and sha256 of all artefacts."""
    made = found.origins
    took = Table(
        ("stage", "version", "took", "sha256", "folder"),
        tuple(
            row(
                each.stage, each.version, words.seconds(each.seconds), f"{each.digest[:DIGITS]}…", each.folder
            )
            for each in made
        ),
    )
    machines: dict[str, list[str]] = {}
    for each in made:
        machines.setdefault(each.environment or "not recorded", []).append(each.stage)
    where = Table(
        ("machine", "stages"), tuple(row(name, ", ".join(users)) for name, users in machines.items())
    )
    libraries = Table(
        ("stage", "libraries"), tuple(row(each.stage, each.libraries) for each in made if each.libraries)
    )
    digests = Table(("artefact", "sha256"), tuple(row(each.folder, each.digest) for each in made))
    parts = [took, where]
    if not made:
        return Section(
            "environment", "Environment and digests", (Words("Nothing was finished.", quiet=True),)
        )
    folded = (Fold("Versions of libraries", (libraries,)), Fold("Whole digests", (digests,)))
    return Section("environment", "Environment and digests", (*parts, *folded))
