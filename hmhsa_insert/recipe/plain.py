"""A recipe given as a Python mapping, to the same plain values as one read from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmhsa_insert.files.text import RECIPE
from hmhsa_insert.recipe.marks import UNREADABLE, Document, Findings, KeyPath, Mark, Marks
from hmhsa_insert.recipe.scalars import problem_of, shown


def read_mapping(recipe: Mapping[str, Any], source: str = "recipe") -> Document:
    """Copy `recipe` into plain dicts and lists; problems go to the document's findings, nothing is raised.

    Args:
        recipe: or settings, or a study.
        source: what it is called in places.
    """
    places: dict[KeyPath, Mark | None] = {(): None}
    marks = Marks(source, places)
    findings = Findings(marks)
    try:
        value = _plain(recipe, (), findings, places)
    except _RefusedError as error:
        findings.add(error.path, str(error))
        value = UNREADABLE
    return Document(value, marks, findings)


class _RefusedError(Exception):
    """The mapping is larger than a recipe may be; a list that holds itself has none."""

    def __init__(self, path: KeyPath, message: str) -> None:
        super().__init__(message)
        self.path = path


def _plain(value: object, path: KeyPath, findings: Findings, places: dict[KeyPath, Mark | None]) -> Any:
    places[path] = None
    if len(places) > RECIPE.values:
        raise _RefusedError((), f"the recipe holds more than {RECIPE.values:,} values")
    if len(path) > RECIPE.levels:
        raise _RefusedError(path[:1], f"values are nested more than {RECIPE.levels} deep")
    if isinstance(value, Mapping):
        copied = {}
        for key, item in value.items():
            if isinstance(key, str):
                copied[key] = _plain(item, (*path, key), findings, places)
            else:
                findings.add(path, f"a key must be a word, found {shown(key)}")
        return copied
    if isinstance(value, (list, tuple)):
        return [_plain(item, (*path, index), findings, places) for index, item in enumerate(value)]
    if value is None or isinstance(value, (str, bool, int, float)):
        problem = problem_of(value)
    else:
        problem = f"a recipe holds plain values only, found a {type(value).__name__}"
    if problem:
        findings.add(path, problem)
        return UNREADABLE
    return value
