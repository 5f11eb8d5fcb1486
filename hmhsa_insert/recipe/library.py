"""Where recipes lie: files of the user's, and those shipped with the package."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hmhsa_insert.errors import HmhsaInsertError, Problem, RecipeError, near
from hmhsa_insert.files.text import RECIPE, read_file

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class ShippedRecipe:
    """A recipe that comes with the package.

    Attributes:
        name: what ``recipe`` takes, without ``.yaml``.
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
    if "\n" in str(name) and not os.path.exists(name):
        raise RecipeError(
            Problem("", "a recipe's text was given as its path", "pass a path, a shipped name or a dict")
        )
    return find_file(name, "", "recipe", RecipeError, "`hmhsa-insert recipes` lists the shipped ones")


def find_file(name: str | Path, folder: str, what: str, error: type[HmhsaInsertError], tip: str = "") -> Path:
    """Return a file of one of the kinds that are shipped, as :func:`find_recipe` does for recipes.

    Args:
        name: of the file.
        folder: as of :func:`shipped_files`.
        what: it is called.
        error: is raised where there is none.
        tip: what to do then; the shipped names if empty.
    """
    shipped = shipped_files(folder)
    stem = str(name).removesuffix(".yaml")
    if os.path.exists(name) and not os.path.isdir(name):
        return Path(name)
    if stem in shipped:
        return shipped[stem]
    if os.path.isdir(name):
        raise error(Problem(str(name), f"this is a folder, not a {what}", "name a file inside it"))
    message = f"no such file, and no shipped {what.removesuffix(' file')} of that name"
    tip = tip or f"shipped: {', '.join(shipped)}"
    raise error(Problem(str(name), message, f"{near(Path(stem).name, shipped)} {tip}".strip()))


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
