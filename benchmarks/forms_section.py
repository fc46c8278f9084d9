"""From a record of benchmarks.forms to lines of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.tables import Record, interval, stays, table, three

__all__ = ["forms"]

SLOWEST = {
    ("tiny", "int8-dynamic, 7 bits, exact"): 0.6,
    ("tiny", "int8-static, 7 bits, exact"): 0.65,
    ("teacher", "int8-dynamic, 7 bits, exact"): 0.5,
    ("teacher", "int8-static, 7 bits, exact"): 0.5,
}
"""Aims: latency against fp32 of what the profile makes by default, as `squeeze` opens it."""
SMALLEST = {"int8": ("int8-dynamic, 7 bits, exact", 0.28), "int4": ("int4-weight, tables in 4 bits", 0.18)}
"""Aims: size of a file against its fp32 file."""


def forms(record: Record) -> list[str]:
    """Latency and size of every form of every model against its fp32 file."""
    rows = [
        (
            model,
            name,
            f"{each['p50_ms']:.2f}",
            interval(each["against_fp32"]),
            f"{each['size_against_fp32']:.2f}",
        )
        for model, found in record["models"].items()
        for name, each in found.items()
    ]
    return [
        f"Students of {record['set']}, seed {record['seed']}, and their teacher; {record['tokens']} tokens, "
        "one thread, one text a call, all files in turns. `fast` is ONNX Runtime's default, which may "
        "saturate with 8 bits.",
        "",
        *table(("model", "form", "p50 ms", "against fp32", "size against fp32"), rows),
        "",
        *_aims(record["models"]),
    ]


def _aims(models: Record) -> Iterator[str]:
    for (model, name), most in SLOWEST.items():
        value = models[model][name]["against_fp32"]["value"]
        yield f"- {model}, {name}: {three(value)} of fp32's time, at most {most:g}: {stays(value, most)}"
    for model in ("tiny", "teacher"):
        for kind, (name, most) in SMALLEST.items():
            value = models[model][name]["size_against_fp32"]
            said = (
                f"- {model}, {kind}: {three(value)} of fp32's bytes, at most {most:g}: {stays(value, most)}"
            )
            if models[model]["fp32"]["stored"]["codes"]:
                rest = _without_codes(models[model][name]) / _without_codes(models[model]["fp32"])
                said += f"; {three(rest)} without the codes of its table, which are bytes in fp32 too"
            yield said
    for model, found in models.items():
        for name in ("fp32", *(name for name, _ in SMALLEST.values())):
            stored = {kind: size for kind, size in found[name]["stored"].items() if size}
            held = ", ".join(f"{kind} {size / 1e6:.2f}" for kind, size in stored.items())
            yield f"- {model}, {name}, MB: {held}"


def _without_codes(found: Record) -> int:
    stored: Mapping[str, int] = found["stored"]
    return sum(stored.values()) - stored["codes"]
