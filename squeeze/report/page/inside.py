"""Inside the shipped file: where the bytes are, and what rounding did to each product."""

from __future__ import annotations

from squeeze.report.collecting import parsed
from squeeze.report.evidence import Evidence
from squeeze.report.page import words
from squeeze.report.page.parts import Cell, Fold, Part, Section, Table, Words
from squeeze.stages.quantize.stage import QuantizeResult

__all__ = ["rounding", "weights"]

NO_FILE = Words("The run has no exported file yet.", quiet=True)
MOST_SITES = 120


def weights(found: Evidence) -> Section:
    """Bytes of the shipped file by what they hold, and of its tokenizer."""
    title = "Where the bytes are"
    if found.inside is None or found.export is None or found.form is None:
        return Section("bytes", title, (NO_FILE,))
    if found.inside.missing[0]:
        return Section("bytes", title, (Words(found.inside.missing[0], quiet=True),))
    held = {**found.inside.bytes, "tokenizer.json": found.export.tokenizer_bytes}
    whole = sum(held.values()) or 1
    rows = tuple(
        (
            Cell(kind),
            Cell(f"{size:,}"),
            Cell(words.percent(size / whole), share=size / whole),
        )
        for kind, size in sorted(held.items(), key=lambda each: -each[1])
    )
    file = found.export.forms[found.form].file
    note = "Steps and zeros turn integers into numbers; graph is nodes, names and shapes."
    table = Table((f"in {file}", "bytes", "%"), rows, look="bars")
    return Section("bytes", title, (table, Words(note, quiet=True)))


def rounding(found: Evidence) -> Section:
    """Difference of each look-up and product from the float file."""
    title = "Quantization error by layer"
    if found.inside is None:
        return Section("rounding", title, (NO_FILE,))
    parts: list[Part] = [Words(found.inside.missing[1], quiet=True)] if found.inside.missing[1] else []
    differences = found.inside.differences[:MOST_SITES]
    if differences:
        most = max(each.output for each in differences) or 1.0
        rows = tuple(
            (
                Cell(each.site),
                Cell(words.percent(each.input)),
                Cell(words.percent(each.output), share=each.output / most),
            )
            for each in differences
        )
        lead = (
            "Root mean square of the difference from the float file, as a share of what that gives: "
            "of what a product reads once it is rounded, and of what it gives for that input."
        )
        parts = [Words(lead), Table(("look-up or product", "input %", "output %"), rows, look="bars")]
    quantized = parsed(found.stages.get("quantize"), QuantizeResult)
    if quantized is not None and quantized.sensitivity:
        return Section("rounding", title, (*parts, _sensitivity(quantized)))
    return Section("rounding", title, tuple(parts))


def _sensitivity(found: QuantizeResult) -> Fold:
    most = max(found.sensitivity.values()) or 1.0
    order = sorted(found.sensitivity.items(), key=lambda each: -each[1])[:MOST_SITES]
    rows = tuple((Cell(site), Cell(f"{value:.2g}", share=value / most)) for site, value in order)
    table = Table(("product rounded alone", "KL of the answers, nats"), rows, look="bars")
    return Fold("Sensitivity of each product", (table,))
