"""The recipe: read, checked as a whole, written back in one canonical form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict

from hmhsa_insert.errors import Problem, RecipeError
from hmhsa_insert.files.text import RECIPE, read_file
from hmhsa_insert.recipe.canonical import dump_yaml
from hmhsa_insert.recipe.edit import BlockSpec, Edit, read_edit
from hmhsa_insert.recipe.explain import Found, Tip, refusal, validated
from hmhsa_insert.recipe.fields import Name, Read, must
from hmhsa_insert.recipe.library import find_recipe
from hmhsa_insert.recipe.marks import UNREADABLE, Document, Findings, KeyPath, Marks
from hmhsa_insert.recipe.plain import read_mapping
from hmhsa_insert.recipe.scalars import shown
from hmhsa_insert.recipe.schema import VERSION
from hmhsa_insert.recipe.yaml_text import read_text

_NOT_A_NAME = re.compile(r"[^A-Za-z0-9._+-]+")
_LIBRARY_TIP = "`hmhsa-insert recipes` lists recipes to start from"


def _read_edits(value: Any) -> Any:
    if isinstance(value, list) and value:
        return value
    found = "an empty list" if value == [] else shown(value)
    tip = f"begin each edit with '- op: insert'; {_LIBRARY_TIP}"
    raise refusal([Found((), f"'edits' must be a list of at least one edit, found {found}", tip)], value)


_VERSION = must(
    f"be {VERSION}",
    lambda value: value == VERSION and type(value) is int,
    {"const": VERSION},
    f"this release reads version {VERSION} of the recipe language",
)


class RecipeFile(BaseModel):
    """The keys of a recipe; its edits are read one by one, so that those that are right can be used."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    version: Annotated[int, _VERSION, Tip(f"add 'version: {VERSION}' at the top")]
    """The version of the recipe language: 1."""
    name: Name = None
    """A short name for tables and folders; the file's name if left out."""
    description: str = ""
    """What the recipe is for, in prose."""
    edits: Annotated[list[Any], Read(_read_edits, {"type": "array", "minItems": 1}), Tip(_LIBRARY_TIP)]
    """The edits, resolved together on the original model; at one site they act in this order."""


@dataclass(frozen=True)
class Recipe:
    """Edits to make, resolved against no model yet; equal to another recipe that says the same.

    Attributes:
        version: the version of the language, 1.
        name: a short name, safe as a folder's.
        description: prose; may be empty.
        edits: the edits in the order written.
        source: the file's path as it was given, or ``recipe`` for a dict.
        marks: the places of its keys and values.
        stray_blocks: the blocks of edits that have problems elsewhere, with their paths: their options can be
            checked all the same, so that all problems are reported at once.
    """

    version: int
    name: str
    description: str
    edits: tuple[Edit, ...]
    source: str = field(compare=False)
    marks: Marks = field(compare=False, repr=False)
    stray_blocks: tuple[tuple[KeyPath, BlockSpec], ...] = field(default=(), compare=False, repr=False)

    def where(self, path: KeyPath, *, key: bool = False) -> str:
        """Return ``file:line:column`` of the value at `path`, or of its key, or of its nearest parent.

        A recipe given as a dict has no lines: then it is a path such as ``recipe.edits[0].block.head_dim``.
        """
        return self.marks.where(path, key=key)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values, defaults written out; it reads back as an equal recipe."""
        head: dict[str, Any] = {"version": self.version, "name": self.name}
        if self.description:
            head["description"] = self.description
        return {**head, "edits": [edit.to_dict() for edit in self.edits]}

    def dump(self) -> str:
        """Return the recipe as YAML in one canonical form; it reads back as an equal recipe."""
        return dump_yaml(self.to_dict())

    def __str__(self) -> str:
        return self.dump()


# What users may give: the path of a file, the name of a shipped recipe, a recipe as a dict, or one that was read.
RecipeSource: TypeAlias = str | Path | Mapping[str, Any] | Recipe


def load_recipe(source: RecipeSource) -> Recipe:
    """Read a recipe from a path, a shipped name or a mapping.

    Raises:
        RecipeError: it is not found, cannot be read, or holds problems: all of them, in file order.
    """
    recipe, problems = parse_recipe(source)
    if problems:
        raise RecipeError(problems)
    return recipe


def parse_recipe(source: RecipeSource) -> tuple[Recipe, list[Problem]]:
    """Read a recipe as far as it goes; return it with the edits that are right, and all its problems."""
    if isinstance(source, Recipe):
        return source, []
    if isinstance(source, Mapping):
        return parse_document(read_mapping(source), default_name="recipe")
    try:
        path = find_recipe(source)
        return parse_text(read_file(path, RecipeError, RECIPE), str(path))
    except RecipeError as error:
        nothing = Recipe(VERSION, "recipe", "", (), str(source), Marks(str(source), {}))
        return nothing, list(error.problems)


def parse_text(text: str, source: str = "<text>") -> tuple[Recipe, list[Problem]]:
    """Do as :func:`parse_recipe` with YAML text; `source` names it in places."""
    stem = _NOT_A_NAME.sub("-", Path(source).stem).strip("-._+")
    return parse_document(read_text(text, source), default_name=stem[:100])


def parse_document(document: Document, default_name: str) -> tuple[Recipe, list[Problem]]:
    """Do as :func:`parse_recipe` with plain values that were read already; the name is for one without."""
    findings, value = document.findings, document.value
    head: RecipeFile | None = None
    if isinstance(value, dict):
        head = validated(findings, RecipeFile, value, "the recipe")
    elif value is None:
        findings.add((), "the recipe is empty", _LIBRARY_TIP)
    elif value is not UNREADABLE:
        message = f"a recipe is a mapping with 'version' and 'edits', found {shown(value)}"
        findings.add((), message, _LIBRARY_TIP)
    written = value.get("edits") if isinstance(value, dict) else ()
    listed = written if isinstance(written, list) else []
    read = [read_edit(findings, index, item) for index, item in enumerate(listed)]
    _check_ids(findings, listed)
    edits = tuple(edit for edit in read if edit is not None and findings.clean(edit.path))
    right = {edit.index for edit in edits}
    stray = tuple(
        (("edits", index, "block"), item["block"])
        for index, item in enumerate(listed)
        if index not in right and isinstance(item, dict) and isinstance(item.get("block"), dict)
    )
    stray = tuple((path, block) for path, block in stray if findings.clean(path))
    name = (head and head.name) or default_name or "recipe"
    description = head.description if head else ""
    recipe = Recipe(VERSION, name, description, edits, document.marks.source, document.marks, stray)
    return recipe, findings.problems()


def _check_ids(findings: Findings, edits: list[Any]) -> None:
    first: dict[str, int] = {}
    for index, edit in enumerate(edits):
        name = edit.get("id") if isinstance(edit, dict) else None
        if not isinstance(name, str):
            continue
        if name in first:
            there = findings.marks.where(("edits", first[name], "id"))
            findings.add(
                ("edits", index, "id"), f"the id '{name}' is taken by another edit", f"it is at {there}"
            )
        first.setdefault(name, index)
