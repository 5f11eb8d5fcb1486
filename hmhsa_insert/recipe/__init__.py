"""Recipes: what to put into a network, and where, as data. Reading one imports nothing and runs nothing.

:func:`load_recipe` reads a file, a shipped name or a dict; :func:`parse_recipe` also returns what is right
in a recipe with problems. The keys are those of :class:`Edit` and of the classes in :data:`SELECTORS`.
"""

from hmhsa_insert.recipe.edit import BlockSpec, Edit
from hmhsa_insert.recipe.json_schema import json_schema
from hmhsa_insert.recipe.library import ShippedRecipe, find_recipe, shipped_recipes
from hmhsa_insert.recipe.marks import KeyPath, Mark, Marks
from hmhsa_insert.recipe.match import BlockChoice, Every, any_matches, has_attributes, matches, select_indices
from hmhsa_insert.recipe.recipe import Recipe, RecipeSource, load_recipe, parse_recipe, parse_text
from hmhsa_insert.recipe.selectors.base import Selector
from hmhsa_insert.recipe.selectors.table import SELECTORS, read_selector

__all__ = [
    "BlockChoice",
    "BlockSpec",
    "Edit",
    "Every",
    "KeyPath",
    "Mark",
    "Marks",
    "Recipe",
    "RecipeSource",
    "SELECTORS",
    "Selector",
    "ShippedRecipe",
    "any_matches",
    "find_recipe",
    "has_attributes",
    "json_schema",
    "load_recipe",
    "matches",
    "parse_recipe",
    "parse_text",
    "read_selector",
    "select_indices",
    "shipped_recipes",
]
