"""From a record of benchmarks.any_models to lines of Markdown."""

from __future__ import annotations

from benchmarks.tables import Record, reaches, table

__all__ = ["any_models"]

LEAST_MODELS = 12


def any_models(record: Record) -> list[str]:
    """Every model that others made: whether it ran as it is, and with which option else."""
    models = record["models"]
    plain = sum(each["first"]["ran"] for each in models)
    helped = sum(bool(each["then"] and each["then"]["ran"]) for each in models)
    return [
        f"Models of others, each with `squeeze bench FILE {' '.join(record['options'])}`; one thread, "
        " other programs on the machine, so the times are no comparison of models.",
        "",
        *table(("package", "model", "MB", "as it is", "with the option it asks for"), map(_row, models)),
        "",
        f"- Run as they are: {plain} of {len(models)}; with one option more: {helped}.",
        f"- Models tried: {len(models)}, at least {LEAST_MODELS}: {reaches(len(models), LEAST_MODELS)}",
    ]


def _row(model: Record) -> tuple[str, ...]:
    return (
        model["package"],
        model["file"],
        f"{model['size_mb']:.2f}",
        _told(model["first"]),
        f"`{' '.join(model['options'])}`: {_told(model['then'])}" if model["then"] else "",
    )


def _told(found: Record) -> str:
    if found["ran"]:
        return f"{found['p50_ms']:.3g} ms"
    return f"exit {found['code']}: {found['line'][:160]}".replace("|", "\\|")
