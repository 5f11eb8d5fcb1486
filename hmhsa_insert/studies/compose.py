"""Values put together from several files, each keeping the place it came from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from hmhsa_insert.recipe.marks import Document, Findings, KeyPath, Mark, Marks

Origin = tuple[Marks, KeyPath]


@dataclass(frozen=True)
class ComposedMarks(Marks):
    """The places of values that stand in different files.

    Attributes:
        origins: for every path, the marks of its file and its path there.
    """

    origins: Mapping[KeyPath, Origin] = field(default_factory=dict)

    def where(self, path: KeyPath, *, key: bool = False) -> str:
        """Return the place of the value at `path` (of its key, if `key`), or of its nearest parent."""
        marks, there = self.origins[self._known(path)]
        return marks.where(there, key=key)

    def order(self, path: KeyPath, *, key: bool = False) -> tuple[int, int]:
        """Return the line and column of `path`, to sort by."""
        marks, there = self.origins[self._known(path)]
        return marks.order(there, key=key)


class Composition:
    """Plain values with an origin each, into which others can be put.

    Args:
        value: of the whole.
        marks: of the file it comes from.
        root: its path there.
    """

    def __init__(self, value: Any, marks: Marks, root: KeyPath = ()) -> None:
        self.value: Any = copy.deepcopy(value)
        self._origins: dict[KeyPath, Origin] = {}
        self._note((), self.value, marks, root)

    def put(self, path: KeyPath, value: Any, marks: Marks, root: KeyPath) -> None:
        """Put `value`, which stands at `root` of another file, at `path`, in place of what is there.

        Raises:
            LookupError, TypeError: nothing at the path's parent can hold it.
        """
        holder: Any = reduce(lambda inner, part: inner[part], path[:-1], self.value)
        fits = isinstance(holder, dict) if isinstance(path[-1], str) else isinstance(holder, list)
        if not fits:
            raise TypeError(f"{path[:-1]} holds no {path[-1]}")
        holder[path[-1]] = copy.deepcopy(value)
        for known in [known for known in self._origins if known[: len(path)] == path]:
            del self._origins[known]
        self._note(path, value, marks, root)

    def document(self) -> Document:
        """Return the values with their places."""
        source = self._origins[()][0].source
        places: dict[KeyPath, Mark | None] = dict.fromkeys(self._origins)
        marks = ComposedMarks(source, places, dict(self._origins))
        return Document(copy.deepcopy(self.value), marks, Findings(marks))

    def _note(self, path: KeyPath, value: Any, marks: Marks, there: KeyPath) -> None:
        self._origins[path] = (marks, there)
        items: Any = ()
        if isinstance(value, dict):
            items = value.items()
        elif isinstance(value, list):
            items = enumerate(value)
        for key, item in items:
            self._note((*path, key), item, marks, (*there, key))
