"""XML files as a tree whose elements know their line and column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from models.errors import Problems


@dataclass
class Element:
    """``tag`` is without its namespace, ``text`` all that stands directly in the element."""

    tag: str
    line: int
    column: int
    attributes: dict[str, str]
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def named(self, tag: str) -> list[Element]:
        """The children of this tag."""
        return [child for child in self.children if child.tag == tag]

    def first(self, tag: str) -> Element | None:
        return next((child for child in self.children if child.tag == tag), None)

    def all(self) -> Iterator[Element]:
        """Itself and everything below, in the order of the file."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting += reversed(element.children)


def read(path: Path, problems: Problems) -> Element | None:
    """The root, or None and a problem that says why not."""
    try:
        content = path.read_bytes()
    except OSError as error:
        problems.add(0, f"can't be read: {error.strerror or error}")
        return None
    return parse(content, problems)


def parse(content: bytes, problems: Problems) -> Element | None:
    """The root, or None and a problem that says where the XML breaks."""
    above = Element("", 0, 0, {})
    opened = [above]
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag.rpartition(":")[2], parser.CurrentLineNumber, parser.CurrentColumnNumber + 1, attributes)
        opened[-1].children.append(element)
        opened.append(element)

    def end(_tag: str) -> None:
        opened.pop()

    def text(data: str) -> None:
        opened[-1].text += data

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        problems.add(error.lineno, f"broken XML: {expat.errors.messages[error.code]}", error.offset + 1)
        return None
    return above.children[0]
