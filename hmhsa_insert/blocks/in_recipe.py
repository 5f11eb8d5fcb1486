"""Read a recipe with the options of its blocks checked, as far as that goes without a network."""

from __future__ import annotations

from hmhsa_insert.blocks.check import parse_options
from hmhsa_insert.errors import Problem, RecipeError
from hmhsa_insert.recipe import Recipe, RecipeSource, parse_recipe


def read_recipe(recipe: RecipeSource) -> tuple[Recipe, list[Problem]]:
    """Read a recipe as far as possible; return it with its problems, blocks in invalid edits included.

    Raises:
        RecipeError: none of its edits can be planned; lists all problems.
    """
    return checked_recipe(*parse_recipe(recipe))


def checked_recipe(parsed: Recipe, problems: list[Problem]) -> tuple[Recipe, list[Problem]]:
    """Check what ``parse_recipe`` returned; otherwise as :func:`read_recipe`."""
    for path, block in parsed.stray_blocks:
        for found in parse_options(block)[1]:
            problems.append(Problem(parsed.where((*path, *found.key)), found.message, found.tip))
    if not parsed.edits:
        raise RecipeError(problems)
    return parsed, problems
