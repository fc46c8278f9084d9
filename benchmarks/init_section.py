"""The sections of RESULTS.md on `squeeze init`: files that nobody prepared, and how long a run takes."""

from __future__ import annotations

from benchmarks.tables import Record, table

__all__ = ["first_files", "run_times"]


def first_files(record: Record) -> list[str]:
    """One row a file: how far it came, and the line that says what to do."""
    rows = []
    for name, case in record["cases"].items():
        ends = ", ".join(
            f"{command} {case[command]['exit']}" for command in ("init", "plan", "run") if command in case
        )
        lines = [line.removeprefix("error: ") for line in case["init"]["lines"] if line.startswith("error:")]
        said = "; ".join(lines).replace("|", "/")
        rows.append((name, "right" if case["right"] else "WRONG", ends, said))
    right = sum(case["right"] for case in record["cases"].values())
    head = f"{right} of {len(rows)} are right: a run to its verdict (exit 0, 1 or 5), or one line."
    return [head, "", *table(("file", "verdict", "exit codes", "the line"), rows)]


def run_times(record: Record) -> list[str]:
    """One row a set: predicted and real seconds."""
    rows = [
        (
            run["set"],
            str(run["rows"] or "all"),
            f"{run['predicted_s']:.0f}",
            f"{run['processor_s']:.0f}",
            f"{run['wall_s']:.0f}",
            f"{run['ratio']:.2f}",
        )
        for run in record["runs"]
    ]
    head = (
        f"{record['cores']} core; on one core the ratio is processor time to prediction, which also holds"
        " where other programs work beside the run."
    )
    names = ("set", "training rows", "predicted s", "processor s", "wall s", "ratio")
    return [head, "", *table(names, rows)]
