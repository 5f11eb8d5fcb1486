"""Folders of earlier releases, which have no list of their files: what in one is what such a release wrote."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from hmhsa_insert.errors import ArtifactError, HmhsaInsertError
from hmhsa_insert.files.text import RECORD, read_file
from hmhsa_insert.models.weights import utf8_path
from hmhsa_insert.recipe import load_recipe

_RECIPE = re.compile(r"recipe(?:-([2-9]|[1-9]\d+))?\.yaml\Z")
_TENSORS = ("model.safetensors", "displaced.safetensors")
# A README tells who wrote it in its third line.
_SIGNED = "Made by hmhsa-insert. Load it with:"


@dataclass(frozen=True)
class Kind:
    """A kind of folder.

    Attributes:
        records: the files that tell what it holds, the one that tells the kind first.
        recipes: reads them, and returns the recipes of what was done; an ArtifactError if they are none of ours.
    """

    records: tuple[str, ...]
    recipes: Callable[[Path], list[Mapping[str, Any]]]

    @property
    def marker(self) -> str:
        """The file that tells a folder of this kind."""
        return self.records[0]

    @property
    def files(self) -> tuple[str, ...]:
        """The files that every folder of this kind has."""
        return (*self.records, _TENSORS[0])


def is_written(folder: Path, name: str, kind: Kind, recipes: Sequence[Mapping[str, Any]]) -> bool:
    """Return True for a file of a folder that `kind` reads, if a release wrote it there, and wrote it like this.

    Args:
        folder: to look into.
        name: of the file, relative to the folder.
        kind: of the folder.
        recipes: that its records tell of: each has a file of its own.
    """
    if found := _RECIPE.match(name):
        number = int(found[1] or 1)
        return number <= len(recipes) and _is_recipe(folder / name, recipes[number - 1])
    if name in _TENSORS:
        return _holds_tensors(folder / name)
    return name in kind.records or (name == "README.md" and _is_signed(folder / name))


def _is_recipe(path: Path, recipe: Mapping[str, Any]) -> bool:
    try:
        return load_recipe(path).to_dict() == load_recipe(recipe).to_dict()
    except HmhsaInsertError:
        return False


def _holds_tensors(path: Path) -> bool:
    try:
        with utf8_path(path) as name, safe_open(name, framework="pt"):
            return True
    except (SafetensorError, OSError):
        return False


def _is_signed(path: Path) -> bool:
    try:
        return _SIGNED in read_file(path, ArtifactError, RECORD).splitlines()[2:3]
    except ArtifactError:
        return False
