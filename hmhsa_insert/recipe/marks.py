"""Where things stand in a recipe, and the list of what is wrong with it.

Every key and value has a path, such as ``("edits", 0, "block", "head_dim")``. :class:`Marks` turns a path
into ``file:line:column`` for a file, or into ``recipe.edits[0].block.head_dim`` for a recipe given as a dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hmhsa_insert.errors import Problem

KeyPath = tuple[str | int, ...]

_MOST_PROBLEMS = 100


class _Unreadable:
    """The type of :data:`UNREADABLE`."""

    def __repr__(self) -> str:
        return "…"

    def __deepcopy__(self, memo: object) -> _Unreadable:
        return self  # it is compared by identity


# Stands for a value whose problem is already reported: the checks that follow pass over it in silence.
UNREADABLE: Final = _Unreadable()


@dataclass(frozen=True)
class Mark:
    """A place in a file; lines and columns count from 1, columns in characters.

    Attributes:
        line: line of the value.
        column: column of the value.
        key_line: line of the value's key; the value's own line for an item of a list.
        key_column: column of the value's key.
    """

    line: int
    column: int
    key_line: int
    key_column: int


@dataclass(frozen=True)
class Marks:
    """The place of every key and value of one recipe.

    Attributes:
        source: the file's path as it was given, or ``recipe`` for a dict.
        places: every path of the recipe; without a mark where there is no file.
    """

    source: str
    places: Mapping[KeyPath, Mark | None]

    def where(self, path: KeyPath, *, key: bool = False) -> str:
        """Return the place of the value at `path` (of its key, if `key`), or of its nearest parent."""
        known = self._known(path)
        mark = self.places.get(known)
        if mark is not None:
            line, column = self.order(known, key=key)
            return f"{self.source}:{line}:{column}"
        return self.source + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in known)

    def order(self, path: KeyPath, *, key: bool = False) -> tuple[int, int]:
        """Return the line and column of `path`, to sort by; (0, 0) where there is no file."""
        mark = self.places.get(self._known(path))
        if mark is None:
            return (0, 0)
        return (mark.key_line, mark.key_column) if key else (mark.line, mark.column)

    def _known(self, path: KeyPath) -> KeyPath:
        while path and path not in self.places:
            path = path[:-1]
        return path


@dataclass(frozen=True)
class _Finding:
    path: KeyPath
    order: tuple[int, int]
    problem: Problem


@dataclass
class Findings:
    """Collects the problems of one recipe while it is read; reading goes on after each."""

    marks: Marks
    _found: list[_Finding] = field(default_factory=list)

    def add(self, path: KeyPath, message: str, tip: str = "", *, key: bool = False) -> None:
        """Note a problem of the value at `path`, or of its key."""
        problem = Problem(self.marks.where(path, key=key), message, tip)
        self._found.append(_Finding(path, self.marks.order(path, key=key), problem))

    def add_at(self, line: int, column: int, message: str, tip: str = "", *, path: KeyPath = ()) -> None:
        """Note a problem at a place of the file, within the value at `path`."""
        problem = Problem(f"{self.marks.source}:{line}:{column}", message, tip)
        self._found.append(_Finding(path, (line, column), problem))

    def clean(self, path: KeyPath) -> bool:
        """Return True if nothing is wrong at `path` or inside it."""
        return not any(finding.path[: len(path)] == path for finding in self._found)

    def problems(self) -> list[Problem]:
        """Return the problems in the order of the file: the first of them, where no one would read all."""
        found = [finding.problem for finding in sorted(self._found, key=lambda finding: finding.order)]
        more = len(found) - _MOST_PROBLEMS
        return [*found[:_MOST_PROBLEMS], *([Problem("", f"and {more:,} more problems")] if more > 0 else [])]


@dataclass(frozen=True)
class Document:
    """A recipe read but not yet checked: plain values, their places, what is already known to be wrong."""

    value: Any
    marks: Marks
    findings: Findings
