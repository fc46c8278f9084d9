"""Names and texts from a user's files, written so that nobody who reads or runs our output obeys them.

`squeeze.errors.visible` writes control signs as escapes. What is printed to a log goes through `inert`, what
stands in Markdown through `literal` or `code`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from squeeze.errors import visible

__all__ = ["code", "inert", "literal", "table"]

COMMAND = re.compile(r"^(\s*):(?=:)|#(?=#\w*\[)", re.MULTILINE)
"""Beginning of a line that GitHub Actions runs (`::error::`), and of commands anywhere in one (`##[error]`,
`##vso[...]`, `##teamcity[...]`)."""
SIGNS = re.compile(
    r"[\\`*\[\]<>|~#$]"  # code, emphasis, links, HTML, cells, headings, formulas
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # emphasis; inside a word it is none
    r"|&(?=[#A-Za-z])"  # entities
    r"|:(?=//)|(?<=www)\.|(?<=mailto):|(?<=xmpp):"  # addresses that become links without brackets
    r"|^[-+](?= )|^[-=](?=[-=]+$)|^[0-9]+[.)](?= |$)"  # lists, lines under headings
)


def inert(text: str, keep: str = "") -> str:
    r"""Text for a terminal or a log, none of whose lines is a command of the CI that runs us.

    Args:
        text: what is printed; names in it come from others.
        keep: control signs that stay, such as the line ends of a text of several lines.

    >>> inert("::error::x"), inert("a ##[group]b")
    ('\\u003a:error::x', 'a \\u0023#[group]b')
    """
    return COMMAND.sub(lambda match: _escaped(match[0]), visible(text, keep))


def literal(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line, in a paragraph, a list or a table.

    >>> literal("**b** [l](http://x) <img>\n# h1")
    '\\*\\*b\\*\\* \\[l\\](http\\://x) \\<img\\> \\# h1'
    """
    return SIGNS.sub(lambda match: f"{match[0][:-1]}\\{match[0][-1]}", visible(" ".join(text.split())))


def code(name: str) -> str:
    """A name as code; what would end it, or the cell of a table around it, is replaced.

    >>> code("a`|b")
    "`a'/b`"
    """
    flat = visible(" ".join(name.split())).replace("`", "'").replace("|", "/")
    return f"`{flat or '?'}`"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; its cells have gone through `literal` or `code`, or are figures."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def _escaped(found: str) -> str:
    """The last sign of a match as an escape, which JSON reads as that sign."""
    return f"{found[:-1]}\\u{ord(found[-1]):04x}"
