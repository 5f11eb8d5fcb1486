"""Folders of earlier releases, which have no list of their files: which of the files such a release wrote."""

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
# The third line of a README that we wrote.
_SIGNED = "Made by hmhsa-insert. Load it with:"


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder.

    Attributes:
        records: the files that describe the contents; the first one identifies the kind.
        recipes: reads them and returns the recipes; raises ArtifactError if they are not ours.
    """

    records: tuple[str, ...]
    recipes: Callable[[Path], list[Mapping[str, Any]]]

    @property
    def marker(self) -> str:
        """The file that identifies a folder of this kind."""
        return self.records[0]

    @property
    def files(self) -> tuple[str, ...]:
        """The files that every folder of this kind has."""
        return (*self.records, _TENSORS[0])


def is_written(folder: Path, name: str, kind: FolderKind, recipes: Sequence[Mapping[str, Any]]) -> bool:
    """Return True for a file of a folder that `kind` reads, if a release wrote it there, and wrote it like this.

    Args:
        folder: to look into.
        name: of the file, relative to the folder.
        kind: of the folder.
        recipes: those in its records; each has its own file.
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
