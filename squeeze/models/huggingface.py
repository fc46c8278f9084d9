"""The one door to transformers: found or named as missing, and silent."""

from __future__ import annotations

from typing import Any

from squeeze.runtime import need

__all__ = ["transformers"]


def transformers() -> Any:
    """The library, told to write nothing to the terminal: no bars, no report on heads that are missing.

    Whoever loads a model checks what was missing and says it in one line.

    Raises:
        MissingBackend: it is not installed.
    """
    library = need("transformers", extra="train")
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()
    return library
