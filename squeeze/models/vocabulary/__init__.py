"""Trim the vocabulary of a Hugging Face `tokenizer.json` without losing a single word.

A dropped piece is re-segmented into pieces that stay; it never becomes unknown. Three promises hold for
WordPiece, BPE and Unigram, each argued in the docstring of its module and tested on random text:

1. Text whose old tokens all stay is tokenized as before: old id = `kept[new id]`, one to one.
2. Text is unknown to the trimmed tokenizer exactly where it was unknown to the old one.
3. Row r of the new embedding table is row `kept[r]` of the old one; nothing is invented.

Use: `count` the task's text, `choose` what to keep, `trim`, and measure the loss with `coverage`.

Everything works on parsed JSON, dict in and dict out; the input is never changed.
"""

from __future__ import annotations

from squeeze.models.vocabulary.choice import choose, count
from squeeze.models.vocabulary.coverage import Coverage, coverage
from squeeze.models.vocabulary.trimming import Trim, fill, trim

__all__ = ["Coverage", "Trim", "choose", "count", "coverage", "fill", "trim"]
