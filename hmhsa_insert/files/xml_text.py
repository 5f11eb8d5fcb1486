"""The only reader of XML: elements with their places, or an error of one line.

No document type declaration is read, so that no entity can be declared, expanded or fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.files.text import LABELS, FileLimits, read_file


@dataclass
class Element:
    """One element.

    Attributes:
        tag: its name.
        where: ``file:line:column``.
        text: what stands directly in it, without blanks around it.
        children: the elements directly in it.
    """

    tag: str
    where: str
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def find(self, tag: str) -> Element | None:
        """Return the first child of this name."""
        return next(self.all(tag), None)

    def all(self, tag: str) -> Iterator[Element]:
        """Yield the children of this name."""
        return (child for child in self.children if child.tag == tag)


class _RefusedError(Exception):
    """XML that is refused where it stands."""


def read_xml(path: Path, error: type[HmhsaInsertError], limits: FileLimits = LABELS) -> Element:
    """Return the root element of an XML file.

    Args:
        path: of the file.
        error: the class to raise for a file that cannot be used.
        limits: how large and how deep it may be.

    Raises:
        HmhsaInsertError: an `error` with the place in the file.
    """
    text = read_file(path, error, limits)
    builder = _Builder(str(path), limits)
    try:
        builder.parser.Parse(text.encode("utf-8", "surrogatepass"), True)
    except expat.ExpatError as reason:
        where = f"{path}:{reason.lineno}:{reason.offset + 1}"
        said = "it is empty" if not text.strip() else expat.ErrorString(reason.code)
        raise error(Problem(where, f"it is damaged: {said}")) from reason
    except _RefusedError as reason:
        raise error(Problem(builder.where, str(reason))) from reason
    return builder.root.children[0]


class _Builder:
    def __init__(self, source: str, limits: FileLimits) -> None:
        self._source, self._limits = source, limits
        self._count = 0
        self.root = Element("", source)
        self._open = [self.root]
        self._texts: list[list[str]] = [[]]
        # The text is UTF-8 by now, whatever the declaration says.
        self.parser = expat.ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters

    @property
    def where(self) -> str:
        return f"{self._source}:{self.parser.CurrentLineNumber}:{self.parser.CurrentColumnNumber + 1}"

    def _refuse_doctype(self, *_: object) -> None:
        raise _RefusedError("a document type declaration is not read: it could declare entities")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > self._limits.values:
            raise _RefusedError(f"it holds more than {self._limits.values:,} elements")
        if len(self._open) > self._limits.levels:
            raise _RefusedError(f"elements are nested more than {self._limits.levels} deep")
        element = Element(tag, self.where)
        self._open[-1].children.append(element)
        self._open.append(element)
        self._texts.append([])

    def _end(self, tag: str) -> None:
        self._open.pop().text = "".join(self._texts.pop()).strip()

    def _characters(self, text: str) -> None:
        self._texts[-1].append(text)
