"""A strict reading of a page: nesting, ids, links, and nothing from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input"}
LOADING = {"src", "srcset", "poster", "background", "action", "formaction", "data"}


@dataclass
class Page:
    """What a page holds.

    Attributes:
        problems: of its structure.
        ids: of all elements.
        links: where its links go.
        tags: every element's name.
        text: what is read, without style.
        titles: of its headings.
    """

    problems: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    text: str = ""
    titles: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self.stack: list[str] = []

    def handle_starttag(self, tag, attrs):
        self._look(tag, attrs)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self._look(tag, attrs)

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.page.problems.append(f"</{tag}> at {self.getpos()} closes nothing")

    def handle_data(self, data):
        if self.stack and self.stack[-1] == "style":
            self.page.problems += ["style loads something"] if "url(" in data or "@import" in data else []
            return
        self.page.text += data
        if any(tag in ("h1", "h2", "h3") for tag in self.stack):
            self.page.titles.append(data.strip())

    def _look(self, tag, attrs):
        page = self.page
        page.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                page.ids.append(value)
            if name == "href" and tag == "a":
                page.links.append(value)
            if name.startswith("on") or name in LOADING:
                page.problems.append(f"{tag} {name}={value!r}")
            if name == "href" and not (value or "").startswith(("#", "data:,")):
                page.problems.append(f"{tag} leads to {value!r}")


def read(text: str) -> Page:
    reader = Reader()
    reader.feed(text)
    reader.close()
    page = reader.page
    page.problems += [f"<{tag}> is never closed" for tag in reader.stack]
    page.problems += [f"id {name} stands twice" for name in set(page.ids) if page.ids.count(name) > 1]
    page.problems += [f"{link} leads nowhere" for link in page.links if link[1:] not in page.ids]
    return page
