"""Where recipes lie: files of the user's, and those shipped with the package."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hmhsa_insert.errors import Problem, RecipeError, near
from hmhsa_insert.files.text import RECIPE, read_file

_PACKAGE = Path(__file__).parents[1]
_TIP = "`hmhsa-insert recipes` lists the shipped ones"


@dataclass(frozen=True)
class ShippedRecipe:
    """A recipe that comes with the package.

    Attributes:
        name: what ``--recipe`` takes, without ``.yaml``.
        intent: the first paragraph of its leading comment.
        path: the file.
    """

    name: str
    intent: str
    path: Path


def shipped_recipes() -> list[ShippedRecipe]:
    """Return the shipped recipes by name; empty if the package was installed without them."""
    return [
        ShippedRecipe(name, intent_of(read_file(path, RecipeError, RECIPE)), path)
        for name, path in shipped_files().items()
    ]


def find_recipe(name: str | Path) -> Path:
    """Return the file of a recipe: an existing path first, then a shipped name with or without ``.yaml``.

    Raises:
        RecipeError: there is no such recipe, or it is a folder.
    """
    shipped = shipped_files()
    if os.path.exists(name) and not os.path.isdir(name):
        return Path(name)
    stem = str(name).removesuffix(".yaml")
    if stem in shipped:
        return shipped[stem]
    if "\n" in str(name):
        raise RecipeError(
            Problem("", "a recipe's text was given as its path", "pass a path, a shipped name or a dict")
        )
    if os.path.isdir(name):
        raise RecipeError(Problem(str(name), "this is a folder, not a recipe", "name a file inside it"))
    guess = near(Path(stem).name, shipped)
    message = "no such file, and no shipped recipe of that name"
    raise RecipeError(Problem(str(name), message, f"{guess} {_TIP}".strip()))


def shipped_files(kind: str = "") -> dict[str, Path]:
    """Return the files that come with the package by name, without ``.yaml``.

    Args:
        kind: a folder among the recipes, such as ``training``; the recipes themselves if empty.
    """
    # A wheel carries them as _recipes; a checkout has them at its top.
    folder = _PACKAGE / "_recipes"
    if not folder.is_dir():
        folder = _PACKAGE.parent / "recipes"
    return {path.stem: path for path in sorted((folder / kind).glob("*.yaml"))}


def intent_of(text: str) -> str:
    """Return the first paragraph of a file's leading comment."""
    lines = []
    for line in text.splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or not text:
            break
        lines.append(text)
    return " ".join(lines)
