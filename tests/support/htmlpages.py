"""A page of HTML as a tree, its text and its tables; and a text that tries to be more than text."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree.ElementTree import Element, TreeBuilder

VOID = {"meta", "link", "img", "input", "br"}


HOSTILE = '"><script>window.pwned=1</script><img src=x onerror="window.pwned=1">{{digest}}&amp;\''


class _Reader(HTMLParser):
    """HTML as a tree; an end tag that closes another element than the last opened fails."""

    def __init__(self) -> None:
        super().__init__()
        self.builder, self.open = TreeBuilder(), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        self.open.append(tag)
        if tag in VOID:
            self.handle_endtag(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.builder.end(tag)

    def handle_data(self, data: str) -> None:
        if self.open:
            self.builder.data(data)


def read_page(page: str) -> Element:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader.builder.close()


def say(element: Element) -> str:
    """The text of an element, white space as one space."""
    return " ".join("".join(element.itertext()).split())


def read_tables(root: Element) -> list[list[list[str]]]:
    return [[[say(cell) for cell in row] for row in table.iter("tr")] for table in root.iter("table")]
