"""From a record of benchmarks.readers to lines of Markdown."""

from __future__ import annotations

from benchmarks.tables import Record, stays, table

__all__ = ["readers"]

OUTCOMES = ("equal", "refused", "wrongly refused", "silent", "error")


def readers(record: Record) -> list[str]:
    """What became of each family's cases, why some were refused, and the verdict."""
    families = record["families"]
    rows = [
        (name, *(str(row["outcomes"].get(outcome, 0)) for outcome in OUTCOMES), f"{row['largest']:.1e}")
        for name, row in families.items()
    ]
    reasons = sorted(record["refused"].items(), key=lambda item: -item[1])
    wrong = len(record["wrong"])
    return [
        f"{record['count']} random teachers a family, seed {record['seed']}; {record['texts']} texts each. "
        "Equal: all token numbers, those of a trimmed vocabulary too, and logits within 1e-4. A refusal is "
        "right where a rule of the script's own says so. Silent: something differed, and nothing was said.",
        "",
        *table(("family", *OUTCOMES, "largest difference of a logit"), rows),
        "",
        f"- No case is silent, wrongly refused or an error: {wrong} are, {stays(wrong, 0)}.",
        f"- Refused: {', '.join(f'{reason} ({number})' for reason, number in reasons)}.",
        f"- Passed with a warning that a piece of the texts is not counted: {record['warned']}.",
    ]
