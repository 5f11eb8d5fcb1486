"""``hmhsa-insert recipe check FILE`` and ``recipe schema``: for people who write recipes."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer


def check(
    recipe: Annotated[str, typer.Argument(metavar="FILE", help="A recipe file, or a shipped name.")],
) -> None:
    """Report every problem of a recipe that can be found without a network."""
    from hmhsa_insert.blocks import parse_options
    from hmhsa_insert.blocks.in_recipe import read_recipe
    from hmhsa_insert.commands.console import out
    from hmhsa_insert.errors import Problem, RecipeError

    parsed, problems = read_recipe(recipe)
    for edit in parsed.edits:
        for found in parse_options(edit.block)[1] if edit.block is not None else ():
            place = parsed.where((*edit.path, "block", *found.key))
            problems.append(Problem(place, found.message, found.tip))
    if problems:
        raise RecipeError(problems)
    count = len(parsed.edits)
    out.print(f"{parsed.source}: {count} edit{'s' if count != 1 else ''}, no problem")


def schema() -> None:
    """Print the JSON Schema of recipes, block options included."""
    from hmhsa_insert.blocks import block_names, block_type
    from hmhsa_insert.commands.console import print_json
    from hmhsa_insert.errors import BlockError
    from hmhsa_insert.recipe import json_schema

    schemas = {}
    for name in block_names():
        with suppress(BlockError):  # a package that cannot be loaded is an error where its block is used
            schemas[name] = block_type(name).options.model_json_schema()
    print_json(json_schema(schemas))
