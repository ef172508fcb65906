"""FetchXML as a small tree that remembers lines. Document types and entities are refused, size and depth are bounded.

Source: Microsoft Learn, "Query data using FetchXml" (power-apps/developer/data-platform/fetchxml/overview).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

from satchel.errors import ProfileInvalid

MAX_CHARACTERS = 1_048_576
"""The length of `mobileofflineprofileitemfilter.fetchxml`."""
MAX_ELEMENTS = 20_000
MAX_DEPTH = 24


@dataclass(slots=True)
class Node:
    """One element."""

    name: str
    attributes: dict[str, str]
    line: int
    children: list[Node] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text directly within."""
        return "".join(self.pieces)

    def named(self, *names: str) -> list[Node]:
        """The children of these names, in order."""
        return [child for child in self.children if child.name in names]


def refused(line: int, message: str, hint: str = "") -> ProfileInvalid:
    """The error of a place in a FetchXML text."""
    return ProfileInvalid(f"FetchXML, line {line}: {message}", hint=hint, line=line)


def read_tree(text: str) -> Node:
    """The root element. Errors: ProfileInvalid with the line."""
    if len(text) > MAX_CHARACTERS:
        raise ProfileInvalid(f"The FetchXML is longer than {MAX_CHARACTERS:,} characters.")
    document = text.lstrip("\ufeff \t\r\n")
    reader = _Reader(text[: len(text) - len(document)].count("\n"))
    try:
        reader.parser.Parse(document.rstrip(), True)
    except expat.ExpatError as error:
        problem = expat.errors.messages.get(error.code, "unreadable")
        raise refused(reader.lines_before + error.lineno, f"this is not well-formed XML ({problem}).") from error
    except ValueError as error:  # a lone surrogate, an encoding that the parser does not have
        raise ProfileInvalid("The FetchXML holds characters that XML does not allow.") from error
    if reader.root is None:
        raise ProfileInvalid("The FetchXML is empty.")
    return reader.root


class _Reader:
    """Collects the nodes while the parser runs."""

    def __init__(self, lines_before: int) -> None:
        self.lines_before = lines_before
        self.root: Node | None = None
        self._open: list[Node] = []
        self._elements = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._doctype

    @property
    def _line(self) -> int:
        return self.lines_before + self.parser.CurrentLineNumber

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        line = self._line
        node = Node(name, attributes, line)
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise refused(line, f"there are more than {MAX_ELEMENTS:,} elements.")
        if len(self._open) >= MAX_DEPTH:
            raise refused(line, f"elements are nested deeper than {MAX_DEPTH} levels.")
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)

    def _end(self, _name: str) -> None:
        node = self._open.pop()
        if node.name != "value" and (text := node.text.strip()):
            raise refused(node.line, f"<{node.name[:60]}> holds the text {text[:40]!r}, where only elements belong.")

    def _characters(self, text: str) -> None:
        if self._open:
            self._open[-1].pieces.append(text)

    def _doctype(self, *_: object) -> None:
        raise refused(self._line, "a document type or an entity is not allowed here.", "Leave <!DOCTYPE out.")
